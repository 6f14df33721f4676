"""Identity: text that tells one network, function or setting from another, the same in every process.

Parts of a long run are found again by it. A name does not do: in a notebook the same name stands for one function now
and for another after an edit. So functions and layers count with their compiled code, and whatever they hold.
What they call is not followed, and another version of Python compiles other code, whose parts are computed again.
"""

import hashlib
from collections.abc import Callable, Mapping
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


def text_of(value: Any) -> str:
    """A number, text, tensor, function, or a list or mapping of these, as text.

    >>> text_of({"b": (1, 2.0), "a": None})
    "{'a': None, 'b': (1, 2.0,)}"
    """
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        tensor = torch.as_tensor(value)
        return f"{tensor.dtype}{tuple(tensor.shape)}" if tensor.is_meta else digest(tensor)
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{k!r}: {text_of(v)}' for k, v in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"({''.join(f'{text_of(v)}, ' for v in value).rstrip()})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(text_of, value)))}}}"
    if callable(value) and not isinstance(value, nn.Module):
        return _function(value)
    plain = type(value).__repr__ is object.__repr__ or isinstance(value, nn.Module)  # would tell where it is in memory
    return _name(type(value)) if plain else repr(value)


def architecture_of(network: nn.Module) -> str:
    """The layers, their code where torch did not write it, and what they hold besides their weights."""
    held = [
        (name, _layer(type(m)), sorted((k, text_of(v)) for k, v in vars(m).items() if k not in OF_EVERY_MODULE))
        for name, m in network.named_modules()
    ]
    return f"{network!r} {held}"


def _layer(kind: type) -> str:
    own = [k for k in kind.__mro__ if k is not object and not k.__module__.startswith("torch.")]
    functions = [f for k in own for _, f in sorted(vars(k).items()) if hasattr(f, "__code__")]
    return f"{_name(kind)} {[_function(f) for f in functions]}"


def _function(function: Callable) -> str:
    code = getattr(function, "__code__", None)
    if code is None:  # a class, an object that can be called, or written in C
        return _name(function if hasattr(function, "__qualname__") else type(function))
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    held = [function.__defaults__, function.__kwdefaults__, [v for v in cells if not callable(v)]]
    return f"{_name(function)} {_code(code)} {text_of(held)}"


def _code(code: CodeType) -> str:
    constants = [_code(c) if isinstance(c, CodeType) else text_of(c) for c in code.co_consts]
    return digest(code.co_code.hex(), repr(code.co_names), repr(constants))


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
