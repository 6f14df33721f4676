"""boundary_stages: how far each part of the search gets, and how often it succeeds (paper BA).

Table: `distances` (attack, image). The attacks of the panel are searches, each with those before it.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.boundary_maps import searched
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    rows = []
    for search in panel.attacks:
        for one in searched(study, panel, settled, search):
            cell = Cell("boundary_distances", {"failed": one.failed}, {"boundary": one.boundary})
            rows.append(({**one.row, "attack": search}, cell))
    return {"distances": rows}
