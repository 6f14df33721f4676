"""A stand-in for torchvision, of which zennit 0.5.1 only needs the names of two classes when it is imported.

torchvision ties the version of torch and brings compiled code; none of the tests here wants its models.
"""

import sys
import types


def install() -> None:
    """Put the stand-in where zennit looks, unless the real one is there."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        names = ("torchvision", "torchvision.models", "torchvision.models.resnet")
        modules = {name: types.ModuleType(name) for name in names}
        modules[names[0]].models, modules[names[1]].resnet = modules[names[1]], modules[names[2]]
        for name in ("Bottleneck", "BasicBlock"):
            setattr(modules[names[2]], name, type(name, (), {}))
        sys.modules.update(modules)
