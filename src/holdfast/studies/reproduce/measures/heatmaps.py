"""heatmaps: the heatmaps of a few test points before and after an attack, one below the other (paper BE).

Table: `heatmaps`, one row per treatment, layer, example and pixel.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.resilience import attacked
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study

EXAMPLES = 3  # the first ones


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    rows = []
    for row, points, needs in attacked(study, panel, settled, panel.treatments, panel.attacks):
        for rule in panel.rules:
            labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": row["treatment"]}
            explain = settled.of("explain", **labels, rule=rule)
            explain |= {"rule": rule, "layers": list(panel.layers), "k": [panel.k]}
            rows.append(
                (row | {"rule": rule}, Cell("heatmaps", points | {"explain": explain, "examples": EXAMPLES}, needs))
            )
    return {"heatmaps": rows}
