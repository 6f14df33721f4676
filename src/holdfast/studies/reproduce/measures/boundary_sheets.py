"""boundary_sheets: the heatmaps of a few images, method by method (paper BA).

Table: `heatmaps`, one row per treatment, explanation, example and pixel. The panel's option `methods` names some of the
methods; without it all are shown.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.boundary_maps import searched
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study

EXAMPLES = 3  # the first that have a map


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    rows = []
    for one in searched(study, panel, settled):
        settings = {"data": one.points["data"], "points": one.points["points"], "examples": EXAMPLES}
        maps = one.maps(panel.options.get("methods", one.explain["methods"]))
        rows.append((one.row, Cell("boundary_sheet", settings, {"boundary": one.boundary, **maps})))
    return {"heatmaps": rows}
