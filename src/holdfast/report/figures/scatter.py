"""Scatter of softmax robustness against k-LRP, one panel per ensemble, with Spearman's rank correlation.

Interval of rho by Fisher's z with the variance of Bonett and Wright (2000): (1 + rho^2 / 2) / (n - 3).
"""

import math
from typing import TYPE_CHECKING

from holdfast.report.figures.canvas import Plot, finish, panel, slug, tint
from holdfast.report.palette import light
from holdfast.report.view import View
from holdfast.report.wording import interval, number

if TYPE_CHECKING:
    from numpy import ndarray

MOST = 1500  # points drawn; more would make the page heavy and the cloud no clearer


def scatter(view: View) -> list[Plot]:
    """One panel per ensemble at the primary attack, radius and rule."""
    plots = [_panel(view, e.name) for e in view.result.ensembles]
    return [p for p in plots if p is not None]


def spearman(x: "ndarray", y: "ndarray") -> tuple[float, float, float]:
    """Spearman's rho of pairs with its 95 % interval; NaN where either side is constant or fewer than 4 pairs came.

    >>> import numpy
    >>> rho, low, high = spearman(numpy.arange(50.), numpy.arange(50.) ** 2)
    >>> round(rho, 6), low <= rho <= high
    (1.0, True)
    """
    from scipy.stats import spearmanr

    if len(x) < 4 or x.min() == x.max() or y.min() == y.max():
        return math.nan, math.nan, math.nan
    rho = float(spearmanr(x, y).statistic)
    if abs(rho) >= 1 - 1e-12:
        return rho, rho, rho
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    return rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _panel(view: View, name: str) -> Plot | None:
    p = view.primary
    y = view.scores(name, p.attack, p.epsilon, p.rule).set_index("image")["k_lrp"]
    x = view.predictions(name, p.attack, p.epsilon).set_index("image")["softmax_robustness"]
    pairs = x.to_frame().join(y, how="inner").dropna()
    if pairs.empty:
        return None
    x, y = pairs["softmax_robustness"].to_numpy(), pairs["k_lrp"].to_numpy()
    rho, low, high = spearman(x, y)
    found = f"ρ = {number(rho)} {interval(low, high)}" if math.isfinite(rho) else "ρ not defined"
    with panel(2.7) as (figure, axes):
        colour = light(view.colour(name))
        drawn = slice(None, None, max(1, math.ceil(len(x) / MOST)))
        axes.scatter(x[drawn], y[drawn], s=14, marker=view.marker(name), color=tint(colour, 0.5), linewidths=0)
        chance = float(view.scores(name, p.attack, p.epsilon, p.rule)["chance"].mean())
        if math.isfinite(chance):
            axes.axhline(chance, color=light("muted"), linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.grid(True, axis="both")
        axes.set_xlabel("softmax robustness (1: probabilities unchanged)")
        axes.set_ylabel("k-LRP (1: same top pixels)")
        axes.tick_params(length=0, axis="both", labelcolor=light("muted"))
        axes.set_title(f"{found}, n = {len(x)}", loc="left", fontsize=10, color=light("ink"))
        title = view.result.ensemble(name).title
        text = (
            f"Scatter of softmax robustness and k-LRP, {title}: Spearman {found}, n = {len(x)}; medians "
            f"{number(float(pairs['softmax_robustness'].median()))} and {number(float(pairs['k_lrp'].median()))}."
        )
        return finish(figure, slug("scatter", name), text, title)
