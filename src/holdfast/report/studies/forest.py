"""Forest of a claim: for each of its numbers the paper's, ours as published, ours corrected, and the controls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.report.figures import Plot
from holdfast.report.figures.canvas import finish, panel, slug, wrap
from holdfast.report.palette import light
from holdfast.report.studies.names import in_words, look, treatment_title, value_title
from holdfast.report.wording import interval, number, signed, the
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.quantities import Estimate
from holdfast.studies.reproduce.verdict import NOT_RUN, Finding, Judgement

COLOURS = {"holds": "good", "holds weaker": "warn", "does not hold": "bad", "untestable": "muted"}
AXES = {
    "difference": "{column} minus that of {against}",
    "level": "{column}: mean over images",
    "gap": "{column} minus {other}: mean over images",
    "correlation": "Spearman's correlation of {column} and {other}",
    "trend": "{column}: slope over the logarithm of {over}",
    "association": "{column} and {other}: rank correlation over networks",
}
_COLUMNS = {"k_lrp": "k-LRP", "softmax_robustness": "softmax robustness", "k_lrp_of_draws": "k-LRP of single draws"}
MOST = 12  # numbers in one drawing
LABEL = 20  # letters of a line of a number's name


@dataclass(frozen=True)
class Forest:
    """Numbers of one kind, and their drawing."""

    plot: Plot
    findings: tuple[Finding, ...]
    common: str
    names: tuple[str, ...]


def forests(judgement: Judgement) -> list[Forest]:
    """One drawing for each kind of number and each study, of those that there are numbers of.

    What a run does not contain is counted in the card and not drawn.
    """
    kinds = [own for own in _kinds(judgement) if any(f.published or f.corrected for f in own)]
    return [f for i, own in enumerate(kinds) for f in _parts(judgement, i, own)]


def column_title(name: str) -> str:
    """What a reader calls a column."""
    return _COLUMNS.get(name, name.replace("_", " "))


def _kinds(judgement: Judgement) -> list[list[Finding]]:
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for finding in judgement.findings:
        if finding.why == NOT_RUN and finding.published is None:
            continue
        e = finding.evidence
        own_axis = str(e.where.get("distance", ""))  # distances of different kinds have different units
        kinds.setdefault((e.study, e.quantity, e.column, e.other, e.per, own_axis), []).append(finding)
    return list(kinds.values())


def _parts(judgement: Judgement, kind: int, findings: list[Finding]) -> Iterator[Forest]:
    common, names = _names(findings)
    limits = _limits(findings)
    for start in range(0, len(findings), MOST):
        part = slice(start, start + MOST)
        name = slug(judgement.claim.id.lower(), f"forest{kind}", str(start // MOST))
        plot = _draw(name, judgement, findings[part], names[part], limits)
        yield Forest(plot, tuple(findings[part]), common, tuple(names[part]))


def _names(findings: Sequence[Finding]) -> tuple[str, list[str]]:
    """What all numbers share, in words, and what is left to name each."""
    shared = dict(findings[0].evidence.where)
    for finding in findings[1:]:
        shared = {k: v for k, v in shared.items() if finding.evidence.where.get(k, None) == v}
    panels = len({f.evidence.panel for f in findings}) > 1
    names = []
    for finding in findings:
        own = [value_title(k, v) for k, v in finding.evidence.where.items() if k not in shared]
        names.append(", ".join([*([finding.evidence.panel] if panels or not own else []), *own]))
    words = [value_title(k, v) for k, v in shared.items()]
    return ", ".join([*([] if panels else [findings[0].evidence.panel]), *words]), names


def _limits(findings: Sequence[Finding]) -> tuple[float, float]:
    ends = [0.0]
    for f in findings:
        numbers = [f.published, f.corrected, *(n for _, n, _ in f.controls)]
        ends += [v for n in numbers if n is not None for v in (n.low, n.high) if abs(v) < float("inf")]
        ends += [float(f.evidence.paper)] if isinstance(f.evidence.paper, float | int) else []
    span = max(max(ends) - min(ends), 0.04)
    return min(ends) - 0.05 * span, max(ends) + 0.05 * span


def _draw(
    name: str, judgement: Judgement, findings: Sequence[Finding], names: Sequence[str], limits: tuple[float, float]
) -> Plot:
    evidence = findings[0].evidence
    controls = any(f.controls for f in findings)
    labels = [wrap(n, LABEL, 3) for n in names]
    height = 0.52 if controls or any(label.count("\n") > 1 for label in labels) else 0.42
    with panel(0.62 + height * len(findings)) as (figure, axes):
        described = []
        for y, (finding, title) in enumerate(zip(findings, names, strict=True)):
            if y:
                axes.axhline(y - 0.5, color=light("line"), linewidth=0.6)
            _numbers(axes, y, finding, controls)
            described.append(f"{title}: {_said(finding)}")
        axes.axvline(0, color=light("muted"), linewidth=1, zorder=1)
        axes.set_yticks(range(len(findings)), labels)
        axes.set_ylim(len(findings) - 0.5, -0.5)
        axes.set_xlim(limits)
        axes.locator_params(axis="x", nbins=6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(wrap(_axis(evidence), 62, 2))
        text = f"Numbers of claim {judgement.claim.id}, {judgement.verdict}. {'; '.join(described)}."
        return finish(figure, name, text, png=False)


def _axis(evidence: Evidence) -> str:
    against = in_words(evidence.against)
    if set(evidence.against) == {"treatment"}:
        against = the(treatment_title(evidence.against["treatment"]))
    column = column_title(evidence.column) + (f" over {column_title(evidence.per)}" if evidence.per else "")
    words = {"column": column, "other": column_title(evidence.other), "against": against}
    words |= {"over": "the number of draws" if evidence.over == "draws" else column_title(evidence.over)}
    return AXES.get(evidence.quantity, f"{{column}}: {evidence.quantity}").format(**words)


def _numbers(axes: object, y: float, finding: Finding, controls: bool) -> None:
    """Three lines: as published with the paper's number, corrected, controls."""
    up, down = (0.24, 0.27) if controls else (0.15, 0)
    middle = y if controls else y + 0.17
    if isinstance(finding.evidence.paper, float | int):
        axes.plot(
            finding.evidence.paper,
            y - up,
            "D",
            color=light("ink"),
            markerfacecolor=light("paper"),
            markersize=6,
            zorder=4,
        )
    if finding.published is not None:
        _estimate(axes, y - up, finding.published, light("muted"), 1.4, "s", 4.5)
    if finding.corrected is not None:
        _estimate(axes, middle, finding.corrected, light(COLOURS[finding.verdict]), 2.6, "o", 7)
    for label, estimate, _ in finding.controls:
        variable, marker, _ = look(label.split(",")[0].replace(" ", "_"))
        _estimate(axes, y + down, estimate, light(variable), 0.8, marker, 5)


def _estimate(axes: object, y: float, e: Estimate, colour: str, width: float, marker: str, size: float) -> None:
    axes.plot([e.low, e.high], [y, y], color=colour, linewidth=width, solid_capstyle="round", zorder=2)
    axes.plot(e.value, y, marker, color=colour, markersize=size, zorder=3)


def _said(finding: Finding) -> str:
    paper = finding.evidence.paper
    parts = [f"paper {number(paper)}"] if isinstance(paper, float | int) else []
    for title, estimate in (("as published", finding.published), ("corrected", finding.corrected)):
        parts.append(f"{title} {worded(estimate)}" if estimate else f"{title} none")
    return ", ".join([*parts, finding.verdict])


def worded(estimate: Estimate | None) -> str:
    """A number with its interval."""
    return "" if estimate is None else f"{signed(estimate.value)} {interval(estimate.low, estimate.high)}"
