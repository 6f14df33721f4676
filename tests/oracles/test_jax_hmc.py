"""NumPyro and BlackJAX against our Hamiltonian Monte Carlo: the same potential, the same posterior, in float64."""

import math

import numpy as np
import pytest
import torch
from logistic_posterior import our_draws, ours, problem

DRAWS, WORTH = 4000, 400  # draws of their chain, and how many independent ones they are worth at the least


@pytest.fixture(scope="module")
def jax():
    found = pytest.importorskip("jax", reason="JAX is not installed; `make oracles` does it")
    with found.enable_x64(True):
        yield found


@pytest.fixture(scope="module")
def draws():
    return {name: v.numpy() for name, v in our_draws().items()}


def log_joint(jax, weights):
    """Log prior plus log likelihood, written anew."""
    _, x, labels, scales = problem()
    logits = x.numpy() @ weights["weight"].T + weights["bias"]
    fit = jax.nn.log_softmax(logits)[np.arange(len(labels)), labels.numpy()].sum()
    return fit - sum(((weights[name] / float(scales[name])) ** 2).sum() for name in weights) / 2


def start(jax):
    return {"weight": jax.numpy.zeros((2, 2)), "bias": jax.numpy.zeros(2)}


def assert_same_posterior(draws, theirs):
    for name, own in draws.items():
        other = np.asarray(theirs[name])
        slack = 5 * other.std(0) / math.sqrt(WORTH)
        assert (abs(other.mean(0) - own.mean(0)) < slack).all(), name
        assert np.allclose(other.std(0), own.std(0), rtol=0.12), name
        for share in (0.05, 0.5, 0.95):
            apart = np.quantile(other, share, axis=0) - np.quantile(own, share, axis=0)
            assert (abs(apart) < 2 * slack).all(), (name, share)


def test_numpyro_has_the_same_potential_and_gradient(jax):
    numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed; `make oracles` does it")
    network, x, labels, scales = problem()

    def model():
        normal = numpyro.distributions.Normal
        weight = numpyro.sample("weight", normal(jax.numpy.zeros((2, 2)), float(scales["weight"])).to_event(2))
        bias = numpyro.sample("bias", normal(jax.numpy.zeros(2), float(scales["bias"])).to_event(1))
        logits = x.numpy() @ weight.T + bias
        numpyro.sample("labels", numpyro.distributions.Categorical(logits=logits), obs=labels.numpy())

    coordinates, density = ours(network, x, labels, scales)
    z = torch.randn(2, coordinates.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nll, slope = density(z)
    found = []
    for k in range(2):
        weights = {n: jax.numpy.asarray(v[0].numpy()) for n, v in coordinates.parameters(z[k : k + 1]).items()}
        energy = lambda w: numpyro.infer.util.potential_energy(model, (), {}, w)
        value, slopes = jax.value_and_grad(energy)(weights)
        flat = np.concatenate([np.asarray(slopes[n]).ravel() * float(scales[n]) for n in coordinates.parameters(z)])
        assert np.allclose(flat, (slope[k] + z[k]).numpy(), rtol=1e-9, atol=1e-10)
        found.append(float(value))
    both = nll + 0.5 * z.square().sum(1)  # up to the constant of the prior
    assert found[0] - found[1] == pytest.approx(float(both[0] - both[1]), rel=1e-10)


def test_numpyros_nuts_has_the_same_posterior(jax, draws):
    numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed; `make oracles` does it")
    kernel = numpyro.infer.NUTS(potential_fn=lambda w: -log_joint(jax, w))
    run = numpyro.infer.MCMC(kernel, num_warmup=500, num_samples=DRAWS, progress_bar=False)
    run.run(jax.random.PRNGKey(0), init_params=start(jax))
    assert_same_posterior(draws, run.get_samples())


def test_blackjaxs_hmc_has_the_same_posterior(jax, draws):
    blackjax = pytest.importorskip("blackjax", reason="BlackJAX is not installed; `make oracles` does it")
    kernel = blackjax.hmc(
        lambda w: log_joint(jax, w), step_size=0.15, inverse_mass_matrix=np.ones(6), num_integration_steps=9
    )
    one = lambda state, key: (lambda moved: (moved, moved.position))(kernel.step(key, state)[0])
    keys = jax.random.split(jax.random.PRNGKey(0), DRAWS + 200)
    _, chain = jax.jit(lambda state: jax.lax.scan(one, state, keys))(kernel.init(start(jax)))
    assert_same_posterior(draws, {name: v[200:] for name, v in chain.items()})
