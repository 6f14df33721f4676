"""A stand-in for torchvision, of which zennit 0.5.1 only wants the names of two classes when it is imported.

torchvision ties the version of torch and brings compiled code; none of the tests here needs its models.
"""

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stand_in() -> Iterator[None]:
    """The stand-in where zennit looks, for as long as the context lasts; the real one where it is installed."""
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    names = ("torchvision", "torchvision.models", "torchvision.models.resnet")
    modules = {name: types.ModuleType(name) for name in names}
    for name in ("Bottleneck", "BasicBlock"):
        setattr(modules[names[-1]], name, type(name, (), {}))
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
