"""averaging: what is left of gradients and heatmaps when they are averaged over draws (paper GA, and the theory).

Settings of the section `measure`: `of`, `tangent` and `maps` as in the cell `averaging`; `grid`, see
`holdfast.studies.reproduce.grid`; `networks`: treatment -> network, where it is not the panel's; `controls`: further
treatments; `seeds`: of the training runs, where they are not the scale's. Tables: `norms`, with `maps` also
`components` and `heatmaps`, and `posteriors` where the preset asks for it.
"""

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.diagnosed import diagnosis, is_diagnosed
from holdfast.studies.reproduce.fits import fit, is_single, skipped
from holdfast.studies.reproduce.grid import changed, combinations
from holdfast.studies.reproduce.measures import Labelled
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study


def tables(study: Study, panel: Panel, settled: Settled) -> dict[str, list[Labelled]]:
    """The cells of one panel."""
    names = ["norms", "components", "heatmaps"] if panel.options.get("maps") else ["norms"]
    found: dict[str, list[Labelled]] = {name: [] for name in names}
    where = {"study": study.id, "data": panel.data, "network": panel.network}
    controls = settled.of("measure", measure=study.measure, **where).get("controls", ())
    for treatment in dict.fromkeys((*panel.treatments, *controls)):
        labels = where | {"treatment": treatment}
        chosen = panel.options | settled.of("measure", measure=study.measure, **labels)
        labels |= {"network": chosen.get("networks", {}).get(treatment, panel.network)}
        for seed in () if skipped(settled, **labels) else chosen.get("seeds", settled.scale.seeds):
            ensemble = fit(settled, **labels, seed=seed)
            settings = {"data": settled.data(panel.data), "points": chosen.get("points", settled.scale.points)}
            settings |= {"pick": settled.preset.pick, "of": chosen["of"], "maps": bool(panel.options.get("maps"))}
            settings |= {"tangent": chosen.get("tangent"), "train": settled.scale.train}
            settings |= {"counts": _counts(panel, settled, is_single(settled, **labels))}
            for values, changes in combinations(chosen.get("grid", {})):
                needs = {"ensemble": changed(ensemble, changes)}
                cell = Cell("averaging", settings, needs)
                row = {"treatment": treatment, "network": labels["network"], "seed": seed} | values
                for name in names:
                    found[name].append((row, Cell("averaging_table", {"table": name}, {"averaging": cell})))
                if is_diagnosed(settled, **labels):
                    found.setdefault("posteriors", []).append(diagnosis(settled, panel.data, row, needs["ensemble"]))
    return found


def _counts(panel: Panel, settled: Settled, single: bool) -> list[tuple[int, int]]:
    """Numbers of draws, in the paper and here; a scale may map several to one, of which the largest speaks."""
    if single:
        return [(1, 1)]
    here = {settled.draws(asked): asked for asked in sorted(panel.draws)}
    return [(asked, count) for count, asked in sorted(here.items())]
