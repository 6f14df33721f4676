"""The museum's AGI does what its docstring says is wrong."""

import torch
from torch import nn

from holdfast.explanations import adversarial_gradient_integration
from holdfast.studies.published import agi_as_released


def test_the_released_method_counts_one_chord_again_and_again():
    network = nn.Linear(2, 2, bias=False).double()
    network.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    pick = lambda values, target: values.gather(-1, target.expand(len(values), -1)[..., None])[..., 0]
    probability = lambda logits, target: pick(logits.softmax(-1), target)
    released = agi_as_released(network, x, steps=15)
    # one chord of (-0.05, 0.05), first with the gradient at x, then 14 times with that at its end
    slope = lambda t: (lambda p: p * (1 - p))(torch.tensor(t, dtype=torch.float64).sigmoid().item())
    expected = 0.05 * (slope(0.8) + 14 * slope(0.7))
    torch.testing.assert_close(released, torch.tensor([[expected, expected]], dtype=torch.float64))
    walked = adversarial_gradient_integration(network, x, of=probability)
    change = (torch.tensor(0.8).sigmoid() - 0.5).item()
    assert abs(walked.sum().item() - change) < 0.03
    assert released.sum().item() > 1.5 * change
