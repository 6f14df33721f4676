"""HMC: what a full-batch gradient costs against its bare products and against Pyro, and what the long runs reached.

Speed is measured in CPU seconds on one thread, as a chain runs, on all 60,000 images of MNIST and `fc2` 512. The
accuracies are read from the records of `python -m benchmarks.hmc_runs`, which take an hour and more.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.hmc_runs import RECORDS, verdict
from benchmarks.measure import describe, entry, interleave, processor, ratio
from holdfast import data, networks
from holdfast.data import half_moons
from holdfast.inference import FanIn
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.kernel import State, transition, with_slope
from holdfast.inference.hmc.potential import potential

RUNS = {  # record of a long run: what it is of, and the accuracy on the log predictive that is asked for
    "mnist": ("mnist: fc2 512", 0.975),
    "fashion-mnist": ("fashion-mnist: fc2 512", 0.88),
    "mnist-conv-smoke": ("mnist, the first 1,000 training images: conv 16", 0.9),
}
NOTE = """\
Two of the bounds on speed ask for more than the processor gave. The float32 products of a full-batch gradient, alone
and on one core, took more than four fifths of Pyro's time: half of it is out of reach of what multiplies in float32 at
PyTorch's rate. Eight times our own loop over 16 half-moons cells would need more than the rate of a plain product of
1024^3: at that rate the stack's products, and nothing else, take longer than an eighth of the loop. Eight times Pyro's
loop is not shown to be impossible: at that rate the products take less than an eighth of it. The stack spends nine
tenths of its time in its products, which are too small to run at that rate. Rows that name no processor were measured
before it was recorded. Where a detail does not list "Pyro with our products", Pyro had the route of products that we
choose (oneDNN on AMD chips with AVX-512), which as installed it has not: it is slower than the row says there."""
ROWS = 2000  # of a block of images
CELLS = 16
SQUARE = 1024  # rows of the product that shows the processor's rate
STEPS = 16  # of the trajectory that is timed; real ones have 40 to 120


def run() -> list[dict[str, Any]]:
    """All entries; torch goes back to its threads afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*gradients(), *stacking(), *accuracies(), *half_moons_chains()]
    finally:
        torch.set_num_threads(threads)


def gradients(rounds: int = 5) -> list[dict[str, Any]]:
    """One full-batch gradient against its products and against Pyro's, and a trajectory against its gradients."""
    dataset = data.load("mnist", download=False)
    x, y = dataset.train.images, dataset.train.labels
    network = networks.normalised(networks.fc2(dataset.shape, 10, width=512), float(x.mean()), float(x.std()))
    coordinates = _coordinates(network)
    z = torch.randn(1, coordinates.size, generator=torch.Generator().manual_seed(0))
    densities = {
        p: potential(copy.deepcopy(network), coordinates, x[None], y[None], precision=p)
        for p in ("float32", "bfloat16")
    }
    contestants: dict[str, Callable[[], Any]] = {}
    for name, density in densities.items():
        contestants[name] = lambda density=density: density.gradient(z)
        contestants[f"{name} products"] = bare_products(getattr(torch, name), len(x))
    pyro = pyro_gradient(network, x, y)
    if pyro is not None:
        contestants["Pyro"] = as_installed(pyro)
        contestants["Pyro with our products"] = pyro
    state = with_slope(densities["bfloat16"], State(z, densities["bfloat16"].nll(z)))
    step = torch.tensor([1e-4])
    contestants["trajectory"] = lambda: transition(densities["bfloat16"], state, [0], 0, STEPS, step)
    contestants["its gradients"] = lambda: (
        [contestants["bfloat16"]() for _ in range(STEPS)],
        densities["bfloat16"].nll(z),
    )
    seconds = interleave(contestants, rounds, clock=time.process_time)
    told = f"{describe(seconds)}; {processor()}"
    found = [
        entry(
            f"full-batch gradient, {p}, over its bare products",
            ratio(seconds, p, f"{p} products"),
            1.2,
            "at_most",
            told,
        )
        for p in densities
    ]
    if pyro is not None:
        for p, bound in (("float32", 0.5), ("bfloat16", 0.28)):
            found.append(
                entry(f"full-batch gradient, {p}, over Pyro's", ratio(seconds, p, "Pyro"), bound, "at_most", told)
            )
    overhead = ratio(seconds, "trajectory", "its gradients") - 1
    return [*found, entry("trajectory beside its gradients, share", overhead, 0.05, "at_most", told)]


def bare_products(dtype: torch.dtype, count: int) -> Callable[[], None]:
    """The five large and three small products of a gradient of 784-512-512-10, block by block, and nothing else."""
    g = torch.Generator().manual_seed(0)
    new = lambda *shape: torch.randn(*shape, generator=g).to(dtype)
    x, h, slope, out = new(ROWS, 784), new(ROWS, 512), new(ROWS, 512), new(ROWS, 10)
    first, second, last = new(512, 784), new(512, 512), new(10, 512)

    def work() -> None:
        for _ in range(count // ROWS):
            x @ first.T, h @ second.T, h @ last.T  # forward
            out.T @ h, out @ last, slope.T @ h, slope @ second, slope.T @ x  # and back

    return work


def pyro_gradient(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Any] | None:
    """Pyro's own gradient of the same potential, as its HMC computes it; None where Pyro is not installed."""
    try:
        import pyro
        from pyro import distributions
        from pyro.infer.mcmc.util import initialize_model
        from pyro.ops.integrator import potential_grad
    except ImportError:
        return None
    scales, shell = FanIn().deviations(network), copy.deepcopy(network)

    def model() -> None:
        weights = {}
        for name, p in network.named_parameters():
            prior = distributions.Normal(torch.zeros(p.shape), scales[name]).to_event(p.ndim)
            weights[name] = pyro.sample(name.replace(".", "_"), prior)
        logits = functional_call(shell, weights, (x,))
        with pyro.plate("images", len(x)):
            pyro.sample("labels", distributions.Categorical(logits=logits), obs=y)

    pyro.clear_param_store()
    start, function, _, _ = initialize_model(model)
    return lambda: potential_grad(function, start)


def as_installed(work: Callable[[], Any]) -> Callable[[], Any]:
    """Work with float32 products by the route that PyTorch takes by itself, whatever `machine.tune` chose."""
    knob = torch.backends.mkldnn.matmul

    def untuned() -> Any:
        chosen, knob.fp32_precision = knob.fp32_precision, "none"
        try:
            return work()
        finally:
            knob.fp32_precision = chosen

    return untuned


def stacking(rounds: int = 5) -> list[dict[str, Any]]:
    """One gradient of 16 equal half-moons cells (`fc2` 32, 5,000 points each) as a stack, against a loop over them."""
    cells = [half_moons(points=6250, seed=seed).train for seed in range(CELLS)]
    network = networks.normalised(networks.fc2((2,), 2, width=32), 0.5, 0.25)
    coordinates = _coordinates(network)
    z = torch.randn(CELLS, coordinates.size, generator=torch.Generator().manual_seed(0))
    make = lambda images, labels: potential(copy.deepcopy(network), coordinates, images, labels)
    stack = make(torch.stack([c.images for c in cells]), torch.stack([c.labels for c in cells]))
    each = [make(c.images[None], c.labels[None]) for c in cells]
    work, operations = stacked_products(stack._blocks(CELLS), len(cells[0].images))
    square = torch.randn(SQUARE, SQUARE, generator=torch.Generator().manual_seed(0))
    contestants = {
        "loop": lambda: [density.gradient(z[k : k + 1]) for k, density in enumerate(each)],
        "stack": lambda: stack.gradient(z),
        "its products": work,
        f"a product of {SQUARE}^3": lambda: square @ square,
    }
    theirs = [pyro_gradient(network, c.images, c.labels) for c in cells]
    if None not in theirs:
        contestants["Pyro's loop"] = as_installed(lambda: [gradient() for gradient in theirs])
    seconds = interleave(contestants, rounds, repeats=5, clock=time.process_time)
    told = f"{describe(seconds)}; {processor()}"
    rate = 2 * SQUARE**3 / statistics.median(seconds[f"a product of {SQUARE}^3"])
    told += f"; the stack's products, in its blocks, are {operations / 1e9:.2f} GFlop, for which "
    told += f"{1000 * operations / rate:.1f} ms would do at the {rate / 1e9:.0f} GFlop/s of a product of {SQUARE}^3"
    names = {"loop": "loop over 16 equal cells", "Pyro's loop": "Pyro's loop over 16 equal cells"}
    return [
        entry(f"half moons: {name} over their stack", ratio(seconds, key, "stack"), 8, "at_least", told)
        for key, name in names.items()
        if key in seconds
    ]


def stacked_products(blocks: Sequence[slice], count: int, width: int = 32) -> tuple[Callable[[], None], float]:
    """The eight batched products of a gradient of 2-32-32-2, block by block as the stack takes them, and nothing else.

    Another way of multiplying may be faster; no way is faster than the processor's rate.

    Returns:
        the work, and how many floating-point operations it is.
    """
    g = torch.Generator().manual_seed(0)
    new = lambda *shape: torch.randn(CELLS, *shape, generator=g)
    rows = max(block.stop - block.start for block in blocks)
    x, h, slope, out = new(count, 2), new(rows, width), new(rows, width), new(rows, 2)
    first, second, last = new(2, width), new(width, width), new(width, 2)

    def work() -> None:
        for block in blocks:
            images, n = x[:, block], block.stop - block.start
            hidden, back, logits = h[:, :n], slope[:, :n], out[:, :n]
            images @ first, hidden @ second, hidden @ last  # forward
            hidden.mT @ logits, logits @ last.mT, hidden.mT @ back, back @ second.mT, images.mT @ back  # and back

    multiplied = 2 * 2 * width + 3 * width * width + 3 * 2 * width  # of one image, in all eight
    return work, 2.0 * CELLS * count * multiplied


def accuracies() -> list[dict[str, Any]]:
    """What the long runs reached, where their records are."""
    found = []
    for name, (title, bound) in RUNS.items():
        file = RECORDS / f"{name}.json"
        if not file.exists():
            continue
        record = json.loads(file.read_text(encoding="utf-8"))
        diagnostics = record["diagnostics"]
        told, settled = "", diagnostics["settled_before_the_first_draw"]
        if not all(settled):
            told = f"{settled.count(False)} of {len(settled)} chains had not settled before their first draw; "
        told += f"{record['draws']} draws of {record['settings']['chains']} chains"
        told += f", acceptance {diagnostics['acceptance']:.2f}, rms energy error {diagnostics['rms_energy_error']:.2f}"
        told += f", {diagnostics['gradients']} gradients; best single last draw "
        told += f"{max(record['accuracy_of_the_last_draw']):.4f}, the fits {record['accuracy_of_the_starts']:.4f}"
        said = [verdict(record), record.get("processor"), *(warning.rstrip(".") for warning in record["warnings"])]
        told = "; ".join([told, *filter(None, said)])
        found.append(entry(f"{title} by full-batch HMC, accuracy", record["accuracy"], bound, "at_least", told))
    return found


def half_moons_chains() -> list[dict[str, Any]]:
    """What the chains of `benchmarks.half_moons_grid` cost: 12 of 120 s are 12 minutes on two cores."""
    file, found = RECORDS / "half-moons.json", []
    for key, record in json.loads(file.read_text(encoding="utf-8")).items() if file.exists() else ():
        width, points, _ = key.split()
        name = f"half moons: CPU seconds of a chain of 750 trajectories, fc2 {width}, {int(points):,} points"
        (last, figures) = list(record["windows"].items())[-1]
        told = "" if record["settled"] else "the chain had not settled before its first draw; "
        told += f"reckoned from {record['trajectories']} trajectories" if last == "all" else "the whole chain"
        told += f"; acceptance {figures['acceptance']:.2f}, {record['leapfrog_steps']:.0f} leapfrog steps, accuracy "
        told = "; ".join([told + f"{figures['accuracy']:.4f}", *filter(None, [record.get("processor")])])
        found.append(entry(name, record["cpu_seconds_of_the_whole_chain"], 120, "at_most", told))
    return found


def _coordinates(network: nn.Module) -> Coordinates:
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    return Coordinates(shapes, FanIn().deviations(network))
