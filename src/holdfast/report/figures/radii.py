"""Lines over the size of the perturbation: k-LRP against its chance level, and accuracy per attack."""

from math import isfinite

from holdfast.report.figures.canvas import Plot, finish, panel, slug
from holdfast.report.palette import light
from holdfast.report.view import View
from holdfast.report.wording import attack_title, number, percent, radius
from holdfast.studies.result import CLEAN, CONTROL

_DASHES = {CONTROL: ":", "fgsm": "--"}


def survival(view: View) -> list[Plot]:
    """Mean k-LRP over the radius, one panel per attack, one line per ensemble; empty for a single radius."""
    return [_survival(view, a) for a in view.attacks] if len(view.epsilons) > 1 else []


def accuracy(view: View) -> list[Plot]:
    """Accuracy over the radius, one panel per ensemble, one line per attack."""
    plots = [_accuracy(view, e.name) for e in view.result.ensembles]
    return [p for p in plots if p is not None]


def _survival(view: View, attack: str) -> Plot:
    with panel(2.5) as (figure, axes):
        described, chances = [], []
        for e in view.result.ensembles:
            cells = [view.scores(e.name, attack, epsilon, view.primary.rule) for epsilon in view.epsilons]
            points = [(x, c["k_lrp"].mean(), c["chance"].mean()) for x, c in zip(view.epsilons, cells) if len(c)]
            if not points:
                continue
            x, y, chance = zip(*points)
            chances += [c for c in chance if isfinite(c)]
            colour = light(view.colour(e.name))
            axes.plot(x, y, marker=view.marker(e.name), color=colour, markersize=6)
            values = ", ".join(f"{number(v)} at {radius(r)}" for r, v in zip(x, y))
            described.append(f"{e.title}: {values}")
        if chances:
            axes.axhspan(min(chances), max(chances), color=light("line"), alpha=0.55, linewidth=0)
            axes.axhline(sum(chances) / len(chances), color=light("muted"), linewidth=1, linestyle=(0, (2, 2)))
            _note(axes, "chance", sum(chances) / len(chances))
            described.append(f"chance level {number(min(chances))} to {number(max(chances))}")
        _axes(axes, view, "mean k-LRP", [0.0, *view.epsilons][1:])
        axes.set_ylim(0, 1)
        text = f"Mean k-LRP under {attack_title(attack)} by size. {'; '.join(described)}."
        return finish(figure, slug("radius", attack), text, attack_title(attack))


def _accuracy(view: View, name: str) -> Plot | None:
    clean = view.masking(name, CLEAN)
    lines = {a: [(r, view.masking(name, a, r)) for r in view.epsilons] for a in view.attacks}
    lines = {a: [(r, row["accuracy"]) for r, row in points if row is not None] for a, points in lines.items()}
    if not any(lines.values()):
        return None
    e = view.result.ensemble(name)
    with panel(2.1) as (figure, axes):
        described = []
        for attack, points in lines.items():
            start = [] if clean is None else [(0.0, clean["accuracy"])]
            x, y = zip(*start, *points)
            style = _DASHES.get(attack, "-")
            face = light("paper") if attack in _DASHES else light(view.colour(name))
            axes.plot(
                x, y, linestyle=style, color=light(view.colour(name)), marker="o", markersize=5, markerfacecolor=face,
                label=attack_title(attack),
            )  # fmt: skip
            described.append(f"{attack_title(attack)}: " + ", ".join(f"{percent(v)} at {radius(r)}" for r, v in points))
        _axes(axes, view, "accuracy", [0.0, *view.epsilons])
        axes.set_ylim(-0.03, 1.03)
        figure.legend(loc="outside upper left", ncols=3)
        text = f"Accuracy of {e.title} by attack and size. {'; '.join(described)}."
        return finish(figure, slug("accuracy", name), text, e.title)


def _axes(axes: object, view: View, label: str, ticks: list[float]) -> None:
    axes.grid(True, axis="y")
    axes.grid(False, axis="x")
    axes.set_xticks(ticks, [radius(t) for t in ticks])
    axes.set_xlabel("size of the perturbation")
    axes.set_ylabel(label)
    axes.tick_params(axis="y", labelcolor=light("muted"), length=0)
    axes.spines["left"].set_visible(False)


def _note(axes: object, text: str, height: float) -> None:
    """A word under a horizontal line, at the left."""
    where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "xytext": (2, -3)}
    axes.annotate(text, (0, height), ha="left", va="top", fontsize=9, color=light("muted"), **where)
