"""accuracy: how many decisions of several treatments are right under attacks (paper GA, Table 1).

Tables: `accuracy`, one row per attack, radius and image; `masking`, one row per check of the masking report over the
panel's attacks, which are noise, one step and many steps in this order.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.measures.resilience import attacked
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study

ROLES = ("random_noise", "one_step", "many_steps")


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    found: dict[str, list[Labelled]] = {"accuracy": [], "masking": []}
    treatments = dict.fromkeys((*panel.treatments, *settled.preset.controls))
    for row, points, needs in attacked(study, panel, settled, treatments, panel.attacks):
        found["accuracy"].append((row, Cell("accuracy", points, needs)))
        if row["attack"] == panel.attacks[0]:
            made = {"ensemble": needs["ensemble"]}
        made[ROLES[panel.attacks.index(row["attack"])]] = needs["attack"]
        if row["attack"] == panel.attacks[-1]:
            labels = {k: v for k, v in row.items() if k != "attack"}
            found["masking"].append((labels, Cell("masking", points | {"seed": row["seed"]}, made)))
    return found
