"""Forest of a claim: for each of its numbers the paper's, ours as published, ours corrected, and the controls."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.report.figures import Plot
from holdfast.report.figures.canvas import finish, panel, slug, wrap
from holdfast.report.palette import light
from holdfast.report.studies.draws import Here
from holdfast.report.studies.evidence import axis_in_words
from holdfast.report.studies.names import look, value_title
from holdfast.report.wording import interval, number, signed
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.estimate import Estimate
from holdfast.studies.reproduce.verdict import NOT_RUN, Finding, Judgement

COLOURS = {"holds": "good", "holds weaker": "warn", "does not hold": "bad", "untestable": "muted"}
MOST = 12  # numbers in one drawing
LABEL = 20  # letters of a line of a number's name
HereOf = Callable[[str, str], Here]


@dataclass(frozen=True)
class Forest:
    """Numbers of one kind, and their drawing."""

    plot: Plot
    findings: tuple[Finding, ...]
    common: str
    names: tuple[str, ...]


def forests(judgement: Judgement, here: HereOf = lambda study, panel: {}) -> list[Forest]:
    """One drawing for each kind of number and each study, of those that there are numbers of.

    What a run does not contain is counted in the card and not drawn.

    Args:
        judgement: of a claim.
        here: (study, panel) -> number of draws in the paper -> here.
    """
    kinds = [own for own in _kinds(judgement) if any(f.published or f.corrected for f in own)]
    return [f for i, own in enumerate(kinds) for f in _parts(judgement, i, own, here)]


def _kinds(judgement: Judgement) -> list[list[Finding]]:
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for finding in judgement.findings:
        if finding.why == NOT_RUN and finding.published is None:
            continue
        e = finding.evidence
        kinds.setdefault((e.study, e.quantity, e.only, axis_in_words(e)), []).append(finding)  # of one axis
    return list(kinds.values())


def _parts(judgement: Judgement, kind: int, findings: list[Finding], here: HereOf) -> Iterator[Forest]:
    common, names = _names(findings, here)
    limits = _limits(findings)
    for start in range(0, len(findings), MOST):
        part = slice(start, start + MOST)
        name = slug(judgement.claim.id.lower(), f"forest{kind}", str(start // MOST))
        plot = _draw(name, judgement, findings[part], names[part], limits)
        yield Forest(plot, tuple(findings[part]), common, tuple(names[part]))


def _names(findings: Sequence[Finding], here: HereOf) -> tuple[str, list[str]]:
    """What all numbers share, in words, and what is left to name each; what the panels tell is not said again."""
    words = [_labels(f.evidence, here) for f in findings]
    shared = {k: v for k, v in words[0].items() if all(own.get(k) == v for own in words)}
    panels = {f.evidence.panel for f in findings}
    several = {
        (f.evidence.panel, k) for f, own in zip(findings, words) for g, other in zip(findings, words)
        if f.evidence.panel == g.evidence.panel for k in own if own[k] != other.get(k)
    }  # fmt: skip
    told = shared.keys() | ({k for own in words for k in own} - {k for _, k in several} if len(panels) > 1 else set())
    names = []
    for finding, all_words in zip(findings, words, strict=True):
        own = [v for k, v in all_words.items() if k not in told]
        names.append(", ".join([*([finding.evidence.panel] if len(panels) > 1 or not own else []), *own]))
    return ", ".join([*([] if len(panels) > 1 else panels), *shared.values()]), names


def _labels(evidence: Evidence, here: HereOf) -> dict[str, str]:
    draws = here(evidence.study, evidence.panel)
    return {k: value_title(k, v, draws) for k, v in evidence.where.items()}


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
        axes.set_xlabel(wrap(axis_in_words(evidence), 62, 3))
        text = f"Numbers of claim {judgement.claim.id}, {judgement.verdict}. {'; '.join(described)}."
        return finish(figure, name, text, png=False)


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
