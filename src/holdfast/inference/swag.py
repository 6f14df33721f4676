"""swag: a Gaussian around the end of training, from where stochastic gradients wander (SWAG), or several (MultiSWAG).

    w ~ N(m, diag(v) / 2 + D D^T / (2 (K - 1)))

with the mean m and the variance v of weights collected along a run of constant learning rate, and D the last K
collected weights minus the mean (Maddox et al. 2019, arXiv:1902.02476). MultiSWAG is an equal mixture of such Gaussians
from independent runs (Wilson and Izmailov 2020, arXiv:2002.08791); the runs are trained together, stacked.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor, nn

from holdfast.checks import check_kind, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.fingerprint import data_of
from holdfast.inference.seeds import member_seeds, stream
from holdfast.inference.statistics import refresh_statistics
from holdfast.inference.training import (
    Training,
    Weights,
    as_ensemble,
    check_count,
    check_problem,
    cross_entropy,
    digest,
    initial_or_trained,
    member_logits,
    private_random_state,
    train,
)

DEFAULT = Training(epochs=15)
COLLECTION = Training(epochs=20, learning_rate=0.02, optimiser="sgd", schedule="constant", weight_decay=5e-4)


def swag(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    members: int = 1,
    rank: int = 20,
    training: Training = DEFAULT,
    collection: Training = COLLECTION,
    initial: Ensemble | None = None,
) -> Ensemble:
    """Train, collect the weights after every epoch of a second run, and draw from their Gaussian.

    Where the network has batch normalisation, the statistics of every draw are computed anew on the training images.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial weights, the batch order and the draws.
        draws: how many networks to draw, spread evenly over the members.
        members: independent runs: 1 is SWAG, more are MultiSWAG.
        rank: how many of the last collected weights span the low-rank part, at least 2.
        training: the first run.
        collection: the second run, from where the first ended; its epochs are the number of weights collected.
        initial: trained networks, one for each member, to collect from in place of the first run.

    Raises:
        ValueError: for data that do not fit the network, or settings out of range.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> short = Training(epochs=3)
    >>> len(swag(nn.Linear(2, 2), data, seed=0, draws=7, members=2, rank=2, training=short, collection=short))
    7
    """
    call = "inference.swag"
    shell = check_problem(call, network, data)
    check_seed(call, seed)
    _check(call, draws, members, rank, collection)
    seeds = member_seeds(seed, members)
    parameters, buffers = initial_or_trained(call, network, seeds, data, initial)
    for p in parameters.values():
        p.requires_grad_()

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(member_logits(shell, {**parameters, **buffers}, images), labels)

    moments = Moments(rank)
    groups, orders = [(list(parameters.values()), 1.0)], [stream(s, "order") for s in seeds]
    with private_random_state(seed, data.images.device):
        first = train(call, groups, loss, data, training, orders) if initial is None else []
        second = train(call, groups, loss, data, collection, orders, after_epoch=lambda _: moments.add(parameters))
        member = torch.arange(draws) * members // draws
        drawn = moments.sample(member, seed)
        buffers = {k: v[member.to(v.device)].clone() for k, v in buffers.items()}
        refresh_statistics(skeleton(network), drawn, buffers, data)
    settings = {"seed": seed, "draws": draws, "members": members, "rank": rank}
    settings |= {"data": data_of(data)}
    settings |= {**(asdict(training) if initial is None else {}), "collection": asdict(collection)}
    settings |= {"initial": digest(initial)}
    summary = {"loss_before_collection": first[-1] if first else None, "loss_while_collecting": second[-1]}
    diagnostics = Diagnostics("swag", settings, summary, {"loss": [*first, *second]})
    return replace(as_ensemble(network, drawn, buffers), diagnostics=diagnostics)


@dataclass
class Moments:
    """Running mean and variance of collected stacks of weights `[members, ...]`, and the last `rank` of them."""

    rank: int
    count: int = 0
    mean: Weights = field(default_factory=dict)
    squares: Weights = field(default_factory=dict)  # sum of squared deviations from the mean so far (Welford)
    last: list[Weights] = field(default_factory=list)

    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Collect one stack of weights."""
        self.count += 1
        kept = {k: v.detach().clone() for k, v in weights.items()}
        for name, value in kept.items():
            mean = self.mean.setdefault(name, torch.zeros_like(value))
            squares = self.squares.setdefault(name, torch.zeros_like(value))
            change = value - mean
            mean += change / self.count
            squares += change * (value - mean)
        self.last = [*self.last, kept][-self.rank :]

    def sample(self, member: Tensor, seed: int) -> Weights:
        """One draw `[draws, ...]` from the Gaussian of each of these members."""
        k = len(self.last)
        shared = torch.randn((len(member), k), generator=stream(seed, "draws", "low rank"), dtype=torch.float64)
        drawn = {}
        for name, mean in self.mean.items():
            shape = (len(member), *mean.shape[1:])
            noise = torch.randn(shape, generator=stream(seed, "draws", name), dtype=mean.dtype).to(mean.device)
            spread = (self.squares[name] / self.count / 2).sqrt()
            drawn[name] = noise
            for m in range(len(mean)):
                rows = (member == m).nonzero()[:, 0]
                deviations = torch.stack([w[name][m] - mean[m] for w in self.last]).flatten(1)
                low_rank = shared[rows].to(deviations) @ deviations / (2 * (k - 1)) ** 0.5
                rows = rows.to(mean.device)
                drawn[name][rows] = mean[m] + spread[m] * noise[rows] + low_rank.view(-1, *mean.shape[1:])
        return drawn


def _check(call: str, draws: int, members: int, rank: int, collection: Training) -> None:
    for name, value in (("draws", draws), ("members", members), ("rank", rank)):
        check_count(call, name, value)
    check_kind(call, "collection", collection, Training)
    if rank < 2 or collection.epochs < 2:
        raise ValueError(
            f"{call}: a covariance needs a rank and a collection of at least 2, got rank {rank} and "
            f"{collection.epochs} collected weights."
        )
    if draws < members:
        raise ValueError(f"{call}: {members} members need at least as many draws, got {draws}.")
