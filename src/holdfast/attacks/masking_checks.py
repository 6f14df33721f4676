"""Checks of the masking report: from figures to a verdict and a plain sentence, one function each.

A weaker attack may seem stronger by chance: by 1 % of the images, or by two images where these are few.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from holdfast.attacks.check import Check, Masking

Figures = Mapping[str, Any]


def deterministic(figures: Figures) -> Check:
    """The same images get the same answer."""
    found = figures["deterministic"]
    return _check(
        "deterministic", found, found, "the same images get the same logits twice",
        "the same images get the same answer",
        "the model answers the same images differently each time: attacks chase noise; fix its draws as an ensemble",
    )  # fmt: skip


def differentiable(figures: Figures) -> Check:
    """There is a gradient at all."""
    return _check(
        "differentiable", figures["differentiable"], figures["differentiable"], "the logits have a gradient",
        "gradients of the logits exist",
        "no gradient reaches the images (detached or not differentiable): gradient attacks cannot even be tried",
    )  # fmt: skip


def logits(figures: Figures) -> Check:
    """The model returns logits, not probabilities."""
    found = figures["probabilities"]
    return _check(
        "logits", not found, found, "the outputs are not all between 0 and 1 with sum 1",
        "the outputs are logits",
        "the outputs are probabilities: a second softmax flattens them, and losses on them lose their gradient",
    )  # fmt: skip


def saturation(figures: Figures) -> Check:
    """Most probabilities do not round to 1.

    Sure networks may reach it on a third of their images (33 % of CIFAR-10 with the published ResNet-20) and are as
    easily broken as any; where gradients suffer from it `zero_gradient` says so. Logits times 100: 100 %.
    """
    rate = figures["saturation_rate"]
    return _check(
        "saturation", rate <= 0.5, rate, "at most half of the largest probabilities round to 1",
        f"{rate:.1%} of the largest probabilities are exactly 1",
        f"{rate:.1%} of the largest probabilities are exactly 1: attacks through probabilities fail for that reason",
    )  # fmt: skip


def zero_gradient(figures: Figures) -> Check:
    """Gradients are not exactly zero."""
    rate = figures["zero_gradient_rate"]
    found = f"{rate:.1%} of the gradients of the ordinary cross-entropy are exactly zero"
    return _check(
        "zero_gradient", rate <= 0.01, rate, "at most 1 % of the gradients are exactly zero",
        found, f"{found}: an attack that follows them does not move there, which is no robustness",
    )  # fmt: skip


def derivative(figures: Figures) -> Check:
    """What the gradients say is what the logits do."""
    kept = figures["derivative_kept"]
    found = f"on {kept:.1%} of a few images the logits change along their gradient as it says"
    return _check(
        "derivative", kept >= 0.75, kept, "on three quarters of a few images differences agree with the gradient",
        found, f"{found}: the gradient is not that of the network (a backward pass of its own?), and misleads attacks",
    )  # fmt: skip


def order(figures: Figures) -> Check:
    """Stronger attacks leave less right."""
    accuracy = figures["accuracy"]
    rows = [(name.replace("_", " "), values) for name, values in accuracy.items() if name != "clean"]
    broken = [
        f"{weak} leaves {w:.1%}, {strong} {s:.1%}"
        for (weak, weaker), (strong, stronger) in pairwise(rows)
        for w, s in zip(weaker, stronger, strict=True)
        if s > w + _slack(figures)
    ]
    what = "share of images not at their target" if figures.get("targeted") else "accuracy"
    listed = ", ".join(f"{name} {values[-1]:.1%}" for name, values in [("clean", [accuracy["clean"]]), *rows])
    return _check(
        "order", not broken, dict(rows), "accuracy falls from random noise over one step to many steps",
        f"{what}: {listed}",
        f"a weaker attack does more harm than a stronger one ({'; '.join(broken)}): gradients mislead the search, or "
        "it needs more steps or restarts",
    )  # fmt: skip


def sizes(figures: Figures) -> Check:
    """Where an attack failed it had used its budget."""
    few = _slack(figures) * figures["images"]
    pairs = zip(figures["size_share"], figures["withstood"], strict=True)
    share = min((s for s, count in pairs if count > few), default=None)
    return _check(
        "sizes", share is None or share >= 0.8, figures["size_share"],
        "images that withstood the attack, where they are not just a few, were moved by at least 80 % of the radius",
        "hardly any image withstood the attack" if share is None
        else f"images that withstood the attack were moved by {share:.1%} of the radius on average",
        f"images that withstood the attack were moved by only {share or 0:.1%} of the radius: it stopped early",
    )  # fmt: skip


def objective_rose(figures: Figures) -> Check:
    """An attack on explanations moved what it was to move."""
    rose, gain, followed = (figures[k] for k in ("objective_rose", "objective_gain", "derivative_followed"))
    passed = rose >= 0.5 and gain > 0 and followed >= 0.75
    found = f"the objective rose on {rose:.1%} of the images, by {gain:.3g} on average; on {followed:.1%} a small step "
    found += "along its derivative moved the map as the derivative promised"
    rule = "the objective rises on at least half of the images, and maps follow its derivative on three quarters"
    return _check(
        "objective_rose", passed, rose, rule,
        found, f"{found}: the attack did not work, so maps that stay prove nothing",
    )  # fmt: skip


def radius(figures: Figures) -> Check:
    """More radius means less accuracy, down to chance where every image is allowed."""
    epsilons, accuracy = figures["accuracy_by_radius"].values()
    falls = all(b <= a + _deep(figures) for a, b in pairwise(accuracy))
    reaches = accuracy[-1] <= 1 / figures["classes"] + _deep(figures)
    listed = ", ".join(f"{a:.1%} at {e:.3g}" for e, a in zip(epsilons, accuracy, strict=True))
    return _check(
        "radius", falls and reaches, accuracy, "accuracy falls with the radius, to chance where every image is allowed",
        f"accuracy falls to {accuracy[-1]:.1%} where every image is allowed ({listed})",
        f"accuracy does not fall to chance with the radius ({listed}): the search does not find what is there",
    )  # fmt: skip


def worst_case(figures: Figures) -> Check:
    """The ensemble of all attacks leaves no more right than the best of one attack's starts."""
    worst, many = figures["worst_case"], min(figures["restarts"])
    return _check(
        "worst_case", worst <= many + _deep(figures), worst,
        "the worst case leaves no more right than many steps",
        f"many steps leave {many:.1%} right, the worst case {worst:.1%}",
        f"the worst case leaves {worst:.1%} right, more than many steps ({many:.1%}): gradients mislead the search",
    )  # fmt: skip


def black_box(figures: Figures) -> Check:
    """A search without gradients breaks nothing that gradients could not."""
    share = figures["broken_by"]["square"]
    return _check(
        "black_box", share <= _deep(figures), share, "Square breaks at most 1 % more than all gradient attacks",
        f"Square, which uses no gradients, breaks {share:.1%} of the images that all gradient attacks left",
        f"Square, which uses no gradients, breaks {share:.1%} of the images that all gradient attacks left: gradients "
        "are masked",
    )  # fmt: skip


def transferred(figures: Figures) -> Check:
    """Images made on other models do no more harm than those made on this one."""
    own, found = figures["restarts"][0], figures["transferred"]
    worse = {name: a for name, a in found.items() if a < own - _deep(figures)}
    listed = ", ".join(f"{name} {a:.1%}" for name, a in found.items())
    return _check(
        "transfer", not worse, found, "images made on other ensembles leave no less right than those made on this one",
        f"images made on other ensembles leave {listed} right, those made on this one {own:.1%}",
        f"images made on other ensembles ({listed}) do more harm than those made on this one ({own:.1%}): the attack "
        "on this one fails",
    )  # fmt: skip


def logit_scale(figures: Figures) -> Check:
    """The scale of the logits is nothing to an attack."""
    found = figures["logit_scale"]
    own = found["1"]
    spread = max(abs(a - own) for a in found.values()) if figures["draws"] == 1 else own - min(found.values())
    listed = ", ".join(f"x {s}: {a:.1%}" for s, a in found.items())
    return _check(
        "logit_scale", spread <= _deep(figures), found,
        "multiplying the logits by 0.01 or 100 does not make a stronger attack (one network: changes nothing)",
        f"the attack does not depend on the scale of the logits ({listed} right)",
        f"the attack depends on the scale of the logits ({listed} right), which changes no decision",
    )  # fmt: skip


def restarts(figures: Figures) -> Check:
    """Starts agree."""
    found = figures["restarts"]
    spread = max(found) - min(found)
    return _check(
        "restarts", spread <= 0.05 + _deep(figures), found, "three random starts agree within 5 % of the images",
        f"three random starts leave between {min(found):.1%} and {max(found):.1%} right",
        f"three random starts disagree, {min(found):.1%} to {max(found):.1%}: the search depends on luck; use restarts",
    )  # fmt: skip


CHECKS = (  # in order, each with the figure without which it is not made
    ("objective_rose", objective_rose),
    ("deterministic", deterministic),
    ("differentiable", differentiable),
    ("probabilities", logits),
    ("saturation_rate", saturation),
    ("zero_gradient_rate", zero_gradient),
    ("derivative_kept", derivative),
    ("accuracy", order),
    ("size_share", sizes),
    ("worst_case", worst_case),
    ("accuracy_by_radius", radius),
    ("broken_by", black_box),
    ("logit_scale", logit_scale),
    ("restarts", restarts),
    ("transferred", transferred),
)


def of(figures: Figures) -> Masking:
    """All checks whose figures are there, in order."""
    made = (check(figures) for figure, check in CHECKS if figures.get(figure) not in (None, {}))
    return Masking(tuple(made), figures)


def _check(name: str, passed: bool, value: Any, rule: str, good: str, bad: str) -> Check:
    return Check(name, bool(passed), value, rule, (good if passed else bad) + ".")


def _slack(figures: Figures) -> float:
    return max(0.01, 2 / figures["images"])


def _deep(figures: Figures) -> float:
    """The same for the thorough checks, which may have been made on fewer images."""
    return max(0.01, 2 / figures["thorough_images"])
