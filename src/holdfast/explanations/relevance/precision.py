"""Products in bfloat16: float32 tensors multiplied with 8 bits of precision where the processor does that faster.

CPUs with AMX (through oneDNN) multiply matrices several times as fast that way; NVIDIA GPUs multiply in TF32, with 11
bits. The relative error of a product in bfloat16 is about 2e-3, that of an epsilon heatmap about 2e-2, as
`benchmarks/relevance.py` measures. Everything else stays in float32.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


@contextmanager
def bfloat16_products() -> Iterator[bool]:
    """Within this context, matrix products of float32 tensors may be rounded to bfloat16 (on GPUs: to TF32).

    Yields:
        whether they are on this machine's CPU; where they are not, results are those of float32.

    >>> with bfloat16_products() as rounded:
    ...     z = torch.ones(2, 2) @ torch.ones(2, 2)
    """
    knobs = {torch.backends.mkldnn.matmul: "bf16", torch.backends.cuda.matmul: "tf32"}
    before = {knob: knob.fp32_precision for knob in knobs}
    for knob, precision in knobs.items():
        knob.fp32_precision = precision
    try:
        yield _rounds()
    finally:
        for knob, precision in before.items():
            knob.fp32_precision = precision


def products_in(call: str, precision: str) -> AbstractContextManager:
    """The context in which products have the precision of this name, "float32" or "bfloat16"."""
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"{call}: precision must be 'float32' or 'bfloat16', got {precision!r}.")
    return bfloat16_products() if precision == "bfloat16" else nullcontext()


def _rounds() -> bool:
    """Products of this size really are rounded."""
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 256, generator=g), torch.randn(256, 64, generator=g)
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).norm() / exact.norm()) > 1e-4
