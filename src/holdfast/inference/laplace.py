"""laplace: a Gaussian around the maximum of the posterior, in the last layer only.

    w ~ N(w*, H^-1),    H = sum_n (diag(p_n) - p_n p_n^T) (x) f_n f_n^T + diag(1 / s^2)

for the last linear layer, with its inputs f_n (and 1 for the bias), class probabilities p_n at the maximum w* and prior
deviations s; the sum is the exact Hessian of the cross-entropy in these weights. All other layers stay at w*. "full"
keeps every entry of H, "kronecker" takes sum_n f_n f_n^T (x) mean_n (diag(p_n) - p_n p_n^T) for the sum, "diagonal" its
diagonal. (MacKay 1992; Kristiadi, Hein and Hennig 2020, arXiv:2002.10118; Daxberger et al. 2021, arXiv:2106.14806.)
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from holdfast.checks import check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.fingerprint import data_of
from holdfast.inference.layers import Layer, layers_in_order
from holdfast.inference.noise import LINEAR, layer_arguments
from holdfast.inference.priors import Prior, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import stream
from holdfast.inference.sgd import DEFAULT, train_members
from holdfast.inference.training import Training, check_count, check_problem, initial_weights
from holdfast.progress import track

Structure = Literal["full", "kronecker", "diagonal"]
STRUCTURES = ("full", "kronecker", "diagonal")
LARGEST = 10_000  # rows of a matrix that is factorised, 0.8 GB in float64
BATCH = 500


def laplace(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    prior: str | Prior = "fan_in",
    structure: Structure = "full",
    training: Training = DEFAULT,
) -> Ensemble:
    """Train to the maximum of the posterior, and draw last layers from the Gaussian around it.

    Args:
        network: the architecture, whose last linear map must give the logits; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial weights, the batch order and the draws.
        draws: how many networks to draw.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`, in training and in the Hessian.
        structure: "full", "kronecker" or "diagonal".
        training: epochs, batch size, optimiser, learning rate and its schedule.

    Raises:
        ValueError: for data that do not fit the network, settings out of range, a network whose last linear map does
            not give the logits, or a matrix too large for `structure`.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> len(laplace(nn.Linear(2, 2), data, seed=0, draws=7, training=Training(epochs=2)))
    7
    """
    call = "inference.laplace"
    check_count(call, "draws", draws)
    check_seed(call, seed)
    if structure not in STRUCTURES:
        raise ValueError(f"{call}: structure must be {', '.join(map(repr, STRUCTURES))}, got {structure!r}.")
    believed = as_prior(call, prior)
    layer = _last(call, network, data)
    _check_size(call, network.get_parameter(layer.weight), layer.bias is not None, structure)
    ensemble, curve = train_members(call, network, data, [seed], training, believed)
    weights = {k: v[0] for k, v in ensemble.weights.items()}

    scale = random_parameters(network, believed)
    statistic = _statistic(ensemble.network, weights, layer, data, scale, structure)
    classes, width = weights[layer.weight].shape
    shape = (draws, classes, width + (layer.bias is not None))
    normal = torch.randn(shape, generator=stream(seed, "draws"), dtype=torch.float64).to(statistic.device)
    moved, log_determinant = draw(statistic, len(data), normal, structure)

    drawn = {k: v.expand(draws, *v.shape).clone() for k, v in weights.items()}
    drawn[layer.weight] += (moved[..., :width] * scale[layer.weight]).to(weights[layer.weight])
    if layer.bias is not None:
        drawn[layer.bias] += (moved[..., width] * scale[layer.bias]).to(weights[layer.bias])
    settings = {"seed": seed, "draws": draws, "prior": settings_of(believed), "structure": structure}
    settings |= {"data": data_of(data)}
    summary = {
        "final_loss": curve[-1],
        "median_deviation_over_prior": float(moved.std(0).median()) if draws > 1 else None,
    }
    summary |= {"log_determinant": float(log_determinant)}
    diagnostics = Diagnostics("laplace", settings | asdict(training), summary, {"loss": curve})
    return replace(ensemble, weights=drawn, diagnostics=diagnostics)


def hessian(inputs: Tensor, probabilities: Tensor, structure: Structure) -> Tensor:
    """Share of some images in the statistic that a structure needs, in float64: it adds up over images.

    "full": the Hessian `[C, F, C, F]`. "kronecker": the Gram matrix of the inputs `[F, F]` and the sum of curvatures
    `[C, C]` as the blocks of one matrix. "diagonal": `[C, F]`.
    """
    curvature = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None]
    if structure == "diagonal":
        return curvature.diagonal(dim1=1, dim2=2).T @ inputs.square()
    if structure == "kronecker":
        return torch.block_diag(inputs.T @ inputs, curvature.sum(0))
    classes, width = probabilities.shape[1], inputs.shape[1]
    total = inputs.new_empty(classes, width, classes, width)
    for c in range(classes):
        for d in range(c + 1):
            block = (inputs * curvature[:, c, d, None]).T @ inputs
            total[c, :, d] = block
            total[d, :, c] = block
    return total


def draw(statistic: Tensor, count: int, normal: Tensor, structure: Structure) -> tuple[Tensor, Tensor]:
    """Draws from N(0, (H + 1)^-1), and log det (H + 1), both in units of the prior.

    Args:
        statistic: the sum of `hessian` over all images.
        count: how many images.
        normal: standard normal noise `[S, C, F]`.
        structure: that of the statistic.

    Returns:
        draws `[S, C, F]` and the log determinant.
    """
    if structure == "diagonal":
        return normal / (1 + statistic).sqrt(), (1 + statistic).log().sum()
    classes, width = normal.shape[1:]
    if structure == "kronecker":
        left, left_basis = torch.linalg.eigh(statistic[width:, width:] / count)
        right, right_basis = torch.linalg.eigh(statistic[:width, :width])
        precision = 1 + left.clamp(min=0)[:, None] * right.clamp(min=0)
        return left_basis @ (normal / precision.sqrt()) @ right_basis.T, precision.log().sum()
    matrix = statistic.reshape(classes * width, -1)
    matrix.diagonal().add_(1)
    lower = torch.linalg.cholesky(matrix)
    draws = torch.linalg.solve_triangular(lower.T, normal.flatten(1).T, upper=True).T
    return draws.reshape(normal.shape), 2 * lower.diagonal().log().sum()


class _Capture(TorchFunctionMode):
    """Notes the input of the linear map with this weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.seen: Tensor | None = None

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is LINEAR:
            x, weight, *_ = layer_arguments(args, kwargs or {})
            self.seen = x if weight is self.weight else self.seen
        return func(*args, **(kwargs or {}))


def _statistic(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    layer: Layer,
    data: Split,
    scale: Mapping[str, float],
    structure: Structure,
) -> Tensor:
    """The statistic of `hessian` over all images, with the last layer's inputs in units of the prior."""
    total = 0.0
    with torch.no_grad():
        for images in track(data.images.split(BATCH), "Hessian of the last layer"):
            with _Capture(weights[layer.weight]) as capture:
                logits = functional_call(network, dict(weights), (images,))
            f = capture.seen.double() * scale[layer.weight]
            if layer.bias is not None:
                f = torch.cat([f, torch.full_like(f[:, :1], scale[layer.bias])], 1)
            total = total + hessian(f, logits.double().softmax(1), structure)
    return total


def _last(call: str, network: nn.Module, data: Split) -> Layer:
    """The last linear map; an error unless its outputs are the logits."""
    check_problem(call, network, data)
    images, network = data.images[:2], skeleton(network)
    weights = {k: v[0] for part in initial_weights(network, [0], data[:2]) for k, v in part.items()}
    layers = layers_in_order(network, weights, images)
    if layers and layers[-1].function is LINEAR and sum(x.weight == layers[-1].weight for x in layers) == 1:
        layer = layers[-1]
        with torch.no_grad(), _Capture(weights[layer.weight]) as capture:
            logits = functional_call(network, dict(weights), (images,))
        bias = None if layer.bias is None else weights[layer.bias]
        if capture.seen.ndim == 2 and torch.equal(
            nn.functional.linear(capture.seen, weights[layer.weight], bias), logits
        ):
            return layer
    raise ValueError(f"{call}: the network must end in a linear layer of its own that gives the logits.")


def _check_size(call: str, weight: Tensor, bias: bool, structure: str) -> None:
    width = weight.shape[1] + bias
    rows = {"full": len(weight) * width, "kronecker": width, "diagonal": 0}[structure]
    if rows > LARGEST:
        raise ValueError(
            f"{call}: structure {structure!r} needs a matrix of {rows:,} rows for this last layer, more than "
            f"{LARGEST:,}; use {'kronecker' if structure == 'full' and width <= LARGEST else 'diagonal'!r}."
        )
