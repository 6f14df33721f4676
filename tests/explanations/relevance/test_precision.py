"""bfloat16 products: only within the context, with an error of the size that they state."""

import torch
from torch import nn

from holdfast.explanations import Epsilon, lrp
from holdfast.explanations.relevance.precision import bfloat16_products


def test_products_are_rounded_within_the_context_only():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        x = torch.rand(64, 256)
    before, flag = lrp(network, x, 3, rule=Epsilon()), torch.backends.mkldnn.matmul.fp32_precision
    with bfloat16_products() as rounded:
        within = lrp(network, x, 3, rule=Epsilon())
    assert torch.backends.mkldnn.matmul.fp32_precision == flag
    assert torch.equal(lrp(network, x, 3, rule=Epsilon(), precision="bfloat16"), within)
    assert torch.equal(lrp(network, x, 3, rule=Epsilon()), before)
    error = float((within - before).norm() / before.norm())
    assert (1e-4 < error < 0.1) if rounded else error < 1e-5
