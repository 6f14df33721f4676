"""Training and sampling curves of one inference method, as small multiples."""

import math

from holdfast.ensemble import Diagnostics
from holdfast.report.figures.canvas import Plot, finish, panel, slug
from holdfast.report.palette import light
from holdfast.report.view import View
from holdfast.report.wording import number

_MANY = 400  # points per curve


def curves(view: View, name: str, diagnostics: Diagnostics) -> list[Plot]:
    """One small panel per named curve that has at least two finite values."""
    named = {k: [float(v) for v in values] for k, values in diagnostics.history.items()}
    usable = {k: v for k, v in named.items() if sum(map(math.isfinite, v)) > 1}
    return [_panel(view, name, title, values) for title, values in usable.items()]


def _panel(view: View, name: str, title: str, values: list[float]) -> Plot:
    step = max(1, len(values) // _MANY)
    x = list(range(1, len(values) + 1))[::step]
    with panel(1.35, width=2.35) as (figure, axes):
        axes.plot(x, values[::step], color=light(view.colour(name)))
        axes.grid(True, axis="y")
        axes.grid(False, axis="x")
        axes.locator_params(nbins=4)
        axes.tick_params(labelcolor=light("muted"), length=0, labelsize=9)
        axes.spines["left"].set_visible(False)
        shown = title.replace("_", " ")
        text = (
            f"{view.result.ensemble(name).title}, {shown}: from {number(values[0], 3)} to {number(values[-1], 3)} "
            f"in {len(values)} steps."
        )
        return finish(figure, slug("curve", name, title), text, shown)
