"""Tables of figures that an earlier version wrote, in the words of this one: titles of columns, values below them."""

import re
from html import escape, unescape

from holdfast.report.studies.columns import column_title
from holdfast.report.studies.names import value_alone

# as `templates/studies/figures.html.j2` writes them
_TABLE = re.compile(r'aria-label="([^"]*)" tabindex="0">\s*<table class="dense">.*?</table>', re.DOTALL)
_LABEL = re.compile(r'<th scope="col">(.*?)</th>')
_COLUMN = re.compile(r'(<th scope="col" class="n">)(.*?)(, published|, corrected|)(</th>)')
_ROW = re.compile(r"<tr><td>.*?</tr>")
_WORDS = re.compile(r"<td>(.*?)</td>")
_NO_PLOT = re.compile(
    r'\s*<div class="plot">\s*<p class="plot-title">[^<]*</p>\s*<p class="quiet">Nothing to draw.</p>\s*</div>'
)
_SAID = {"draws": r"([\d,.]+) draws?", "layer": r"layer (\d+)|(last) layer", "k": "k = (.*)", "epsilon": "ε = (.*)"}


def tables_today(html: str) -> str:
    """An article whose tables have today's words, and no empty places beside drawings that stand alone.

    >>> old = '<th scope="col">width</th><th scope="col" class="n">k lrp, corrected</th></tr>'
    >>> old = f'<table class="dense">{old}<tr><td>width 32</td><td class="n">1</td></tr></table>'
    >>> tables_today(f'aria-label="resilience" tabindex="0">{old}').partition("dense")[2]
    '"><th scope="col">width</th><th scope="col" class="n">k-LRP, corrected</th></tr><tr><td>32</td>\
<td class="n">1</td></tr></table>'
    """
    return _TABLE.sub(_table, _NO_PLOT.sub("", html))


def _table(table: re.Match[str]) -> str:
    labels = [unescape(words).replace(" ", "_") for words in _LABEL.findall(table[0])]

    def row(found: re.Match[str]) -> str:
        values = iter(labels)
        return _WORDS.sub(lambda cell: f"<td>{escape(_value(next(values, ''), unescape(cell[1])))}</td>", found[0])

    def title(found: re.Match[str]) -> str:
        name = unescape(found[2]).replace(" ", "_")
        known = column_title(name, unescape(table[1]))
        words = known if known != name.replace("_", " ") else unescape(found[2])
        return f"{found[1]}{escape(words)}{found[3]}{found[4]}"

    return _ROW.sub(row, _COLUMN.sub(title, table[0]))


def _value(label: str, words: str) -> str:
    """A value that was written with its label.

    >>> _value("draws", "100 draws (here 20)"), _value("check", "check zero_gradient"), _value("of", "of lrp")
    ('100 (here 20)', 'zero gradient', 'LRP')
    >>> _value("of", "LRP"), _value("layer", "last layer"), _value("treatment", "Logits × 100")
    ('LRP', 'last', 'Logits × 100')
    """
    if label in _SAID:
        return re.sub(f"^(?:{_SAID[label]})", lambda m: "".join(part or "" for part in m.groups()), words)
    said = f"{label.replace('_', ' ')} "
    return value_alone(label, words.removeprefix(said)) if words.startswith(said) else words
