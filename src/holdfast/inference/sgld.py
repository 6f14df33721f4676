"""sgld: stochastic gradient Langevin dynamics, the oldest and simplest sampler by stochastic gradients.

    z <- z - h grad U(z) + N(0, 2 h T)

(Welling and Teh 2011, where the step is called epsilon / 2): `holdfast.inference.sghmc` with full friction.
"""

from dataclasses import replace

from torch import nn

from holdfast.checks import check_kind
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble
from holdfast.inference.priors import Prior
from holdfast.inference.sghmc import START, Path, sample
from holdfast.inference.training import Training

PATH = Path(step=1e-4, friction=1.0)


def sgld(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    chains: int = 1,
    prior: str | Prior = "fan_in",
    temperature: float = 1.0,
    path: Path = PATH,
    start: Training = START,
) -> Ensemble:
    """Run chains of Langevin dynamics and keep draws along them; arguments as in `sghmc`.

    Args:
        network, data, seed, draws, chains, prior, temperature, start: see `sghmc`.
        path: as there; its friction is 1 whatever it says.

    >>> import torch
    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> short = Path(epochs=4, batch_size=8, cycles=2)
    >>> len(sgld(nn.Linear(2, 2), data, seed=0, draws=6, path=short, start=Training(epochs=1)))
    6
    """
    check_kind("inference.sgld", "path", path, Path)
    path = replace(path, friction=1.0)
    return sample("sgld", network, data, seed, draws, chains, prior, temperature, path, start)
