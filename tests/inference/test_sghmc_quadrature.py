"""sgld, sghmc and their cycles as a user calls them, on all images at once, against a posterior summed over a grid."""

import pytest
import torch
from quadrature import Bent, check, evaluated, expectations, images, learned, normal, standardised

from holdfast.inference import FanIn, Path, Training, sghmc, sgld

CHAINS, DRAWS = 64, 40
CONSTANT = dict(epochs=1200, batch_size=12, schedule="constant", cycles=1, exploration=0.3)
CYCLES = dict(epochs=3000, batch_size=12, schedule="cyclical", cycles=3, exploration=0.2)


@pytest.mark.parametrize(
    ("method", "path", "temperature"),
    [
        (sgld, Path(step=0.02, **CONSTANT), 1.0),
        (sghmc, Path(step=0.005, friction=0.2, **CONSTANT), 0.5),
        (sghmc, Path(step=0.01, friction=0.2, **CYCLES), 1.0),
    ],
    ids=["sgld", "sghmc", "cyclical"],
)
def test_two_parameters(method, path, temperature):
    x, data = images(1)
    logit = lambda a, b, x: b * torch.tanh(a * x[0])
    log_prior = lambda a, b: normal(1.2)(a) + normal(1.5)(b)
    axis = 8 * torch.linspace(-1, 1, 401, dtype=torch.float64)
    expected = expectations((axis, axis), logit, log_prior, x, data.labels, temperature)
    ensemble = method(
        standardised(Bent()), data, seed=1, draws=CHAINS * DRAWS, chains=CHAINS, temperature=temperature, path=path,
        prior=FanIn(hidden=1.2**2, output=1.5**2), start=Training(epochs=2, batch_size=12),
    )  # fmt: skip
    check(evaluated(logit, *(w[:, 0, 0] for w in learned(ensemble))), expected, CHAINS)
