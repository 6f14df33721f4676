"""resilience: how much of the heatmaps of several treatments of one network survives attacks (paper BE).

Tables: `resilience` (radius, layer, k, image: k-LRP, chance) and `predictions` (radius, image: decisions, sizes).
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.fits import fit, is_single
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    found: dict[str, list[Labelled]] = {"resilience": [], "predictions": []}
    treatments = dict.fromkeys((*panel.treatments, *settled.preset.controls))
    attacks = dict.fromkeys((*panel.attacks, *settled.preset.control_attacks))
    k = sorted({panel.k, *settled.scale.k})
    for seed in settled.scale.seeds:
        for treatment in treatments:
            labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": treatment}
            ensemble = fit(settled, **labels, seed=seed)
            for asked in panel.draws:
                draws = None if is_single(settled, **labels) else settled.draws(asked)
                points = {"data": settled.data(panel.data), "points": settled.scale.points}
                points |= {"draws": draws, "pick": settled.preset.pick}
                for attack in attacks:
                    meaning = settled.of("attack", **labels, attack=attack)
                    attacked = Cell("attack", points | {"attack": meaning, "seed": seed}, {"ensemble": ensemble})
                    needs = {"ensemble": ensemble, "attack": attacked}
                    row = {"treatment": treatment, "draws": asked, "seed": seed, "attack": attack}
                    found["predictions"].append((row, Cell("predictions", points, needs)))
                    for rule in panel.rules:
                        explain = settled.of("explain", **labels, rule=rule)
                        explain |= {"rule": rule, "layers": list(panel.layers), "k": k}
                        cell = Cell("resilience", points | {"explain": explain, "seed": seed}, needs)
                        found["resilience"].append((row | {"rule": rule}, cell))
    return found
