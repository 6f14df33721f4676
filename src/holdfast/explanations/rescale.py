"""The rescale rule as a function mode: three passes of a network's own forward, see `deep_lift.py`.

Every torch function that is fed by the images is of one of three kinds. Linear functions run as they are. Elementwise
functions and maximum pools leave a note at the baseline; at the image the note becomes a slope; in the third pass the
slope takes the function's place. Anything else has no rescale rule and raises.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SUMS = "add sub rsub iadd radd isub neg pos cat concat concatenate stack hstack vstack sum mean where"
SHAPES = (
    "flatten unflatten view view_as reshape reshape_as squeeze unsqueeze permute transpose t swapaxes swapdims movedim "
    "moveaxis getitem setitem narrow select index_select gather chunk split tensor_split unbind expand expand_as "
    "repeat repeat_interleave tile flip roll contiguous clone to float double half bfloat16 type type_as cpu cuda copy "
    "pad unfold fold pixel_shuffle pixel_unshuffle channel_shuffle interpolate upsample masked_fill"
)
POOLS = "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
ONE_OPERAND = (  # linear in each operand: the images may feed one of them
    "linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d mul imul rmul multiply "
    "matmul rmatmul imatmul mm bmm mv addmm baddbmm einsum tensordot"
)
FIRST_OPERAND = "div divide truediv itruediv true_divide batch_norm dropout dropout1d dropout2d dropout3d alpha_dropout"
ELEMENTWISE = (
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh hardswish hardsigmoid "
    "logsigmoid sigmoid tanh tanhshrink softshrink hardshrink threshold clamp clamp_min clamp_max clip abs absolute "
    "exp expm1 log log1p sqrt rsqrt square pow ipow rpow reciprocal rtruediv erf sin cos"
)
KIND = dict.fromkeys(f"{SUMS} {SHAPES} {POOLS}".split(), "linear")
KIND |= dict.fromkeys(ONE_OPERAND.split(), "one operand") | dict.fromkeys(FIRST_OPERAND.split(), "first operand")
KIND |= dict.fromkeys(ELEMENTWISE.split(), "elementwise")
FRESH = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
READ = ("item", "tolist", "numpy", "bool", "int", "float")  # take numbers out of a tensor
MAXIMUM = {
    f"{kind}max_pool{n}d": (getattr(F, f"{kind}max_pool{n}d"), n) for kind in ("", "adaptive_") for n in (1, 2, 3)
}
PROPERTIES = (Tensor.T.__get__, Tensor.mT.__get__)


@dataclass
class Note:
    """What a function that is not linear did at the baseline, and the slope made of it at the image.

    Attributes:
        z, y: input and output at the baseline.
        winner: of a maximum pool, where in the flattened plane the output came from; at the image, the place that is
            given the difference.
        slope: output difference over input difference.
    """

    z: Tensor
    y: Tensor
    winner: Tensor | None = None
    slope: Tensor | None = None


class _Pass(TorchFunctionMode):
    """Sorts the torch functions that are fed by one tensor, and hands those that are not linear to `nonlinear`."""

    def __init__(self, images: Tensor, notes: list[Note]) -> None:
        super().__init__()
        self.fed = {id(images): images}  # kept alive: the id of a freed tensor is given to another
        self.notes = notes
        self.count = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        fed = [t for t in _tensors((*args, *kwargs.values())) if id(t) in self.fed]
        name = getattr(func, "__name__", str(func)).strip("_")
        if not fed or name in FRESH:
            return func(*args, **kwargs)
        if name in MAXIMUM or KIND.get(name) == "elementwise":
            _refuse_unless(len(fed) == 1 and fed[0] is args[0] and fed[0].is_floating_point(), name)
            out = self.nonlinear(name, func, args, kwargs)
        else:
            out = func(*args, **kwargs)
            if any(True for _ in _tensors((out,))) or name in ("setitem", *READ):
                _refuse_unless(_is_linear(name, func, fed, out, args, kwargs), name)
        made = (args[0],) if name == "setitem" else (out,)
        self.fed |= {id(t): t for t in _tensors(made)}
        return out

    def nonlinear(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        raise NotImplementedError


class AtBaseline(_Pass):
    """First pass: note inputs and outputs at the baseline."""

    def nonlinear(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        z = args[0].clone()  # the network may change it in place, now or later
        y, winner = _run(name, func, args, kwargs)
        self.notes.append(Note(z, y.clone(), winner))
        return y


class AtImages(_Pass):
    """Second pass: turn the notes into slopes."""

    def nonlinear(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        note = self.notes[self.count]
        self.count += 1
        z = args[0].clone()
        y, winner = _run(name, func, args, kwargs)
        if winner is None:
            middle = (z + note.z) / 2
            run = lambda t: func(t.clone(), *args[1:], **kwargs)
            _, pull = torch.func.vjp(run, middle)
            note.slope = _quotient(y - note.y, z, note.z, pull(torch.ones_like(y))[0])
        else:
            note.winner = torch.where(y >= note.y, winner, note.winner)
            there = lambda t: _at(t, note.winner, MAXIMUM[name][1])
            note.slope = _quotient(y - note.y, there(z), there(note.z), torch.ones_like(y))
        return y


class Slopes(_Pass):
    """Third pass: the network as the linear map of its slopes."""

    def nonlinear(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        note = self.notes[self.count]
        self.count += 1
        if note.winner is not None:
            return _at(args[0], note.winner, MAXIMUM[name][1]) * note.slope
        return args[0].mul_(note.slope) if _in_place(func, args, kwargs) else args[0] * note.slope


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _run(name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Run a function that is not linear: its output and, of a maximum pool, the place of every winner."""
    if name not in MAXIMUM:
        return func(*args, **kwargs), None
    return MAXIMUM[name][0](*args, **{**kwargs, "return_indices": True})


def _at(plane: Tensor, winner: Tensor, axes: int) -> Tensor:
    """The values at some places of a plane of so many axes."""
    return plane.flatten(-axes).gather(-1, winner.flatten(-axes)).view_as(winner)


def _quotient(difference: Tensor, z: Tensor, base: Tensor, derivative: Tensor) -> Tensor:
    """Output difference over input difference; where the inputs hardly differ, the derivative between them."""
    step = z - base
    close = step.abs() <= torch.finfo(z.dtype).eps ** 0.5 * torch.maximum(z.abs(), base.abs())
    return torch.where(close, derivative, difference / torch.where(close, 1, step))


def _in_place(func: Callable, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether the function changes its input: relu_, relu(x, inplace=True), relu(x, True), x **= 2."""
    name = func.__name__
    marked = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
    return marked or any(flag is True for flag in (*args[1:], kwargs.get("inplace")))


def _is_linear(name: str, func: Callable, fed: list[Tensor], out: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether the function is linear in whatever the images feed."""
    if not all(t.is_floating_point() for t in (*fed, *_tensors((out,)))) or (
        name in READ and not isinstance(out, Tensor)
    ):
        return False
    kind = KIND.get(name)
    if kind == "first operand":
        training = any(flag is True for flag in (*args[1:], kwargs.get("training")))
        return len(fed) == 1 and fed[0] is args[0] and not training
    return kind == "linear" or (kind == "one operand" and len(fed) == 1) or func in PROPERTIES


def _refuse_unless(condition: bool, name: str) -> None:
    if not condition:
        raise NotImplementedError(
            f"deep_lift: no rescale rule for torch function {name!r} as it is used here; "
            "use integrated_gradients, which needs none, or write the network with functions that are linear, "
            "elementwise or maximum pools."
        )
