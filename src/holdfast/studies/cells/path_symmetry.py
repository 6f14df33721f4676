"""path_symmetry: two features that a function treats alike, credited along straight and bent paths.

    f(u, v) = min(u, v),  from (0, 0) to (a, a),      map_i = integral_0^1  df/dz_i (z(t)) z_i'(t) dt

    straight      z = (a t, a t)       the only path that credits both alike (Sundararajan, Taly, Yan 2017)
    u after v     z = (a t^2, a t)     min is u all the way: v gets nothing
    v after u     z = (a t, a t^2)     the other way round

Settings: points, steps, seed. Result: one row per path and end point: the credits of u and v in parts of f, and
`imbalance`, that of u minus that of v. On the diagonal, where min has no derivative, each gets half (as torch has it).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind

if TYPE_CHECKING:
    from pandas import DataFrame

PATHS = {"straight": (1, 1), "u after v": (2, 1), "v after u": (1, 2)}  # powers of t


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Integrate by the middle rule."""
    import pandas

    generator = torch.Generator().manual_seed(settings["seed"])
    ends = 0.1 + 0.9 * torch.rand(settings["points"], 1, dtype=torch.float64, generator=generator)
    frames = []
    for name, powers in PATHS.items():
        power = torch.tensor(powers, dtype=torch.float64)
        time = torch.linspace(0, 1, settings["steps"] + 1, dtype=torch.float64)[:, None, None]
        path = ends * time**power
        middle = ((path[1:] + path[:-1]) / 2).requires_grad_()
        (gradient,) = torch.autograd.grad(torch.minimum(middle[..., 0], middle[..., 1]).sum(), middle)
        credit = (gradient * (path[1:] - path[:-1])).sum(0) / ends
        columns = {"image": range(len(ends)), "u": credit[:, 0], "v": credit[:, 1]}
        frames.append(pandas.DataFrame({"path": name, **columns, "imbalance": credit[:, 0] - credit[:, 1]}))
    return pandas.concat(frames, ignore_index=True)


KIND = Kind(compute, TableCodec(), ())
