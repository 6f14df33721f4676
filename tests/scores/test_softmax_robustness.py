"""Softmax robustness and label preservation by hand."""

import pytest
import torch

from holdfast.scores import label_preserved, softmax_robustness


def test_by_hand():
    clean = torch.tensor([[0.5, 0.3, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0], [0.3, 0.2, 0.4, 0.1]])
    attacked = torch.tensor([[0.2, 0.1, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0], [0.3, 0.2, 0.4, 0.1]])
    torch.testing.assert_close(softmax_robustness(clean.log(), attacked.log()), torch.tensor([0.7, 0.0, 1.0]))
    assert label_preserved(clean.log(), attacked.log()).tolist() == [False, False, True]


def test_one_softmax_only():
    """A second softmax, as in the published code, could not fall below 0.85; here a total change is 0."""
    log_p = torch.full((1, 10), -torch.inf)
    clean, attacked = log_p.clone(), log_p.clone()
    clean[0, 0], attacked[0, 1] = 0, 0
    assert softmax_robustness(clean, attacked).item() == 0


def test_keeps_leading_axes():
    a, b = torch.randn(2, 4, 3, 5, 10, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    found = softmax_robustness(a, b)
    assert found.shape == label_preserved(a, b).shape == (4, 3, 5)
    assert found[3, 2, 1].item() == softmax_robustness(a[3, 2, 1, None], b[3, 2, 1, None]).item()


def test_gradient():
    a, b = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    score = lambda x, y: softmax_robustness(x.log_softmax(-1), y.log_softmax(-1))
    assert torch.autograd.gradcheck(score, (a.requires_grad_(), b.requires_grad_()))


def test_labels_among_equals_are_the_first():
    even = torch.full((1, 4), 0.25).log()
    assert label_preserved(even, torch.tensor([[0.3, 0.3, 0.2, 0.2]]).log()).tolist() == [True]


def test_refuses_one_prediction_without_batch():
    with pytest.raises(ValueError, match="at least one image"):
        softmax_robustness(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.5, 0.5]).log())
