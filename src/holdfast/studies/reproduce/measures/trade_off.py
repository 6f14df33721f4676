"""trade_off: accuracy and robustness of many networks per treatment (paper GA, Figure 4).

Settings of the section `measure`, by treatment: `grid`, see `holdfast.studies.reproduce.grid`; `each`: whether every
draw is a network of its own; `softmax`: "once" or "twice". Table: `networks`, one row per network.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.fits import fit
from holdfast.studies.reproduce.grid import changed, combinations
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study

KEPT_DRAWS = "kept_draws"  # of a chain, a setting of its network; "draws" is how many are averaged, which sliders move


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    found: list[Labelled] = []
    (attack,) = panel.attacks
    for seed in settled.scale.seeds:
        for treatment in panel.treatments:
            labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": treatment}
            chosen = settled.of("measure", measure=study.measure, **labels)
            settings = {"data": settled.data(panel.data), "points": settled.scale.points, "seed": seed}
            settings |= {"attack": settled.of("attack", **labels, attack=attack)}
            settings |= {"each": chosen.get("each", False), "softmax": chosen.get("softmax", "once")}
            ensemble = fit(settled, **labels, seed=seed)
            for values, changes in combinations(chosen.get("grid", {})):
                cell = Cell("trade_off", settings, {"ensemble": changed(ensemble, changes)})
                own = {KEPT_DRAWS if name == "draws" else name: value for name, value in values.items()}
                own.setdefault("train", ensemble.settings["train"])  # claims compare networks of one size of the data
                found.append(({"treatment": treatment, "seed": seed} | own, cell))
    return {"networks": found}
