"""Ranks: Spearman's correlation of two columns over images, or over networks, with a bootstrap interval.

Of one side, or of two that are added up with a sign for each: images are resampled for both at once, networks apart.
"""

from collections.abc import Sequence

import numpy as np

from holdfast.studies.reproduce.estimate import RESAMPLES, Estimate, NotThere

Groups = list[list[np.ndarray]]  # of a group of networks the two columns `[2, rows]` of each setting


def association(sides: Sequence[Groups], signs: Sequence[float] = (1.0,)) -> Estimate:
    """Over networks: the mean of the groups' correlations, each with the weight of its networks.

    Settings of networks are resampled whole, group by group: networks of one setting are nearly the same network.

    Args:
        sides: one or two.
        signs: of each.

    Raises:
        NotThere: a column is the same for all networks of a group.
    """
    whole = [np.concatenate(group, 1) for groups in sides for group in groups]
    if any(np.ptp(pairs, axis=1).min() == 0 for pairs in whole):
        raise NotThere("one of the two columns is the same for all networks that are compared with each other")
    random = np.random.default_rng(0)
    again = lambda group: [group[i] for i in random.integers(0, len(group), len(group))]
    number = lambda found: sum(sign * over_groups(groups) for sign, groups in zip(signs, found, strict=True))
    resampled = [number([[again(group) for group in groups] for groups in sides]) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    networks = sum(setting.shape[1] for group in sides[0] for setting in group)
    return Estimate(float(number(sides)), float(low), float(high), networks)


def over_groups(groups: Groups) -> float:
    """The association of one side, without its interval."""
    whole = [np.concatenate(group, 1) for group in groups]
    weights = [pairs.shape[1] for pairs in whole]
    return float(np.average([_spearman(pairs) for pairs in whole], weights=weights))


def correlation(pairs: Sequence[np.ndarray], signs: Sequence[float] = (1.0,)) -> Estimate:
    """Over images: the mean over training seeds.

    Args:
        pairs: the two columns `[2, seeds, images]` of one or two sides.
        signs: of each.

    Raises:
        NotThere: a column is the same for all images.
    """
    if any(np.ptp(p, axis=-1).min() == 0 for p in pairs):
        raise NotThere("one of the two columns is the same for all images")
    _, seeds, images = pairs[0].shape
    number = lambda found: sum(sign * one for sign, one in zip(signs, found, strict=True))
    random = np.random.default_rng(0)
    chosen = random.integers(0, images, (RESAMPLES, images))
    times = random.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    resampled = number([(times * _resampled(p, chosen)).sum(1) / seeds for p in pairs])
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Estimate(float(number([over_seeds(p) for p in pairs])), float(low), float(high), images, seeds=seeds)


def over_seeds(pair: np.ndarray) -> float:
    """The correlation of one side, without its interval."""
    return float(np.mean([_spearman(pair[:, s]) for s in range(pair.shape[1])]))


def _resampled(pair: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Spearman's correlation `[resamples, seeds]` of the chosen images, seed by seed."""
    from scipy.stats import rankdata

    found = []
    for a, b in zip(*pair, strict=True):
        x, y = (rankdata(column[chosen], axis=1) for column in (a, b))
        x, y = (ranks - ranks.mean(1, keepdims=True) for ranks in (x, y))
        size = np.sqrt((x * x).sum(1) * (y * y).sum(1))
        found.append(np.divide((x * y).sum(1), size, out=np.full(len(x), np.nan), where=size > 0))
    return np.stack(found, 1)


def _spearman(pair: np.ndarray) -> float:
    from scipy.stats import rankdata

    a, b = (rankdata(row) for row in pair)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else np.nan
