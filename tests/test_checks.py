"""Bad input is one clear error that says what came and what to do."""

import pytest
import torch

from holdfast.checks import check_count, check_images, check_labels, check_range


def test_good_input_passes():
    check_images("f", torch.zeros(2, 3), (3,))
    check_labels("f", torch.tensor([0, 2]), 2, 3)
    check_range("f", "k", 100, 0, 100, open_low=True)


def test_wrong_shape_names_both_shapes():
    with pytest.raises(ValueError, match=r"f: expected images of shape \[B, 1, 28, 28\], got \(2, 784\)"):
        check_images("f", torch.zeros(2, 784), (1, 28, 28))


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (torch.tensor([0, 3]), ValueError, r"0\.\.2 for 3 classes, got values from 0 to 3"),
        (torch.tensor([-1, 2]), ValueError, "got values from -1 to 2"),
        (torch.tensor([0]), ValueError, "expected 2 labels"),
        (torch.tensor([0.0, 1.0]), TypeError, "tensor of integers"),
        (torch.eye(2, 3), TypeError, "argmax"),
        ([0, 1], TypeError, "got list"),
    ],
)
def test_bad_labels(labels, error, words):
    with pytest.raises(error, match=words):
        check_labels("f", labels, 2, 3)


@pytest.mark.parametrize("value", [0, -1, 100.5, float("nan"), float("inf")])
def test_out_of_range(value):
    with pytest.raises(ValueError, match=r"f: k must lie in \(0, 100\], got"):
        check_range("f", "k", value, 0, 100, open_low=True)


@pytest.mark.parametrize("value", ["20", None, True])
def test_not_a_number(value):
    with pytest.raises(TypeError, match="f: k must be a number"):
        check_range("f", "k", value, 0, 100)


@pytest.mark.parametrize(("value", "error"), [(2.5, TypeError), (True, TypeError), ("3", TypeError), (0, ValueError)])
def test_not_a_count(value, error):
    with pytest.raises(error, match="f: n must "):
        check_count("f", "n", value)
