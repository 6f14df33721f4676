"""boundary_maps: explanations by boundary points and plain ones: where they point, and how near they are (paper BA).

Tables: `alignment` (pair, distance, image) and, with `region` among the panel's options, `localisation` (explanation,
score, image).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.fits import fit, skipped
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


@dataclass(frozen=True, eq=False)
class Searched:
    """One treatment of a panel, and where its boundary points come from.

    Attributes:
        row: labels of its rows in tables.
        points: settings that say which test points and draws.
        ensemble, boundary: cells.
        explain: what the preset says of explanations by boundary points.
    """

    row: Mapping[str, Any]
    points: Mapping[str, Any]
    ensemble: Cell
    boundary: Cell
    explain: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of the search."""
        return self.row["seed"]

    @property
    def failed(self) -> str:
        """Whether failed searches are let in."""
        return self.explain["failed"]

    def maps(self, names: Iterable[str]) -> dict[str, Cell]:
        """The cells of methods, by name."""
        needs = {"ensemble": self.ensemble, "boundary": self.boundary}
        settle = lambda name: {"method": self.explain["methods"][name], "failed": self.failed}
        return {name: Cell("boundary_map", {**self.points, **settle(name)}, needs) for name in names}


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    found: dict[str, list[Labelled]] = {"localisation": [], "alignment": []}
    for one in searched(study, panel, settled):
        pairs, needs, region = one.explain["pairs"], {}, panel.options.get("region")
        if region:
            images = {name: said for name, said in one.points.items() if name not in ("draws", "pick")}
            settings = images | {"seed": one.seed, "region": region}
            maps = one.maps(one.explain["methods"])
            needs = {"localisation": Cell("localisation", settings, {"boundary": one.boundary, **maps})}
            found["localisation"].append((one.row, needs["localisation"]))
        needs |= {"boundary": one.boundary, **one.maps(dict.fromkeys(name for pair in pairs.values() for name in pair))}
        found["alignment"].append((one.row, Cell("alignment", {"pairs": pairs}, needs)))
    return {name: labelled for name, labelled in found.items() if labelled}


def searched(study: Study, panel: Panel, settled: Settled, search: str = "boundary") -> Iterator[Searched]:
    """The treatments of a panel with their boundary points.

    The networks are given, or trained once: there is one seed, the first of the scale. A search that the preset does
    not know is left out.

    Args:
        study, panel, settled: what is asked for.
        search: the name under which the preset says how the points are searched.
    """
    seed = settled.scale.seeds[0]
    for treatment in panel.treatments:
        labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": treatment}
        meaning = settled.of("attack", **labels, attack=search)
        if skipped(settled, **labels) or "function" not in meaning:
            continue
        count = settled.of("measure", measure=study.measure, **labels).get("points", settled.scale.points)
        points = settled.images(panel.data, count) | {"draws": None, "pick": settled.preset.pick}
        ensemble = fit(settled, **labels, seed=seed)
        boundary = Cell("boundary", points | {"search": meaning, "seed": seed}, {"ensemble": ensemble})
        explain = settled.of("explain", **labels, rule="boundary")
        yield Searched({"treatment": treatment, "seed": seed}, points, ensemble, boundary, explain)
