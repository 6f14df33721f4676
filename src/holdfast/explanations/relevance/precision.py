"""Products in bfloat16: float32 tensors multiplied with 8 bits of precision where the processor does that faster.

CPUs with AMX (through oneDNN) multiply matrices several times as fast that way. The relative error of a product is
about 2e-3; `benchmarks/relevance.py` measures that of an epsilon heatmap. Everything else stays in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def bfloat16_products() -> Iterator[bool]:
    """Within this context, matrix products of float32 tensors on the CPU may be rounded to bfloat16.

    Yields:
        whether they are on this machine; where they are not, results are those of float32.

    >>> with bfloat16_products() as rounded:
    ...     z = torch.ones(2, 2) @ torch.ones(2, 2)
    """
    knob = torch.backends.mkldnn.matmul
    before = knob.fp32_precision
    knob.fp32_precision = "bf16"
    try:
        yield _rounds()
    finally:
        knob.fp32_precision = before


def _rounds() -> bool:
    """Products of this size really are rounded."""
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 256, generator=g), torch.randn(256, 64, generator=g)
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).norm() / exact.norm()) > 1e-4
