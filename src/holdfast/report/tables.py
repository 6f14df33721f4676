"""Tables of the page: rows of finished text, grouped by ensemble; the template only lays them out."""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from holdfast.report.view import View, is_clear
from holdfast.report.wording import (
    DASH,
    HYPHEN,
    attack_title,
    interval,
    number,
    p_value,
    percent,
    plain,
    radius,
    rule_title,
    signed,
)
from holdfast.studies.result import CLEAN, INPUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pandas import DataFrame, Series


@dataclass(frozen=True)
class Column:
    """One column: its title, the title above several columns, whether it holds words, whether `strong` rows mark it."""

    title: str
    over: str = ""
    words: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        label: what it is, for those who do not see it.
        head: title of the first column.
        columns: the others.
        groups: (title, rows) pairs; each row has one text per column.
        strong: rows whose marked columns are set in bold, as (group title, row number) pairs.
    """

    label: str
    head: str
    columns: tuple[Column, ...]
    groups: list[tuple[str, list[list[str]]]]
    strong: frozenset[tuple[str, int]] = frozenset()

    @property
    def flat(self) -> bool:
        """Whether every group is one row, so that its title fits into the first column."""
        return all(len(rows) <= 1 for _, rows in self.groups)

    @property
    def overheads(self) -> list[tuple[str, int]]:
        """Titles above the columns with the number of columns each spans; empty where there is none."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and column.over and spans[-1][0] == column.over:
                spans[-1] = (column.over, spans[-1][1] + 1)
            else:
                spans.append((column.over, 1))
        return spans if any(title for title, _ in spans) else []


def predictions(view: View) -> Table:
    """Per ensemble: draws, accuracy and NLL on clean images, accuracy under every attack and radius."""
    cells = [(a, e) for a in view.attacks for e in view.epsilons]
    columns = (
        Column("draws"),
        Column("accuracy, %", "clean"),
        Column("NLL", "clean"),
        *(Column(radius(e), f"accuracy, %, {attack_title(a)}") for a, e in cells),
    )
    groups = []
    for e in view.result.ensembles:
        row = [plain(e.draws), number(100 * e.clean_accuracy, 1), number(e.nll, 3)]
        row += [_accuracy(view.predictions(e.name, a, size)) for a, size in cells]
        groups.append((e.title, [row]))
    return Table("Predictions of every ensemble", "ensemble", columns, groups)


def chance(view: View, everything: bool = False) -> Table:
    """Mean scores with their chance level; at the primary radius and rule, or everywhere."""
    p = view.primary
    cells = [
        (a, e, r)
        for r in (view.rules if everything else [p.rule])
        for e in (view.epsilons if everything else [p.epsilon])
        for a in view.attacks
    ]
    columns = [Column("attack", words=True)]
    columns += [Column("size"), Column("rule", words=True)] if everything else []
    columns += [Column(t) for t in (f"k{HYPHEN}LRP", "chance", "above chance", "±k/2", "Spearman", "cosine")]
    groups = []
    for e in view.result.ensembles:
        rows = []
        for attack, epsilon, rule in cells:
            scores = view.scores(e.name, attack, epsilon, rule)
            if scores.empty:
                continue
            where = [attack_title(attack), *([radius(epsilon), rule_title(rule)] if everything else [])]
            names = ("k_lrp", "chance", "k_lrp_corrected", "k_lrp_signed", "spearman", "cosine")
            rows.append(where + [number(scores[n].mean()) for n in names])
        groups.append((e.title, rows))
    return Table("Scores against their chance level", "ensemble", tuple(columns), groups)


def subsets(view: View) -> Table:
    """Mean k-LRP of images with kept and with changed labels at the primary radius and rule, per attack."""
    p = view.primary
    columns = (
        Column("attack", words=True),
        Column("images", "label kept"),
        Column(f"k{HYPHEN}LRP", "label kept"),
        Column("images", "label changed"),
        Column(f"k{HYPHEN}LRP", "label changed"),
    )
    groups = []
    for e in view.result.ensembles:
        rows = []
        for attack in view.attacks:
            scores = view.scores(e.name, attack, p.epsilon, p.rule)
            kept = scores["label_preserved"].astype(bool)
            cells = [[str(len(part)), number(part["k_lrp"].mean())] for part in (scores[kept], scores[~kept])]
            rows.append([attack_title(attack), *cells[0], *cells[1]])
        groups.append((e.title, rows))
    return Table("k-LRP by whether the label was kept", "ensemble", columns, groups)


def statistics(view: View, everything: bool = False) -> Table:
    """The comparisons: at the primary radius, rule and layer over all images, or every row."""
    frame = view.result.comparisons
    p = view.primary
    if not everything:
        frame = frame[(frame["rule"] == p.rule) & (frame["layer"] == p.layer) & (frame["subset"] == "all")]
        frame = frame[frame["epsilon"].sub(p.epsilon).abs() <= 1e-6 * p.epsilon]
    where = [Column("attack", words=True)]
    if everything:
        where += [Column("size"), *(Column(t, words=True) for t in ("rule", "layer", "images"))]
    columns = (
        *where,
        Column("n"),
        Column("median", "difference"),
        Column("mean and 95 % interval", "difference", marked=True),
        Column("effect size"),
        Column("p, Holm", "Wilcoxon"),
        Column("p", "Wilcoxon"),
        Column("p", "Mann–Whitney"),
    )
    groups, strong = [], set()
    for e in view.others:
        rows = []
        for row in _ordered(view, frame[frame["ensemble"] == e.name]):
            if isfinite(row["mean_difference"]) and is_clear(row):
                strong.add((e.title, len(rows)))
            rows.append(_comparison(row, everything))
        if rows:
            groups.append((e.title, rows))
    return Table("Paired comparisons with the deterministic network", "ensemble", columns, groups, frozenset(strong))


def masking(view: View, everything: bool = False) -> Table:
    """Accuracy, sizes reached, zero gradients and saturation: clean and at the primary radius, or at every radius."""
    columns = (
        Column("attack", words=True),
        Column("size"),
        Column("accuracy"),
        Column("ℓ∞", "mean size reached"),
        Column("ℓ2", "mean size reached"),
        Column("zero gradients"),
        Column("saturated"),
    )
    cells = [
        (CLEAN, 0.0),
        *((a, e) for e in (view.epsilons if everything else [view.primary.epsilon]) for a in view.attacks),
    ]
    groups = []
    for e in view.result.ensembles:
        rows = []
        for attack, epsilon in cells:
            row = view.masking(e.name, attack, epsilon)
            if row is None:
                continue
            images = view.predictions(e.name, attack, epsilon)
            reached = [number(images[s].mean(), 3) if len(images) else DASH for s in ("size_linf", "size_l2")]
            shares = [percent(row[c]) for c in ("accuracy", "zero_gradient_rate", "saturation_rate")]
            rows.append([attack_title(attack), radius(epsilon), shares[0], *reached, *shares[1:]])
        groups.append((e.title, rows))
    return Table("Signs of gradient masking", "ensemble", columns, groups)


def _comparison(row: "Series", everything: bool) -> list[str]:
    where = [attack_title(row["attack"])]
    if everything:
        layer = "input" if row["layer"] == INPUT else row["layer"]
        where += [radius(row["epsilon"]), rule_title(row["rule"]), layer, row["subset"].replace("_", " ")]
    mean = signed(row["mean_difference"])
    between = interval(row["low"], row["high"]) if mean != DASH else ""
    return [
        *where,
        str(int(row["n"])),
        signed(row["median_difference"]),
        f"{mean} {between}".strip(),
        signed(row["effect_size"]),
        p_value(row["p_holm"]),
        p_value(row["p_wilcoxon"]),
        p_value(row["p_mann_whitney"]),
    ]


def _ordered(view: View, frame: "DataFrame") -> "Iterable[Series]":
    """The rows from weak to strong attacks, radii rising within, else in the order of the table."""
    order = frame["attack"].map({a: i for i, a in enumerate(view.attacks)})
    sorted_ = frame.assign(_order=order).sort_values(["rule", "layer", "subset", "epsilon", "_order"], kind="stable")
    return (row for _, row in sorted_.iterrows())


def _accuracy(frame: "DataFrame") -> str:
    return number(100 * (frame["predicted"] == frame["label"]).mean(), 1) if len(frame) else DASH
