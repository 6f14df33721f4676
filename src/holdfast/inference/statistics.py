"""Statistics of batch normalisation for weights that no training run has visited.

Running means and variances belong to the weights they were collected under. A draw between or around trained weights
needs its own: the average over training images, computed in passes without gradients.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.data.dataset import Split
from holdfast.progress import track

IMAGES = 2000  # a channel of 8 x 8 pixels then averages 128,000 numbers


def refresh_statistics(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    data: Split,
    batch: int = 500,
    images: int = IMAGES,
) -> None:
    """Compute the running statistics in `buffers`, stacks `[S, ...]`, anew for every draw of `parameters`, in place.

    Networks without batch normalisation are left alone.

    Args:
        network: the architecture, without weights of its own; its batch normalisation layers are set to training.
        parameters: stacks `[S, ...]`.
        buffers: stacks `[S, ...]`; the statistics among them are overwritten.
        data: whose images are averaged over, in the order they have.
        batch: images per pass.
        images: how many of them, spread evenly over the data.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not layers:
        return
    for layer in layers:
        layer.train()
        layer.momentum = None  # a plain average over the passes
    rows = torch.linspace(0, len(data) - 1, min(images, len(data)), dtype=torch.float64).round().long()
    chosen = data.images[rows.to(data.images.device)]
    with torch.no_grad():
        for name, value in buffers.items():
            if name.endswith("num_batches_tracked"):
                value.zero_()
        draws = len(next(iter(parameters.values())))
        for s in track(range(draws), "batch statistics"):
            weights = {k: v[s] for k, v in (*parameters.items(), *buffers.items())}
            for part in chosen.tensor_split(-(-len(chosen) // batch)):
                functional_call(network, weights, (part,))
