"""Result: what a study hands to the report. Tables in long form, one row per (ensemble, attack, radius, ..., image).

Names that mean something to the reader of a `Result`:

- an ensemble is known by its `name`; the one called `"deterministic"` is what all others are compared with;
- an attack is known by the name of its function (`"fgsm"`, `"pgd"`); `"random_noise"` is the control of the same size;
- `"clean"` in the attack column of `masking` means the images as they are, with epsilon 0;
- `layer` is `"input"` for heatmaps on the image, else the name of the module at which class relevance was read;
- `subset` is `"all"`, `"label_preserving"` (images on which both compared ensembles keep their prediction) or
  `"label_changing"` (on which neither does); `p_holm` is corrected over all rows of one subset.

A number that is not defined (a correlation with a constant map, a test on no images) is NaN, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast.diagnostics.diagnosis import Diagnosis
from holdfast.ensemble import Diagnostics

if TYPE_CHECKING:
    from pandas import DataFrame

BASELINE = "deterministic"
CONTROL = "random_noise"
CLEAN = "clean"
INPUT = "input"
SUBSETS = ("all", "label_preserving", "label_changing")

_CELL = ("ensemble", "attack", "epsilon")
COLUMNS: dict[str, tuple[str, ...]] = {
    "predictions": (
        *_CELL,
        "image",
        "label",
        "clean_predicted",
        "predicted",
        "label_preserved",
        "size_linf",
        "size_l2",
        "softmax_robustness",
    ),
    "scores": (
        *_CELL,
        "rule",
        "layer",
        "image",
        "k_lrp",
        "k_lrp_signed",
        "chance",
        "k_lrp_corrected",
        "spearman",
        "cosine",
        "label_preserved",
    ),
    "comparisons": (
        *_CELL,
        "rule",
        "layer",
        "subset",
        "n",
        "median_difference",
        "mean_difference",
        "low",
        "high",
        "p_wilcoxon",
        "p_holm",
        "effect_size",
        "p_mann_whitney",
    ),
    "masking": (*_CELL, "accuracy", "zero_gradient_rate", "saturation_rate"),
    "checks": ("ensemble", "check", "passed", "sentence"),
}


@dataclass(frozen=True)
class EnsembleSummary:
    """One ensemble of the study, in figures.

    Attributes:
        name: the key used in every table.
        title: what a reader calls it ("Mean-field posterior").
        draws: number of weight draws S.
        parameters: number of learned numbers of one draw.
        clean_accuracy: share of the test images classified correctly by the log predictive, in [0, 1].
        nll: mean negative log predictive probability of the true class, in nats.
        saturation_rate: share of (image, draw) pairs whose largest class probability is exactly 1 in the working type.
        diagnostics: what the inference method said of its own result.
    """

    name: str
    title: str
    draws: int
    parameters: int
    clean_accuracy: float
    nll: float
    saturation_rate: float
    diagnostics: Diagnostics | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of the grid: the comparison that was named before the run and that the headline reports."""

    ensemble: str
    attack: str
    epsilon: float
    rule: str
    layer: str = INPUT


@dataclass(frozen=True, eq=False)
class Gallery:
    """Some images with their heatmaps, for one attack, radius and rule.

    Attributes:
        images: the clean images `[n, C, H, W]` in [0, 1].
        labels: their true classes `[n]`.
        rows: their numbers `[n]`, as in the `image` column of the tables.
        chosen_by: one sentence: the rule that chose them, fixed before any result was seen.
        attack, epsilon, rule: the cell that is shown.
        attacked: per ensemble the attacked images `[n, C, H, W]`.
        clean_maps, attacked_maps: per ensemble the heatmaps `[n, H, W]`, signed, channels summed, mean over draws.
        clean_predictions, attacked_predictions: per ensemble the predicted classes `[n]`.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    chosen_by: str
    attack: str
    epsilon: float
    rule: str
    attacked: Mapping[str, Tensor]
    clean_maps: Mapping[str, Tensor]
    attacked_maps: Mapping[str, Tensor]
    clean_predictions: Mapping[str, Tensor]
    attacked_predictions: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Result:
    """Everything the report says, and nothing it has to compute by running a network.

    Attributes:
        title: of the page.
        question: one sentence.
        command: the shell command that makes this result again.
        settings: nested dicts, lists, strings and numbers (JSON). The page gives the keys `data`, `network`,
            `inference`, `attacks`, `explanations`, `budget`, `scores` and `statistics` a row each in "What was
            tested"; each may be a sentence or a dict. `budget["norm"]` ("linf" or "l2") and `k` (percent) are read
            where present.
        versions: package name to version.
        checksums: name of a file or stage to its checksum.
        classes: class names in label order.
        ensembles: in the order in which the page shows them, the baseline first.
        predictions: per image, see `COLUMNS`. Sizes are in the images' own units.
        scores: per image and heatmap. `k_lrp` is the share of the top-k pixels of |R| that stay among the top k, in
            [0, 1]; `k_lrp_signed` the same with the k/2 largest and k/2 smallest pixels; `chance` the level that
            another image's map reaches; `k_lrp_corrected` is (k_lrp - chance) / (1 - chance).
        comparisons: each ensemble minus the baseline, paired by image, for `k_lrp`; `low` and `high` bound the
            mean difference with 95 % confidence.
        masking: per cell, with rows for "clean".
        checks: sentences on gradient masking, `passed` true, false or missing (not run).
        gallery: example images.
        primary: the comparison named beforehand; None lets the page take the last ensemble under the strongest attack.
        seconds: how long each stage took.
        diagnosis: how far the ensembles' draws are from mixed, how they predict, what they resolve; its names are
            those of `ensembles`.
    """

    title: str
    question: str
    command: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    checksums: Mapping[str, str]
    classes: Sequence[str]
    ensembles: Sequence[EnsembleSummary]
    predictions: "DataFrame"
    scores: "DataFrame"
    comparisons: "DataFrame"
    masking: "DataFrame"
    checks: "DataFrame | None" = None
    gallery: Gallery | None = None
    primary: Cell | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None

    def __post_init__(self) -> None:
        for table, columns in COLUMNS.items():
            frame = getattr(self, table)
            if frame is None and table == "checks":
                continue
            missing = [c for c in columns if c not in frame.columns]
            if missing:
                raise ValueError(f"Result: the table {table!r} lacks the columns {missing}; it needs {list(columns)}.")
            self._check_names(table, set(frame["ensemble"].dropna()))
        if self.gallery is not None:
            self._check_names("gallery", set(self.gallery.clean_maps))
        if self.primary is not None:
            self._check_names("primary", {self.primary.ensemble})
        if self.diagnosis is not None:
            self._check_names("diagnosis", set(self.diagnosis.verdicts))

    def _check_names(self, where: str, names: set[str]) -> None:
        known = [e.name for e in self.ensembles]
        unknown = sorted(names - set(known))
        if unknown:
            raise ValueError(f"Result: {where!r} names the ensembles {unknown}, but `ensembles` has only {known}.")

    def ensemble(self, name: str) -> EnsembleSummary:
        """The summary of one ensemble, by its name."""
        return next(e for e in self.ensembles if e.name == name)
