"""Presets: how long the chains are, and how many, for a given amount of patience.

A preset fixes trajectories, warm-up and chains, never the data: images and network are the caller's choice. What
`cpu-hour` costs and reaches on `fc2` 512 and 60,000 images is in `benchmarks/results/hmc`, with the number of draws at
which each record was stopped; a trajectory takes 40 to 90 gradients of 0.3 CPU seconds where the processor multiplies
bfloat16. `smoke` is meant for a thousand images and narrow networks, `cpu-10min` for some 5,000 images. Those for a GPU
are reckoned, not measured.
"""

import math
from dataclasses import dataclass
from typing import Literal

from holdfast.checks import check_kind, check_range
from holdfast.inference.sghmc import Path
from holdfast.inference.training import Training, check_count

Mass = Literal["prior", "kron_in"]
START = Training(epochs=5)
APPROACH = Path(epochs=20, batch_size=512, step=4e-5, cycles=1, exploration=0.0, friction=0.03)
Name = Literal["smoke", "cpu-10min", "cpu-hour", "gpu-minutes", "gpu-reference"]


@dataclass(frozen=True)
class Plan:
    """The lengths of a run.

    Attributes:
        chains: independent chains, each from a fit of its own.
        draws: kept from every chain; rejected repeats count.
        trajectory: length of a trajectory in prior standard deviations; a quarter turn, pi / 2, refreshes every
            direction in which only the prior speaks.
        jitter: each trajectory is this much shorter or longer, at random.
        burn_in: lengths of the first trajectories, which move without a Metropolis test, at half the step.
        warm_up: trajectories with the test in which the step still adapts; a third as many again while the chains have
            not settled, three times as many at most.
        step: first guess, in prior standard deviations; None for 0.008 sqrt(5000 / N).
        error: root mean square energy error that the step is adapted to, in nats.
        mass: "prior" for none beyond the prior's scale; "kron_in" slows down the directions of the inputs in which the
            data are sharp.
        start: the fit to the maximum of the posterior from which each chain starts.
        approach: a path of stochastic gradients from there to where the warm-up begins, see `approach`; None for none.

    >>> PRESETS["cpu-hour"].chains, PRESETS["cpu-hour"].trajectory
    (2, 0.5)
    """

    chains: int = 2
    draws: int = 10
    trajectory: float = math.pi / 2
    jitter: float = 0.2
    burn_in: tuple[float, ...] = (0.3, 0.6, 0.9)
    warm_up: int = 9
    step: float | None = None
    error: float = 0.8
    mass: Mass = "prior"
    start: Training = START
    approach: Path | None = None

    def __post_init__(self) -> None:
        for name in ("chains", "draws", "warm_up"):
            check_count("hmc.Plan", name, getattr(self, name))
        check_range("hmc.Plan", "trajectory", self.trajectory, 0, 2 * math.pi, open_low=True)
        check_range("hmc.Plan", "jitter", self.jitter, 0, 0.9)
        check_range("hmc.Plan", "error", self.error, 0, 10, open_low=True)
        if self.step is not None:
            check_range("hmc.Plan", "step", self.step, 0, 1, open_low=True)
        if not isinstance(self.burn_in, tuple | list):
            raise TypeError(
                f"hmc.Plan: burn_in must be a tuple of lengths, got {self.burn_in!r:.80}; for one trajectory it is "
                "(0.3,), for none ()."
            )
        for length in self.burn_in:
            check_range("hmc.Plan", "burn_in", length, 0, 2 * math.pi, open_low=True)
        check_kind("hmc.Plan", "start", self.start, Training)
        if self.approach is not None:
            check_kind("hmc.Plan", "approach", self.approach, Path)
        if self.mass not in ("prior", "kron_in"):
            raise ValueError(f"hmc.Plan: mass must be 'prior' or 'kron_in', got {self.mass!r}.")
        if self.mass == "kron_in" and self.warm_up < 2:  # it would end with the trajectory after which the mass is
            raise ValueError(  # estimated anew: no step would have been tried under the mass that is frozen
                f"hmc.Plan: mass='kron_in' needs a warm_up of at least 2 trajectories, got {self.warm_up}; "
                "take more, or mass='prior'."
            )

    def first_step(self, images: int) -> float:
        """The first guess of the step for a number of images."""
        return self.step if self.step is not None else min(0.1, 0.008 * math.sqrt(5000 / images))


PRESETS: dict[str, Plan] = {
    "smoke": Plan(chains=2, draws=10, warm_up=6),
    "cpu-10min": Plan(chains=2, draws=20, warm_up=9),
    "cpu-hour": Plan(
        draws=50,
        trajectory=0.5,
        burn_in=(0.1,),
        warm_up=6,
        step=0.008,
        error=1.2,  # gradients in bfloat16 leave an error of about a nat at any step: smaller steps gain nothing
        mass="kron_in",
        approach=APPROACH,
    ),
    "gpu-minutes": Plan(chains=4, draws=125, burn_in=(0.1,), warm_up=27, step=0.007, mass="kron_in", approach=APPROACH),
    "gpu-reference": Plan(
        chains=10, draws=200, burn_in=(0.1,), warm_up=97, step=0.007, mass="kron_in", approach=APPROACH
    ),
}


def plan_of(call: str, preset: str | Plan) -> Plan:
    """A plan by its name, or as it came."""
    if isinstance(preset, Plan):
        return preset
    if not isinstance(preset, str) or preset not in PRESETS:
        kind = ValueError if isinstance(preset, str) else TypeError
        raise kind(f"{call}: preset must be {', '.join(map(repr, PRESETS))} or a Plan(...), got {preset!r:.80}.")
    return PRESETS[preset]
