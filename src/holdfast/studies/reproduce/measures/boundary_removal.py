"""boundary_removal: take away the item that an explanation points at, and ask the network again (paper BA).

Table: `removal` (explanation, image).
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.boundary_maps import searched
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    rows = []
    for one in searched(study, panel, settled):
        needs = {"ensemble": one.ensemble, "boundary": one.boundary, **one.maps(one.explain["methods"])}
        rows.append((one.row, Cell("removal", {**one.points, "seed": one.seed}, needs)))
    return {"removal": rows}
