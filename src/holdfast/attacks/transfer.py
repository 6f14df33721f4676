"""Transfer: what images made against one ensemble do to another.

From one posterior's attack draws to its held-out draws, from a deterministic network to a Bayesian one and back. A
white-box attack that does less harm than images made on another ensemble has failed (Carlini et al. 2019, arXiv
1902.06705).
"""

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked, check_attacked, sizes
from holdfast.attacks.search import check_ensemble
from holdfast.checks import check_images, check_labels, check_memory
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY


def transfer(attacked: Attacked, ensemble: Ensemble, x: Tensor, y: Tensor, *, memory: int = MEMORY) -> Attacked:
    """Show images that were made against one ensemble to another: held-out draws, or another model.

    Args:
        attacked: the result of an attack on `x`.
        ensemble: who judges the images now.
        x: the clean images `[B, *image]`.
        y: the labels `[B]` that the attack was given.
        memory: budget in bytes for the work of one moment.

    Returns:
        The same images with the other ensemble's decisions; `masking` stays that of where they were made. Of an attack
        on explanations too: `success` then says that the decision is wrong, and the maps stay behind.

    >>> import torch
    >>> from holdfast.attacks import fgsm
    >>> from holdfast.budget import Budget
    >>> a, b = (Ensemble.from_networks(torch.nn.Linear(3, 2)) for _ in range(2))
    >>> x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    >>> made_on_a = fgsm(a, x, y, budget=Budget("linf", .1))
    >>> transfer(made_on_a, b, x, y).images is made_on_a.images
    True

    Held-out draws: attack some draws of a posterior, judge by the others.

    >>> posterior = Ensemble.from_networks([torch.nn.Linear(3, 2) for _ in range(6)])
    >>> held_out = transfer(fgsm(posterior[:3], x, y, budget=Budget("linf", .1)), posterior[3:], x, y)
    >>> held_out.success.shape
    torch.Size([1, 4])
    """
    check_attacked("transfer", attacked)
    check_ensemble("transfer", ensemble)
    check_memory("transfer", memory)
    check_images("transfer", x, tuple(attacked.images.shape[2:]))
    check_labels("transfer", y, attacked.images.shape[1])
    size, _ = sizes(attacked.images, x)
    if not torch.allclose(size, attacked.size_linf, rtol=1e-3, atol=1e-5):
        raise ValueError("transfer: `attacked` was made on other images than `x`; pass those that it was given.")
    log_p = ensemble.log_predictive(x, memory=memory)
    check_labels("transfer", y, len(x), log_p.shape[-1])
    clean, y = log_p.argmax(-1), y.to(x.device)
    predicted = ensemble.predict(attacked.images.flatten(0, 1), memory=memory).view(attacked.success.shape)
    success = predicted == y if attacked.settings.get("targeted") else predicted != y
    made = {field.name: getattr(attacked, field.name) for field in fields(Attacked)}
    judged = dict(success=success, clean_predicted=clean, predicted=predicted)
    return Attacked(**made | judged | {"name": f"{attacked.name}, transferred"})


def transfer_table(
    attacked: Mapping[str, Attacked], ensembles: Mapping[str, Ensemble], x: Tensor, y: Tensor, *, memory: int = MEMORY
) -> dict[str, dict[str, list[float]]]:
    """Accuracy per radius of every ensemble on the images made against every other: `table[made on][shown to]`.

    >>> import torch
    >>> from holdfast.attacks import fgsm
    >>> from holdfast.budget import Budget
    >>> ensembles = {name: Ensemble.from_networks(torch.nn.Linear(3, 2)) for name in ("a", "b")}
    >>> x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    >>> attacked = {name: fgsm(e, x, y, budget=Budget("linf", .1)) for name, e in ensembles.items()}
    >>> table = transfer_table(attacked, ensembles, x, y)
    >>> table["a"]["a"] == attacked["a"].accuracy(y)
    True
    """
    return {
        source: {name: transfer(made, e, x, y, memory=memory).accuracy(y) for name, e in ensembles.items()}
        for source, made in attacked.items()
    }
