"""boundary_smoothing: SmoothGrad at the image and at the smoothed boundary, as noise grows (paper BA).

Table: `smoothing` (spread, distance, image). The preset says under the attack "smoothed" how the points are searched.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.boundary_maps import searched
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    rows = []
    for one in searched(study, panel, settled, "smoothed"):
        search = one.boundary.settings["search"]
        for spread in panel.options["spreads"]:
            smooth = {"function": "holdfast.attacks.noisy_copies", "spread": spread, "copies": one.explain["copies"]}
            points = {**one.points, "smooth": smooth}
            boundary = Cell("boundary", {**points, "search": search, "seed": one.seed}, {"ensemble": one.ensemble})
            settings = {**points, "of": one.explain["of"], "failed": one.failed}
            cell = Cell("smoothing", settings, {"ensemble": one.ensemble, "boundary": boundary})
            rows.append(({**one.row, "spread": spread}, cell))
    return {"smoothing": rows}
