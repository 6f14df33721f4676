"""The verdict page: what became of every claim of the papers, and every figure next to the paper's numbers."""

import gzip
from collections.abc import Sequence
from pathlib import Path

from holdfast.report.frame import Section, render, save
from holdfast.report.studies import facts
from holdfast.report.studies.blocks import Block, blocks
from holdfast.report.studies.cards import STATES, Card, by_paper, cards, headline
from holdfast.report.studies.forest import worded
from holdfast.report.studies.kept_articles import ALL_ROWS, KeptArticle, kept_articles
from holdfast.report.studies.names import control_title, in_words, look, sentence
from holdfast.report.studies.posteriors import fits_of, posteriors, remarks
from holdfast.report.studies.unlearnt import rows_of as shares_of
from holdfast.report.studies.unlearnt import unlearnt
from holdfast.report.studies.unmixed import unmixed
from holdfast.studies.reproduce.kept import PAGE
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import PAPERS, studies, without_study
from holdfast.studies.reproduce.verdict import lies_there
from holdfast.studies.stage_key import versions

SECTIONS = (
    Section("verdicts", "The verdicts", "studies/"),
    Section("claims", "Claim by claim", "studies/"),
    Section("figures", "Figure by figure", "studies/"),
    Section("run", "How it was run", "studies/"),
    Section("limits", "What these verdicts do not say", "studies/"),
)


def write_verdicts(found: Reproduction, folder: Path | str, *, jobs: int = 1) -> Path:
    """Write the verdict page of a reproduction.

    One self-contained HTML file: no request leaves it. Beside every table of the run folder it writes the same rows as
    compressed CSV, and every drawing as SVG into `folder/figures`. The same run gives the same bytes.

    Args:
        found: what `holdfast.studies.reproduce.run.reproduce` returned.
        folder: where to: the run folder, so that the page can link to its tables.
        jobs: processes that draw; the page does not depend on it.

    Returns:
        Path of the page, `folder/verdicts.html`.

    Raises:
        TypeError: `found` is not a `Reproduction`.
    """
    if not isinstance(found, Reproduction):
        raise TypeError(f"report.write_verdicts: expected a Reproduction, got {type(found).__name__}.")
    folder = Path(folder)
    _write_csv(folder, jobs)
    shown = cards(found)
    drawn = blocks(found, [c.claim for c in shown], folder, jobs=jobs)
    for block in drawn:
        for d in block.drawn:
            save(folder / "figures" / block.study.id / f"{d.plot.name}.svg", d.plot.svg.encode())
    save(folder / PAGE, page_text(found, shown, drawn, kept_articles(found, folder)).encode())
    return folder / PAGE


def page_text(
    found: Reproduction, shown: list[Card], drawn: list[Block], kept: Sequence[KeptArticle], kept_page: bool = False
) -> str:
    """The page as text, with the articles that an earlier run kept; a page that is kept has no run folder beside it."""
    papers = by_paper(shown)
    several = len(papers) > 1
    said = headline(found, shown)
    return render(
        "studies/page.html.j2",
        title="The papers, claim by claim"
        if several
        else f"The claims of paper {found.ids[0].split('-')[0]}, one by one",
        description=said,
        version=versions()["holdfast"],
        sections=[s for s in SECTIONS if s.anchor != "claims" or any(c.judgement for c in shown)],
        scripts=("page.js", "studies/sliders.js"),
        found=found,
        headline=said,
        meant=facts.meant(found),
        papers=papers,
        paper_titles=PAPERS,
        articles=_in_order([*drawn, *kept]),
        runs=facts.runs(found),
        kept_page=kept_page,
        all_rows=ALL_ROWS.format(found.scale),
        without=[one for one in without_study().values() if one.paper in {i.split("-")[0] for i in found.ids}],
        states=STATES,
        sizes=facts.sizes(found),
        meanings=facts.meanings(found),
        posteriors=posteriors(found),
        remarks=remarks(found),
        unmixed=unmixed(fits_of(found)),
        unlearnt=unlearnt(shares_of(found)),
        worded=worded,
        in_words=in_words,
        control_title=control_title,
        lies_there=lies_there,
        sentence=sentence,
        look=look,
        presets={"published": "As published", "corrected": "Corrected"},
    )


def _in_order(articles: Sequence[Block | KeptArticle]) -> list[Block | KeptArticle]:
    """In the order of the papers and their figures."""
    place = {study: i for i, study in enumerate(studies())}
    name = lambda one: one.study if isinstance(one, KeptArticle) else one.study.id
    return sorted(articles, key=lambda one: place.get(name(one), len(place)))


def _write_csv(folder: Path, jobs: int) -> None:
    """Every Parquet table also as CSV, which anything can open; not again where the table has not changed since."""
    from joblib import Parallel, delayed

    pairs = [(file, file.with_suffix(".csv.gz")) for file in sorted((folder / "tables").glob("*.parquet"))]
    old = [p for p in pairs if not p[1].exists() or p[1].stat().st_mtime_ns <= p[0].stat().st_mtime_ns]
    Parallel(n_jobs=jobs)(delayed(_csv)(*pair) for pair in old)


def _csv(table: Path, copy: Path) -> None:
    import pandas

    text = pandas.read_parquet(table).to_csv(index=False, float_format="%.6g")
    save(copy, gzip.compress(text.encode(), mtime=0))
