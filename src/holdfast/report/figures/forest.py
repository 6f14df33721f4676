"""Forest plot: mean difference to the baseline with its interval, per ensemble and attack, or per subset of images."""

from holdfast.report.figures.canvas import Plot, finish, panel, wrap
from holdfast.report.palette import light
from holdfast.report.view import View
from holdfast.report.wording import attack_title, interval, radius, signed
from holdfast.studies.result import CONTROL, Cell

_SUBSETS = {"label_preserving": "label kept", "label_changing": "label changed"}


def by_attack(view: View) -> Plot | None:
    """Every ensemble under every attack at the primary radius and rule. None where there is nothing to compare."""
    p = view.primary
    rows = [
        (e.name, a, view.comparison(Cell(e.name, a, p.epsilon, p.rule, p.layer)))
        for e in view.others
        for a in view.attacks
    ]
    labels = {a: attack_title(a) for a in view.attacks}
    return _draw(view, "headline", rows, labels, hollow=CONTROL, half=view.attacks[0])


def by_subset(view: View) -> Plot | None:
    """Every ensemble at the primary attack, images with kept and with changed labels apart."""
    p = view.primary
    rows = [
        (e.name, s, view.comparison(Cell(e.name, p.attack, p.epsilon, p.rule, p.layer), s))
        for e in view.others
        for s in _SUBSETS
    ]
    return _draw(view, "labels", rows, _SUBSETS, hollow="label_changing", counts=True)


def _draw(
    view: View,
    name: str,
    rows: list,
    labels: dict[str, str],
    hollow: str,
    half: str = "",
    counts: bool = False,
) -> Plot | None:
    drawn = [(e, kind, row) for e, kind, row in rows if row is not None]
    if not drawn:
        return None
    order = [e.name for e in view.others]
    kinds = list(labels)
    step = 1 / (len(kinds) + 1)
    with panel(0.55 + 0.27 * len(order) * (len(kinds) + 0.6)) as (figure, axes):
        for ensemble, kind, row in drawn:
            y = order.index(ensemble) + (kinds.index(kind) - (len(kinds) - 1) / 2) * step
            colour = light(view.colour(ensemble))
            axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            face = light("paper") if kind == hollow else colour
            axes.plot(row["mean_difference"], y, "o", color=colour, markerfacecolor=face, markersize=6)
            text = labels[kind] + (f", n = {int(row['n'])}" if counts else "")
            axes.annotate(
                text, (1, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5, color=light("muted"),
                xytext=(6, 0), textcoords="offset points",
            )  # fmt: skip
        axes.axvline(0, color=light("muted"), linewidth=1)
        axes.set_yticks(range(len(order)), [wrap(view.result.ensemble(e).title) for e in order])
        axes.set_ylim(len(order) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("difference in k-LRP to the deterministic network")
        _keep_zero(axes)
        described = [
            f"{view.result.ensemble(e).title}, {labels[kind]}: {signed(row['mean_difference'])} "
            f"{interval(row['low'], row['high'])}"
            for e, kind, row in drawn
        ]
        title = f"Mean difference in k-LRP to the deterministic network at size {radius(view.primary.epsilon)}"
        return finish(figure, name, f"{title}. {'; '.join(described)}.")


def _keep_zero(axes: object) -> None:
    """Zero always in sight, with some air on both sides."""
    low, high = axes.get_xlim()
    span = max(high - low, 0.02)
    axes.set_xlim(min(low, -0.06 * span), max(high, 0.06 * span))
