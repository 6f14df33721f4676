"""Pyro's Hamiltonian Monte Carlo against ours: the same potential, the same posterior."""

import math
import warnings

import pytest
import torch
from logistic_posterior import our_draws, ours, problem
from torch.func import functional_call


@pytest.fixture(scope="module")
def pyro():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("pyro", reason="Pyro is not installed; `make oracles` does it")
    return found


def model_of(pyro, network, x, labels, scales):
    def model():
        weights = {}
        for name, p in network.named_parameters():
            prior = pyro.distributions.Normal(torch.zeros(p.shape, dtype=p.dtype), scales[name]).to_event(p.ndim)
            weights[name] = pyro.sample(name, prior)
        with pyro.plate("images", len(x)):
            logits = functional_call(network, weights, (x,))
            pyro.sample("labels", pyro.distributions.Categorical(logits=logits), obs=labels)

    return model


def test_potential_and_gradient_are_pyros(pyro):
    network, x, labels, scales = problem()
    coordinates, density = ours(network, x, labels, scales)
    _, function, _, _ = pyro.infer.mcmc.util.initialize_model(model_of(pyro, network, x, labels, scales))
    z = torch.randn(2, coordinates.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nll, slope = density(z)
    found = []
    for k in range(2):
        weights = {n: v[0].clone().requires_grad_() for n, v in coordinates.parameters(z[k : k + 1]).items()}
        value = function(weights)
        slopes = torch.autograd.grad(value, list(weights.values()))
        flat = torch.cat([g.flatten() * scales[n] for n, g in zip(weights, slopes)])
        assert torch.allclose(flat, slope[k] + z[k], rtol=1e-9, atol=1e-10)
        found.append(float(value.detach()))
    both = nll + 0.5 * z.square().sum(1)  # up to the constant of the prior
    assert found[0] - found[1] == pytest.approx(float(both[0] - both[1]), rel=1e-10)


def test_posterior_means_and_deviations_are_pyros(pyro):
    network, x, labels, scales = problem()
    draws = our_draws()["weight"]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyro.set_rng_seed(0)
        kernel = pyro.infer.HMC(
            model_of(pyro, network, x, labels, scales), step_size=0.12, num_steps=9, adapt_step_size=False
        )
        run = pyro.infer.MCMC(kernel, num_samples=400, warmup_steps=50, disable_progbar=True)
        run.run()
        theirs = run.get_samples()["weight"]
    slack = 6 * theirs.std(0) / math.sqrt(100)  # 400 draws of one chain are worth at least 100
    assert ((theirs.mean(0) - draws.mean(0)).abs() < slack).all()
    assert torch.allclose(theirs.std(0), draws.std(0), rtol=0.25)
