"""Settings of the main job: all that its result depends on. The command line reads them: torch is not imported here."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from holdfast.budget import Budget
    from holdfast.data import Dataset

ENSEMBLES = {
    "deterministic": "Deterministic",
    "adversarial": "Adversarially trained",
    "deep_ensemble": "Deep ensemble",
    "mean_field": "Mean-field posterior",
}
RADII = {"linf": (0.05, 0.1, 0.2), "l2": (0.5, 1.0, 2.0)}  # unless others are given
NETWORKS = ("fc2", "conv")
RULES = ("epsilon", "gamma", "alpha_beta")
ATTACKS = {
    "random_noise": "random noise of the same size, the control",
    "fgsm": "one step along the sign of the gradient of the margin",
    "pgd": "projected gradient ascent on the margin",
}


@dataclass(frozen=True)
class MainJob:
    """What to train on, what to train, how to attack, explain and score.

    Attributes:
        data: name of a data set, see `holdfast data list`.
        network: "fc2" or "conv".
        width: units of its hidden layers.
        epochs: passes over the training images; None for each method's own number.
        points: class-balanced test images that are attacked and explained.
        norm: of the attacks' budget.
        epsilons: radii of the budget; None for three that suit the norm.
        training_epsilon: radius of adversarial training; None for that of the headline.
        primary_epsilon: the radius of the comparison in the headline, named before the run; None for the middle one.
        steps: gradient steps of PGD.
        n_restarts: restarts of PGD.
        thorough: images, spread evenly over the points, on which the thorough part of the masking report tries all
            there is; 0 leaves it out.
        members: networks of the deep ensemble.
        draws: weight draws of the mean-field posterior.
        rules: LRP rules, see `holdfast.studies.main_job.explain`.
        k: top-k in percent of the pixels.
        gallery: how many images the report shows.
        seed: every random choice follows from it.
    """

    data: str = "fashion-mini"
    network: Literal["fc2", "conv"] = "fc2"
    width: int = 512
    epochs: int | None = None
    points: int = 200
    norm: Literal["linf", "l2"] = "linf"
    epsilons: tuple[float, ...] | None = None
    training_epsilon: float | None = None
    primary_epsilon: float | None = None
    steps: int = 40
    n_restarts: int = 1
    thorough: int = 40
    members: int = 5
    draws: int = 30
    rules: tuple[str, ...] = RULES
    k: float = 20.0
    gallery: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        from holdfast.checks import check_range

        check_range("demo", "k", self.k, 0, 100, open_low=True)
        least = {
            "width": 1,
            "points": 10,
            "steps": 1,
            "n_restarts": 1,
            "thorough": 0,
            "members": 2,
            "draws": 2,
            "gallery": 1,
            "seed": 0,
        }
        for name, low in (least if self.epochs is None else least | {"epochs": 1}).items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"demo: {name} must be a whole number of at least {low}, got {value!r}.")
        for name, known in (("network", NETWORKS), ("norm", tuple(RADII))):
            if getattr(self, name) not in known:
                raise ValueError(f"demo: {name} must be one of {known}, got {getattr(self, name)!r}.")
        if not isinstance(self.rules, tuple) or not self.rules or not set(self.rules) <= set(RULES):
            raise ValueError(f"demo: rules must be a tuple of some of {RULES}, got {self.rules!r}.")
        self._settle_radii()

    def _settle_radii(self) -> None:
        radii = RADII[self.norm] if self.epsilons is None else tuple(sorted(set(self.epsilons)))
        primary = radii[len(radii) // 2] if self.primary_epsilon is None else self.primary_epsilon
        training = primary if self.training_epsilon is None else self.training_epsilon
        for name, value in (("epsilons", radii), ("primary_epsilon", primary), ("training_epsilon", training)):
            object.__setattr__(self, name, value)
        self.budget(training)
        if primary not in self.budget().epsilons:
            raise ValueError(f"demo: the radius of the headline, {primary}, must be one of the radii {radii}.")

    def check(self, data: "Dataset") -> None:
        """Raise before any work where these settings do not fit the data: radii, points, top-k."""
        from math import prod

        from holdfast.scores.k_lrp import selected_pixels

        if self.points > len(data.test):
            raise ValueError(f"demo: {data.name} has {len(data.test)} test images, fewer than points={self.points}.")
        self.budget().check_inside("demo", data.test.images)
        self.budget(self.training_epsilon).check_inside("demo", data.train.images)
        selected_pixels(prod(data.shape[-2:]), self.k, "signed")
        selected_pixels(self.width, self.k)

    def budget(self, epsilon: float | None = None) -> "Budget":
        """The attacks' budget, or the same with another radius."""
        from holdfast.budget import Budget

        return Budget(self.norm, self.epsilons if epsilon is None else epsilon)

    def as_json(self) -> dict[str, Any]:
        """All settings, for a manifest."""
        return asdict(self)
