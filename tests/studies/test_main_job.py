"""The main job runs end to end, is reused, and the same seed gives the same tables."""

import json
from dataclasses import replace

import pandas
import pytest
import torch
from safetensors import safe_open

import holdfast.tiles
from holdfast.attacks import fgsm, pgd
from holdfast.banks import Bank
from holdfast.budget import Budget
from holdfast.data import balanced_subset, load
from holdfast.inference import Training, sgd
from holdfast.networks import build, rebuild
from holdfast.scores import k_lrp
from holdfast.studies.main_job.compare import compare
from holdfast.studies.main_job.explain import mean_maps
from holdfast.studies.main_job.run import run
from holdfast.studies.main_job.settings import ATTACKS, ENSEMBLES, MainJob
from holdfast.studies.result import BASELINE, INPUT
from holdfast.studies.run_folder import DamagedArtifact, RunFolder
from holdfast.tiles import MEMORY

SMALL = dict(width=16, epochs=1, points=20, steps=3, thorough=5, members=2, draws=4, gallery=3)
JOB = MainJob(epsilons=(0.1,), rules=("epsilon", "gamma", "alpha_beta"), **SMALL)


@pytest.fixture(scope="module")
def data():
    return load("fashion-mini")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("run")
    return path, run(RunFolder(path), JOB, data)


def test_every_cell_is_there_once(finished):
    _, result = finished
    cells = len(ENSEMBLES) * len(ATTACKS) * len(JOB.epsilons)
    assert len(result.predictions) == cells * JOB.points
    layers = result.scores.layer.unique()
    assert list(layers[:1]) == [INPUT]
    assert len(layers) == 3  # fc2 has two hidden layers
    assert len(result.scores) == cells * JOB.points * len(JOB.rules) * len(layers)
    assert not result.scores.duplicated(["ensemble", "attack", "epsilon", "rule", "layer", "image"]).any()
    assert [e.name for e in result.ensembles] == list(ENSEMBLES)
    assert BASELINE in ENSEMBLES


def test_attacks_keep_their_budget_for_every_ensemble(finished):
    _, result = finished
    p = result.predictions
    assert (p.size_linf <= p.epsilon + 1e-6).all()
    noise = p[p.attack == "random_noise"].pivot_table(index=["epsilon", "image"], columns="ensemble", values="size_l2")
    assert noise.sub(noise[BASELINE], axis=0).abs().to_numpy().max() == 0  # the control is the same for all


def test_masking_checks_of_every_ensemble_are_recorded(finished):
    path, result = finished
    names = [
        "deterministic", "differentiable", "logits", "saturation", "zero_gradient", "derivative", "order",
        "sizes", "worst_case", "radius", "black_box", "logit_scale", "restarts", "transfer",
    ]  # fmt: skip
    for name in ENSEMBLES:
        checks = result.checks[result.checks.ensemble == name]
        assert list(checks.check) == names
        assert checks.passed.notna().all()
        figures = json.loads((path / "masking" / f"{name}.json").read_text())["figures"]
        assert figures["thorough_images"] == 5
        assert len(figures["zero_gradient_rate_per_image"]) == JOB.points
        assert figures["transferred"].keys() == ENSEMBLES.keys() - {name}
        assert figures["accuracy_by_radius"]["epsilons"][-1] == 1.0
        with safe_open(path / "attack" / name / "pgd.safetensors", "pt") as file:
            assert "masking" in str(file.metadata())
    assert "on 5 of them" in result.settings["masking"]


def test_scores_agree_with_a_slow_count_of_pixels(finished):
    _, result = finished
    g = result.gallery
    for name in ENSEMBLES:
        clean, moved = g.clean_maps[name].flatten(1), g.attacked_maps[name].flatten(1)
        cell = result.scores.query(
            "ensemble == @name and attack == @g.attack and rule == @g.rule and layer == 'input'"
        ).set_index("image")
        count = int(784 * JOB.k / 100)
        for i, row in enumerate(g.rows.tolist()):
            top = [set(m[i].abs().topk(count).indices.tolist()) for m in (clean, moved)]
            assert cell.k_lrp[row] == pytest.approx(len(top[0] & top[1]) / count, abs=2 / count)


def test_the_diagnosis_is_of_the_headline(finished):
    _, result = finished
    own = result.scores[(result.scores.attack == result.primary.attack) & (result.scores.layer == "input")]
    own = own[(own.epsilon == result.primary.epsilon) & (own.rule == result.primary.rule)]
    means = own.groupby("ensemble").k_lrp.mean()
    held = result.diagnosis.differences.query("quantity == 'headline'").set_index("ensemble")
    assert list(held.index) == list(ENSEMBLES)
    for name in ENSEMBLES:
        assert held.value[name] == pytest.approx(means[name], abs=2e-3)  # sums of maps in another order
    assert held.mcse["deterministic"] == 0
    assert held.mcse["mean_field"] > 0
    assert result.diagnosis.verdicts["mean_field"] == "independent draws"


def test_trained_ensembles_are_banks_that_say_where_they_come_from(finished, data):
    path, _ = finished
    bank = Bank.open(path / "train" / "mean_field.safetensors")
    assert bank.manifest["data"] == {"name": data.name, "checksum": data.checksum}
    assert rebuild(bank.manifest["architecture"]["recipe"])(data.test.images[:2]).shape == (2, 10)


def test_a_second_run_reuses_every_stage_and_says_the_same(finished, data):
    path, first = finished
    folder = RunFolder(path)
    second = run(folder, JOB, data)
    assert set(folder.reused) == set(folder.manifest["stages"])
    pandas.testing.assert_frame_equal(first.scores, second.scores)
    pandas.testing.assert_frame_equal(first.comparisons, second.comparisons)


def test_the_same_seed_gives_the_same_bytes_whatever_the_memory(data, tmp_path, monkeypatch):
    monkeypatch.setattr(holdfast.tiles, "TILE", 1 << 14)  # many tiles even for a small network
    sums = []
    for memory in (8 << 14, 1 << 30):
        folder = RunFolder(tmp_path / str(memory))
        run(folder, JOB, data, memory=memory)
        sums.append({name: stage["sha256"] for name, stage in folder.manifest["stages"].items()})
    assert sums[0] == sums[1]


def test_a_damaged_artifact_is_computed_again_and_nothing_else(finished, data):
    path, first = finished
    file = path / "scores" / "mean_field.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    folder = RunFolder(path)
    with pytest.warns(DamagedArtifact, match=r"mean_field\.parquet is damaged"):
        second = run(folder, JOB, data)
    assert set(folder.manifest["stages"]) - set(folder.reused) == {"scores/mean_field"}
    pandas.testing.assert_frame_equal(first.scores, second.scores)


def test_comparisons_pair_the_images_and_split_them_by_label():
    image = list(range(12))
    rows = []
    for ensemble, values, kept in (
        (BASELINE, [0.5] * 12, [True] * 6 + [False] * 6),
        ("other", [0.7 if i < 6 else 0.4 for i in image], [True] * 4 + [False] * 8),
    ):
        rows.append(
            pandas.DataFrame(
                {
                    "ensemble": ensemble,
                    "attack": "pgd",
                    "epsilon": 0.1,
                    "rule": "epsilon",
                    "layer": INPUT,
                    "image": image,
                    "k_lrp": values,
                    "label_preserved": kept,
                }
            ).sample(frac=1, random_state=len(rows))
        )
    found = compare(pandas.concat(rows), seed=0).set_index("subset")
    assert found.n.to_dict() == {"all": 12, "label_preserving": 4, "label_changing": 6}
    assert found.mean_difference["all"] == pytest.approx(0.05)
    assert found.mean_difference["label_preserving"] == pytest.approx(0.2)
    assert found.mean_difference["label_changing"] == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"k": 0}, r"k must lie in \(0, 100\]"),
        ({"k": 101}, r"k must lie in \(0, 100\]"),
        ({"width": 0}, "width must be a whole number"),
        ({"network": "vgg"}, "network must be one of"),
        ({"epsilons": (-0.1,)}, "radius must be a positive number"),
        ({"primary_epsilon": 0.3}, "must be one of the radii"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"norm": "l1"}, r"norm must be one of \('linf', 'l2'\)"),
        ({"rules": ("zzz",)}, "rules must be a tuple of some of"),
        ({"rules": ()}, "rules must be a tuple of some of"),
    ],
)
def test_bad_settings_are_one_clear_error(settings, words):
    with pytest.raises(ValueError, match=words):
        MainJob(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"points": 2000}, "has 1000 test images, fewer than points=2000"),
        ({"epsilons": (2.0,)}, "radius"),
        ({"k": 0.2, "width": 100}, "less than"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_any_work(settings, words, data, tmp_path):
    with pytest.raises(ValueError, match=words):
        run(RunFolder(tmp_path), MainJob(**settings), data)
    assert not (tmp_path / "manifest.json").exists()


def test_radii_suit_the_norm_and_the_headline_takes_the_middle_one():
    job = MainJob(norm="l2")
    assert (job.epsilons, job.primary_epsilon, job.training_epsilon) == ((0.5, 1.0, 2.0), 1.0, 1.0)
    assert MainJob(epsilons=(0.3, 0.1, 0.1)).epsilons == (0.1, 0.3)


def test_logits_times_100_change_nothing_here_and_seem_robust_as_published(data):
    """The first truth test. A network with its logits times 100 takes the same decisions: it is no more resilient.

    The published protocol, one step along the sign of the float32 cross-entropy gradient, cannot move images whose
    probabilities round to 1, and reports the heatmaps of unmoved images as resilient.
    """
    network = build("fc2", data.shape, 10, width=128)
    ensemble = sgd(network, data.train, seed=0, training=Training(epochs=12))
    last = list(ensemble.weights)[-1].rpartition(".")[0]
    scaled = replace(ensemble, weights={k: v * 100 if k.startswith(last) else v for k, v in ensemble.weights.items()})
    points = balanced_subset(data.test, 100, 0)
    published = lambda logits, y: torch.nn.functional.cross_entropy(logits[0], y, reduction="none")
    moved = {
        (name, protocol): attack(one, points.images, points.labels, budget=Budget("linf", 0.1), **own)
        for name, one in (("own", ensemble), ("times 100", scaled))
        for protocol, attack, own in (
            ("fgsm", fgsm, {}),
            ("pgd", pgd, {}),
            ("published", fgsm, {"objective": published}),
        )
    }
    accuracy = {key: found.accuracy(points.labels)[0] for key, found in moved.items()}
    kept = {
        (*key, rule): _mean_k_lrp({"own": ensemble, "times 100": scaled}[key[0]], points, found, rule)
        for key, found in moved.items()
        for rule in JOB.rules
    }
    assert torch.equal(ensemble.predict(points.images), scaled.predict(points.images))
    for protocol in ("fgsm", "pgd"):
        assert accuracy["times 100", protocol] == pytest.approx(accuracy["own", protocol], abs=0.005)
        for rule in JOB.rules:
            assert kept["times 100", protocol, rule] == pytest.approx(kept["own", protocol, rule], abs=0.005)
    assert accuracy["times 100", "published"] > accuracy["own", "published"] + 0.2
    assert kept["times 100", "published", "epsilon"] > kept["own", "published", "epsilon"] + 0.1


def _mean_k_lrp(ensemble, points, found, rule):
    maps = [
        mean_maps(ensemble, x, found.clean_predicted, rule, MEMORY)[INPUT] for x in (points.images, found.images[0])
    ]
    return k_lrp(*maps, k=20).mean().item()
