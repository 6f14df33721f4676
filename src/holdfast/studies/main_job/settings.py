"""Settings of the main job: all that its result depends on. The command line reads them: torch is not imported here."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from holdfast.budget import Budget

ENSEMBLES = {
    "deterministic": "Deterministic",
    "adversarial": "Adversarially trained",
    "deep_ensemble": "Deep ensemble",
    "mean_field": "Mean-field posterior",
}
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
        epsilons: radii of the budget.
        training_epsilon: radius of adversarial training.
        primary_epsilon: the radius of the comparison in the headline, named before the run.
        steps: gradient steps of PGD.
        n_restarts: restarts of PGD.
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
    epsilons: tuple[float, ...] = (0.05, 0.1, 0.2)
    training_epsilon: float = 0.1
    primary_epsilon: float = 0.1
    steps: int = 40
    n_restarts: int = 1
    members: int = 5
    draws: int = 30
    rules: tuple[str, ...] = ("epsilon", "gamma", "alpha_beta")
    k: float = 20.0
    gallery: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        from holdfast.checks import check_range

        check_range("demo", "k", self.k, 0, 100, open_low=True)
        for name, low in (("width", 1), ("points", 10), ("steps", 1), ("n_restarts", 1), ("members", 2), ("draws", 2)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"demo: {name} must be a whole number of at least {low}, got {value!r}.")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"demo: epochs must be at least 1, got {self.epochs}.")
        if self.network not in ("fc2", "conv"):
            raise ValueError(f"demo: network must be 'fc2' or 'conv', got {self.network!r}.")
        self.budget(self.training_epsilon)
        if self.primary_epsilon not in self.budget().epsilons:
            raise ValueError(
                f"demo: the radius of the headline, {self.primary_epsilon}, must be one of the radii {self.epsilons}."
            )

    def budget(self, epsilon: float | None = None) -> "Budget":
        """The attacks' budget, or the same with another radius."""
        from holdfast.budget import Budget

        return Budget(self.norm, self.epsilons if epsilon is None else epsilon)

    def as_json(self) -> dict[str, Any]:
        """All settings, for a manifest."""
        return asdict(self)
