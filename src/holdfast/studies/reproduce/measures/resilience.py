"""resilience: how much of the heatmaps of several treatments of one network survives attacks (paper BE).

Tables: `resilience` (radius, layer, k, image: k-LRP, chance), `predictions` (radius, image: decisions, sizes), and
`posteriors` where the preset asks for it (one row per ensemble that was fitted: what its draws say of themselves).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.diagnosed import diagnosis, is_diagnosed
from holdfast.studies.reproduce.fits import fit, is_single, size, skipped
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    found: dict[str, list[Labelled]] = {"resilience": [], "predictions": []}
    treatments = dict.fromkeys((*panel.treatments, *settled.preset.controls))
    attacks = dict.fromkeys((*panel.attacks, *settled.preset.control_attacks))
    k = sorted({panel.k, *settled.scale.k})
    for row, points, needs in attacked(study, panel, settled, treatments, attacks):
        found["predictions"].append((row, Cell("predictions", points, needs)))
        for rule in panel.rules:
            labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": row["treatment"]}
            explain = settled.of("explain", **labels, rule=rule)
            explain |= {"rule": rule, "layers": list(panel.layers), "k": k}
            cell = Cell("resilience", points | {"explain": explain, "seed": row["seed"]}, needs)
            found["resilience"].append((row | {"rule": rule}, cell))
    for seed, treatment in product(settled.scale.seeds, treatments):
        labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": treatment}
        if is_diagnosed(settled, **labels):
            row, ensemble = {"treatment": treatment, "seed": seed}, fit(settled, **labels, seed=seed)
            found.setdefault("posteriors", []).append(diagnosis(settled, panel.data, row, ensemble))
    return found


def attacked(
    study: Study, panel: Panel, settled: Settled, treatments: Iterable[str], attacks: Iterable[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Mapping[str, Cell]]]:
    """Labels, settings of the test points, and the cells of ensemble and attack, for all that a panel combines."""
    for seed in settled.scale.seeds:
        for treatment in treatments:
            labels = {"study": study.id, "data": panel.data, "network": panel.network, "treatment": treatment}
            if skipped(settled, **labels):
                continue
            ensemble = fit(settled, **labels, seed=seed)
            count = settled.of("measure", measure=study.measure, **labels).get("points", settled.scale.points)
            for asked in panel.draws:
                draws = None if is_single(settled, **labels) else settled.draws(asked)
                points = {"data": settled.data(panel.data), "points": count}
                points |= {"draws": draws, "pick": settled.preset.pick}
                for attack in attacks:
                    meaning = settled.of("attack", **labels, attack=attack)
                    cell = Cell("attack", points | {"attack": meaning, "seed": seed}, {"ensemble": ensemble})
                    averaged = min(draws or 1, size(settled, **labels) or draws or 1)
                    row = {"treatment": treatment, "draws": asked, "averaged": averaged, "seed": seed, "attack": attack}
                    yield row, points, {"ensemble": ensemble, "attack": cell}
