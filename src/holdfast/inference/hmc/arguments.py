"""Arguments: what `hmc` and `stacked_cells` take for a prior, and which networks they refuse."""

from torch import nn

from holdfast.inference.hmc.layers import plain_layers
from holdfast.inference.hmc.presets import Plan
from holdfast.inference.priors import PRIORS, EmpCov, Prior, StudentT

NAMED: dict[str, Prior | StudentT | EmpCov] = {**PRIORS, "student_t": StudentT(), "emp_cov": EmpCov()}
KINDS = "FanIn(...), Isotropic(...), StudentT(...) or EmpCov(...)"


def prior_of(call: str, prior: str | Prior | StudentT | EmpCov) -> Prior | StudentT | EmpCov:
    """A prior by its name, or as it came.

    >>> prior_of("call", "student_t").degrees
    4.0
    """
    if isinstance(prior, str) and prior in NAMED:
        return NAMED[prior]
    if isinstance(prior, StudentT | EmpCov) or (not isinstance(prior, str | type) and hasattr(prior, "deviations")):
        return prior
    kind = ValueError if isinstance(prior, str) else TypeError
    raise kind(f"{call}: prior must be {', '.join(map(repr, NAMED))}, {KINDS}, got {prior!r}.")


def check_layers(call: str, network: nn.Module) -> None:
    """Refuse batch normalisation."""
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"{call}: layer {name or 'network'} is batch normalisation, with which the density of a set of weights "
                "is not defined by the weights; use a network without it, or with group normalisation."
            )


def check_plain(call: str, network: nn.Module, plan: Plan, shape: Prior | StudentT | EmpCov) -> None:
    """Refuse a mass or a prior for linear layers where the network, or the prior, has no place for it."""
    plain = plain_layers(network) is not None
    if plan.mass == "kron_in" and not plain:
        raise ValueError(f"{call}: mass='kron_in' needs a plain network of linear layers; use mass='prior'.")
    if plan.mass == "kron_in" and isinstance(shape, StudentT):
        raise ValueError(
            f"{call}: mass='kron_in' turns the weights, a Student-t prior does not allow it; use mass='prior'."
        )
    if isinstance(shape, EmpCov) and not plain:
        raise ValueError(f"{call}: EmpCov needs a plain network of linear layers; use 'fan_in'.")
