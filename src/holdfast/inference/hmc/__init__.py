"""Hamiltonian Monte Carlo on all images at once: kernel, warm-up, chains with checkpoints.

`hmc` is the function to call; `Plan` and `PRESETS` say how long it runs. The kernel (`transition`, `trajectory`) takes
any potential over a stack of chains.
"""

from holdfast.inference.hmc.hmc import hmc
from holdfast.inference.hmc.integrator import trajectory
from holdfast.inference.hmc.kernel import Outcome, Potential, State, transition
from holdfast.inference.hmc.presets import PRESETS, Plan
from holdfast.inference.hmc.stacked import stacked_cells

__all__ = ["PRESETS", "Outcome", "Plan", "Potential", "State", "hmc", "stacked_cells", "trajectory", "transition"]
