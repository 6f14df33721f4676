"""Canvas: a matplotlib figure becomes an SVG that follows the page's theme, an SVG for a paper and a PNG for slides.

A panel is drawn as wide as a phone; the page lays panels side by side where there is room. Text stays text, colours
become CSS variables, every panel carries a sentence that says what it shows.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from holdfast.report.figures.minify import minify
from holdfast.report.palette import VARIABLES, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.9  # inches, at 72 units each: the width of a phone's text column
_BACKGROUND = "#fefefe"  # of the figure: transparent on the page, white in a file
_FONTS = ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"]


@dataclass(frozen=True)
class Plot:
    """One drawn panel.

    Attributes:
        name: file name without ending, also the prefix of every id in the drawing.
        description: what it shows, with the numbers that matter, for those who do not see it.
        inline: SVG for the page.
        svg: SVG file with fixed colours.
        png: PNG file.
        title: a short heading above the panel, where a figure has several.
    """

    name: str
    description: str
    inline: str
    svg: str
    png: bytes
    title: str = ""


@contextmanager
def panel(height: float, width: float = WIDTH) -> "Iterator[tuple[Figure, Axes]]":
    """A figure with one set of axes in the style of the page; draw inside the block, then call `finish` inside it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has fonts of its own
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=_BACKGROUND)
        yield figure, figure.add_subplot()


def finish(figure: "Figure", name: str, description: str, title: str = "", *, png: bool = True) -> Plot:
    """Render a figure that was drawn inside `panel`; without `png` half the time, and no PNG file."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text, image = io.StringIO(), io.BytesIO()
    FigureCanvasSVG(figure)  # its renderer measures the text
    figure.set_dpi(72)  # as a figure has that is written as SVG
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine(None)  # `savefig` would draw everything once more just to lay it out
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Title": name})
    if png:
        figure.savefig(image, format="png", dpi=200, metadata={"Software": None})
    svg = minify(text.getvalue())
    return Plot(name, description, _inline(svg, name, description), svg, image.getvalue(), title)


def wrap(title: str, width: int = 17, lines: int = 3) -> str:
    """A title broken into at most `lines` lines.

    >>> wrap("Mean-field posterior of a network")
    'Mean-field\\nposterior of a\\nnetwork'
    """
    return "\n".join(textwrap.wrap(title, width, max_lines=lines, placeholder=" …") or [""])


def slug(*names: str) -> str:
    """Names as one word that is safe as a file name and as an id.

    >>> slug("k-LRP", "fc1.weight", "<b>")
    'k-LRP_fc1-weight_-b-'
    """
    return "_".join(re.sub(r"[^A-Za-z0-9-]", "-", n)[:60] for n in names)


def tint(colour: str, strength: float = 0.28) -> tuple[float, float, float, float]:
    """A colour as a wash: the hue stays a variable of the page, the opacity is fixed."""
    from matplotlib.colors import to_rgba

    return to_rgba(colour, strength)


def _style() -> dict[str, object]:
    ink, muted, line = light("ink"), light("muted"), light("line")
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "holdfast",
        "text.parse_math": False,
        "axes.unicode_minus": True,
        "font.family": "sans-serif",
        "font.sans-serif": _FONTS[:1],
        "font.size": 10,
        "axes.labelsize": 10,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "legend.fontsize": 9.5,
        "text.color": ink,
        "axes.labelcolor": muted,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": muted,
        "ytick.labelcolor": ink,
        "axes.edgecolor": line,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "grid.color": line,
        "grid.linewidth": 0.6,
        "axes.linewidth": 0.8,
        "lines.linewidth": 1.6,
        "legend.frameon": False,
        "legend.handletextpad": 0.4,
        "legend.columnspacing": 1.2,
    }


def _inline(svg: str, name: str, description: str) -> str:
    """The drawing for the page: without prologue, ids made unique, colours as variables, with its description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<title>.*?</title>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', lambda m: f"{m[1]}{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]+", "font-family: inherit", svg)
    svg = svg.replace(_BACKGROUND, "none")
    for variable, (colour, _) in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
