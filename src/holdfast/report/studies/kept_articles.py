"""Articles of figures that an earlier run kept: taken over from its page as they are, panel by panel."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import escape

from holdfast.report.figures.canvas import slug
from holdfast.report.studies.clean_accuracy import clean_accuracy
from holdfast.report.studies.draws import draws_of_panels
from holdfast.report.studies.kept_tables import tables_today
from holdfast.report.studies.names import value_title
from holdfast.report.studies.pictures import names_of, picture_of
from holdfast.report.studies.pictures.table import CAPTION as OF_TABLES
from holdfast.studies.reproduce.kept import PAGE, Kept
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import studies

if TYPE_CHECKING:
    from pandas import DataFrame

MEANS = "Means and quantiles over images"  # what links to kept tables lead to
ALL_ROWS = (
    '<b>Image by image:</b> <span class="quiet">the command writes all rows to runs/reproduce-{}/tables, as Parquet '
    "and CSV; they are too many to be kept here.</span>"
)

# as `templates/studies/figures.html.j2` writes them
_ARTICLE = re.compile(r'<article class="study" id="([^"]+)">.*?</article>', re.DOTALL)
_PANEL = re.compile(
    r'  <div class="panel">\n    <h4>(.*?) <span.*?(?=  <div class="panel">|  <p class="read">)', re.DOTALL
)
_DRAWS = re.compile(r"\b(\d+) draws?\b(?! \(here|</text>)")  # a label in a drawing has no room for more
_OLD_LINKS = re.compile(r"<b>Image by image:</b>(.*?>)means(</a>.*?)(?=<br>|</p>)")
_READ = re.compile(r'(<p class="read">)(.*?)(</p>)', re.DOTALL)
_DATA = re.compile(r'(<script type="application/json" id="data-[^"]+">)(.*?)(</script>)', re.DOTALL)
_PART = re.compile(r"-part\d+$")


@dataclass(frozen=True)
class KeptArticle:
    """One study of an earlier page.

    Attributes:
        study: its id.
        anchor: its id on the new page: that of the study, or with a number where the study has an article already.
        html: the article.
    """

    study: str
    anchor: str
    html: str


def check_kept(kept: Kept) -> None:
    """See that the kept page has every panel, and the kept tables can be read, before hours of work are added to them.

    Raises:
        ValueError: it has not, or they cannot.
    """
    from pandas import read_csv

    there = {(study, title) for study, _, titles, _ in _articles(kept) for title in titles}
    if lost := [f"{study} {title}" for study, title in kept.panels if (study, title) not in there]:
        raise ValueError(f"report: the page {kept.folder / PAGE} has no figure of {', '.join(lost[:5])}; keep it anew.")
    for file in sorted(kept.folder.glob("tables/*.csv")):
        try:
            columns = read_csv(file, nrows=1).columns
        except (ValueError, OSError) as error:
            raise ValueError(f"report: the kept table {file} cannot be read ({error}).") from None
        if not {"panel", "preset"} <= set(columns):
            raise ValueError(f"report: {file} has no columns 'panel' and 'preset', so it is no table that was kept.")


def kept_articles(found: Reproduction, folder: Path | None) -> list[KeptArticle]:
    """The articles of the kept page that a run adds to, without the panels that the run computed again.

    Args:
        found: the run.
        folder: of the new page, whose links must still lead to the kept tables; None where it replaces the kept page.

    Raises:
        ValueError: the page cannot be read.
    """
    if found.kept is None:
        return []
    home = "" if folder is None else f"{Path(os.path.relpath(found.kept.folder, folder)).as_posix()}/"
    taken = Counter(study.id for study in found.studies)
    articles = []
    for study, old, titles, html in _articles(found.kept):
        stay = [title for title in titles if (study, title) in found.kept.panels]
        if not stay:
            continue
        taken[study] += 1
        anchor = study.lower() if taken[study] == 1 else f"{study.lower()}-part{taken[study]}"
        html = _PANEL.sub(lambda m: m[0] if unescape(m[1]) in stay else "", html)  # noqa: B023
        html = html if len(stay) == len(titles) else _of_panels(html, study, stay)
        html = _with_clean_accuracy(_said_today(html, study, found), found.kept, study)
        html = html.replace('href="tables/', f'href="{home}tables/')
        articles.append(KeptArticle(study, anchor, _renamed(html, old, anchor)))
    return articles


def _articles(kept: Kept) -> Iterator[tuple[str, str, list[str], str]]:
    """(study, id on the page, titles of the panels, HTML) of every article of the kept page."""
    page = kept.folder / PAGE
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"report: the kept page {page} cannot be read ({error}).") from None
    for match in _ARTICLE.finditer(text):
        titles = [unescape(title) for title in _PANEL.findall(match[0])]
        yield _PART.sub("", match[1]).upper(), match[1], titles, match[0]


def _of_panels(html: str, study: str, stay: list[str]) -> str:
    """An article whose sliders have the numbers of these panels alone."""
    starts = tuple(f"{slug(*names_of(study, title))}_" for title in stay)

    def left(script: re.Match[str]) -> str:
        data = json.loads(script[2])
        plots = [plot for plot in data["plots"] if any(mark["id"].startswith(starts) for mark in plot["marks"])]
        return f"{script[1]}{htmlsafe_json_dumps(data | {'plots': plots}, separators=(',', ':'))}{script[3]}"

    return _DATA.sub(left, html)


def _said_today(html: str, study: str, found: Reproduction) -> str:
    """An article in the words of this version, where those of an earlier one were wrong or said too little."""
    links = lambda m: f"<b>{MEANS}:</b>{m[1]}CSV{m[2]}".replace(">means</a>", ">CSV</a>")
    html = _OLD_LINKS.sub(lambda m: f"{links(m)}<br>{ALL_ROWS.format(found.scale)}", html)

    def with_draws(panel: re.Match[str]) -> str:
        counts = draws_of_panels(found)(study, unescape(panel[1]))
        return _DRAWS.sub(lambda m: value_title("draws", int(m[1]), counts), panel[0])

    def with_caption(read: re.Match[str]) -> str:
        drawn = unescape(read[2]) != OF_TABLES and study in studies()
        return f"{read[1]}{escape(picture_of(studies()[study]).CAPTION)}{read[3]}" if drawn else read[0]

    return tables_today(_PANEL.sub(with_draws, _READ.sub(with_caption, html)))


def _with_clean_accuracy(html: str, kept: Kept, study: str) -> str:
    """An article whose panels say how accurate the networks are, as far as the kept tables do."""
    from pandas import read_csv

    tables = {file.stem.removeprefix(f"{study}-"): read_csv(file) for file in kept.folder.glob(f"tables/{study}-*.csv")}

    def with_lines(panel: re.Match[str]) -> str:
        named: dict[str, dict[str, DataFrame]] = {preset: {} for preset in kept.manifest.presets}
        for preset, name in product(named, tables):
            table = tables[name]
            own = table[(table.panel == unescape(panel[1])) & (table.preset == preset)]
            named[preset] |= {} if own.empty else {name: own}
        lines = "".join(f'    <p class="clean quiet">{escape(line)}</p>\n' for line in clean_accuracy(named))
        head, end, rest = panel[0].partition("</h4>\n")
        return panel[0] if 'class="clean' in panel[0] else f"{head}{end}{lines}{rest}"

    return _PANEL.sub(with_lines, html)


def _renamed(html: str, old: str, new: str) -> str:
    """The article with another id; its sliders find their numbers by it."""
    for attribute in ('class="study" id="', 'data-figure="', 'id="data-'):
        html = html.replace(f'{attribute}{old}"', f'{attribute}{new}"', 1)
    return html
