"""hmc with networks as users bring them: dropout, normalisation, heads that nothing uses, sessions without a file."""

import subprocess
import sys
import textwrap
import warnings
from types import SimpleNamespace

import pytest
import torch
from hmc_problems import blobs
from torch import nn

from holdfast.data import Split
from holdfast.inference import Isotropic, Training
from holdfast.inference.hmc import Plan, hmc, processes, stacked_cells
from holdfast.networks import conv

QUICK = Plan(chains=2, draws=4, warm_up=6, burn_in=(0.3,), start=Training(epochs=3, batch_size=32))


def equal(one, other):
    return all(torch.equal(v, other.weights[k]) for k, v in one.weights.items())


@pytest.mark.parametrize("prior", ["fan_in", "emp_cov"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 3)),
    ],
    ids=["in front", "within"],
)
def test_dropout_is_off_in_the_density(build, prior):
    data, model, found = blobs(30), build(), []
    for mode in (True, False):
        torch.manual_seed(int(mode))  # whatever the global generator says
        found.append(hmc(model.train(mode), data, seed=0, preset=QUICK, prior=prior))
    assert equal(*found)
    assert found[0].diagnostics.summary == found[1].diagnostics.summary


def test_dropout_is_off_in_stacked_cells():
    model, cells = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)), [blobs(20), blobs(20, seed=5)]
    found = [stacked_cells(model.train(mode), cells, seed=0, preset=QUICK) for mode in (True, False)]
    assert all(equal(one, other) for one, other in zip(*found, strict=True))


def test_chains_share_what_is_not_sampled():
    layered = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
    ensemble = hmc(layered, blobs(30), seed=0, preset=QUICK)
    scales = ensemble.weights["1.weight"]
    assert len(scales) == 8
    assert torch.equal(scales, scales[:1].expand_as(scales))
    assert not torch.equal(scales[0], torch.ones(6))  # the fit's, not those that the network began with
    assert not torch.equal(ensemble.weights["0.weight"][0], ensemble.weights["0.weight"][4])


class WithIdleHead(nn.Module):
    """A network with weights that its output does not depend on."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(2, 2), nn.Linear(5, 3)

    def forward(self, x):
        return self.used(x)


def test_weights_that_nothing_uses_have_their_prior():
    plan = Plan(chains=2, draws=400, warm_up=40, start=Training(epochs=2))
    ensemble = hmc(WithIdleHead(), blobs(20, (2,), classes=2), seed=0, preset=plan, prior=Isotropic(0.25))
    idle = torch.cat([ensemble.weights[f"idle.{name}"].flatten(1) for name in ("weight", "bias")], 1).double()
    assert idle.mean().abs() < 0.02
    assert idle.std() == pytest.approx(0.5, rel=0.05)


def test_a_network_that_cannot_travel_is_sampled_in_this_process(monkeypatch):
    monkeypatch.setattr(processes, "STACKED_CPU", 0.0)
    model = nn.Sequential(nn.Linear(4, 3))
    expected = hmc(model, blobs(30), seed=0, preset=QUICK, processes=1)
    model[0].register_forward_hook(lambda *_: None)
    with pytest.warns(
        processes.OneProcess, match=r"one after the other, since the network cannot be pickled \(.*lambda"
    ):
        found = hmc(model, blobs(30), seed=0, preset=QUICK, processes=2)
    assert equal(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error", processes.OneProcess)
        hmc(model, blobs(30), seed=0, preset=QUICK, processes=1)  # was asked for


SESSION = """
    import torch, warnings
    from torch import nn
    from holdfast.data import Split
    from holdfast.inference.hmc import Plan, hmc, processes

    {network}

    processes.STACKED_CPU = 0.0
    data = Split(torch.rand(20, 4), torch.arange(20) % 3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        print(len(hmc(network, data, seed=0, preset=Plan(chains=2, draws=2, warm_up=2), processes=2)))
    print(*[str(w.message) for w in told if w.category is processes.OneProcess])
"""
OWN = """
    class Net(nn.Linear):
        pass
    network = Net(4, 3)
"""
FUNCTION = """
    def twice(layer, inputs, output):
        return 2 * output
    network = nn.Linear(4, 3)
    network.register_forward_hook(twice)
"""


@pytest.mark.parametrize(
    ("how", "network", "why"),
    [
        ("-c", OWN, "was defined in a session and not in a file"),
        ("-c", FUNCTION, "was defined in a session and not in a file"),
        ("-", "\n    network = nn.Linear(4, 3)", "this script was not read from a file"),
    ],
    ids=["a class of the session", "a function of the session", "a script from stdin"],
)
def test_sessions_without_a_file(how, network, why):
    code = textwrap.dedent(SESSION.replace("\n    {network}", network))
    arguments = [sys.executable, how, code] if how == "-c" else [sys.executable, how]
    run = subprocess.run(arguments, input=code, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("4\n")
    assert why in run.stdout


def test_work_of_a_convolution_is_counted_at_all_its_places():
    model, images = conv((1, 16, 16), 3, width=2), torch.rand(10, 1, 16, 16)
    problem = SimpleNamespace(network=model, data=Split(images, torch.arange(10) % 3))
    places = 12 * 12 * 16 * 25 + 2 * 2 * 2 * 16 * 25 + 3 * model[-1].in_features
    assert processes.flops(problem) == 6.0 * 10 * places
    problem.network = nn.Sequential(nn.Flatten(), nn.Linear(256, 7), nn.ReLU(), nn.Linear(7, 3))
    assert processes.flops(problem) == 6.0 * 10 * (256 * 7 + 7 * 3)
