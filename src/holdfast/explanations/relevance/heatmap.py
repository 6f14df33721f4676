"""Heatmaps of one network under one set of weights: pure functions of weights and images.

Both passes are plain tensor code. So `heatmap` is differentiable in the images and in the weights, and works under
`torch.vmap`, `torch.func.grad` and `torch.no_grad` alike.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.explanations.relevance.composites import Composite, composite
from holdfast.explanations.relevance.rules import Epsilon, Rule
from holdfast.explanations.relevance.starts import Start, begin, check_start
from holdfast.explanations.relevance.tape import Tape, module_names
from holdfast.explanations.relevance.walk import Walk

INPUT = "input"  # the name under which the images themselves may be asked for


@dataclass
class Trace:
    """A forward pass on tape: the tape, and for each place asked for its number and its values."""

    tape: Tape
    output: Tensor
    numbers: dict[str, int]
    values: dict[str, Tensor]


def heatmap(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    x: Tensor,
    rule: Rule | Composite | Any = Epsilon(),  # noqa: B008, immutable
    start: Start = "logit",
    *,
    target: Tensor | int | None = None,
    nonneg: bool = False,
) -> Tensor:
    """The relevance `[B, ...]` of every input entry, differentiable in `x` and in `weights`.

    Args:
        network: the architecture.
        weights: every parameter and buffer by its state-dict name.
        x: images `[B, ...]`.
        rule: a rule, a composite, or a function from `Layer` to rule.
        start: "logit", "one", "margin", or a function from logits `[B, C]` to the relevance that starts there.
        target: class of each image `[B]`, or one for all; None for the strongest.
        nonneg: no image has a value below zero, for sure: gamma and alpha-beta take a product less. At entries that
            are exactly zero, derivatives are then those from above.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> heatmap(net, dict(net.named_parameters()), torch.rand(2, 4), Epsilon(1e-6)).shape
    torch.Size([2, 4])
    """
    check_start("heatmap", start)
    check_evaluation("heatmap", network)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(
            f"heatmap: images must be a floating-point tensor, got {getattr(x, 'dtype', type(x).__name__)}."
        )
    if isinstance(target, int) and not isinstance(target, bool):
        target = torch.full((len(x),), target, device=x.device)
    if target is not None and not isinstance(target, Tensor):
        raise TypeError(f"heatmap: target must be a class, or a tensor of one class per image, got {target!r}.")
    t = trace("heatmap", network, weights, x, (), module_names(network), nonneg)
    return class_view(t, composite("heatmap", rule, network), start, target, (INPUT,))[INPUT]


def trace(
    call: str,
    network: nn.Module,
    weights: Mapping[str, Tensor],
    x: Tensor,
    layers: Sequence[str],
    names: dict[int, str],
    nonneg: bool = False,
    stop: bool = False,
    watch: bool = False,
) -> Trace:
    """Run the network's forward on tape, noting the outputs of the modules named in `layers`.

    With `stop` the forward ends as soon as all of them are known; for `watch` see `Tape`.
    """
    tape, values, numbers = Tape(x, names, nonneg, watch), {INPUT: x}, {INPUT: 0}
    modules = dict(network.named_modules()) if layers else {}
    output = None
    with ExitStack() as stack:
        for name in layers:
            if name != INPUT:
                hook = _note_output(call, name, tape, values, numbers, len(set(layers) - {INPUT}) if stop else 0)
                stack.callback(modules[name].register_forward_hook(hook).remove)
        stack.enter_context(tape)
        try:
            output = tape.current(functional_call(network, dict(weights), (x,)))
        except _AllSeen:
            tape.numbers.clear()
            return Trace(tape, x, numbers, values)
    _check_output(call, output, tape)
    for name in layers:
        if name not in numbers:
            raise ValueError(f"{call}: layer '{name}' did not run in the forward pass, so no relevance arrives there.")
    values[""], numbers[""] = output, tape.numbers[output]
    tape.numbers.clear()
    return Trace(tape, output, numbers, values)


class _AllSeen(Exception):
    """Every layer that was asked for has run."""


def _note_output(call: str, name: str, tape: Tape, values: dict, numbers: dict, stop_at: int) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        output = tape.current(output)
        if name in values:
            raise ValueError(
                f"{call}: layer '{name}' runs more than once in a forward pass; name a module that runs once."
            )
        if not isinstance(output, Tensor) or output not in tape.numbers:
            raise ValueError(
                f"{call}: the output of layer '{name}' is not a tensor that descends from the images; name another."
            )
        values[name], numbers[name] = output, tape.numbers[output]
        if len(values) - 1 == stop_at:
            raise _AllSeen

    return hook


def check_logits(call: str, output: Any) -> None:
    """A network must return one tensor of logits `[B, C]`."""
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{call}: the network returned {type(output).__name__}; expected one tensor of logits [B, C]. "
            "Wrap it in a module that returns only the logits."
        )
    if output.ndim != 2:
        raise ValueError(f"{call}: expected logits of shape [B, C] from the network, got {tuple(output.shape)}.")


def _check_output(call: str, output: Any, tape: Tape) -> None:
    check_logits(call, output)
    if output in tape.scales:
        raise NotImplementedError(
            f"{call}: the logits come from a measure of activations (a power, norm or variance), which carries no "
            "relevance; use such measures only as factors or divisors of activations, or register a rule."
        )
    if output not in tape.numbers:
        raise ValueError(
            f"{call}: the network's output does not descend from the images by torch functions that the tape sees; "
            "TorchScript and code that is not torch's are out of its sight: write the forward in torch."
        )


def check_evaluation(call: str, network: nn.Module) -> None:
    """Raise where a part of the network behaves differently in training mode and is in it."""
    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    for name, module in network.named_modules():
        if module.training and isinstance(module, kinds):
            raise ValueError(
                f"{call}: module '{name}' ({type(module).__name__}) is in training mode; call eval() on the network."
            )


def class_view(
    t: Trace, rules: Composite, start: Start, target: Tensor | None, layers: Sequence[str], again: bool = False
) -> dict[str, Tensor]:
    """The class relevance that arrives at each of `layers`."""
    relevance, keeps = begin("lrp", t.output, start, target)
    walk = Walk(t.tape, rules, again)
    found = walk({t.numbers[""]: (relevance, keeps)}, [t.numbers[name] for name in layers])
    return {name: _or_zero(found[t.numbers[name]], t.values[name]) for name in layers}


def _or_zero(relevance: Tensor | None, value: Tensor) -> Tensor:
    return torch.zeros_like(value) if relevance is None else relevance


def unit_view(
    t: Trace, rules: Composite, start: Start, units: Mapping[str, Tensor | None], layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each of `layers`, its strongest unit (or the one given) explained at the images."""
    maps = {}
    for name in layers:
        relevance, keeps = begin("lrp", t.values[name], start, units.get(name))
        maps[name] = Walk(t.tape, rules, again=True)({t.numbers[name]: (relevance, keeps)}, [0])[0]
    return maps
