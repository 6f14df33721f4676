"""The shared training loop: batches, schedules, errors, reproducibility, what it leaves alone."""

import copy

import pytest
import torch
from problems import Residual, blobs
from torch import nn

from holdfast import bank_file
from holdfast.budget import Budget
from holdfast.data import Split
from holdfast.inference import (
    Path,
    Training,
    adversarial,
    deep_ensemble,
    laplace,
    low_rank,
    mc_dropout,
    mean_field,
    sgd,
    sghmc,
    sgld,
    swag,
)
from holdfast.inference.fingerprint import data_of
from holdfast.inference.seeds import stream
from holdfast.inference.training import batches
from holdfast.networks import fc2

SHORT = Training(epochs=2, batch_size=50)
METHODS = {
    "sgd": sgd,
    "adversarial": lambda *a, **k: adversarial(*a, budget=Budget("linf", 0.1), steps=2, **k),
    "deep_ensemble": lambda *a, **k: deep_ensemble(*a, members=2, **k),
    "laplace": lambda *a, **k: laplace(*a, draws=3, **k),
    "low_rank": lambda *a, **k: low_rank(*a, draws=3, rank=2, **k),
    "mc_dropout": lambda *a, **k: mc_dropout(*a, draws=3, **k),
    "mean_field": lambda *a, **k: mean_field(*a, draws=3, **k),
    "sghmc": lambda *a, training=SHORT, **k: sghmc(*a, draws=3, path=Path(2, 50, 1e-5, cycles=1), start=training, **k),
    "swag": lambda *a, training=SHORT, **k: swag(*a, draws=3, rank=2, training=training, collection=SHORT, **k),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def test_every_image_is_seen_once_an_epoch_in_batches_of_even_size():
    found = list(batches(103, 25, [stream(0), stream(1)], torch.device("cpu")))
    assert [b.shape for b in found] == [(2, 21), (2, 21), (2, 21), (2, 20), (2, 20)]
    rows = torch.cat(found, 1)
    assert all(torch.equal(r.sort().values, torch.arange(103)) for r in rows)
    assert not torch.equal(rows[0], rows[1])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("cosine", (1, 0.5, 0)), ("plateau", (1, 1, 0)), ("constant", (1, 1, 1))],
)
def test_schedules(schedule, rates):
    training = Training(schedule=schedule, learning_rate=1.0)
    assert [training.rate(t) for t in (0, 0.5, 1)] == pytest.approx(rates)


@every_method
def test_same_seed_same_bytes_and_nothing_global_is_touched(method):
    network, data = Residual(), blobs(shape=(1, 6, 6))
    before, random_state = copy.deepcopy(network.state_dict()), torch.random.get_rng_state()
    one = method(network, data, seed=1, training=SHORT)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    torch.rand(5)
    two, other = (method(network, data, seed=s, training=SHORT) for s in (1, 2))
    for name, value in one.weights.items():
        assert torch.equal(value, two.weights[name])
    assert not torch.equal(one.weights["conv.weight"], other.weights["conv.weight"])
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert one.diagnostics == two.diagnostics


@every_method
def test_results_are_ready_for_use(method):
    data = blobs(shape=(1, 6, 6))
    ensemble = method(Residual(), data, seed=0, training=SHORT)
    assert not any(v.requires_grad for v in ensemble.weights.values())
    assert not ensemble.network.training
    assert int(ensemble.weights["norm.num_batches_tracked"][0]) > 0
    assert not torch.equal(ensemble.weights["norm.running_mean"][0], torch.zeros(4))
    assert torch.isfinite(ensemble.logits(data.images)).all()
    assert ensemble.diagnostics.settings["seed"] == 0
    assert ensemble.diagnostics.settings["epochs"] == 2


@every_method
def test_a_bank_says_which_images_it_was_inferred_from(method, tmp_path):
    data = blobs()
    told = method(fc2((4,), 3, width=8), data, seed=0, training=SHORT)
    other = method(fc2((4,), 3, width=8), Split(data.images, data.labels.flip(0)), seed=0, training=SHORT)
    manifests = []
    for ensemble in (told, other):
        path = ensemble.save(tmp_path / "bank.safetensors")
        manifests.append(bank_file.header_of("test", path, bank_file.open_file("test", path))[0])
    assert manifests[0]["data"] == told.diagnostics.settings["data"] == data_of(data)
    assert manifests[0]["data"]["images"] == manifests[1]["data"]["images"] == 240
    assert manifests[0]["data"]["sha256"] != manifests[1]["data"]["sha256"]


@every_method
def test_device_and_type_follow_the_data(method):
    data = blobs(dtype=torch.float64)
    ensemble = method(fc2((4,), 3, width=8), data, seed=0, training=SHORT)
    assert ensemble.dtype == torch.float64
    assert ensemble.device == data.images.device


@every_method
def test_a_network_taken_from_an_ensemble_can_be_trained(method):
    data = blobs()
    ensemble = sgd(fc2((4,), 3, width=8), data, seed=0, training=SHORT)
    again = method(ensemble.network, data, seed=0, training=SHORT)  # an architecture without storage
    assert torch.isfinite(again.logits(data.images)).all()


@every_method
def test_products_in_bfloat16_leave_weights_and_losses_in_float32(method):
    data = blobs(shape=(1, 6, 6))
    runs = [
        method(Residual(), data, seed=0, training=Training(2, 50, 1e-4, precision=p)) for p in ("float32", "bfloat16")
    ]
    assert {v.dtype for v in runs[1].weights.values()} == {v.dtype for v in runs[0].weights.values()}
    assert not torch.equal(runs[0].weights["conv.weight"], runs[1].weights["conv.weight"])
    for name, curve in runs[0].diagnostics.history.items():
        rounded = runs[1].diagnostics.history[name]
        assert rounded == pytest.approx(curve, rel=0.03)
        assert any(v != float(torch.tensor(v).bfloat16()) for v in rounded)
    # steps of no length: what is left is the divergence, which knows nothing of the products
    still = [
        method(Residual(), data, seed=0, training=Training(1, 50, 1e-30, precision=p)) for p in ("float32", "bfloat16")
    ]
    exact, rounded = (e.diagnostics.history.get("divergence") for e in still)
    assert exact == rounded


DATA = blobs()
BAD = [
    (lambda m: m(fc2((4,), 3), Split(DATA.images[:0], DATA.labels[:0]), seed=0), ValueError, "at least one image"),
    (lambda m: m(fc2((5,), 3), DATA, seed=0), ValueError, r"does not take images of shape \(4,\)"),
    (lambda m: m(fc2((4,), 2), DATA, seed=0), ValueError, r"labels must lie in 0\.\.1 for 2 classes"),
    (lambda m: m(fc2((4,), 3), Split(DATA.images, DATA.labels[:5]), seed=0), ValueError, "expected 240 labels"),
    (lambda m: m(fc2((4,), 3), Split(DATA.images / 0, DATA.labels), seed=0), ValueError, "NaN or infinite"),
    (lambda m: m(fc2((4,), 3), DATA.images, seed=0), TypeError, "data must be a Split such as dataset.train, got Ten"),
    (lambda m: m("fc2", DATA, seed=0), TypeError, "network must be an nn.Module, got str; build one with"),
    (lambda m: m(nn.Linear, DATA, seed=0), TypeError, r"got the class Linear; make one of it, Linear\(...\)"),
    (
        lambda m: m(nn.LazyLinear(3), DATA, seed=0),
        ValueError,
        r"^inference\.\w+: network has a lazy layer, whose weight has no shape yet; call it once, network\(images",
    ),
    (lambda m: m(nn.ReLU(), DATA, seed=0), ValueError, "no parameters to train"),
    (lambda m: m(nn.Unflatten(1, (2, 2)), DATA, seed=0), ValueError, "no parameters"),
    (lambda m: m(nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2))), DATA, seed=0), ValueError, "give logits"),
    (lambda m: m(fc2((4,), 3), DATA, seed=1.5), TypeError, r"^inference\.\w+: seed must be a whole number, got 1\.5"),
]


@every_method
@pytest.mark.parametrize(("call", "error", "match"), BAD)
def test_bad_input(method, call, error, match):
    with pytest.raises(error, match=match):
        call(method)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 0}, "Training: epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.0}, "Training: batch_size must be a whole number"),
        ({"learning_rate": 0.0}, r"Training: learning_rate must lie in \(0, inf\]"),
        ({"optimiser": "lion"}, "optimiser must be 'adam' or 'sgd', got 'lion'"),
        ({"schedule": "step"}, "schedule must be 'cosine', 'plateau' or 'constant'"),
        ({"weight_decay": -1.0}, "weight_decay must lie"),
        ({"precision": "float16"}, "precision must be 'float32' or 'bfloat16', got 'float16'"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        Training(**settings)


@every_method
def test_a_loss_that_is_no_number_says_where_and_what_to_try(method):
    wild = Training(epochs=40, batch_size=50, learning_rate=1e20, optimiser="sgd")
    with pytest.raises(FloatingPointError, match=r"the loss was (nan|inf) in epoch \d+, step \d+; try a learning rate"):
        method(fc2((4,), 3, width=8), blobs(), seed=0, training=wild)


@pytest.mark.parametrize("method", METHODS)
def test_settings_of_another_kind_are_one_clear_error(method):
    with pytest.raises(TypeError, match=r"inference\.\w+: (training|start) must be a Training\(...\), got 3\."):
        METHODS[method](fc2((4,), 3, width=8), blobs(60), seed=0, training=3)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"start": {}}, TypeError, r"inference.mean_field: start must be a Start\(...\), got {}\."),
        ({"training": {}}, TypeError, r"inference.mean_field: training must be a Training\(...\), got {}\."),
        (
            {"temperature": float("inf")},
            ValueError,
            "mean_field: temperature must be finite, got inf; 1 is Bayes' rule",
        ),
        ({"temperature": float("nan")}, ValueError, r"mean_field: temperature must lie in \(0, inf\], got nan"),
    ],
)
def test_settings_of_variational_fits(change, error, words):
    with pytest.raises(error, match=words):
        mean_field(fc2((4,), 3, width=8), blobs(60), seed=0, **change)


def test_a_path_and_a_collection_of_another_kind():
    with pytest.raises(TypeError, match=r"inference.sghmc: path must be a Path\(...\), got None\."):
        sghmc(fc2((4,), 3, width=8), blobs(60), seed=0, path=None)
    with pytest.raises(TypeError, match=r"inference.sgld: path must be a Path\(...\), got None\."):
        sgld(fc2((4,), 3, width=8), blobs(60), seed=0, path=None)
    with pytest.raises(TypeError, match=r"inference.swag: collection must be a Training\(...\), got 3\."):
        swag(fc2((4,), 3, width=8), blobs(60), seed=0, collection=3)
