"""Objectives: what an attack on predictions raises, as functions of all draws' logits.

Each takes logits `[S, b, C]` and labels `[b]` and returns one value per image `[b]`: high where the ensemble is wrong
about the label. A targeted attack lowers the same function at the target instead; there the ratios of `dlr` and
`votes` take their denominator for a constant, since raising it would lower them without coming nearer to the target,
and `votes` caps the draws that are won, which are then those below -0.2. Below, `p` is the log predictive's
probability, `q` the same after the logits were divided by a temperature where they are loud (see `tempered`), and `z`
are logits, `z_(k)` the k-th largest.

    cross_entropy            -log p_y
    tempered_cross_entropy   -log q_y
    margin                   max_{c != y} log q_c - log q_y
    dlr                      the margin over log q_(1) - log q_(3)
    logit_margin             max_{c != y} z_c - z_y of the mean logits
    votes                    mean over draws of min(0.2, (max_{c != y} z_c - z_y) / (z_(1) - z_(3)))
    levelled_margin          mean over three levels of max_{c != y} log r_c - log r_y, r the log predictive of draws
                             that were each brought down to the level (see `levelled`)

For one network margin, dlr, logit_margin and votes follow the same margin of the logits, which no scale of the logits
saturates. For an ensemble with loud logits the plain log predictive forgets all draws but one or two: measured on ten
draws with a N(0, 1) prior, PGD on it left 84 % of MNIST right at linf 0.2 where the others left 0 %. One temperature
for all draws forgets the quieter ones where some are much louder than others; `levelled_margin` gives each its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from holdfast.ensemble import log_predictive

ObjectiveFunction = Callable[[Tensor, Tensor], Tensor]  # (logits [S, b, C], labels [b]) -> [b]
FLOOR = -60.0  # log odds below which float32 cannot tell the cross-entropy from zero; see `cross_entropy`
LOUD = 2.0  # standard deviation over the classes above which logits are tempered
LEVELS = (2.0, 5.0, 10.0)  # the same for each draw by itself; flat logits show the way from far, sharp ones near by
VOTE = 0.2  # a draw this far on the wrong side has given its vote; nothing is gained by pushing it further


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy `-log p_y` of the log predictive, with a gradient that saturation does not kill.

    With the log odds `o = log((1 - p_y) / p_y)`, taken in log space, the cross-entropy is `log(1 + exp(o))`. The usual
    route over `p_y` loses the gradient once `p_y` rounds to 1; this one keeps it while `exp(o)` is a number. Below
    `o = -60`, where the value is 1e-26 and its derivative would soon underflow, it goes on along its tangent: still
    rising in `o`, so steps that use only the gradient's direction are those of the exact cross-entropy.

    >>> z = torch.tensor([[[2000., 0.]]]).requires_grad_()
    >>> y = torch.tensor([0])
    >>> torch.autograd.grad(cross_entropy(z, y).sum(), z)[0].sign()
    tensor([[[-1.,  1.]]])
    >>> torch.autograd.grad(torch.nn.functional.cross_entropy(z[0], y), z)[0]
    tensor([[[0., 0.]]])
    """
    return _softplus(log_odds(log_predictive(logits), y))


def tempered_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy after loud logits were divided by a temperature (Gupta and Ajanthan 2020, arXiv 2003.13511)."""
    return _softplus(log_odds(tempered(logits), y))


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Margin `max_{c != y} log q_c - log q_y`: for one network the margin of the logits.

    After the objective f_6 of Carlini and Wagner 2017 (arXiv 1608.04644), turned around. Where the draws' logits are
    of ordinary size `q` is the log predictive itself.

    >>> margin(torch.tensor([[[3., 1., 0.]]]), torch.tensor([0]))
    tensor([-2.])
    """
    return margin_of(_comparable(logits), y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference-of-logits ratio (Croce and Hein 2020, arXiv 2003.01690): the margin over `log q_(1) - log q_(3)`.

    Unchanged when logits are shifted or scaled. Needs at least three classes.

    >>> dlr(torch.tensor([[[3., 1., 0.]]]), torch.tensor([0]))
    tensor([-0.6667])
    """
    return _ratio(_comparable(logits), y)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted ratio `(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)` on `log q`: raised to turn `y` into the target.

    From Croce and Hein 2020 (arXiv 2003.01690). Needs at least four classes.
    """
    values = _comparable(logits)
    _need("targeted_dlr", values, 4)
    top = values.topk(4, -1).values
    return (_own(values, target) - _own(values, y)) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def margin_towards(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """`log q_t - log q_y`: raised to turn `y` into the target."""
    values = _comparable(logits)
    return _own(values, target) - _own(values, y)


def logit_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Margin `max_{c != y} z_c - z_y` of the logits averaged over the draws: linear in every draw, at any scale."""
    return margin_of(logits.mean(0), y)


def votes(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over the draws of their own difference-of-logits ratio, capped where a draw is safely on the wrong side.

    A weighted loss per draw: where every draw is sure of itself the average is a vote, and work goes to the draws not
    yet won. With two classes the ratio is replaced by the margin over the size of the logits.
    """
    return _each_ratio(logits, y).clamp(max=VOTE).mean(0)


def levelled_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Margin of the log predictive of levelled draws, averaged over `LEVELS`: no draw drowns another.

    >>> loud, quiet = [[9000., 0., 0.]], [[90., 0., 0.]]
    >>> z = torch.tensor([loud, quiet]).requires_grad_()
    >>> (gradient,) = torch.autograd.grad(levelled_margin(z, torch.tensor([0])).sum(), z)
    >>> bool((100 * gradient[0] - gradient[1]).abs().max() < 1e-4)
    True
    """
    return torch.stack([margin_of(levelled(logits, level), y) for level in LEVELS]).mean(0)


def levelled_towards(logits: Tensor, y: Tensor, target: Tensor, *, levels: tuple[float, ...] = LEVELS) -> Tensor:
    """`log r_t - log r_y` of levelled draws, averaged over the levels: raised to turn `y` into the target."""
    values = torch.stack([levelled(logits, level) for level in levels]).mean(0)
    return _own(values, target) - _own(values, y)


def levelled(logits: Tensor, level: float) -> Tensor:
    """`log r` `[b, C]`: the log predictive of draws whose logits were divided by `max(1, spread / level)` each.

    `spread` is the standard deviation of an image's logits over the classes under that draw, a constant in derivatives.
    """
    spread = logits.detach().std(-1, correction=0, keepdim=True)
    return log_predictive(logits / (spread / level).clamp(min=1))


def tempered(logits: Tensor) -> Tensor:
    """`log q` `[b, C]`: the log predictive of logits divided by `max(1, spread / 2)`.

    `spread` is the standard deviation of an image's logits over the classes, averaged over the draws, and counts as a
    constant in derivatives. One network's decisions do not change; an ensemble's may, so success is never judged here.
    """
    spread = logits.detach().std(-1, correction=0).mean(0)
    return log_predictive(logits / (spread / LOUD).clamp(min=1)[:, None])


def margin_of(values: Tensor, y: Tensor) -> Tensor:
    """`max_{c != y} v_c - v_y` of values `[b, C]`."""
    return _others(values, y).amax(-1) - _own(values, y)


def log_odds(log_p: Tensor, y: Tensor) -> Tensor:
    """`log((1 - p_y) / p_y)` of log probabilities `[b, C]`."""
    return _others(log_p, y).logsumexp(-1) - _own(log_p, y)


def dlr_at_target(logits: Tensor, y: Tensor) -> Tensor:
    """`dlr` with its denominator taken for a constant."""
    return _ratio(_comparable(logits), y, fixed=True)


def votes_at_target(logits: Tensor, y: Tensor) -> Tensor:
    """`votes` with the other end capped: a draw that votes for the target by a safe lead is won."""
    return _each_ratio(logits, y, fixed=True).clamp(min=-VOTE).mean(0)


OBJECTIVES: dict[str, ObjectiveFunction] = {
    f.__name__: f for f in (cross_entropy, tempered_cross_entropy, margin, dlr, logit_margin, votes, levelled_margin)
}
# what a targeted attack lowers in the place of some
AT_TARGET: dict[str, ObjectiveFunction] = {"dlr": dlr_at_target, "votes": votes_at_target}


def objective_function(call: str, objective: str | ObjectiveFunction, targeted: bool = False) -> ObjectiveFunction:
    """The objective of that name, or the callable itself."""
    if callable(objective):
        return objective
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        raise ValueError(
            f"{call}: no objective named {objective!r}; choose one of {', '.join(OBJECTIVES)}, or pass a function "
            "(logits [S, b, C], labels [b]) -> values [b]."
        )
    return AT_TARGET.get(objective, OBJECTIVES[objective]) if targeted else OBJECTIVES[objective]


def name_of(function: Callable) -> str:
    """What to call a function in settings; one without a name of its own (a partial, an object) by its kind."""
    return getattr(function, "__name__", type(function).__name__)


def _comparable(logits: Tensor) -> Tensor:
    """`log q`, or the logits themselves for one network: the same differences, without rounding errors."""
    return logits[0] if len(logits) == 1 else tempered(logits)


def _softplus(o: Tensor) -> Tensor:
    tangent = torch.tensor(FLOOR, dtype=o.dtype).exp().item() * (1 + o - FLOOR)
    return torch.where(o > FLOOR, -logsigmoid(-o), tangent)


def _each_ratio(logits: Tensor, y: Tensor, fixed: bool = False) -> Tensor:
    """Every draw's own ratio `[S, b]`."""
    flat, labels = logits.flatten(0, 1), y.repeat(len(logits))
    if flat.shape[-1] > 2:
        ratio = _ratio(flat, labels, fixed)
    else:
        ratio = margin_of(flat, labels) / (flat.detach().abs().sum(-1) + 1e-12)
    return ratio.view(len(logits), -1)


def _ratio(values: Tensor, y: Tensor, fixed: bool = False) -> Tensor:
    _need("dlr", values, 3)
    top = (values.detach() if fixed else values).topk(3, -1).values
    return margin_of(values, y) / (top[:, 0] - top[:, 2] + 1e-12)


def _need(name: str, values: Tensor, classes: int) -> None:
    if values.shape[-1] < classes:
        raise ValueError(
            f"{name}: the difference-of-logits ratio needs at least {classes} classes, got {values.shape[-1]}; "
            "use objective='margin'."
        )


def _own(values: Tensor, y: Tensor) -> Tensor:
    return values.gather(-1, y[:, None])[:, 0]


def _others(values: Tensor, y: Tensor) -> Tensor:
    return values.scatter(-1, y[:, None], -torch.inf)
