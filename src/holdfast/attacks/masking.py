"""Masking report: signs that a model looks robust only because the attack on it failed.

A model whose gradients are masked (saturated, rounded away, cut off, drawn at random) survives gradient attacks without
being robust (Athalye, Carlini, Wagner 2018, arXiv 1802.00420; Carlini et al. 2019, arXiv 1902.06705). Each check has a
pass rule and says in one plain sentence what a failure means.

    deterministic    the same images get the same answer
    differentiable   there is a gradient at all
    logits           the outputs are not probabilities
    saturation       the largest probabilities do not round to 1
    zero_gradient    gradients of the ordinary cross-entropy are not exactly zero, per draw and image
    derivative       the logits change along their gradients as these say, on a few images
    order            accuracy falls from random noise over one step to many steps
    sizes            images that withstood were moved by their radius
    worst_case       the worst case leaves no more right than many steps                           (thorough)
    radius           accuracy falls with the radius, to chance where every image is allowed        (thorough)
    black_box        a search without gradients breaks nothing that gradients left                 (thorough)
    logit_scale      multiplying the logits changes nothing                                        (thorough)
    restarts         random starts agree                                                           (thorough)
    transfer         images made on other models do no more harm than those made on this one       (with others)

Every attack's result carries the cheap ones as `masking`, on up to a hundred of its images (`holdfast.attacks.signs`);
that of `worst_case` has `black_box` too, on all of them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks import masking_checks
from holdfast.attacks.answers import answers
from holdfast.attacks.attacked import Attacked
from holdfast.attacks.check import Masking
from holdfast.attacks.masking_figures import basic_attacks, thorough_figures
from holdfast.attacks.search import check_kinds
from holdfast.attacks.signs import sample, withstanding
from holdfast.budget import Budget
from holdfast.checks import check_count, check_images, check_labels, check_memory, check_seed
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY


def masking_report(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    thorough: bool = False,
    thorough_images: int | None = None,
    others: Mapping[str, Ensemble] | None = None,
    attacked: Mapping[str, Attacked] | None = None,
    steps: int = 40,
    queries: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
) -> Masking:
    """Look for masked gradients of an ensemble under a budget.

    Args:
        ensemble: what was, or will be, attacked.
        x: images `[B, *image]` within the budget's pixel range.
        y: true labels `[B]`.
        budget: norm, radii and pixel range.
        thorough: also try everything at the largest radius: the worst case with its query-based search, other radii,
            scaled logits, three starts. Costs about thirty times as much per image.
        thorough_images: how many images, spread evenly over the batch, the thorough part takes; None for all.
        others: other ensembles by name, whose attacked images are shown to this one (makes the report thorough).
        attacked: attacks already made on these images under this budget, to be judged in place of new ones: any of
            "random_noise", "one_step" and "many_steps".
        steps: gradient steps of each attack.
        queries: queries of Square.
        seed: seed of noise and starts.
        memory: budget in bytes for the work of one moment.

    Returns:
        The checks and their figures. Where the model answers the same images differently, or has no gradients, checks
        that cannot be made are left out.

    >>> import torch
    >>> network = torch.nn.Linear(4, 2, bias=False)
    >>> network.weight.data = 500 * torch.tensor([[1., 1., 0., 0.], [0., 0., 1., 1.]])
    >>> x = torch.tensor([[.9, .9, .1, .1], [.1, .1, .9, .9]])
    >>> report = masking_report(Ensemble.from_networks(network), x, torch.tensor([0, 1]), budget=Budget("linf", .5))
    >>> report.failed
    ('saturation', 'zero_gradient')
    """
    check_kinds("masking_report", ensemble, budget)
    check_images("masking_report", x)
    check_labels("masking_report", y, len(x))
    budget.check_inside("masking_report", x)
    check_count("masking_report", "steps", steps)
    check_count("masking_report", "queries", queries)
    check_seed("masking_report", seed)
    check_memory("masking_report", memory)
    if thorough_images is not None:
        check_count("masking_report", "thorough_images", thorough_images, 1, len(x))
    for name, named, of_what in (("others", others, "ensembles"), ("attacked", attacked, "results of attacks")):
        if named is not None and not isinstance(named, Mapping):
            raise TypeError(f"masking_report: {name} must map names to {of_what}, got {type(named).__name__}.")
    y = y.to(x.device, torch.int64)
    figures: dict[str, Any] = {"images": len(x), "draws": len(ensemble), "epsilons": list(budget.epsilons)}
    figures |= answers("masking_report", ensemble, x, y, memory=memory)
    if figures["deterministic"]:
        given = dict(budget=budget, steps=steps, seed=seed, memory=memory)
        figures |= _attacks(ensemble, x, y, figures, attacked or {}, **given)
        if (thorough or others) and figures["differentiable"]:
            rows = sample(len(x), thorough_images or len(x)).to(x.device)
            figures |= thorough_figures(ensemble, x[rows], y[rows], others=others or {}, queries=queries, **given)
    return masking_checks.of(figures)


def _attacks(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    figures: Mapping[str, Any],
    made: Mapping[str, Attacked],
    *,
    budget: Budget,
    **given: Any,
) -> dict[str, Any]:
    attacked = basic_attacks(ensemble, x, y, budget=budget, gradients=figures["differentiable"], made=made, **given)
    accuracy = {"clean": (ensemble.predict(x, memory=given["memory"]) == y).double().mean().item()}
    found = {
        "accuracy": accuracy | {name: result.accuracy(y) for name, result in attacked.items()},
        "size_linf": {name: result.size_linf.mean(1).tolist() for name, result in attacked.items()},
        "size_l2": {name: result.size_l2.mean(1).tolist() for name, result in attacked.items()},
    }
    if "many_steps" in attacked:
        found |= withstanding(attacked["many_steps"], x, budget)
    return found
