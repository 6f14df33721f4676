"""Chosen draws: what the diagnostics of an ensemble still say of some of its draws.

A sampler keeps its draws chain after chain, as many of each, and says so: `settings["chains"]`. Some of the draws are
in general no such thing, so a choice notes where its draws stood,

    settings["chosen"] = {"draws": places among those of the run, "of": how many those were, "chains": of the run}

and has `settings["chains"] = k` only where it holds, in their order, equally many draws of each of k chains. Of a
sampler's histories it keeps those with one value per draw, its draws' own. The summary of a sampler, and its other
curves, are of all its draws, so a choice has none; those of a fit whose draws are independent (its loss, its ELBO)
describe the fit, whichever draws are looked at, and stay.
"""

import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

CURVES_OF_DRAWS = ("accepted", "energy_error", "energy", "nll", "mean_square_of_z", "leapfrog_steps")
Said = TypeVar("Said")  # `Diagnostics`, which is defined above this file, or None


def places_of(call: str, draws: Any, count: int) -> list[int]:
    """The draws that an index, a slice, a sequence or a mask names, of `count`, as places from 0.

    >>> places_of("call", slice(-2, None), 5), places_of("call", [0, -1], 5), places_of("call", 3, 5)
    ([3, 4], [0, 4], [3])
    """
    try:
        found = _numbers(draws, count)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{call}: draws are named by a whole number, a slice or a list of whole numbers, got {_brief(draws)}."
        ) from error
    outside = [i for i in found if not -count <= i < count]
    if outside:
        raise IndexError(f"{call}: there are {count} draws, 0 to {count - 1}, and no draw {outside[0]}.")
    if not found:
        raise ValueError(f"{call}: {_brief(draws)} names none of the {count} draws; name at least one.")
    return [i % count for i in found]


def said_of(said: Said, places: Sequence[int], count: int) -> Said:
    """Diagnostics of the draws at some places among the `count` that `said` is of.

    >>> from holdfast.ensemble import Diagnostics
    >>> whole = Diagnostics("hmc", {"chains": 2}, {"acceptance": 0.8}, {"nll": [5.0, 4.0, 6.0, 7.0]})
    >>> one = said_of(whole, [2, 3], 4)
    >>> one.settings["chains"], dict(one.summary), one.history
    (1, {}, {'nll': [6.0, 7.0]})
    >>> said_of(whole, [0, 1, 2], 4).settings
    {'chosen': {'draws': [0, 1, 2], 'of': 4, 'chains': 2}}
    """
    places = list(places)
    if said is None or places == list(range(count)):
        return said
    settings = {k: v for k, v in said.settings.items() if k not in ("chains", "chosen")}
    chosen = _chosen(said.settings, places, count)
    settings["chosen"] = chosen
    if chosen["chains"] is None:
        return replace(said, settings=settings)
    chains = whole_chains(chosen)
    if chains is not None:
        settings["chains"] = chains
    cut = {k: [v[i] for i in places] for k, v in curves_of_draws(said.history, count).items()}
    return replace(said, settings=settings, summary={}, history=cut)


def curves_of_draws(history: Mapping[str, Sequence[float]], count: int) -> dict[str, Sequence[float]]:
    """The curves that have one value for each draw. Others are by epoch, even where there are as many epochs.

    >>> curves_of_draws({"loss": [3.0, 2.0], "nll": [5.0, 4.0]}, 2)
    {'nll': [5.0, 4.0]}
    """
    return {k: v for k, v in history.items() if k in CURVES_OF_DRAWS and len(v) == count}


def whole_chains(chosen: Mapping[str, Any]) -> int | None:
    """How many chains a choice holds equally many draws of, in their order; None where it does not.

    >>> whole_chains({"draws": [0, 1, 10, 11], "of": 20, "chains": 2}), whole_chains({"draws": [0, 10, 11], "of": 20,
    ...     "chains": 2})
    (2, None)
    """
    places, counts = chosen["draws"], counts_of(chosen)
    if counts is None or any(b <= a for a, b in pairwise(places)) or len(set(counts.values())) != 1:
        return None
    return len(counts)


def counts_of(chosen: Mapping[str, Any]) -> dict[int, int] | None:
    """How many draws of each chain a choice holds, by the number of the chain; None where that is not known.

    >>> counts_of({"draws": [0, 1, 10], "of": 20, "chains": 2})
    {0: 2, 1: 1}
    """
    places, of, chains = chosen["draws"], chosen["of"], chosen["chains"]
    known = isinstance(chains, int) and not isinstance(chains, bool) and chains >= 1 and of % chains == 0
    return dict(sorted(Counter(p * chains // of for p in places).items())) if known else None


def makes_sense(chosen: Any) -> bool:
    """Whether what a file says of a choice can be read as one.

    >>> makes_sense({"draws": [0, 1], "of": 4, "chains": 2}), makes_sense({"draws": [0, 4], "of": 4, "chains": 2})
    (True, False)
    """
    if not isinstance(chosen, Mapping) or chosen.keys() != {"draws", "of", "chains"} or type(chosen["of"]) is not int:
        return False
    places = chosen["draws"]
    return isinstance(places, list) and all(type(p) is int and 0 <= p < chosen["of"] for p in places)


def _chosen(settings: Mapping[str, Any], places: list[int], count: int) -> dict[str, Any]:
    """Where the draws at some places of an ensemble stood in the run."""
    before = settings.get("chosen")
    if before is None:
        return {"draws": places, "of": count, "chains": settings.get("chains")}
    if len(before["draws"]) != count:  # an ensemble put together by hand: where its draws stood is not known
        return {"draws": places, "of": count, "chains": before["chains"] and "unknown"}
    return {**before, "draws": [before["draws"][i] for i in places]}


def _numbers(draws: Any, count: int) -> list[int]:
    if isinstance(draws, slice):
        return list(range(count)[draws])
    draws = draws.tolist() if hasattr(draws, "tolist") else draws  # a tensor or an array
    if not isinstance(draws, Iterable):
        draws = [draws]
    draws = list(draws)
    if draws and all(isinstance(d, bool) for d in draws):
        if len(draws) != count:
            raise ValueError("a mask of another length")
        return [i for i, chosen in enumerate(draws) if chosen]
    return [operator.index(d) for d in draws]


def _brief(draws: Any) -> str:
    text = repr(draws)
    return text if len(text) <= 60 else f"{text[:57]}..."
