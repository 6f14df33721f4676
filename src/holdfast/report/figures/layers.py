"""Class relevance at inner layers: chance-corrected k-LRP per layer, one line per ensemble, one panel per attack."""

from holdfast.report.figures.canvas import Plot, finish, panel, slug, wrap
from holdfast.report.palette import light
from holdfast.report.view import View
from holdfast.report.wording import attack_title, number, radius


def layers(view: View) -> list[Plot]:
    """One panel per attack at the primary radius and rule; empty where only the input was read."""
    return [_panel(view, a) for a in view.attacks] if len(view.layers) > 1 else []


def _panel(view: View, attack: str) -> Plot:
    p = view.primary
    with panel(2.5) as (figure, axes):
        described = []
        for e in view.result.ensembles:
            values = [
                view.scores(e.name, attack, p.epsilon, p.rule, layer)["k_lrp_corrected"].mean() for layer in view.layers
            ]
            axes.plot(
                range(len(values)), values, marker=view.marker(e.name), color=light(view.colour(e.name)), markersize=6
            )
            pairs = ", ".join(f"{layer} {number(v)}" for layer, v in zip(view.layers, values))
            described.append(f"{e.title}: {pairs}")
        axes.axhline(0, color=light("muted"), linewidth=1, linestyle=(0, (2, 2)))
        axes.grid(True, axis="y")
        axes.grid(False, axis="x")
        axes.set_xticks(range(len(view.layers)), [wrap(n, 10, 2) for n in view.layers])
        axes.set_xlim(-0.3, len(view.layers) - 0.7)
        axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1)
        axes.set_ylabel("k-LRP above chance")
        axes.tick_params(axis="y", labelcolor=light("muted"), length=0)
        axes.spines["left"].set_visible(False)
        text = f"Chance-corrected k-LRP by layer under {attack_title(attack)} of size {radius(p.epsilon)}. "
        return finish(figure, slug("layers", attack), text + "; ".join(described) + ".", attack_title(attack))
