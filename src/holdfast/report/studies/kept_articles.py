"""Articles of figures that an earlier run kept: taken over from its page as they are, panel by panel."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from holdfast.studies.reproduce.kept import PAGE, Kept
from holdfast.studies.reproduce.run import Reproduction

# as `templates/studies/figures.html.j2` writes them
_ARTICLE = re.compile(r'<article class="study" id="([^"]+)">.*?</article>', re.DOTALL)
_PANEL = re.compile(
    r'  <div class="panel">\n    <h4>(.*?) <span.*?(?=  <div class="panel">|  <p class="read">)', re.DOTALL
)
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


def _renamed(html: str, old: str, new: str) -> str:
    """The article with another id; its sliders find their numbers by it."""
    for attribute in ('class="study" id="', 'data-figure="', 'id="data-'):
        html = html.replace(f'{attribute}{old}"', f'{attribute}{new}"', 1)
    return html
