"""Box rows: boxes of five quantiles, one under the other, in groups with a name each."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.report.figures import Plot
from holdfast.report.figures.canvas import finish, panel, slug, tint, wrap
from holdfast.report.palette import light
from holdfast.report.studies.names import look, treatment_title
from holdfast.report.wording import short


@dataclass(frozen=True)
class Group:
    """Boxes of several treatments under one name.

    Attributes:
        title: the name.
        boxes: treatment -> low end, quarter, median, three quarters, high end; None where there is none.
    """

    title: str
    boxes: dict[str, Sequence[float] | None]


def span(groups: Sequence[Group]) -> tuple[float, float]:
    """From the lowest to the highest end of some boxes."""
    ends = [float(v) for g in groups for box in g.boxes.values() if box is not None for v in (box[0], box[-1])]
    return min(ends), max(ends)


def box_rows(
    names: Sequence[str], groups: Sequence[Group], label: str, text: str, limits: tuple[float, float], zero: bool = True
) -> Plot:
    """Draw groups of boxes; `text` is what the drawing shows, to which the medians are added."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    treatments = list(dict.fromkeys(t for g in groups for t in g.boxes))
    lines, described = len(treatments) + 0.7, []
    with panel(0.62 + 0.19 * lines * len(groups)) as (figure, axes):
        for g, group in enumerate(groups):
            for t, treatment in enumerate(treatments):
                box, y = group.boxes.get(treatment), g * lines + t
                if box is None:
                    continue
                colour = light(look(treatment)[0])
                # artists by hand: `plot` and `barh` would set the limits anew for each of a thousand
                for ends in (box[:2], box[3:]):
                    axes.add_line(Line2D(ends, [y, y], color=colour, linewidth=1.2, solid_capstyle="butt"))
                corner, size = (box[1], y - 0.32), (box[3] - box[1], 0.64)
                style = {"facecolor": tint(colour), "edgecolor": colour, "linewidth": 1.2}
                axes.add_patch(Rectangle(corner, *size, **style))
                median = {"color": light("ink"), "linewidth": 2.2, "zorder": 3}
                axes.add_line(Line2D([box[2]] * 2, [y - 0.32, y + 0.32], **median))
                described.append(f"{group.title}, {treatment_title(treatment)} {short(float(box[2]))}")
        if zero:
            axes.axvline(0, color=light("muted"), linewidth=1, zorder=1)
        centres = [g * lines + (len(treatments) - 1) / 2 for g in range(len(groups))]
        axes.set_yticks(centres, [wrap(group.title, 20, 2) for group in groups])
        axes.set_ylim(len(groups) * lines - 0.7, -0.7)
        axes.set_xlim(limits)
        axes.locator_params(axis="x", nbins=6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        return finish(figure, slug(*names), f"{text} Medians: {'; '.join(described)}.", png=False)
