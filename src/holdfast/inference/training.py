"""The training loop that every method shares: networks stacked on a leading axis, each with batches of its own.

    w <- w - rate(t) * Adam or momentum step of  grad of the mean loss over the batch

All members take their steps together: one member is a stack of one. Batches are an even split of a fresh permutation
each epoch, so every image is seen once per epoch and no batch is a small remainder.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.checks import check_images, check_kind, check_labels, check_range
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble, check_network, skeleton
from holdfast.inference.seeds import stream_seed
from holdfast.networks.initialise import initialise
from holdfast.progress import track

Weights = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]  # images [S, B, ...], labels [S, B] -> loss of each member [S]


@dataclass(frozen=True)
class Training:
    """How long, in which steps and with which optimiser to train.

    Attributes:
        epochs: passes over the data.
        batch_size: largest batch; batches of one epoch differ by at most one image.
        learning_rate: of the first step.
        optimiser: "adam", or "sgd" with momentum.
        schedule: "cosine" lowers the rate to zero along half a cosine; "plateau" keeps it for 70 % of the steps, then
            lowers it to zero in a straight line; "constant" keeps it.
        momentum: of "sgd".
        weight_decay: added to the gradient as `weight_decay * w`.
        precision: of the network's matrix products and convolutions, and of the activations between them. Weights,
            losses and divergences stay in the type of the data. "bfloat16" is faster on CPUs with AMX and on GPUs.

    >>> Training(epochs=3).rate(0.5)
    0.0005
    """

    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimiser: Literal["adam", "sgd"] = "adam"
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    momentum: float = 0.9
    weight_decay: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            check_count("Training", name, getattr(self, name))
        check_range("Training", "learning_rate", self.learning_rate, 0, math.inf, open_low=True)
        check_range("Training", "momentum", self.momentum, 0, 1)
        check_range("Training", "weight_decay", self.weight_decay, 0, math.inf)
        if self.optimiser not in ("adam", "sgd"):
            raise ValueError(f"Training: optimiser must be 'adam' or 'sgd', got {self.optimiser!r}.")
        if self.schedule not in ("cosine", "plateau", "constant"):
            raise ValueError(f"Training: schedule must be 'cosine', 'plateau' or 'constant', got {self.schedule!r}.")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"Training: precision must be 'float32' or 'bfloat16', got {self.precision!r}.")

    def rate(self, done: float) -> float:
        """The learning rate when the share `done` of all steps, 0 to 1, has been taken."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "plateau":
            return self.learning_rate * min(1.0, (1 - done) / 0.3)
        return self.learning_rate


def train(
    call: str,
    groups: Sequence[tuple[Sequence[Tensor], float]],
    loss: Loss,
    data: Split,
    training: Training,
    orders: Sequence[torch.Generator],
    *,
    after_epoch: Callable[[int], None] | None = None,
) -> list[float]:
    """Train the tensors in `groups` in place.

    Args:
        call: name of the public function, for messages and the progress bar.
        groups: tensors to train, each group with a factor on the learning rate.
        loss: called as `loss(images, labels)` with one batch for each member, gives one loss for each member.
        data: where the batches come from.
        training: epochs, batch size, optimiser and schedule.
        orders: one generator for each member, from which its batch order is drawn.
        after_epoch: called with the number of epochs done, after each.

    Returns:
        mean loss of every epoch, over steps and members.

    Raises:
        FloatingPointError: where a loss is not finite; the message says at which epoch and step.
    """
    check_kind(call, "training", training, Training)
    optimiser = _optimiser(groups, training)
    factors = [factor for _, factor in groups]
    steps = math.ceil(len(data) / training.batch_size)
    curve = []
    for epoch in track(range(training.epochs), call.rpartition(".")[2]):
        losses = []
        for step, rows in enumerate(batches(len(data), training.batch_size, orders, data.images.device)):
            rate = training.rate((epoch * steps + step) / (training.epochs * steps))
            for group, factor in zip(optimiser.param_groups, factors, strict=True):
                group["lr"] = rate * factor
            optimiser.zero_grad()
            with torch.autocast(data.images.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
                value = loss(data.images[rows], data.labels[rows])
            value.sum().backward()
            optimiser.step()
            losses.append(value.detach())
        curve.append(_epoch_mean(call, torch.stack(losses), epoch, training))
        if after_epoch is not None:
            after_epoch(epoch + 1)
    return curve


def batches(count: int, size: int, orders: Sequence[torch.Generator], device: torch.device) -> Iterator[Tensor]:
    """The rows `[S, b]` of each batch of one epoch: an even split of one permutation for each member."""
    permutations = torch.stack([torch.randperm(count, generator=g) for g in orders]).to(device)
    yield from permutations.tensor_split(math.ceil(count / size), dim=1)


def initial_weights(network: nn.Module, seeds: Sequence[int], data: Split) -> tuple[Weights, Weights]:
    """He-scaled parameters and the buffers of new members, stacked `[S, ...]`, where and as the data are."""
    like = data.images
    states = []
    for seed in seeds:
        member = initialise(_unshared(network), stream_seed(seed, "initial weights"))
        states.append(member.to(device=like.device, dtype=like.dtype))
    parameters = _stack([dict(s.named_parameters()) for s in states])
    return parameters, _stack([dict(s.named_buffers()) for s in states])


def initial_or_trained(
    call: str, network: nn.Module, seeds: Sequence[int], data: Split, initial: Ensemble | None
) -> tuple[Weights, Weights]:
    """`initial_weights`, or copies of the draws of `initial`, one for each seed, where it is given."""
    parameters, buffers = initial_weights(network, seeds, data)
    if initial is None:
        return parameters, buffers
    if not isinstance(initial, Ensemble):
        raise TypeError(f"{call}: initial must be an Ensemble or None, got {type(initial).__name__}.")
    expected = {k: v.shape for k, v in (*parameters.items(), *buffers.items())}
    found = {k: v.shape for k, v in initial.weights.items()}
    if differing := sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)):
        name = differing[0]
        shapes = [tuple(d[name]) if name in d else "absent" for d in (expected, found)]
        raise ValueError(
            f"{call}: initial does not fit: {name} must be {shapes[0]} and is {shapes[1]}; "
            f"it needs {len(seeds)} draws of the same architecture."
        )
    copies = ({k: initial.weights[k].to(v, copy=True) for k, v in d.items()} for d in (parameters, buffers))
    return next(copies), next(copies)


def digest(initial: Ensemble | None) -> str | None:
    """A fingerprint of the weights that a method started from, as it is written into diagnostics."""
    if initial is None:
        return None
    total = hashlib.sha256()
    for name in sorted(initial.weights):
        total.update(name.encode())
        total.update(initial.weights[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def member_logits(network: nn.Module, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Logits `[S, B, C]` of each member on images of its own `[S, B, ...]`; a stack of one is not vmapped."""
    if len(images) == 1:
        return functional_call(network, {k: v.squeeze(0) for k, v in weights.items()}, (images[0],))[None]
    run = lambda w, x: functional_call(network, w, (x,))
    return torch.vmap(run, randomness="different")(dict(weights), images)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the images of `-log softmax(logits)_label`: `[S, B, C]` and `[S, B]` to `[S]`."""
    return -categorical(logits.flatten(0, 1), labels.flatten()).view(labels.shape).mean(1)


def categorical(logits: Tensor, labels: Tensor) -> Tensor:
    """Log likelihood `[B]` of labels under softmax, at least in float32."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -F.cross_entropy(logits, labels, reduction="none")


@contextmanager
def private_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Let layers such as dropout draw from `seed`, and put the global random state back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, "layers"))
        yield


def check_count(call: str, name: str, value: int) -> None:
    """A number of things must be a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{call}: {name} must be a whole number of at least 1, got {value!r}.")


def check_temperature(call: str, temperature: float) -> None:
    """A temperature must be a positive, finite number."""
    check_range(call, "temperature", temperature, 0, math.inf, open_low=True)
    if math.isinf(temperature):
        raise ValueError(f"{call}: temperature must be finite, got {temperature}; 1 is Bayes' rule.")


def check_problem(call: str, network: nn.Module, data: Split) -> nn.Module:
    """Check data and network against each other before any work.

    Returns:
        a copy of the architecture in training mode, for `functional_call`.
    """
    check_network(call, network)
    if not isinstance(data, Split):
        raise TypeError(f"{call}: data must be a Split such as dataset.train, got {type(data).__name__}.")
    check_images(call, data.images)
    check_labels(call, data.labels, len(data.images))
    low, high = float(data.images.min()), float(data.images.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"{call}: images must lie in [0, 1], got values from {low:.4g} to {high:.4g}; divide 8-bit pixels by 255, "
            "and put standardisation into the network with networks.normalised."
        )
    if not any(True for _ in network.parameters()):
        raise ValueError(f"{call}: the network has no parameters to train.")
    parameters, buffers = initial_weights(network, [0], data[:1])
    try:
        with torch.no_grad():
            logits = member_logits(skeleton(network), {**parameters, **buffers}, data.images[None, :1])[0]
    except RuntimeError as error:
        raise ValueError(
            f"{call}: the network does not take images of shape {tuple(data.images.shape[1:])} ({error}); "
            "build it for dataset.shape."
        ) from error
    if logits.ndim != 2:
        raise ValueError(f"{call}: the network must give logits [B, classes], got shape {tuple(logits.shape)}.")
    check_labels(call, data.labels, len(data.images), logits.shape[1])
    return skeleton(network).train()


def as_ensemble(network: nn.Module, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Ensemble:
    """Trained stacks of parameters and buffers as an ensemble."""
    weights = {k: v.detach().clone() for k, v in (*parameters.items(), *buffers.items())}
    return Ensemble(skeleton(network), weights)


def _unshared(network: nn.Module) -> nn.Module:
    """A copy of the network on the CPU with storage behind every parameter."""
    if any(p.is_meta for p in (*network.parameters(), *network.buffers())):
        return copy.deepcopy(network).to_empty(device="cpu")
    return copy.deepcopy(network).cpu()


def _stack(states: list[Weights]) -> Weights:
    return {k: torch.stack([s[k].detach() for s in states]) for k in states[0]}


def _optimiser(groups: Sequence[tuple[Sequence[Tensor], float]], training: Training) -> torch.optim.Optimizer:
    listed = [{"params": list(tensors)} for tensors, _ in groups]
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "adam":
        return torch.optim.Adam(listed, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(listed, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)


def _epoch_mean(call: str, losses: Tensor, epoch: int, training: Training) -> float:
    bad = ~torch.isfinite(losses).all(1)
    if bool(bad.any()):
        step = int(bad.nonzero()[0])
        raise FloatingPointError(
            f"{call}: the loss was {float(losses[step].sum())} in epoch {epoch + 1}, step {step + 1}; try a learning "
            f"rate below {training.learning_rate:g}, or check the network's last layer and the scale of the images."
        )
    return float(losses.mean())
