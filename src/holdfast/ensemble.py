"""Ensemble: an architecture and a stack of weights. A network is an ensemble of one.

A network trained by SGD, an adversarially trained one, a deep ensemble, draws of Hamiltonian Monte Carlo, samples of a
variational posterior: all are ensembles, and nothing downstream asks which. Prediction is Bayesian model averaging in
log space (never the mean of logits unless asked, never a softmax twice):

    log p(y | x) = logsumexp_s log_softmax(f_s(x))_y - log S
"""

import copy
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast import bank_file
from holdfast.checks import check_images, check_memory
from holdfast.chosen_draws import places_of, said_of
from holdfast.tiles import MEMORY, Tile, Walk, activation_bytes, tiles

Objective = Callable[[Tensor, slice], Tensor]  # (logits [S, b, C], which images) -> one value per image [b]


@dataclass(frozen=True)
class Diagnostics:
    """What an inference method says of its own result. Everything in it can be written as JSON.

    Attributes:
        method: the name of the inference method.
        settings: every setting that the result depends on, the seed included.
        summary: named figures (final loss, convergence, acceptance, ...).
        history: named curves, one value per epoch; those of `chosen_draws.CURVES_OF_DRAWS` one per draw.
        warnings: sentences that a reader must see beside the result.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def log_predictive(logits: Tensor) -> Tensor:
    """Bayesian model average in log space: logits `[S, ..., C]` to log probabilities `[..., C]`.

    `log p = logsumexp_s log_softmax(logits_s) - log S`, exact at any scale of the logits.

    >>> log_predictive(torch.tensor([[[1000., 0.]], [[0., 1000.]]])).exp()
    tensor([[0.5000, 0.5000]])
    """
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A network architecture and `S` sets of weights for it.

    Attributes:
        network: the architecture, in evaluation mode; its own parameters are never read.
        weights: every parameter and buffer by its state-dict name, each with a leading axis `[S, ...]`.
        diagnostics: what the inference method reported, where one made this ensemble.

    >>> ensemble = Ensemble.from_networks([nn.Linear(4, 3), nn.Linear(4, 3)])
    >>> len(ensemble), ensemble.logits(torch.rand(5, 4)).shape
    (2, torch.Size([2, 5, 3]))
    """

    network: nn.Module
    weights: Mapping[str, Tensor]
    diagnostics: Diagnostics | None = None

    def __post_init__(self) -> None:
        sizes = {len(v) for v in self.weights.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                f"Ensemble: every weight needs the same leading axis of at least one draw, got {sizes or 'no weights'}."
            )

    @classmethod
    def from_networks(cls, networks: nn.Module | Iterable[nn.Module]) -> "Ensemble":
        """Make an ensemble of one network, or of several of one architecture. The networks are left as they are."""
        call = "Ensemble.from_networks"
        if not isinstance(networks, nn.Module | Iterable) or isinstance(networks, str):
            raise TypeError(f"{call}: networks must be an nn.Module or a list of them, got {networks!r:.80}.")
        networks = [networks] if isinstance(networks, nn.Module) else list(networks)
        if not networks:
            raise ValueError(f"{call}: expected at least one network, got none.")
        for i, network in enumerate(networks):
            check_network(call, network, f"network {i}")
        states = [_state(n) for n in networks]
        shapes = [{k: v.shape for k, v in state.items()} for state in states]
        for i, other in enumerate(shapes):
            if other != shapes[0]:
                differing = sorted({k for k in shapes[0].keys() | other.keys() if shapes[0].get(k) != other.get(k)})
                raise ValueError(
                    f"{call}: network {i} differs from network 0 in {differing[:3]}; all members need one architecture."
                )
        stacked = {k: torch.stack([state[k] for state in states]) for k in states[0]}
        return cls(skeleton(networks[0]), stacked)

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))

    def __getitem__(self, draws: int | slice | Sequence[int]) -> "Ensemble":
        """The ensemble of some of the draws. Its diagnostics are theirs, see `holdfast.chosen_draws`: it is of several
        chains only where it holds equally many draws of each, in their order.
        """
        places = places_of("Ensemble", draws, len(self))
        draws = draws if isinstance(draws, slice) else places  # a slice is a view, a list a copy
        said = said_of(self.diagnostics, places, len(self))
        return replace(self, weights={k: v[draws] for k, v in self.weights.items()}, diagnostics=said)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.weights.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' floating-point type."""
        return next(v.dtype for v in self.weights.values() if v.is_floating_point())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Ensemble":
        """The same ensemble on another device, or with its floating-point weights in another type."""
        moved = {
            k: v.to(device=device, dtype=dtype if v.is_floating_point() else None) for k, v in self.weights.items()
        }
        return replace(self, weights=moved)

    def module(self, draw: int = 0) -> nn.Module:
        """One draw as an ordinary `nn.Module` in evaluation mode, with weights of its own."""
        network = copy.deepcopy(self.network).to_empty(device=self.device).to(self.dtype)
        state = {k: v[draw] for k, v in self.weights.items()}
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensor.copy_(state[name])
        return network

    def call(self, x: Tensor, draws: slice = slice(None)) -> Tensor:
        """Run the network under some of the draws: images `[B, ...]` to logits `[s, B, C]`, differentiable in `x`."""
        weights = {k: v[draws] for k, v in self.weights.items()}
        x = x.clone()  # a network may begin with a function in place
        if len(next(iter(weights.values()))) == 1:
            return functional_call(self.network, {k: v[0] for k, v in weights.items()}, (x,))[None]
        return torch.vmap(lambda w: functional_call(self.network, w, (x,)))(weights)

    def logits(self, x: Tensor, *, memory: int = MEMORY) -> Tensor:
        """Logits `[S, B, C]` of images `[B, ...]` under every draw, computed tile by tile without gradients."""
        check_images("Ensemble.logits", x)
        cut, found = (tile for block in self.tiles(x, memory) for tile in block), None
        with torch.no_grad():
            for tile, part in Walk().tiles(cut, lambda tile: self.call(x[tile.images], tile.draws)):
                if part.shape[:2] == (len(self), len(x)):
                    return part
                found = part.new_empty(len(self), len(x), *part.shape[2:]) if found is None else found
                found[tile.draws, tile.images] = part
        return found

    def log_predictive(self, x: Tensor, *, memory: int = MEMORY) -> Tensor:
        """Log probabilities `[B, C]` of the Bayesian model average, see `log_predictive`."""
        return log_predictive(self.logits(x, memory=memory))

    def predict(self, x: Tensor, *, memory: int = MEMORY) -> Tensor:
        """The most probable class `[B]` of each image under the Bayesian model average."""
        return self.log_predictive(x, memory=memory).argmax(-1)

    def value_and_gradient(self, x: Tensor, objective: Objective, *, memory: int = MEMORY) -> tuple[Tensor, Tensor]:
        """An objective of all draws' logits, and its gradient in the images.

        Exact for any objective, in bounded memory: where the graphs of all draws do not fit into `memory`, they are
        made a second time, tile by tile, to pull the derivative in the logits back to the images.

        Args:
            x: images `[B, ...]`.
            objective: (logits `[S, b, C]`, slice of images) -> one value per image `[b]`.
            memory: budget in bytes for the graphs that are alive at once.

        Returns:
            values `[B]` and gradient `[B, ...]`.
        """
        values, gradient = [], torch.empty_like(x)
        cut = list(self.tiles(x, memory))

        def one(block: list[Tile]) -> tuple[Tensor, Tensor]:
            images = block[0].images
            t = x[images].detach().requires_grad_()
            keep = block in cut and len(self) * len(t) * self.pair_bytes(x) <= memory  # halves had no room for graphs
            with torch.enable_grad():  # also where the graph is dropped at once: the bits must not depend on it
                outputs = [self.call(t, tile.draws) if keep else self.call(t, tile.draws).detach() for tile in block]
                logits = torch.cat([o.detach() for o in outputs]).requires_grad_()
                value = objective(logits, images)
                (back,) = torch.autograd.grad(value.sum(), logits)
                total = torch.zeros_like(t)
                for tile, output in zip(block, outputs, strict=True):
                    output = output if keep else self.call(t, tile.draws)
                    total += torch.autograd.grad(output, t, back[tile.draws])[0]
            return value.detach(), total

        for block, (value, total) in Walk().blocks(cut, one):
            values.append(value)
            gradient[block[0].images] = total
        return torch.cat(values), gradient

    def tiles(self, x: Tensor, memory: int = MEMORY) -> Iterable[list[Tile]]:
        """The tiles of all draws on the images `x`, image block by image block; see `holdfast.tiles`."""
        check_memory("Ensemble", memory)
        return tiles(self.pair_bytes(x), len(self), len(x), memory)

    def pair_bytes(self, x: Tensor) -> int:
        """Bytes of the activations of one draw on one of the images `x`."""
        key = (tuple(x.shape[1:]), x.dtype, x.device)
        if key not in self._pair_bytes:
            if (x.dtype, x.device) != (self.dtype, self.device):
                raise TypeError(
                    f"Ensemble: images are {x.dtype} on {x.device}, the weights {self.dtype} on {self.device}; "
                    "use x.to(ensemble.device, ensemble.dtype)."
                )
            weights = {k: v[0] for k, v in self.weights.items()}
            forward = lambda t: functional_call(self.network, weights, (t,))
            try:
                self._pair_bytes[key] = activation_bytes(forward, x[:1].detach().clone())
            except RuntimeError as error:
                raise ValueError(
                    f"Ensemble: the network does not take images of shape {tuple(x.shape[1:])} ({error}); "
                    "hand over images of the shape it was built for."
                ) from error
        return self._pair_bytes[key]

    @cached_property
    def _pair_bytes(self) -> dict[tuple, int]:
        return {}

    def save(self, path: str | os.PathLike, *, data: Mapping[str, Any] | None = None) -> Path:
        """Write a bank: weights, diagnostics and a manifest in one safetensors file, see `holdfast.bank_file`.

        Args:
            path: where to; the file appears only when it is whole.
            data: what the weights were inferred from, such as `{"name": data.name, "checksum": data.checksum}`; None
                for what the diagnostics say: inference methods note the number and the sha256 of their images.
        """
        check_path("Ensemble.save", "path", path)
        found = asdict(self.diagnostics) if self.diagnostics else None
        return bank_file.write(
            path, self.weights, bank_file.manifest_of(self.network, self.weights, found, data), found
        )

    @classmethod
    def load(cls, path: str | os.PathLike, network: nn.Module) -> "Ensemble":
        """Read a bank; `network` gives the architecture, its own weights are not used.

        Raises:
            FileNotFoundError, IsADirectoryError: no such file, or a folder.
            ValueError: a file that is cut off or damaged, or does not fit the network; the message says where.
        """
        call = "Ensemble.load"
        check_path(call, "path", path)
        check_network(call, network)
        if os.path.isdir(path):
            raise IsADirectoryError(
                f"{call}: {path} is a folder; name a file in it, or read all its files with banks.Bank.open."
            )
        file = bank_file.open_file(call, path)
        with bank_file.readable(call, path):
            weights = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118, not a dict
        manifest, found = bank_file.header_of(call, path, file)
        expected = {k: tuple(v.shape) for k, v in _state(network).items()}
        stored = {k: tuple(v.shape[1:]) for k, v in weights.items()}
        bank_file.check_shapes(call, path, expected, stored, "the network")
        bank_file.check_kinds(call, path, network, file)
        ensemble = cls(skeleton(network), weights, Diagnostics(**found) if found else None)
        for s in range(len(ensemble)):
            checksum = bank_file.draw_checksum({k: v[s] for k, v in weights.items()})
            bank_file.check_draw(call, path, manifest, s, checksum)
        return ensemble


def check_path(call: str, name: str, path: object) -> None:
    """A path must be a str or a `pathlib.Path`.

    >>> check_path("call", "folder", None)
    Traceback (most recent call last):
    TypeError: call: folder must be a path, got None; pass a str or a pathlib.Path.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{call}: {name} must be a path, got {path!r:.80}; pass a str or a pathlib.Path.")


def check_network(call: str, network: object, name: str = "network") -> None:
    """A network must be an `nn.Module` with all its weights."""
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        todo = "build one with holdfast.networks or torch.nn"
        if isinstance(network, type):
            kind, todo = f"the class {network.__name__}", f"make one of it, {network.__name__}(...)"
        raise TypeError(f"{call}: {name} must be an nn.Module, got {kind}; {todo}.")
    lazy = [k for k, v in (*network.named_parameters(), *network.named_buffers()) if nn.parameter.is_lazy(v)]
    if lazy:
        raise ValueError(
            f"{call}: {name} has a lazy layer, whose {lazy[0]} has no shape yet; call it once, network(images[:1]), or "
            "build it with the sizes of its layers."
        )


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach() for k, v in (*network.named_parameters(), *network.named_buffers())}


def skeleton(network: nn.Module) -> nn.Module:
    """A copy of the architecture alone: evaluation mode, no storage behind its parameters."""
    shells = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in network.parameters()}
    shells |= {id(b): b.to("meta") for b in network.buffers()}
    for module in network.modules():  # what was worked out of parameters, as torch.nn.utils.weight_norm does
        made = (v for v in vars(module).values() if isinstance(v, Tensor) and not v.is_leaf)
        shells |= {id(v): v.detach().to("meta") for v in made}
    return copy.deepcopy(network, shells).eval()
