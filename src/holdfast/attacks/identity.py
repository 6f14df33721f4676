"""Identity: text that tells one network, function or setting from another, the same in every process.

Parts of a long run are found again by it. A name does not do: in a notebook the same name stands for one function now
and for another after an edit. So functions and layers count with their compiled code, and whatever they hold.
What they call is not followed, and another version of Python compiles other code, whose parts are computed again.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}  # hooks, weights and the like


def digest(*values: str | Tensor) -> str:
    """SHA-256 of texts and of tensors' types, shapes and bytes.

    >>> digest("a", torch.zeros(2)) == digest("a", torch.zeros(2)), digest("ab", "c") == digest("a", "bc")
    (True, False)
    """
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            found.update(f"{len(value)}:{value}".encode())
    return found.hexdigest()


def text_of(value: Any, within: frozenset[int] = frozenset()) -> str:
    """A number, text, tensor, function, object, or a list or mapping of these, as text.

    Args:
        value: what to tell from others; layers within it by their kind alone, see `architecture_of`.
        within: `id` of what holds it, and what holds that: what holds itself is not followed in circles.

    >>> text_of({"b": (1, 2.0), "a": None})
    "{'a': None, 'b': (1, 2.0,)}"
    """
    if id(value) in within:
        return "itself"
    told = partial(text_of, within=within | {id(value)})
    if isinstance(value, Tensor) or (hasattr(value, "__array__") and not isinstance(value, type)):
        tensor = torch.as_tensor(value)
        return f"{tensor.dtype}{tuple(tensor.shape)}" if tensor.is_meta else digest(tensor)
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{k!r}: {told(v)}' for k, v in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"({''.join(f'{told(v)}, ' for v in value).rstrip()})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(told, value)))}}}"
    if isinstance(value, type | nn.Module):
        return _name(value if isinstance(value, type) else type(value))
    if (parts := _parts(value)) is not None:
        return told(parts)
    if callable(value) and hasattr(value, "__qualname__"):
        return _function(value, told)
    if callable(value) or is_dataclass(value) or type(value).__repr__ is object.__repr__:  # would tell of its address
        return f"{_class(type(value), told)} {told(_held(value))}"
    return repr(value)


def architecture_of(network: nn.Module) -> str:
    """The layers, their code where torch did not write it, and what they hold besides their weights."""
    held = [
        (
            name,
            _class(type(m), text_of),
            sorted((k, text_of(v)) for k, v in vars(m).items() if k not in OF_EVERY_MODULE),
        )
        for name, m in network.named_modules()
    ]
    return f"{network!r} {held}"


def _parts(value: Any) -> list | None:
    """What a wrapper of functions is made of; None for anything else."""
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, property):
        return [value.fget, value.fset]
    if hasattr(value, "__func__"):  # a method of an object, of a class, or static
        return [value.__func__, getattr(value, "__self__", None)]
    if hasattr(value, "__wrapped__") and not hasattr(value, "__code__"):
        return [value.__wrapped__]
    return None


def _class(kind: type, told: Callable[[Any], str]) -> str:
    own = [k for k in kind.__mro__ if k is not object and not k.__module__.startswith("torch.")]
    return f"{_name(kind)} {[[(k, told(v)) for k, v in sorted(vars(c).items()) if _counts(k, v)] for c in own]}"


def _counts(name: str, value: Any) -> bool:
    """Whether a name of a class says what its objects do: functions, and settings that are not Python's own."""
    return hasattr(value, "__code__") or not (name.startswith("__") or name == "_abc_impl")


def _held(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return getattr(value, "__dict__", {})


def _function(function: Callable, told: Callable[[Any], str]) -> str:
    code = getattr(function, "__code__", None)
    if code is None:  # written in C
        return _name(function)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return f"{_name(function)} {_code(code)} {told([function.__defaults__, function.__kwdefaults__, cells])}"


def _code(code: CodeType) -> str:
    constants = [_code(c) if isinstance(c, CodeType) else text_of(c) for c in code.co_consts]
    return digest(code.co_code.hex(), repr(code.co_names), repr(constants))


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
