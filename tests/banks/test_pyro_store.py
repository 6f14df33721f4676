"""Parameter stores as Pyro 1.9.2 writes them, rebuilt here without Pyro: the layout was checked against its files."""

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import constraints

from holdfast.banks import from_pyro
from holdfast.networks import fc2

NETWORK = fc2((4,), 3, width=5)
SHAPES = {k: v.shape for k, v in NETWORK.named_parameters()}
DRAWS = 4000


@pytest.fixture
def softplus_positive(monkeypatch):
    """Pyro's constraint under Pyro's name, there while a file is written and gone when it is read."""
    positive = type(constraints.positive)
    kind = type("_SoftplusPositive", (positive,), {"__module__": "pyro.distributions.constraints"})
    names = ("pyro", "pyro.distributions", "pyro.distributions.constraints")
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[2]]._SoftplusPositive = kind

    def save(state, path):
        with monkeypatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
            torch.save(state, path)

    save.constraint = kind(lower_bound=0.0)
    return save


def sites(seed=0):
    generator = torch.Generator().manual_seed(seed)
    normal = lambda shape: torch.randn(shape, generator=generator)
    return {k: (normal(s), normal(s)) for k, s in SHAPES.items()}


def check(ensemble, expected):
    for name, (loc, scale) in expected.items():
        draws = ensemble.weights[name]
        assert ((draws.mean(0) - loc).abs() < 5 * scale / DRAWS**0.5).all()
        assert ((draws.std(0) / scale - 1).abs() < 5 / (2 * DRAWS) ** 0.5).all()


def test_the_guide_of_the_papers(tmp_path):
    given = sites()
    params = {}
    for number, (loc, rho) in enumerate(given.values()):
        params |= {f"model.{number}.weight_loc": loc.requires_grad_(), f"model.{number}.weight_scale": rho}
    path = tmp_path / "store.pt"
    torch.save({"params": params, "constraints": dict.fromkeys(params, constraints.real)}, path)
    ensemble = from_pyro(path, NETWORK, draws=DRAWS, seed=0)
    check(ensemble, {k: (loc.detach(), F.softplus(rho)) for k, (loc, rho) in given.items()})
    again = from_pyro(path, NETWORK, draws=DRAWS, seed=0)
    assert all(torch.equal(v, again.weights[k]) for k, v in ensemble.weights.items())
    other = from_pyro(path, NETWORK, draws=1, seed=1).weights["output.bias"]
    assert not torch.equal(other[0], ensemble.weights["output.bias"][0])


def test_auto_normal(tmp_path, softplus_positive):
    given, params, kinds = sites(), {}, {}
    for name, (loc, stored) in given.items():
        params |= {f"AutoNormal.locs.{name}": torch.nn.Parameter(loc), f"AutoNormal.scales.{name}": stored}
        kinds |= {f"AutoNormal.locs.{name}": constraints.real}
        kinds |= {f"AutoNormal.scales.{name}": softplus_positive.constraint}
    softplus_positive({"params": params, "constraints": kinds}, tmp_path / "store.pt")
    ensemble = from_pyro(tmp_path / "store.pt", NETWORK, draws=DRAWS, seed=0)
    check(ensemble, {k: (loc, F.softplus(stored)) for k, (loc, stored) in given.items()})


@pytest.mark.parametrize("reverse", [False, True])
def test_auto_diagonal_normal_with_the_exponential_of_old_versions(tmp_path, reverse):
    given = sites()
    order = list(SHAPES)[::-1] if reverse else list(SHAPES)
    loc, stored = (torch.cat([given[k][i].flatten() for k in order]) for i in (0, 1))
    params = {"AutoDiagonalNormal.loc": loc, "AutoDiagonalNormal.scale": stored}
    kinds = {"AutoDiagonalNormal.loc": constraints.real, "AutoDiagonalNormal.scale": constraints.positive}
    path = tmp_path / "store.pt"
    torch.save({"params": params, "constraints": kinds}, path)
    ensemble = from_pyro(path, NETWORK, draws=DRAWS, seed=0, order=order if reverse else None)
    check(ensemble, {k: (a, b.exp()) for k, (a, b) in given.items()})
    with pytest.raises(ValueError, match=r"order must name every parameter"):
        from_pyro(path, NETWORK, draws=1, seed=0, order=["linear1.weight"])
    with pytest.raises(ValueError, match=r"holds 73 weights in one vector, the network has 93"):
        from_pyro(path, fc2((4,), 3, width=6), draws=1, seed=0)


def test_what_is_no_parameter_store(tmp_path):
    path = tmp_path / "store.pt"
    torch.save(NETWORK.state_dict(), path)
    with pytest.raises(ValueError, match=r"is no Pyro parameter store: it has no 'params'"):
        from_pyro(path, NETWORK, draws=1, seed=0)
    torch.save({"params": {"w": torch.zeros(2)}, "constraints": {}}, path)
    with pytest.raises(ValueError, match=r"none of the known guides; .* got \['w'\]"):
        from_pyro(path, NETWORK, draws=1, seed=0)
    part = {f"{k}_{kind}": torch.zeros(s) for k, s in SHAPES.items() for kind in ("loc", "scale")}
    torch.save({"params": {k: v for k, v in part.items() if "output.bias" not in k}}, path)
    with pytest.raises(ValueError, match=r"lacks \['output.bias'\]"):
        from_pyro(path, NETWORK, draws=1, seed=0)
    torch.save({"params": part}, path)
    with pytest.raises(ValueError, match=r"linear1.weight is \(5, 4\) in .* and \(6, 4\) in the network"):
        from_pyro(path, fc2((4,), 3, width=6), draws=1, seed=0)
    with pytest.raises(ValueError, match=r"banks.from_pyro: draws must lie in \[1, "):
        from_pyro(path, NETWORK, draws=0, seed=0)
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        from_pyro(tmp_path / "none", NETWORK, draws=1, seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": None}, "path must be a path, got None; pass a str"),
        ({"network": "fc2"}, "network must be an nn.Module, got str; build one"),
        ({"draws": "3"}, "draws must be a whole number, got '3'"),
        ({"seed": 0.5}, "seed must be a whole number, got 0.5"),
    ],
)
def test_arguments_of_another_kind(change, words):
    given = {"path": "guide.pt", "network": nn.Linear(2, 2), "draws": 3, "seed": 0} | change
    with pytest.raises(TypeError, match=f"^banks.from_pyro: {words}"):
        from_pyro(given.pop("path"), given.pop("network"), **given)
