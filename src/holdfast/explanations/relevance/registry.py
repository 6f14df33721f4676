"""Registry: which handler explains which torch function, and how to add one.

A handler takes a `Call`, runs it, and returns a `Step`: the output and the function that carries relevance back.

    @register(torch.cumsum)
    def cumsum(call: Call) -> Step:
        out = call.run()
        return Step(out, lambda relevance, walk: (...,))
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from holdfast.explanations.relevance.tape import Call, Step

Handler = Callable[["Call"], "Step"]

HANDLERS: dict[Callable, Handler] = {}
HARMLESS: set[Callable] = set()
RECTIFIERS = {F.relu: True, torch.relu: True, Tensor.relu: True, F.relu6: False}  # whether only cut off at zero

# functions that measure activations: what they return may scale activations, and then counts as a constant
STATISTICS: set[Callable] = set()
SCALABLE: set[Callable] = set()


def register(*functions: Callable) -> Callable[[Handler], Handler]:
    """Let the decorated handler explain these torch functions (and their in-place forms)."""

    def add(handler: Handler) -> Handler:
        for function in functions:
            HANDLERS[function] = handler
        return handler

    return add


def methods(names: str) -> list[Callable]:
    """The torch functions and tensor methods of these names (one string, spaces between), those that exist."""
    found = [getattr(place, name, None) for name in names.split() for place in (torch, Tensor, F)]
    return [f for f in found if callable(f)]


def out_of_place(function: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[Callable, dict, Tensor | None]:
    """The out-of-place form of a call: function, keyword arguments, and the tensor it would have changed, if any."""
    if function in _OUT_OF_PLACE:
        return _OUT_OF_PLACE[function], kwargs, args[0]
    if kwargs.get("inplace"):
        return function, {**kwargs, "inplace": False}, args[0] if args else kwargs["input"]
    return function, kwargs, None


def unknown(call: "Call") -> Any:
    """What to do with a function that has no handler: let through what only looks at a tensor, refuse the rest."""
    name = getattr(call.function, "__name__", "")
    if name == "__get__":
        out = call.run()
        if not isinstance(out, Tensor):
            return out
    if name in _LEAVES_TORCH:
        raise call.refuse(
            "the values leave torch here, so relevance cannot follow them", "keep the computation in torch"
        )
    if name == "__setitem__":
        raise call.refuse("assignment into a tensor has no relevance rule", "use torch.cat, torch.where or F.pad")
    raise call.refuse(
        "it has no relevance rule",
        "rewrite it with functions that have one, or add one with holdfast.explanations.relevance.register",
    )


_LEAVES_TORCH = {"numpy", "__array__", "tolist", "item", "__float__", "__int__", "__index__", "__bool__"}


def _in_place_forms() -> dict[Callable, Callable]:
    forms = {
        Tensor.__iadd__: Tensor.__add__,
        Tensor.__isub__: Tensor.__sub__,
        Tensor.__imul__: Tensor.__mul__,
        Tensor.__itruediv__: Tensor.__truediv__,
    }
    for place in (Tensor, torch, F):
        for name in dir(place):
            plain = getattr(place, name[:-1], None)
            if name.endswith("_") and not name.endswith("__") and callable(plain):
                forms[getattr(place, name)] = plain
    return forms


_OUT_OF_PLACE = _in_place_forms()

# functions whose result carries no relevance: shapes, kinds, comparisons, constants of a tensor's shape
HARMLESS.update(
    methods(
        "size dim ndimension stride numel nelement element_size storage_offset data_ptr get_device "
        "is_contiguous is_floating_point is_complex is_tensor is_nonzero is_same_size is_signed is_inference "
        "eq ne lt le gt ge equal allclose isclose isnan isinf isfinite argmax argmin argsort "
        "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_tensor "
        "__len__ __repr__ __format__ __hash__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__"
    )
)
_LOOKS = """shape dtype device layout ndim requires_grad is_cuda is_cpu is_mps is_nested is_sparse is_leaf grad grad_fn
    is_quantized is_meta is_mkldnn is_xla is_vulkan is_ipu is_xpu itemsize nbytes names output_nr _version
    _backward_hooks retains_grad"""
HARMLESS.update(getattr(Tensor, n).__get__ for n in _LOOKS.split() if hasattr(getattr(Tensor, n, None), "__get__"))
HARMLESS.add(torch._assert)
HARMLESS.add(torch._C._set_grad_enabled)
STATISTICS.update(
    [*methods("square pow __pow__ var std var_mean std_mean norm"), torch.linalg.norm, torch.linalg.vector_norm]
)
SCALABLE.update(methods("mul multiply __mul__ __rmul__ div divide true_divide __truediv__ __div__"))
