"""Colours of the page and its figures: one list, from which the style sheet and matplotlib both read.

Each name has a light and a dark value. Figures are drawn in the light values; on the page each of these is replaced by
its CSS variable, so that one drawing follows the theme. The series differ in lightness as well as in hue, so that they
stay apart for protan, deutan and tritan eyes (tests/report/test_palette.py measures it); each has a marker
of its own besides.
"""

PAGE: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#151619"),
    "ink": ("#1c1b19", "#e9e7e2"),
    "muted": ("#5e5c57", "#a9a7a0"),
    "line": ("#d8d5cd", "#3b3c40"),
    "wash": ("#f5f3ee", "#1e2024"),
    "accent": ("#0a5a78", "#84c9e8"),
    "good": ("#17704a", "#5fd0a0"),
    "bad": ("#a8281f", "#ff9088"),
    "warn": ("#855300", "#e8b65a"),
}

SERIES: tuple[tuple[str, str], ...] = (
    ("#85827c", "#8b8882"),  # the baseline is always grey
    ("#b4540a", "#f98049"),
    ("#2487bd", "#5b9ae6"),
    ("#0b5138", "#86f0d0"),
    ("#742a6e", "#ac439d"),
    ("#4e400c", "#f5e64e"),
    ("#2d1aab", "#5252f1"),
    ("#b95cff", "#caccfc"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")

VARIABLES: dict[str, tuple[str, str]] = {**PAGE, **{f"series-{i}": pair for i, pair in enumerate(SERIES)}}


def light(name: str) -> str:
    """The light value of a named colour.

    >>> light("ink")
    '#1c1b19'
    """
    return VARIABLES[name][0]


def series(index: int) -> tuple[str, str, str]:
    """(variable, matplotlib marker, printable glyph) of the i-th ensemble; beyond the eighth they repeat.

    >>> series(0)
    ('series-0', 'o', '●')
    """
    i = index if index < len(SERIES) else 1 + (index - 1) % (len(SERIES) - 1)
    return f"series-{i}", MARKERS[i], GLYPHS[i]


def declarations(theme: int) -> str:
    """The CSS variables of one theme: 0 light, 1 dark."""
    return " ".join(f"--{name}: {pair[theme]};" for name, pair in VARIABLES.items())
