"""path_properties: completeness of path methods, where their paths end, and symmetry on a toy (paper BA).

Tables: `properties` (explanation, image), or with the panel's option `toy` `symmetry` (path, end point).
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.boundary_maps import searched
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study

METHODS = ("IG from black", "IG from white", "BIG")
ENDS, STEPS = 20, 1000  # of the toy


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    if panel.options.get("toy"):
        seed = settled.scale.seeds[0]
        return {"symmetry": [({"seed": seed}, Cell("path_symmetry", {"points": ENDS, "steps": STEPS, "seed": seed}))]}
    rows = []
    for one in searched(study, panel, settled):
        needs = {"ensemble": one.ensemble, "boundary": one.boundary, **one.maps(METHODS)}
        rows.append((one.row, Cell("path_properties", one.points, needs)))
    return {"properties": rows}
