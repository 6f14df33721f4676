"""Box plots of the per-image difference in k-LRP to the deterministic network: one panel per rule."""

from statistics import median
from typing import TYPE_CHECKING

from holdfast.report.figures.canvas import Plot, finish, panel, slug, tint
from holdfast.report.palette import light
from holdfast.report.view import View
from holdfast.report.wording import attack_title, radius, rule_title, signed

if TYPE_CHECKING:
    from numpy import ndarray

WHISKERS = (5, 95)  # percentiles


def differences(view: View) -> list[Plot]:
    """One panel per rule at the primary radius, all on one axis; empty where there is nothing to compare."""
    if view.baseline is None:
        return []
    values = {rule: _values(view, rule) for rule in view.rules}
    whiskers = [q for v in values.values() for w in v.values() for q in _whiskers(w)]
    if not whiskers:
        return []
    air = 0.04 * (max(*whiskers, 0.02) - min(*whiskers, -0.02))
    limits = (min(*whiskers, -0.02) - air, max(*whiskers, 0.02) + air)
    return [_panel(view, rule, v, limits) for rule, v in values.items() if v]


def _values(view: View, rule: str) -> dict[tuple[str, str], "ndarray"]:
    """The differences of every attack and ensemble that has any."""
    found = {
        (a, e.name): view.differences(e.name, a, view.primary.epsilon, rule).to_numpy()
        for a in view.attacks
        for e in view.others
    }
    return {key: v for key, v in found.items() if len(v)}


def _whiskers(values: "ndarray") -> list[float]:
    import numpy as np

    return np.percentile(values, WHISKERS).tolist()


def _panel(view: View, rule: str, values: dict[tuple[str, str], "ndarray"], limits: tuple[float, float]) -> Plot:
    many = len(view.others)
    names = [e.name for e in view.others]
    with panel(0.6 + len(view.attacks) * (0.25 + 0.23 * many)) as (figure, axes):
        described = []
        for (attack, ensemble), v in values.items():
            y = view.attacks.index(attack) + (names.index(ensemble) - (many - 1) / 2) * 0.8 / many
            _box(axes, v, y, 0.58 / many, light(view.colour(ensemble)))
            middle = signed(float(median(v)))
            described.append(f"{attack_title(attack)}, {view.result.ensemble(ensemble).title}: {middle}")
        axes.axvline(0, color=light("muted"), linewidth=1, zorder=0.9)
        axes.set_yticks(range(len(view.attacks)), [attack_title(a) for a in view.attacks])
        axes.set_ylim(len(view.attacks) - 0.5, -0.5)
        axes.set_xlim(limits)
        axes.locator_params(axis="x", nbins=7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("k-LRP minus that of the deterministic network")
        where = f"{rule_title(rule)}, size {radius(view.primary.epsilon)}"
        text = f"Box plots of per-image k-LRP differences, {where}. Medians: "
        return finish(figure, slug("differences", rule), text + "; ".join(described) + ".", rule_title(rule))


def _box(axes: object, values: object, y: float, height: float, colour: str) -> None:
    line = {"color": colour, "linewidth": 1.2}
    axes.boxplot(
        [values],
        positions=[y],
        widths=height,
        orientation="horizontal",
        manage_ticks=False,
        patch_artist=True,
        whis=WHISKERS,
        showfliers=False,
        boxprops={"facecolor": tint(colour), "edgecolor": colour, "linewidth": 1.2},
        whiskerprops=line,
        capprops=line,
        medianprops={"color": light("ink"), "linewidth": 2},
    )
