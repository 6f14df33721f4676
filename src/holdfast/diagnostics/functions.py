"""Functions: what each draw computes on a few images, from its predictions up to the robustness of its explanation.

true_class_log_probability   log p(y | x, w)                                    [S, B]
class_probability            p(c | x, w)                                        [S, B, C]
relevance                    LRP of the class that the ensemble predicts        [S, B, pixels]
top_k_overlap                k-LRP of the draw's map and the mean map           [S, B]
robustness                   k-LRP of the draw's map before and after an attack on the whole ensemble     [S, B]
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from holdfast import attacks, explanations, scores
from holdfast.budget import Budget
from holdfast.checks import check_range
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY

TITLES = {
    "true_class_log_probability": "log probability of the true class",
    "class_probability": "class probabilities",
    "relevance": "relevance per pixel",
    "top_k_overlap": "top-k overlap of heatmaps",
    "robustness": "robustness score",
    "weights": "weights, for information",
}


@dataclass(frozen=True)
class Probe:
    """How the draws are probed.

    Attributes:
        budget: of the attack.
        steps: of projected gradient ascent.
        k: top-k in percent of the pixels.
        rule: of LRP.
        seed: of the attack's start, and of the order in which k-LRP breaks ties.
    """

    budget: Budget = Budget("linf", 0.1)  # noqa: RUF009, immutable
    steps: int = 10
    k: float = 20.0
    rule: explanations.Rule | explanations.Composite = explanations.Epsilon()  # noqa: RUF009, immutable
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("Probe", "steps", self.steps, 1, 1_000_000)
        check_range("Probe", "k", self.k, 0, 100, open_low=True)
        if len(self.budget.epsilons) != 1:
            raise ValueError(f"Probe: the budget must have one radius, got {self.budget.epsilons}.")

    def as_json(self) -> dict[str, Any]:
        """The settings, for a file."""
        return {
            "budget": asdict(self.budget),
            "attack": f"pgd on the margin, {self.steps} steps",
            "k": self.k,
            "rule": repr(self.rule),
            "seed": self.seed,
        }


def functions(
    ensemble: Ensemble, x: Tensor, y: Tensor, probe: Probe | None = None, *, memory: int = MEMORY
) -> dict[str, Tensor]:
    """Compute the functions of every draw.

    The attacked images are the same for all draws: they are made against the Bayesian model average.

    Args:
        ensemble: the draws.
        x: images `[B, *image]`.
        y: true classes `[B]`.
        probe: budget, top-k, rule.
        memory: budget in bytes for the work of one moment.

    Returns:
        values by name, see the head of this file, each `[S, B, ...]`; probabilities in float64.

    >>> import torch
    >>> from holdfast.networks import fc2
    >>> ensemble = Ensemble.from_networks([fc2((1, 4, 4), 3, width=8, seed=s) for s in range(5)])
    >>> found = functions(ensemble, torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))
    >>> {name: tuple(values.shape) for name, values in found.items() if values.ndim == 3}
    {'class_probability': (5, 2, 3), 'relevance': (5, 2, 16)}
    """
    probe = Probe() if probe is None else probe
    return functions_of(maps_of(ensemble, x, y, probe, memory=memory), y, probe)


@dataclass(frozen=True, eq=False)
class Maps:
    """What a probe computes: log probabilities `[S, B, C]` in float64, and heatmaps `[S, B, *image]` of every draw.

    Attributes:
        log_p: of the images as they are.
        clean, attacked: heatmaps of the class that the ensemble predicts for the clean image.
    """

    log_p: Tensor
    clean: Tensor
    attacked: Tensor


def maps_of(ensemble: Ensemble, x: Tensor, y: Tensor, probe: Probe, *, memory: int = MEMORY) -> Maps:
    """Attack the ensemble and explain every draw, before and after; arguments as in `functions`."""
    log_p = ensemble.logits(x, memory=memory).double().log_softmax(-1)
    target = log_p.logsumexp(0).argmax(-1)
    found = attacks.pgd(ensemble, x, y, budget=probe.budget, steps=probe.steps, seed=probe.seed, memory=memory)
    explain = lambda images: explanations.lrp(ensemble, images, target, rule=probe.rule, memory=memory)
    return Maps(log_p, explain(x), explain(found.images[0]))


def functions_of(maps: Maps, y: Tensor, probe: Probe) -> dict[str, Tensor]:
    """The functions of every draw, from its predictions and heatmaps."""
    log_p, clean = maps.log_p, maps.clean
    settings = {"k": probe.k, "seed": probe.seed, "image_axes": clean.ndim - 2}
    mean = clean.mean(0, keepdim=True).expand_as(clean)
    return {
        "true_class_log_probability": log_p.gather(-1, y.expand(log_p.shape[:-1])[..., None])[..., 0],
        "class_probability": log_p.exp(),
        "relevance": (clean.sum(2) if clean.ndim == 5 else clean).flatten(2),
        "top_k_overlap": scores.k_lrp(clean, mean, **settings),
        "robustness": scores.k_lrp(clean, maps.attacked, **settings),
    }
