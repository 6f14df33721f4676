"""View: a result with the questions that every section of the page asks of it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from holdfast.report.palette import series
from holdfast.scores.k_lrp import selected_pixels
from holdfast.studies.result import BASELINE, CLEAN, CONTROL, INPUT, Cell, EnsembleSummary, Result

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_STRENGTH = {CONTROL: 0, "fgsm": 1}  # every other attack comes after these two, PGD last
CLEAR = 0.05  # a corrected p-value below this, with an interval that excludes zero, is called a clear difference


@dataclass(frozen=True, eq=False)
class View:
    """A result, and what the sections read from it."""

    result: Result

    @cached_property
    def baseline(self) -> EnsembleSummary | None:
        """The ensemble that all others are compared with, where the study has one."""
        return next((e for e in self.result.ensembles if e.name == BASELINE), None)

    @cached_property
    def others(self) -> list[EnsembleSummary]:
        """Every ensemble but the baseline."""
        return [e for e in self.result.ensembles if e.name != BASELINE]

    @cached_property
    def attacks(self) -> list[str]:
        """Attacks from weak to strong: random noise, one step, many steps."""
        names = list(dict.fromkeys(self.result.predictions["attack"]))
        return sorted(
            (n for n in names if n != CLEAN), key=lambda n: (_STRENGTH.get(n, 3 if n == "pgd" else 2), names.index(n))
        )

    @cached_property
    def epsilons(self) -> list[float]:
        """Radii, rising."""
        return sorted({float(e) for e in self.result.predictions["epsilon"] if e > 0})

    @cached_property
    def rules(self) -> list[str]:
        """Explanation rules in the order of the table."""
        return list(dict.fromkeys(self.result.scores["rule"]))

    @cached_property
    def layers(self) -> list[str]:
        """Layers at which class relevance was read, the input first."""
        names = list(dict.fromkeys(self.result.scores["layer"]))
        return sorted(names, key=lambda n: (n != INPUT, names.index(n)))

    @cached_property
    def primary(self) -> Cell:
        """The comparison that the headline reports."""
        if self.result.primary is not None:
            return self.result.primary
        ensemble = (self.others or list(self.result.ensembles))[-1].name
        return Cell(ensemble, self.attacks[-1], self.epsilons[len(self.epsilons) // 2], self.rules[0], INPUT)

    @cached_property
    def images(self) -> int:
        """How many images were attacked."""
        return int(self.result.predictions["image"].nunique())

    @cached_property
    def k(self) -> float | None:
        """How many percent of the pixels k-LRP looks at, where the settings say so."""
        return _find(self.result.settings, "k")

    @cached_property
    def norm(self) -> str | None:
        """The norm of the budget, where the settings say so."""
        return _find(self.result.settings, "norm")

    @cached_property
    def pixels(self) -> int | None:
        """How many pixels the top k percent are."""
        gallery = self.result.gallery
        if gallery is None or self.k is None or not gallery.clean_maps:
            return None
        return selected_pixels(next(iter(gallery.clean_maps.values()))[0].numel(), self.k)

    def colour(self, name: str) -> str:
        """CSS variable of an ensemble."""
        return self._series(name)[0]

    def marker(self, name: str) -> str:
        """Matplotlib marker of an ensemble."""
        return self._series(name)[1]

    def legend(self, names: list[str] | None = None) -> list[dict[str, str]]:
        """Title, colour and glyph of some ensembles, or of all."""
        chosen = [e for e in self.result.ensembles if names is None or e.name in names]
        return [{"title": e.title, "colour": self.colour(e.name), "glyph": self._series(e.name)[2]} for e in chosen]

    def scores(self, ensemble: str, attack: str, epsilon: float, rule: str, layer: str = INPUT) -> "DataFrame":
        """The score rows of one cell, one per image; no rows where the cell was not computed."""
        found = self._cells.get((ensemble, attack, rule, layer, _key(epsilon)))
        return self.result.scores.iloc[:0] if found is None else found

    def comparison(self, cell: Cell, subset: str = "all") -> "Series | None":
        """One row of the comparisons, or None where it was not computed or has no finite difference."""
        rows = _rows(
            self.result.comparisons,
            ensemble=cell.ensemble,
            attack=cell.attack,
            epsilon=cell.epsilon,
            rule=cell.rule,
            layer=cell.layer,
            subset=subset,
        )
        if rows.empty or not math.isfinite(rows.iloc[0]["mean_difference"]):
            return None
        return rows.iloc[0]

    def family(self, subset: str = "all") -> int:
        """Over how many comparisons the p-values of a subset were corrected together."""
        frame = self.result.comparisons
        return int(((frame["subset"] == subset) & frame["p_holm"].notna()).sum())

    def predictions(self, ensemble: str, attack: str, epsilon: float) -> "DataFrame":
        """The prediction rows of one ensemble under one attack, one per image."""
        return _rows(self.result.predictions, ensemble=ensemble, attack=attack, epsilon=epsilon)

    def masking(self, ensemble: str, attack: str, epsilon: float = 0.0) -> "Series | None":
        """The masking row of one ensemble under one attack (or "clean")."""
        rows = _rows(self.result.masking, ensemble=ensemble, attack=attack)
        if attack != CLEAN:
            rows = _rows(rows, epsilon=epsilon)
        return None if rows.empty else rows.iloc[0]

    def differences(self, ensemble: str, attack: str, epsilon: float, rule: str) -> "Series":
        """Per-image k-LRP of an ensemble minus that of the baseline, both at the input, images paired."""
        own = self.scores(ensemble, attack, epsilon, rule).set_index("image")["k_lrp"]
        base = self.scores(BASELINE, attack, epsilon, rule).set_index("image")["k_lrp"]
        return (own - base).dropna()

    @cached_property
    def _cells(self) -> "dict[tuple, DataFrame]":
        rounded = self.result.scores["epsilon"].map(_key)
        groups = self.result.scores.groupby(["ensemble", "attack", "rule", "layer", rounded], sort=False)
        return dict(iter(groups))

    def _series(self, name: str) -> tuple[str, str, str]:
        return series(0 if name == BASELINE else 1 + [e.name for e in self.others].index(name))


def is_clear(row: "Series") -> bool:
    """Whether a comparison is clear: its interval excludes zero and its corrected p-value is below 0.05."""
    excludes = row["low"] > 0 or row["high"] < 0
    corrected = row["p_holm"] if math.isfinite(row["p_holm"]) else row["p_wilcoxon"]
    return bool(excludes and corrected < CLEAR)


def _key(epsilon: float) -> float:
    """A radius that can be looked up: rounded beyond any that differ on purpose."""
    return float(f"{epsilon:.6g}")


def _rows(frame: "DataFrame", epsilon: float | None = None, **equal: str) -> "DataFrame":
    """The rows with these values; radii are compared up to rounding."""
    for column, value in equal.items():
        frame = frame[frame[column] == value]
    if epsilon is not None:
        frame = frame[frame["epsilon"].map(_key) == _key(epsilon)]
    return frame


def _find(settings: object, key: str) -> object:
    """The first value under `key` anywhere in nested settings."""
    if not isinstance(settings, dict):
        return None
    if key in settings:
        return settings[key]
    return next((v for v in (_find(inner, key) for inner in settings.values()) if v is not None), None)
