"""Names: what a reader calls treatments, labels and values, and the colour that each treatment has on every figure."""

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.report.palette import series
from holdfast.report.wording import THIN, attack_title, plain, radius, rule_title

BASE = "deterministic"
_TREATMENTS = {
    "deterministic": ("Deterministic", 0),
    "adversarial": ("Adversarially trained", 1),
    "hmc": ("HMC", 2),
    "mean_field": ("Mean-field posterior", 6),
    "deep_ensemble": ("Deep ensemble", 3),
    "noise_grad": ("NoiseGrad", 4),
    "smooth_grad": ("SmoothGrad", 7),
    "loud": ("Logits × 100", 5),
    "prior_draws": ("Prior draws", 5),
    "sgd": ("SGD", 0),
    "standard": ("Standard", 0),
    "robust": ("Robust", 1),
}
_DATA = {
    "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar-10": "CIFAR-10",
    "fashion-mini": "embedded Fashion-MNIST", "half-moons": "half moons",
    "embedded-moons": "curves in 20 dimensions", "embedded-spheres": "spheres in 20 dimensions",
}  # fmt: skip
SCORES = {  # what a column `value` is, by the label that says it
    "l2": "ℓ2 distance", "relative": "relative distance", "cosine": "cosine", "localisation": "Loc.",
    "energy_game": "energy game",
}  # fmt: skip
VECTORS = {
    "loss": "gradient of the loss", "log_predictive": "gradient of the log predictive",
    "logit": "gradient of the logit", "lrp": "LRP",
}  # fmt: skip
PARTS = {
    "tangent": "along the manifold", "normal": "across the manifold", "outside": "where no data vary",
    "inside": "where data vary", "all": "",
}  # fmt: skip
LABELS = (
    "data", "network", "treatment", "attack", "rule", "layer", "epsilon", "draws", "k", "seed", "image", "panel",
    "width", "depth", "train", "warm_up", "kept_draws", "learning_rate", "epochs", "step", "trajectory", "spread",
    "level", "example", "member",
)  # fmt: skip


def treatment_title(name: str) -> str:
    """What a reader calls a treatment.

    >>> treatment_title("hmc"), treatment_title("own_method")
    ('HMC', 'Own method')
    """
    plain_name = name.replace("_", " ")
    return _TREATMENTS.get(name, (plain_name[:1].upper() + plain_name[1:], 0))[0]


def control_title(name: str) -> str:
    """What a reader calls a control: a treatment, an attack, or a map.

    >>> control_title("loud"), control_title("noise grad"), control_title("random noise"), control_title("centre")
    ('Logits × 100', 'NoiseGrad', 'random noise', 'centre')
    """
    own = name.replace(" ", "_")
    return treatment_title(own) if own in _TREATMENTS else name


def look(name: str) -> tuple[str, str, str]:
    """(palette variable, marker, glyph) of a treatment, or of random noise as a control; unknown ones share the sixth.

    >>> look("random_noise"), look("hmc")
    (('muted', 'x', '×'), ('series-2', '^', '▲'))
    """
    if name == "random_noise":
        return "muted", "x", "×"
    return series(_TREATMENTS.get(name, ("", 5))[1])


def data_title(name: str) -> str:
    """What a reader calls a data set."""
    return _DATA.get(name, name)


def value_title(label: str, value: Any, here: Mapping[int, int] | None = None) -> str:
    """A label's value in words; with how many draws stand `here` for the paper's number, where they are others.

    >>> value_title("layer", -1), value_title("k", 20.0), value_title("rule", "epsilon"), value_title("draws", 100)
    ('last layer', 'k = 20\u202f%', 'LRP-ε', '100 draws')
    >>> value_title("draws", 100, {100: 20})
    '100 draws (here 20)'
    """
    words = {
        "treatment": treatment_title, "attack": attack_title, "rule": rule_title, "data": data_title,
        "layer": lambda v: "last layer" if v == -1 else f"layer {v}",
        "draws": lambda v: f"{plain(v)} draw{'' if v == 1 else 's'}{_other(v, here or {})}",
        "k": lambda v: f"k = {v:g}{THIN}%",
        "epsilon": lambda v: f"ε = {radius(v)}", "explanation": str, "pair": str,
        "of": lambda v: VECTORS.get(v, plain(v)), "part": lambda v: PARTS.get(v, plain(v)) or "all directions",
        "score": _score, "distance": _score,
    }  # fmt: skip
    known = isinstance(value, str | int | float) and label in words
    return words[label](value) if known else f"{label.replace('_', ' ')} {plain(value)}"


def value_alone(label: str, value: Any, here: Mapping[int, int] | None = None) -> str:
    r"""A label's value where a header says the label.

    >>> value_alone("width", 32), value_alone("draws", 100, {100: 20}), value_alone("k", 20.0), value_alone("layer", -1)
    ('32', '100 (here 20)', '20\u202f%', 'last')
    >>> value_alone("check", "zero_gradient"), value_alone("treatment", "hmc"), value_alone("of", "lrp")
    ('zero gradient', 'HMC', 'LRP')
    """
    words = {
        "layer": lambda v: "last" if v == -1 else plain(v), "draws": lambda v: f"{plain(v)}{_other(v, here or {})}",
        "k": lambda v: f"{v:g}{THIN}%", "epsilon": radius, "method": treatment_title,
        "of": lambda v: "LRP" if v == "lrp" else v.replace("_", " "),
    }  # fmt: skip
    if isinstance(value, str | int | float) and label in words:
        return words[label](value)
    words_of_value = value_title(label, value, here).removeprefix(f"{label.replace('_', ' ')} ")
    return words_of_value.replace("_", " ") if words_of_value.isidentifier() else words_of_value


def _score(name: str) -> str:
    return SCORES.get(name, name.replace("_", " "))


def in_words(labels: Mapping[str, Any], here: Mapping[int, int] | None = None) -> str:
    """Several labels with their values."""
    return ", ".join(value_title(label, value, here) for label, value in labels.items())


def _other(count: float, here: Mapping[int, int]) -> str:
    return f" (here {here[count]})" if here.get(count, count) != count else ""


def sentence(text: str) -> str:
    """A text that ends as a sentence does, once."""
    return text if not text or text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."


def ordered(treatments: Iterable[str]) -> list[str]:
    """Treatments in the order in which every figure shows them."""
    known = list(_TREATMENTS)
    found = list(dict.fromkeys(treatments))
    return sorted(found, key=lambda t: (known.index(t) if t in known else len(known), found.index(t)))


def legend(treatments: Iterable[str]) -> list[dict[str, str]]:
    """Entries of a legend."""
    return [{"title": treatment_title(t), "colour": look(t)[0], "glyph": look(t)[2]} for t in ordered(treatments)]
