"""Tape: notes of every torch function that a network's forward pass applies to what descends from the images.

The network's own forward runs once inside a `TorchFunctionMode`. Each function met has a *handler* (`registry`), which
runs it and returns a `Step`: the output and the function that will carry relevance back. Notes name tensors by number:
0 is the images, each note's output is the next number. Nothing is attached to the model, and in-place functions run
out of place, so the model and the images stay as they are.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

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
        vanishes: inputs that are zero receive no relevance; None: if that holds for the output.
        view: the output may share memory with the first input.
    """

    output: Any
    back: Back | None = None
    kind: str = "shape"
    affine: Affine | None = None
    nonneg: bool = False
    vanishes: bool | None = None
    view: bool = False


@dataclass(slots=True)
class Note:
    """One function on the tape: the module that ran it (for maps), the numbers of its inputs and output, its step."""

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

    def on_tape(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call another function whose torch functions are noted: to explain one function by others."""
        with self.tape:
            return function(*args, **kwargs)

    def bind(self, *names: str) -> dict[str, Any]:
        """The arguments by name; `names` are those of the positional ones, in order."""
        return dict(zip(names, self.args), **self.kwargs)

    def nonneg(self) -> bool:
        """No tensor among the inputs is below zero, for sure."""
        return all(self.tape.nonneg[self.tape.numbers[t]] for t in self.inputs)

    def refuse(self, reason: str, remedy: str) -> NotImplementedError:
        """The error to raise where this call cannot be explained."""
        return refuse(self.function, running_module(self.tape.names), reason, remedy)


class Numbers:
    """What is known of each tensor, by identity; keeps the tensors alive, so that no identity is used twice."""

    def __init__(self, known: dict[Tensor, Any] | None = None) -> None:
        self._known: dict[int, tuple[Tensor, Any]] = {}
        for t, value in (known or {}).items():
            self[t] = value

    def __setitem__(self, t: Tensor, value: Any) -> None:
        self._known[id(t)] = (t, value)

    def __getitem__(self, t: Tensor) -> Any:
        return self._known[id(t)][1]

    def __contains__(self, t: Tensor) -> bool:
        return id(t) in self._known

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        """Forget everything, and let the tensors go."""
        self._known.clear()


class Tape(TorchFunctionMode):
    """Notes what a forward pass does to `x` while it is active.

    Args:
        x: the images `[B, ...]`.
        names: of modules, by id: to say which one runs, see `module_names`.
        nonneg: no image has a value below zero, for sure.
        watch: refuse tensors that descend from the images out of the tape's sight. This needs images that require a
            gradient, and weights that do not.
    """

    def __init__(
        self, x: Tensor, names: dict[int, str] | None = None, nonneg: bool = False, watch: bool = False
    ) -> None:
        super().__init__()
        self.notes: list[Note] = []
        self.numbers = Numbers({x: 0})
        self.nonneg, self.users = [nonneg], [0]  # by number: no value below zero; how many functions read it
        self.ranks: dict[int, int] = {}  # outputs of linear and convolutional maps, in order
        self.folds: dict[int, bool] = {}  # of those, which can take in a batch norm
        self.rectified: dict[int, Tensor | None] = {}  # numbers that a ReLU reads -> these cut off at zero, if it does
        self.names, self._watch = names or {}, watch
        self.scales = Numbers()  # measures of activations
        self._replaced = Numbers()  # tensor changed in place -> the tensor that stands for it now
        self._memory = [0]  # for each number, the number of the tensor whose memory it shares
        self._stale: set[int] = set()  # members of _memory that were changed in place under another name

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in registry.HARMLESS:
            return function(*args, **kwargs)
        if self._replaced:
            args = tuple(self.current(a) for a in args)
            kwargs = {k: self.current(v) for k, v in kwargs.items()}
        inputs = self._known(self.numbers, args, kwargs)
        scales = self._known(self.scales, args, kwargs) if self.scales else ()
        if self._watch:
            self._check_seen(function, args, kwargs)
        if not inputs and not scales:
            return function(*args, **kwargs)
        plain, kwargs, target = registry.out_of_place(function, args, kwargs)
        call = Call(plain, args, kwargs, inputs, self)
        self._check(call, scales)
        if target is not None and target not in self.numbers and target._is_view():
            raise call.refuse(
                "it changes a part of a constant tensor in place, which the tape cannot follow",
                "put the parts together with torch.cat, F.pad or torch.where",
            )
        if not inputs or (plain in registry.STATISTICS and plain not in registry.HANDLERS):
            output = self._scale(call)
        else:
            output = self._note(call)
        if target is not None:
            self._replace(target, output)
        return output

    def _note(self, call: Call) -> Any:
        """Run a function by its handler, which notes it (or had others noted in its place)."""
        handler = registry.HANDLERS.get(call.function)
        step = registry.unknown(call) if handler is None else handler(call)
        if not isinstance(step, Step):
            return step
        output = step.output
        self._add(call, step)
        return output

    def _scale(self, call: Call) -> Any:
        """Run a function that measures activations, or works on such measures: a constant to relevance."""
        output = call.run()
        for t in output if isinstance(output, tuple) else (output,):
            if isinstance(t, Tensor) and t.is_floating_point():
                self.scales[t] = True
        return output

    @staticmethod
    def _known(known: Numbers, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
        """The tensors among the arguments, those in lists and tuples too, that are in `known`."""
        found = []
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                if value in known:
                    found.append(value)
            elif isinstance(value, list | tuple):
                found += [v for v in value if isinstance(v, Tensor) and v in known]
        return tuple(found)

    def _add(self, call: Call, step: Step) -> None:
        output = step.output if isinstance(step.output, Tensor) else step.output[0]
        step.output = None  # the note must not keep alive what the way back does not need
        number = len(self.nonneg)
        numbers = tuple(self.numbers[t] for t in call.inputs)
        for n in numbers:
            self.users[n] += 1
        self.nonneg.append(step.nonneg)
        self.users.append(0)
        self._memory.append(self._memory[numbers[0]] if step.view else number)
        self.numbers[output] = number
        module = ""
        if step.affine is not None:
            module = running_module(self.names)
            if step.kind != "norm":
                self.ranks[number] = len(self.ranks)
                self.folds[number] = step.affine.geometry.folds(output)
        elif call.function in registry.RECTIFIERS:
            self.rectified[numbers[0]] = output if registry.RECTIFIERS[call.function] else None
        self.notes.append(Note(module, numbers, number, step))

    def _replace(self, target: Tensor, output: Tensor) -> None:
        if target in self.numbers:
            memory = self._memory[self.numbers[target]]
            if output not in self.numbers or self._memory[self.numbers[output]] != memory:
                self._stale.add(memory)  # unless nothing changed, as for dropout in evaluation mode
        self._replaced[target] = output

    def current(self, value: Any) -> Any:
        """What stands for a tensor, or for those in a list, after changes in place."""
        if isinstance(value, Tensor):
            while value in self._replaced:
                value = self._replaced[value]
        elif isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
            return type(value)(self.current(v) for v in value)
        return value

    def _check_seen(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            for t in value if isinstance(value, list | tuple) else (value,):
                if isinstance(t, Tensor) and t.requires_grad and t not in self.numbers and t not in self.scales:
                    raise refuse(
                        function,
                        running_module(self.names),
                        "one of its inputs descends from the images by a way that the tape does not see (TorchScript, "
                        "code that is not torch's)",
                        "write that part in torch functions",
                    )

    def _check(self, call: Call, scales: tuple[Tensor, ...]) -> None:
        if call.kwargs.get("out") is not None:
            raise call.refuse("out= writes into a tensor that the tape does not follow", "use what the call returns")
        if self._stale and any(self._memory[self.numbers[t]] in self._stale for t in call.inputs):
            raise call.refuse(
                "one of its inputs shares memory with a tensor that was changed in place before",
                "write that change out of place (h = h + y, not h += y on a view)",
            )
        if scales and call.inputs and call.function not in registry.SCALABLE:
            raise call.refuse(
                "one of its inputs is a measure of activations (a power, norm or variance), which carries no relevance",
                "use such measures only as factors or divisors of activations, or register a rule for the function",
            )


def module_names(network: nn.Module) -> dict[int, str]:
    """The name of each module within the network, by id."""
    return {id(module): name for name, module in network.named_modules()}


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
