"""Shapes: views, permutations, selections, padding and concatenation carry relevance along with the values."""

from typing import Any

import torch
from torch import Tensor

from holdfast.explanations.relevance.pools import pulled
from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.tape import Call, Step

_MASKED = set(methods("masked_fill"))
_VIEWS = "flatten unflatten ravel view view_as reshape reshape_as squeeze unsqueeze contiguous detach"
_COPIES = "clone to float double half bfloat16 type type_as cpu cuda"
_MOVED = (
    "permute transpose swapaxes swapdims movedim moveaxis t narrow select flip roll expand expand_as broadcast_to "
    "repeat repeat_interleave tile gather index_select take_along_dim masked_select diagonal pixel_shuffle "
    "pixel_unshuffle channel_shuffle unfold tril triu __getitem__"
)


@register(*methods(_VIEWS))
def reshaped(call: Call) -> Step:
    """The same values in the same order."""
    call.inputs = call.inputs[:1]  # another tensor may lend its shape
    a = call.inputs[0]
    if call.function in (Tensor.view, Tensor.view_as):  # the tape may have images channel by channel: no view then
        call.function = Tensor.reshape if call.function is Tensor.view else Tensor.reshape_as
    shape, out = a.shape, call.run()
    if out is a:
        out = a.view_as(a)  # a number of its own: the tape follows tensors, not names
    return Step(out, lambda relevance, walk: (relevance.reshape(shape),), nonneg=call.nonneg(), view=True)


@register(*methods(_COPIES))
def copied(call: Call) -> Step:
    """The same values elsewhere, or in another floating-point type."""
    call.inputs = call.inputs[:1]
    a, out = call.inputs[0], call.run()
    if not isinstance(out, Tensor):  # `type()` without an argument asks
        return out
    if not out.is_floating_point():
        raise call.refuse(f"it rounds activations to {out.dtype}", "keep activations in a floating-point type")
    view = out is a
    out = a.view_as(a) if view else out
    like = a.new_empty(0)
    return Step(out, lambda relevance, walk: (relevance.to(like),), nonneg=call.nonneg(), view=view)


@register(*methods(_MOVED), Tensor.T.__get__, Tensor.mT.__get__)
def selected(call: Call) -> Step:
    """Values moved, repeated or left out: each carries its relevance."""
    call.inputs = call.inputs[:1]
    out, pull = pulled(call)
    return Step(out, lambda relevance, walk: pull(relevance), nonneg=call.nonneg(), view=True)


@register(*methods("pad masked_fill"))
def filled(call: Call) -> Step:
    """Values in which a constant takes some places: the others keep their relevance.

    Padding and the map behind it are two steps: a pixel repeated at the border adds up what its copies receive.
    """
    call.inputs = call.inputs[:1]
    names = ("input", "mask", "value") if call.function in _MASKED else ("input", "pad", "mode", "value")
    value = call.bind(*names).get("value") or 0
    out, pull = pulled(call)
    sure = not isinstance(value, Tensor) and value >= 0 and call.nonneg()
    return Step(out, lambda relevance, walk: pull(relevance), nonneg=sure)


@register(*methods("cat concat concatenate"))
def concatenated(call: Call) -> Step:
    """Tensors end to end: each takes its own piece."""
    p, out = call.bind("tensors", "dim"), call.run()
    dim, places, start = p.get("dim", 0), [], 0
    for t in p["tensors"]:
        if t in call.tape.numbers:
            places.append((start, t.shape[dim]))
        start += t.shape[dim]
    back = lambda relevance, walk: tuple(relevance.narrow(dim, *place) for place in places)
    return Step(out, back, nonneg=len(places) == len(p["tensors"]) and call.nonneg())


@register(*methods("hstack"))
def side_by_side(call: Call) -> Any:
    """Tensors along their second axis."""
    return call.on_tape(torch.cat, list(call.bind("tensors")["tensors"]), 1)


@register(*methods("stack"))
def stacked(call: Call) -> Step:
    """Tensors along a new axis: each takes its own piece."""
    p, out = call.bind("tensors", "dim"), call.run()
    dim = p.get("dim", 0)
    places = [i for i, t in enumerate(p["tensors"]) if t in call.tape.numbers]
    back = lambda relevance, walk: tuple(relevance.select(dim, i) for i in places)
    return Step(out, back, nonneg=len(places) == len(p["tensors"]) and call.nonneg())


@register(*methods("split chunk tensor_split split_with_sizes unsafe_chunk unsafe_split"))
def split(call: Call) -> Any:
    """Pieces of a tensor, each noted as a slice."""
    dim = call.bind("input", "sections", "dim").get("dim", 0)
    a, start, pieces = call.inputs[0], 0, []
    for piece in call.run():
        pieces.append(call.on_tape(torch.narrow, a, dim, start, piece.shape[dim]))
        start += piece.shape[dim]
    return tuple(pieces)


@register(*methods("unbind"))
def unbind(call: Call) -> Any:
    """Slices along an axis, each noted as one."""
    a, dim = call.inputs[0], call.bind("input", "dim").get("dim", 0)
    return tuple(call.on_tape(torch.select, a, dim, i) for i in range(a.shape[dim]))


@register(torch.where, Tensor.where)
def where(call: Call) -> Step:
    """A choice between two tensors: relevance goes to the one chosen."""
    names = ("condition", "input", "other") if call.function is torch.where else ("input", "condition", "other")
    p = call.bind(*names)
    if "other" not in p:
        raise call.refuse("it asks for places, not values", "choose places from tensors that are constant")
    condition, chosen, other = p["condition"], p.get("input", p.get("self")), p["other"]
    out = call.run()
    picks = [(t.shape, pick) for t, pick in ((chosen, True), (other, False)) if any(t is k for k in call.inputs)]

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor, ...]:
        zero = torch.zeros_like(relevance)
        parts = ((s, torch.where(condition, *((relevance, zero) if pick else (zero, relevance)))) for s, pick in picks)
        return tuple(r.sum_to_size(s) for s, r in parts)

    return Step(out, back, "shape")


@register(Tensor.__iter__)
def iterate(call: Call) -> Any:
    """`for part in tensor`."""
    return iter(call.on_tape(torch.unbind, call.inputs[0], 0))
