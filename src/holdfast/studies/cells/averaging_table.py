"""averaging_table: what `averaging` found, as a table.

Settings: `table`. Needs: averaging. Tables:

    norms         one row per vector, part, number of draws and image: sizes, cancellation, decisions
    components    one row per vector, number of draws and level: quantiles of all components of all images
    heatmaps      one row per vector, number of draws, example and pixel: the mean map

`draws` is the number in the paper, `averaged` the number here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind

if TYPE_CHECKING:
    from pandas import DataFrame

LEVELS = (0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1)
EXAMPLES = 3  # the first ones
SIDES = ("expected", "single")  # the mean's square, and the mean square of one draw's


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Gather."""
    import pandas

    tensors, facts = needs["averaging"]
    make = {"norms": _norms, "components": _components, "heatmaps": _heatmaps}[settings["table"]]
    return pandas.concat(make(tensors, facts), ignore_index=True)


def _norms(tensors: Mapping[str, Any], facts: Mapping[str, list[int]]) -> "list[DataFrame]":
    import pandas

    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, values in tensors.items():
        if name.count("/") == 2:
            of, part, column = name.split("/")
            groups.setdefault((of, part), {})[column] = values
    frames, images = [], len(tensors["right"][0])
    for (of, part), columns in sorted(groups.items()):
        whole = groups[of, "all"]
        for k, n in enumerate(facts["draws"]):
            found = {
                "of": of,
                "part": part,
                "draws": n,
                "averaged": facts["averaged"][k],
                "image": range(images),
                "right": tensors["right"][k],
            }
            found |= {name: values[k] for name, values in columns.items() if not name.endswith("_square")}
            found |= {f"{side}_share": columns[f"{side}_square"][k] / whole[f"{side}_square"][k] for side in SIDES}
            frames.append(pandas.DataFrame(found))
    return frames


def _components(tensors: Mapping[str, Any], facts: Mapping[str, list[int]]) -> "list[DataFrame]":
    import pandas

    return [
        pandas.DataFrame({"of": of, "draws": n, "level": LEVELS, "value": np.quantile(values[k].numpy(), LEVELS)})
        for of, values in _means(tensors)
        for k, n in enumerate(facts["draws"])
    ]


def _heatmaps(tensors: Mapping[str, Any], facts: Mapping[str, list[int]]) -> "list[DataFrame]":
    import pandas

    return [
        pandas.DataFrame({"of": of, "draws": n, "example": e, "pixel": range(values.shape[-1]), "value": values[k, e]})
        for of, values in _means(tensors)
        for k, n in enumerate(facts["draws"])
        for e in range(min(EXAMPLES, values.shape[1]))
    ]


def _means(tensors: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name.removesuffix("/mean"), values) for name, values in tensors.items() if name.endswith("/mean")]


KIND = Kind(compute, TableCodec(), ("data",))
