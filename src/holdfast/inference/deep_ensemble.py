"""deep_ensemble: networks of one architecture that differ in initial weights and batch order, trained together.

Lakshminarayanan, Pritzel and Blundell 2017 (arXiv:1612.01474), without the adversarial examples of that paper. The
members are stacked and share every kernel call, but where they convolve on a CPU; nothing passes between them.
"""

from dataclasses import asdict, replace

from torch import nn

from holdfast.checks import check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.inference.fingerprint import data_of
from holdfast.inference.priors import Prior, described
from holdfast.inference.seeds import member_seeds
from holdfast.inference.sgd import DEFAULT, train_members
from holdfast.inference.training import Training, check_count


def deep_ensemble(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    members: int = 5,
    prior: str | Prior | None = None,
    training: Training = DEFAULT,
) -> Ensemble:
    """Train `members` networks.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: gives every member a seed of its own, see `holdfast.inference.seeds.member_seeds`.
        members: how many networks.
        prior: each member is the maximum of a posterior with this prior, see `sgd`; None for none.
        training: epochs, batch size, optimiser, learning rate and its schedule.

    Raises:
        ValueError: for data that do not fit the network, or no members.
        FloatingPointError: where a loss stops being finite.

    >>> import torch
    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> len(deep_ensemble(nn.Linear(2, 2), data, seed=0, members=3, training=Training(epochs=2)))
    3
    """
    check_count("inference.deep_ensemble", "members", members)
    check_seed("inference.deep_ensemble", seed)
    seeds = member_seeds(seed, members)
    ensemble, curve = train_members("inference.deep_ensemble", network, data, seeds, training, prior)
    settings = {"seed": seed, "members": members, "prior": described(prior), **asdict(training)}
    settings |= {"data": data_of(data)}
    diagnostics = Diagnostics("deep_ensemble", settings, {"final_loss": curve[-1]}, {"loss": curve})
    return replace(ensemble, diagnostics=diagnostics)
