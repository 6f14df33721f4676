"""Relevance: LRP maps beside a bare forward and input gradient, zennit, and the papers' own way; gradients, memory.

The floor is a loop over draws of what any map needs at least: a forward pass and the gradient of the explained logit
in the images, with plain modules. Bounds are on the ReLU networks, where the inputs of every layer are at least zero;
with LeakyReLU activations have both signs, and gamma and alpha-beta need four products a layer where the floor has two.
Alpha-beta with a beta above 0 needs four of them with ReLU too, so 1.45 is out of its reach in float32.
zennit is left out where it is not installed.
"""

import copy
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import describe, entry, interleave, peak_memory, ratio
from holdfast import networks
from holdfast.ensemble import Ensemble
from holdfast.explanations import AlphaBeta, Epsilon, Gamma, Rule, ZPlus, heatmap, lrp
from holdfast.explanations.relevance.precision import bfloat16_products

GRAY, COLOUR = (1, 28, 28), (3, 32, 32)
Work = Callable[[], Tensor]


def run() -> list[dict[str, Any]]:
    """All entries of this family."""
    relu = {"activation": "relu"}
    fc2 = Case("fc2 512", [networks.fc2(GRAY, 10, seed=s, **relu) for s in range(100)], GRAY, 500)
    conv = Case("conv 512", [networks.conv(GRAY, 10, seed=s, **relu) for s in range(4)], GRAY, 128)
    resnet = Case("ResNet-20", [settled(networks.resnet(COLOUR, 10, depth=20, seed=s)) for s in range(2)], COLOUR, 128)
    leaky = Case("fc2 512 LeakyReLU", [networks.fc2(GRAY, 10, seed=s) for s in range(20)], GRAY, 500)
    return [
        *against_floor(
            fc2,
            {
                "epsilon": (Epsilon(), 1.10),
                "gamma": (Gamma(), 1.45),
                "alpha 1 beta 0": (ZPlus(), 1.45),
                "alpha 2 beta 1": (AlphaBeta(), 1.45),
            },
        ),
        *against_floor(conv, {"epsilon": (Epsilon(), 1.05), "gamma": (Gamma(), 1.35)}),
        *against_floor(resnet, {"epsilon": (Epsilon(), 1.15), "gamma": (Gamma(), 1.75)}),
        *against_floor(
            leaky, {"epsilon": (Epsilon(), 1.10), "gamma": (Gamma(), 2.5), "alpha 2 beta 1": (AlphaBeta(), 2.5)}
        ),
        *against_zennit(fc2.draws(10)),
        *against_zennit(conv.draws(2)),
        *against_papers(fc2.draws(10)),
        *through_the_map(fc2.draws(5)),
        *through_the_map(conv.draws(1)),
        *reduced_precision(fc2.draws(10)),
        *memory(),
    ]


class Case:
    """Networks, images and the class to explain."""

    def __init__(self, name: str, members: list[nn.Module], shape: tuple[int, ...], images: int) -> None:
        self.name = name
        self.members = [m.eval().requires_grad_(False) for m in members]
        self.ensemble = Ensemble.from_networks(self.members)
        self.x = torch.rand(images, *shape, generator=torch.Generator().manual_seed(0))
        self.target = self.ensemble.predict(self.x)

    def draws(self, count: int) -> "Case":
        """The same with fewer draws."""
        other = copy.copy(self)
        other.members, other.ensemble = self.members[:count], self.ensemble[range(count)]
        return other

    def floor(self) -> Tensor:
        """A bare forward pass and input gradient under every draw."""
        maps = torch.empty(len(self.members), *self.x.shape)
        for s, network in enumerate(self.members):
            x = self.x.detach().requires_grad_()
            score = network(x).gather(1, self.target[:, None]).sum()
            (maps[s],) = torch.autograd.grad(score, x)
        return maps

    def ours(self, rule: Rule) -> Work:
        """LRP maps under every draw."""
        return lambda: lrp(self.ensemble, self.x, self.target, rule=rule)

    def __str__(self) -> str:
        return f"{self.name}, {len(self.members)} draws x {len(self.x)} images"


def settled(network: nn.Module) -> nn.Module:
    """Random running statistics, so that folding batch norms is not folding ones and zeros."""
    g = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=g)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.2, generator=g)
    return network


def against_floor(case: Case, rules: dict[str, tuple[Rule, float]]) -> Iterator[dict[str, Any]]:
    """Each rule's time to that of the floor."""
    seconds = interleave({"floor": case.floor, **{name: case.ours(rule) for name, (rule, _) in rules.items()}})
    for name, (_, bound) in rules.items():
        value = ratio(seconds, name, "floor")
        pair = {k: seconds[k] for k in (name, "floor")}
        yield entry(f"{case}: {name}, time to the floor", value, bound, "at_most", describe(pair))


def against_zennit(case: Case) -> Iterator[dict[str, Any]]:
    """zennit's time to ours: a loop over draws, all images in one batch."""
    zennit = import_zennit()
    if zennit is None:
        return
    for name, rule, theirs, bound in (
        ("epsilon", Epsilon(1e-6), zennit.rules.Epsilon(1e-6), 2.0),
        ("gamma", Gamma(0.25), zennit.rules.Gamma(0.25), 4.0),
    ):
        layers = [
            (zennit.types.Linear, theirs),
            (zennit.types.Convolution, theirs),
            (zennit.types.Activation, zennit.rules.Pass()),
        ]
        loop = zennit_loop(case, zennit, zennit.composites.LayerMapComposite(layers))
        seconds = interleave({"zennit": loop, "ours": case.ours(rule)}, rounds=5)
        value = ratio(seconds, "zennit", "ours")
        yield entry(f"{case}: {name}, zennit's time to ours", value, bound, "at_least", describe(seconds))


def zennit_loop(case: Case, zennit: types.ModuleType, composite: Any) -> Work:
    """LRP maps of every draw by zennit."""

    def loop() -> Tensor:
        maps = torch.empty(len(case.members), *case.x.shape)
        place = torch.nn.functional.one_hot(case.target, 10)
        for s, network in enumerate(case.members):
            with zennit.attribution.Gradient(network, composite) as attribute:
                maps[s] = attribute(case.x.clone().requires_grad_(), lambda out: out * place)[1]
        return maps

    return loop


def import_zennit() -> types.ModuleType | None:
    """zennit 0.5.1 where it is installed; it asks for the names of two torchvision classes, and gets stand-ins."""
    if importlib.util.find_spec("zennit") is None:
        return None
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        names = ("torchvision", "torchvision.models", "torchvision.models.resnet")
        sys.modules.update({name: types.ModuleType(name) for name in names})
        for name in ("Bottleneck", "BasicBlock"):
            setattr(sys.modules[names[-1]], name, type(name, (), {}))
    import zennit
    import zennit.attribution
    import zennit.composites
    import zennit.rules
    import zennit.types

    return zennit


class PapersEpsilon(torch.autograd.Function):
    """The epsilon rule in the backward pass of a linear map, as the papers' code has it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, w: Tensor, b: Tensor) -> Tensor:
        z = torch.nn.functional.linear(a, w, b)
        ctx.save_for_backward(a, w, z)
        return z

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        a, w, z = ctx.saved_tensors
        return a * ((relevance / (z + 0.1 * z.sign())) @ w), None, None


def papers_way(case: Case, draws: int, images: int) -> None:
    """One image, one draw at a time, with a copy of the network each: how the papers' code makes its maps."""
    for image in range(images):
        for draw in range(draws):
            network = copy.deepcopy(case.members[draw])
            x = case.x[image : image + 1].clone().requires_grad_()
            h = x
            for layer in network:
                h = PapersEpsilon.apply(h, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else layer(h)
            h[0, int(h.argmax())].backward(torch.ones(()))


def against_papers(case: Case, draws: int = 4, images: int = 25) -> Iterator[dict[str, Any]]:
    """Maps a second of ours to those of the papers' own way."""
    work = {"papers": lambda: papers_way(case, draws, images), "ours": case.ours(Epsilon())}
    seconds = interleave(work, rounds=5)
    share = len(case.members) * len(case.x) / (draws * images)
    value = share * ratio(seconds, "papers", "ours")
    detail = f"{describe(seconds)}; the papers' way made 1 map of {share:.0f} of ours"
    yield entry(f"{case}: epsilon, maps a second to the papers' own way", value, 40, "at_least", detail)


def through_the_map(case: Case) -> Iterator[dict[str, Any]]:
    """The gradient of a function of each map, to the map itself."""
    v = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(2))
    weights = [dict(m.named_parameters()) for m in case.members]

    def maps(x: Tensor, rule: Rule) -> Iterator[Tensor]:
        for network, w in zip(case.members, weights):
            yield heatmap(network, w, x, rule, target=case.target, nonneg=True)

    def plain(rule: Rule) -> None:
        with torch.no_grad():
            for _ in maps(case.x, rule):
                pass

    def gradient(rule: Rule) -> None:
        x = case.x.clone().requires_grad_()
        for m in maps(x, rule):
            torch.autograd.grad((m * v).sum(), x)

    for name, rule in (("epsilon", Epsilon()), ("gamma", Gamma())):
        seconds = interleave({"map": lambda: plain(rule), "gradient": lambda: gradient(rule)}, rounds=5)  # noqa: B023
        value = ratio(seconds, "gradient", "map")
        yield entry(f"{case}: {name}, gradient through the map to the map", value, 2.5, "at_most", describe(seconds))


def reduced_precision(case: Case) -> Iterator[dict[str, Any]]:
    """Products in bfloat16: the error of the map, and the time."""
    full = lrp(case.ensemble, case.x, case.target, rule=Epsilon())

    def reduced() -> Tensor:
        return lrp(case.ensemble, case.x, case.target, rule=Epsilon(), precision="bfloat16")

    with bfloat16_products() as rounded:
        if not rounded:  # this processor multiplies float32 in float32 only
            return
    error = float((reduced() - full).norm() / full.norm())
    yield entry(f"{case}: epsilon, relative error with bfloat16 products", error, 0.05, "at_most")
    seconds = interleave({"bfloat16": reduced, "float32": case.ours(Epsilon())}, rounds=5)
    value = ratio(seconds, "bfloat16", "float32")
    yield entry(f"{case}: epsilon, time with bfloat16 products to float32", value, 1.0, "at_most", describe(seconds))


def memory() -> Iterator[dict[str, Any]]:
    """Peak memory of the process at 100 draws and 500 images."""
    used = peak_memory("benchmarks.relevance:hundred_by_five_hundred")
    detail = f"GB of the whole process; the call added {used.added / 1e9:.2f}"
    yield entry("fc2 512, 100 draws x 500 images: peak memory", used.peak / 1e9, 1.5, "at_most", detail)


def hundred_by_five_hundred() -> Work:
    """The work whose memory is measured."""
    ensemble = Ensemble.from_networks([networks.fc2(GRAY, 10, seed=s) for s in range(100)])
    x = torch.rand(500, *GRAY, generator=torch.Generator().manual_seed(0))
    return lambda: lrp(ensemble, x, 0)
