"""Studies of paper GA and of the theory: what they plan, and the numbers of their claims, against closed forms."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from holdfast.data import embedded_spheres
from holdfast.ensemble import Ensemble
from holdfast.inference import sgd
from holdfast.report.studies.sliders import MOVED
from holdfast.studies.cells import averaging, averaging_table, masking, trade_off
from holdfast.studies.engine import Cell, Context
from holdfast.studies.reproduce.claim import Evidence, claims
from holdfast.studies.reproduce.grid import changed, combinations
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.quantities import Number, estimate
from holdfast.studies.reproduce.rules import SCALES
from holdfast.studies.reproduce.study import studies

OURS = [s for s in studies().values() if s.paper in ("GA", "TH")]


@pytest.mark.parametrize("scale", SCALES)
def test_every_figure_has_cells_or_a_reason(scale):
    for part in plan(OURS, scale):
        assert bool(list(part.cells)) != bool(part.missing)


def test_the_papers_grid_has_more_than_a_thousand_networks():
    parts = [p for p in plan([studies()["GA-F4"]], "paper", ["published"]) if p.panel.title == "MNIST"]
    labels = {name for part in parts for own, _ in part.tables["networks"] for name in own}
    assert "kept_draws" in labels
    assert not labels & set(MOVED)  # a slider would show the networks of one treatment alone
    networks = pd.DataFrame([labels for labels, _ in parts[0].tables["networks"]])
    assert networks[networks.seed == 0].treatment.value_counts().sum() > 1000


def test_claims_name_tables_that_their_studies_make():
    made = {(p.study.id, p.panel.title): set(p.tables) for p in plan(OURS, "smoke", ["corrected"])}
    for claim in claims().values():
        if claim.paper in ("GA", "TH"):
            for evidence in claim.evidence:
                assert evidence.table in made[evidence.study, evidence.panel]


def test_what_is_averaged_as_corrected_is_diagnosed_fit_by_fit():
    for part in plan(OURS, "smoke"):
        norms = {cell.needs["averaging"].needs["ensemble"].key for _, cell in part.tables.get("norms", ())}
        rows = part.tables.get("posteriors", [])
        diagnosed = {cell.needs["ensemble"].key for _, cell in rows}
        assert diagnosed <= norms
        if part.preset == "corrected" and norms:
            fits = {(row["treatment"], str(row)) for row, _ in part.tables["norms"]}
            alone = {"deterministic", "loud"}
            assert {name for name in fits if name[0] not in alone} == {(r["treatment"], str(r)) for r, _ in rows}
        else:
            assert not rows


@pytest.mark.parametrize("scale", SCALES)
def test_networks_say_on_how_many_images_they_were_trained(scale):
    """Which claims compare them within; at least five settings of each size."""
    for part in plan([studies()["GA-F4"]], scale):
        rows = pd.DataFrame([row for row, _ in part.tables.get("networks", ())])
        for treatment in ("hmc", "sgd") if len(rows) else ():  # of which claims speak
            settings = rows[rows.treatment == treatment].drop(columns="seed").drop_duplicates()
            assert settings.groupby("train", dropna=False).size().min() >= 5


def test_grid_changes_what_it_names_and_nothing_else():
    fit = Cell("fit", {"network": {"width": 1, "name": "mlp"}, "fit": {"training": {"epochs": 2}}, "seed": 0})
    (labels, changes), *rest = combinations({"network.width": [8, 16], "fit.training.epochs": [3]})
    assert (labels, len(rest)) == ({"width": 8, "epochs": 3}, 1)
    expected = {"network": {"width": 8, "name": "mlp"}, "fit": {"training": {"epochs": 3}}, "seed": 0}
    assert changed(fit, changes).settings == expected
    assert fit.settings["network"]["width"] == 1


def test_a_linear_network_on_spheres_is_split_as_geometry_says():
    """One linear map: its gradient is the same vector everywhere, split by the point's own tangent."""
    data = embedded_spheres().test
    network = nn.Linear(20, 2, bias=False)
    ensemble = Ensemble.from_networks([network, network])
    settings = {"data": "embedded-spheres", "points": 30, "pick": "first", "counts": [[7, 1], [9, 2], [99, 5]]}
    settings |= {"of": {"logit": "logit", "log_predictive": "log_predictive"}, "tangent": "known", "maps": True}
    found = averaging.compute(settings, {"ensemble": ensemble}, Context())
    norms = averaging_table.compute({"table": "norms"}, {"averaging": found}, Context())
    assert sorted(norms.draws.unique()) == [7, 9]
    assert sorted(norms.part.unique()) == ["all", "inside", "normal", "outside", "tangent"]
    own = norms[(norms.of == "logit") & (norms.draws == 9)].pivot(index="image", columns="part", values="expected_l2")
    w = (network.weight[0] - network.weight[1]).detach().double().norm() / 2
    assert np.allclose(own["all"], float(w), atol=1e-6)
    assert np.allclose(own["tangent"] ** 2 + own["normal"] ** 2, float(w) ** 2, atol=1e-6)
    assert np.allclose(own["inside"] ** 2 + own["outside"] ** 2, own["normal"] ** 2, atol=1e-6)
    flat = data.images.double() - data.images.double().mean(0)
    span = torch.linalg.svd(flat, full_matrices=False).Vh[:3]
    g = (network.weight[0] - network.weight[1]).detach().double() / 2
    assert np.allclose(own["outside"], float((g - span.T @ (span @ g)).norm()), atol=1e-4)
    agreement = norms[(norms.of == "logit") & (norms.draws == 9) & (norms.part == "all")].agreement
    assert np.allclose(agreement, 1)
    heat = averaging_table.compute({"table": "heatmaps"}, {"averaging": found}, Context())
    assert len(heat) == 2 * 2 * 3 * 20


def test_trade_off_has_a_row_for_each_network():
    torch.manual_seed(0)
    ensemble = Ensemble.from_networks([nn.Sequential(nn.Flatten(), nn.Linear(20, 2)) for _ in range(4)])
    settings = {"data": "embedded-spheres", "points": 20, "seed": 0, "each": True, "softmax": "once"}
    settings["attack"] = {"function": "holdfast.attacks.fgsm", "budget": {"norm": "linf", "epsilons": 0.05}}
    found = trade_off.compute(settings, {"ensemble": ensemble}, Context())
    assert list(found.member) == [0, 1, 2, 3]
    points = embedded_spheres().test
    alone = trade_off.compute(settings | {"each": False}, {"ensemble": ensemble[2]}, Context())
    assert alone.robustness[0] == pytest.approx(found.robustness[2], abs=1e-6)
    assert bool((found.attacked_accuracy <= found.accuracy).all())
    assert len(points) == 1000


def test_masking_says_when_many_steps_do_less_than_one():
    settings = {"data": "embedded-spheres", "points": 20, "seed": 0}
    train, points = embedded_spheres().train, averaging.test_points(settings, Context())
    ensemble = sgd(nn.Sequential(nn.Flatten(), nn.Linear(20, 2)), train, seed=0)
    classes = ensemble.predict(points.images)
    other = points.images[torch.stack([(classes != c).nonzero()[0, 0] for c in points.labels])]  # all are wrong
    made = {"random_noise": points.images, "one_step": other, "many_steps": points.images}
    needs = {"ensemble": ensemble} | {k: ({"images": v[None]}, {"epsilons": [1.0]}) for k, v in made.items()}
    found = masking.compute(settings, needs, Context())
    assert not bool(found[found.check == "order"].passed.iloc[0])


def table_of(slope: float, noise: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        {"seed": 0, "image": i, "width": w, "train": n, "value": slope * np.log(w) + n + noise * random.normal()}
        for i in range(12)
        for w in (8, 16, 64)
        for n in (1, 2)
    ]
    return pd.DataFrame(rows)


def test_trend_over_another_label_averages_the_rest():
    given = dict(study="x", panel="x", table="t", column="value", expect="negative")
    evidence = Evidence(quantity="trend", over="width", **given)
    assert estimate(evidence, {"t": table_of(-0.7)}).value == pytest.approx(-0.7)


def test_association_over_networks_is_spearmans():
    from scipy.stats import spearmanr

    random = np.random.default_rng(1)
    accuracy = random.normal(size=40)
    robustness = accuracy + random.normal(size=40)
    first = pd.DataFrame({"treatment": "a", "width": range(40), "accuracy": accuracy, "robustness": robustness})
    second = first.iloc[:20].assign(treatment="b", robustness=-first.accuracy)
    evidence = Evidence(
        study="x", panel="x", table="t", column="accuracy", other="robustness", quantity="association",
        where={"treatment": "a"}, expect="positive",
    )  # fmt: skip
    tables = {"t": pd.concat([first, second])}
    found = estimate(evidence, tables)
    assert found.value == pytest.approx(spearmanr(first.accuracy, first.robustness).statistic)
    assert found.low < found.value < found.high
    assert Number(evidence, tables).advantage({"treatment": "b"}).value == pytest.approx(found.value + 1)
