"""Rules: what the names in a study mean under a preset and a scale.

A rule says what to set when some labels have some values. Of all rules of a section whose labels fit, in the order of
the files (common, preset, scale) and within them, later ones are laid over earlier ones, key by key:

    [[fit]]
    when = { treatment = "hmc", data = ["mnist", "fashion-mnist"] }
    set = { function = "holdfast.inference.hmc", preset = "cpu-hour" }
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from holdfast.studies import imagenet
from holdfast.studies.reproduce.study import HOME, Declared, read

Section = Literal["network", "fit", "attack", "explain", "measure"]
LABELS = ("preset", "study", "measure", "data", "network", "treatment", "attack", "rule")
PRESETS = ("published", "corrected")
SCALES = ("smoke", "laptop", "paper")


class Rule(Declared):
    """Lay `set` over what is there when the labels named in `when` have these values, or one of them.

    With `fresh` what is there is dropped first.
    """

    when: dict[Literal[LABELS], str | list[str]] = Field(default_factory=dict)
    set: dict[str, Any]
    fresh: bool = False

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether all labels that it names have a value that it names."""
        return all(labels.get(k) in (v if isinstance(v, list) else [v]) for k, v in self.when.items())


class Rules(Declared):
    """The rules of one file, by section."""

    network: tuple[Rule, ...] = ()
    fit: tuple[Rule, ...] = ()
    attack: tuple[Rule, ...] = ()
    explain: tuple[Rule, ...] = ()
    measure: tuple[Rule, ...] = ()


class Preset(Rules):
    """Rules, and which controls go with every study.

    Attributes:
        controls: treatments added to every panel that compares treatments.
        control_attacks: attacks added likewise.
        pick: which draws are taken, see `holdfast.studies.draws`.
        diagnose: whether the ensembles of every study are diagnosed.
    """

    title: str
    controls: tuple[str, ...] = ()
    control_attacks: tuple[str, ...] = ()
    pick: Literal["first", "spread"] = "spread"
    diagnose: bool = False


class Scale(Rules):
    """Rules, and how large everything is.

    Attributes:
        points: test images; train: training images, None for all; seeds: of the training runs.
        k: percentages of pixels at which k-LRP is kept, beside the figure's own.
        draws: number of draws in the paper -> here.
        data: name of a data set -> the one that takes its place.
    """

    title: str
    points: int = Field(ge=2)
    train: int | None = None
    seeds: tuple[int, ...] = Field(min_length=1)
    k: tuple[float, ...] = (20.0,)
    draws: dict[int, int] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)


class Settled:
    """A preset at a scale: what every name means.

    Args:
        preset, scale: names.
        data_dir: where data are that the user alone has; None for $HOLDFAST_DATA and the user's cache.

    >>> Settled("published", "smoke").of("fit", treatment="hmc")["function"]
    'holdfast.studies.published.sharded_chains'
    """

    def __init__(self, preset: str, scale: str, data_dir: Path | None = None) -> None:
        if preset not in PRESETS:
            raise ValueError(f"reproduce: the preset must be one of {', '.join(PRESETS)}, got {preset!r}.")
        if scale not in SCALES:
            raise ValueError(f"reproduce: the scale must be one of {', '.join(SCALES)}, got {scale!r}.")
        self.name, self.data_dir = preset, data_dir
        self.preset = _read(HOME / "presets" / f"{preset}.toml", Preset)
        self.scale = _read(HOME / "scales" / f"{scale}.toml", Scale)

    @property
    def _files(self) -> tuple[Rules, ...]:
        return _read(HOME / "presets" / "common.toml", Rules), self.preset, self.scale

    def of(self, section: Section, **labels: str) -> dict[str, Any]:
        """What a section says about these labels."""
        labels = {"preset": self.name, **labels}
        found: dict[str, Any] = {}
        for file in self._files:
            for rule in getattr(file, section):
                if rule.fits(labels):
                    found = _laid_over({} if rule.fresh else found, rule.set)
        return found

    def data(self, name: str) -> str:
        """The data set that stands for this one."""
        return self.scale.data.get(name, name)

    def images(self, name: str, points: int) -> dict[str, Any]:
        """The settings that say which test images of a data set are taken.

        >>> Settled("published", "smoke").images("mnist", 20)
        {'data': 'fashion-mini', 'points': 20}

        Raises:
            DataError: the user alone could have them, and has not; the message says what to put where.
        """
        if name == imagenet.NAME:
            return imagenet.images(self.data_dir, points)
        return {"data": self.data(name), "points": points}

    def draws(self, count: int) -> int:
        """The number of draws that stands for this one."""
        return self.scale.draws.get(count, count)


_read = cache(read)  # of files that come with the package; a page asks for them hundreds of times


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    tables = [k for k, v in over.items() if isinstance(v, dict) and isinstance(under.get(k), dict)]
    return {**under, **over, **{k: _laid_over(under[k], over[k]) for k in tables}}
