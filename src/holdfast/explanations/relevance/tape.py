"""Tape: notes of every torch function that a network's forward pass applies to what descends from the images.

The network's own forward runs once inside a `TorchFunctionMode`. Each function met has a *handler* (`registry`), which
runs it and returns a `Step`: the output and the function that will carry relevance back. Notes name tensors by number:
0 is the images, each note's output is the next number. Nothing is attached to the model, and in-place functions run
out of place, so the model and the images stay as they are.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.weak import WeakTensorKeyDictionary

from holdfast.explanations.relevance import registry
from holdfast.explanations.relevance.affine import Affine

if TYPE_CHECKING:
    from holdfast.explanations.relevance.walk import Walk

Back = Callable[[Tensor, "Walk"], tuple[Tensor | None, ...]]


@dataclass(slots=True)
class Step:
    """What a handler returns.

    Attributes:
        output: what the function returned; of a tuple, the first tensor is what descends from the images.
        back: `(relevance of the output, walk) -> ` relevance of each of `call.inputs`, in order.
        kind: "linear" or "convolution" for maps that take a rule, "norm" for norms, else what it does.
        affine: the weighted map, where this is one; then `back` is not used.
        nonneg: no output is below zero, for sure.
        keeps_zeros: inputs that are zero receive no relevance; None: if that holds for the output.
        view: the output may share memory with the first input.
    """

    output: Any
    back: Back | None = None
    kind: str = "shape"
    affine: Affine | None = None
    nonneg: bool = False
    keeps_zeros: bool | None = None
    view: bool = False


@dataclass(slots=True)
class Note:
    """One function on the tape: where it ran, the numbers of its inputs and output, and its step without the output."""

    function: Callable
    module: str
    inputs: tuple[int, ...]
    output: int
    step: Step


@dataclass(slots=True)
class Call:
    """One call of a torch function, as its handler sees it.

    Attributes:
        function, args, kwargs: the call.
        inputs: those arguments that descend from the images, in order.
        tape: the tape that notes it.
    """

    function: Callable
    args: tuple
    kwargs: dict[str, Any]
    inputs: tuple[Tensor, ...]
    tape: "Tape"

    def run(self) -> Any:
        """Call the function."""
        return self.function(*self.args, **self.kwargs)

    def bind(self, *names: str) -> dict[str, Any]:
        """The arguments by name; `names` are those of the positional ones, in order."""
        return dict(zip(names, self.args)) | self.kwargs

    def nonneg(self) -> bool:
        """No tensor among the inputs is below zero, for sure."""
        return all(self.tape.nonneg[self.tape.numbers[t]] for t in self.inputs)

    def refuse(self, reason: str, remedy: str) -> NotImplementedError:
        """The error to raise where this call cannot be explained."""
        return refuse(self.function, running_module(self.tape.names), reason, remedy)


class Tape(TorchFunctionMode):
    """Notes what a forward pass does to `x` while it is active.

    Args:
        x: the images `[B, ...]`.
        network: the module that will run, to name its parts.
        nonneg: no image has a value below zero, for sure.
    """

    def __init__(self, x: Tensor, network: nn.Module | None = None, nonneg: bool = False) -> None:
        super().__init__()
        self.notes: list[Note] = []
        self.numbers = WeakTensorKeyDictionary({x: 0})
        self.nonneg = [nonneg]
        self.names = {} if network is None else {id(m): n for n, m in network.named_modules()}
        self._replaced = WeakTensorKeyDictionary()  # tensor changed in place -> the tensor that stands for it now
        self._memory = [0]  # for each number, the number of the tensor whose memory it shares
        self._stale: set[int] = set()  # members of _memory that were changed in place under another name

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in registry.HARMLESS:
            return function(*args, **kwargs)
        if self._replaced:
            args = tuple(self._current(a) for a in args)
            kwargs = {k: self._current(v) for k, v in kwargs.items()}
        inputs = tuple(t for t in tensors(args, kwargs) if t in self.numbers)
        if not inputs:
            return function(*args, **kwargs)
        self._check_fresh(inputs, function)
        plain, kwargs, target = registry.out_of_place(function, args, kwargs)
        call = Call(plain, args, kwargs, inputs, self)
        if plain in registry.REWRITES:
            with self:
                return registry.REWRITES[plain](call)
        handler = registry.HANDLERS.get(plain)
        step = registry.unknown(call) if handler is None else handler(call)
        output = step.output if isinstance(step, Step) else step
        if isinstance(step, Step):
            self._add(call, step)
        if target is not None:
            self._replace(target, output)
        return output

    def _add(self, call: Call, step: Step) -> None:
        output = step.output if isinstance(step.output, Tensor) else step.output[0]
        step.output = None  # the note must not keep alive what the way back does not need
        number = len(self.nonneg)
        numbers = tuple(self.numbers[t] for t in call.inputs)
        self.nonneg.append(step.nonneg)
        self._memory.append(self._memory[numbers[0]] if step.view else number)
        self.numbers[output] = number
        self.notes.append(Note(call.function, running_module(self.names), numbers, number, step))

    def _replace(self, target: Tensor, output: Tensor) -> None:
        if target in self.numbers:
            self._stale.add(self._memory[self.numbers[target]])
        self._replaced[target] = output

    def _current(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            while value in self._replaced:
                value = self._replaced[value]
        elif isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
            return type(value)(self._current(v) for v in value)
        return value

    def _check_fresh(self, inputs: tuple[Tensor, ...], function: Callable) -> None:
        if self._stale and any(self._memory[self.numbers[t]] in self._stale for t in inputs):
            raise refuse(
                function,
                running_module(self.names),
                "one of its inputs shares memory with a tensor that was changed in place before",
                "write that change out of place (h = h + y, not h += y on a view)",
            )


def tensors(args: tuple, kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """All tensors among the arguments, those in lists and tuples too."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (v for v in value if isinstance(v, Tensor))


def running_module(names: dict[int, str]) -> str:
    """The name of the innermost module of `names` (by id) whose code is running, found on Python's own call stack."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            name = names.get(id(frame.f_locals.get("self")))
            if name is not None:
                return name
        frame = frame.f_back
    return ""


def refuse(function: Callable, module: str, reason: str, remedy: str) -> NotImplementedError:
    """The error for a function that the tape cannot explain: which, where, why, and what to do."""
    name = resolve_name(function) or getattr(function, "__name__", repr(function))
    where = f"in module '{module}'" if module else "in the network's own forward"
    return NotImplementedError(f"lrp: {name} {where}: {reason}; {remedy}.")
