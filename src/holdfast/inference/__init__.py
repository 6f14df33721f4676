"""Inference: ways from data to an ensemble, each a function `(network, data, *, seed, ...) -> Ensemble`.

The network handed in gives the architecture and stays as it is; initial weights are drawn from the seed. Each result
carries its `Diagnostics`.
"""

from holdfast.inference.adversarial import adversarial
from holdfast.inference.deep_ensemble import deep_ensemble
from holdfast.inference.hmc import Plan, hmc, stacked_cells
from holdfast.inference.laplace import laplace
from holdfast.inference.low_rank import low_rank
from holdfast.inference.mc_dropout import mc_dropout
from holdfast.inference.mean_field import MeanField, Start, fit_mean_field, mean_field, mean_field_training
from holdfast.inference.prior_draws import prior_draws
from holdfast.inference.priors import EmpCov, FanIn, Isotropic, Prior, StudentT
from holdfast.inference.sgd import sgd
from holdfast.inference.sghmc import Path, sghmc
from holdfast.inference.sgld import sgld
from holdfast.inference.swag import swag
from holdfast.inference.training import Training

__all__ = [
    "EmpCov",
    "FanIn",
    "Isotropic",
    "MeanField",
    "Path",
    "Plan",
    "Prior",
    "Start",
    "StudentT",
    "Training",
    "adversarial",
    "deep_ensemble",
    "fit_mean_field",
    "hmc",
    "laplace",
    "low_rank",
    "mc_dropout",
    "mean_field",
    "mean_field_training",
    "prior_draws",
    "sgd",
    "sghmc",
    "sgld",
    "stacked_cells",
    "swag",
]
