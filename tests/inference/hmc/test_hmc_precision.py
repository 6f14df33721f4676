"""Precision of gradients: settings of the process come back as they were."""

import pytest
import torch

from holdfast.inference.hmc.precision import choose, products


def are_subnormals_zero():
    return float(torch.full((1,), 1e-38, dtype=torch.float32) * 0.1) == 0.0


@pytest.fixture
def flushing():
    """Whether this machine can count them as zero, and this thread as it was afterwards."""
    before = are_subnormals_zero()
    yield torch.set_flush_denormal(True)
    torch.set_flush_denormal(before)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("own", [False, True])
def test_subnormal_numbers_are_zero_inside_and_as_before_afterwards(flushing, precision, own):
    if not flushing:
        pytest.skip("this processor cannot count subnormal numbers as zero")
    torch.set_flush_denormal(own)
    knob = torch.backends.cuda.matmul.fp32_precision
    with products(precision):
        assert are_subnormals_zero()
        assert (torch.backends.cuda.matmul.fp32_precision == "tf32") == (precision == "tf32" or knob == "tf32")
    assert are_subnormals_zero() is own
    assert torch.backends.cuda.matmul.fp32_precision == knob


def test_an_error_leaves_the_settings_as_they_were():
    before = are_subnormals_zero(), torch.backends.cuda.matmul.fp32_precision

    def fail():
        with products("tf32"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (are_subnormals_zero(), torch.backends.cuda.matmul.fp32_precision) == before


@pytest.mark.parametrize("precision", ["bfloat16", "auto", "float32"])
def test_digits_of_float64_are_not_thrown_away_in_silence(precision):
    device = torch.device("cpu")
    if precision == "bfloat16":
        with pytest.raises(ValueError, match="precision='bfloat16' is for float32 images, got float64"):
            choose("call", precision, device, torch.float64)
    else:
        assert choose("call", precision, device, torch.float64) == "float64"
