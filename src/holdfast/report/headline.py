"""Headline: the primary comparison as one sentence that fits the numbers, and the facts that must be read with it.

A difference is called clear where its 95 % interval excludes zero and its Holm-corrected p-value is below 0.05. What is
not clear is never phrased as a gain or a loss, and never as "no difference" either.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.report.view import View, is_clear
from holdfast.report.wording import (
    HYPHEN,
    NBSP,
    THIN,
    attack_title,
    interval,
    listing,
    norm_title,
    number,
    p_value,
    percent,
    plain,
    radius,
    rule_title,
    signed,
    the,
)
from holdfast.studies.result import BASELINE, CONTROL, INPUT

if TYPE_CHECKING:
    from pandas import Series

ENSEMBLE_CONTROL = "deep_ensemble"  # as many networks, no posterior: tells averaging from Bayes


@dataclass(frozen=True)
class Headline:
    """What the page says first.

    Attributes:
        figure: the number in large type.
        interval: its interval, in words; empty where there is none.
        verdict: "more", "fewer", "unclear" or "alone" (nothing to compare).
        sentence: the finding.
        facts: (term, sentence) pairs that belong to it.
    """

    figure: str
    interval: str
    verdict: str
    sentence: str
    facts: list[tuple[str, str]]


def headline(view: View) -> Headline:
    """The headline of a result."""
    row = view.comparison(view.primary) if view.primary.ensemble != BASELINE else None
    if row is None:
        return _alone(view)
    cell, ours, base = view.primary, the(_title(view, view.primary.ensemble)), the(_title(view, BASELINE))
    setting = f"Under {_attack(view)}, {ours}"
    more = "more" if row["mean_difference"] > 0 else "fewer"
    found = f"{signed(row['mean_difference'])} {interval(row['low'], row['high'])}; n{NBSP}={NBSP}{int(row['n'])}"
    keeps = f"keeps {_pixels(view, row['mean_difference'])} {more} than {base}: {found}."
    drawn = _draws(view, row)
    if is_clear(row) and drawn is not None and not drawn.resolved:
        verdict = "unclear"
        sentence = (
            f"{setting} {keeps} But this is not resolved: it is less than two Monte Carlo errors of having few draws "
            f"({number(drawn.difference_mcse, 4)})."
        )
    elif is_clear(row):
        verdict, sentence = more, f"{setting} {keeps}"
    elif row["low"] > 0 or row["high"] < 0:
        verdict = "unclear"
        sentence = (
            f"{setting} {keeps} The interval excludes zero, but the paired test does not hold after correction for "
            f"{view.family()} comparisons (p = {p_value(row['p_holm'])})."
        )
    else:
        verdict = "unclear"
        sentence = (
            f"Under {_attack(view)}, these data do not tell whether {ours} or {base} keeps more of its "
            f"{_top(view)} pixels: {found}."
        )
    facts = [_levels(view), _noise(view, row), _control(view, row), _labels(view), _strength(view)]
    facts += [_resolution(drawn), _inference(view)]
    where = "" if cell.layer == INPUT else f", read at {cell.layer}"
    return Headline(
        signed(row["mean_difference"]),
        f"95{THIN}% interval {interval(row['low'], row['high'])}, mean difference in k{HYPHEN}LRP{where}",
        verdict,
        sentence,
        [f for f in facts if f],
    )


def _draws(view: View, row: "Series") -> "Series | None":
    """What the diagnosis says of the headline's Monte Carlo error; None where it was not asked, or is not known."""
    if view.result.diagnosis is None:
        return None
    rows = view.result.diagnosis.differences
    rows = rows[(rows["quantity"] == "headline") & (rows["ensemble"] == row["ensemble"]) & (rows["minus"] == BASELINE)]
    return None if rows.empty or not math.isfinite(rows.iloc[0].difference_mcse) else rows.iloc[0]


def _resolution(drawn: "Series | None") -> tuple[str, str] | None:
    if drawn is None:
        return None
    word = "The draws resolve this difference" if drawn.resolved else "The draws do not resolve this difference"
    return (
        "Draws",
        f"{word}: {signed(drawn.difference, 4)}, with a Monte Carlo error of {number(drawn.difference_mcse, 4)}.",
    )


def _alone(view: View) -> Headline:
    p = view.primary
    name = p.ensemble
    values = view.scores(name, p.attack, p.epsilon, p.rule, p.layer)["k_lrp"].dropna()
    ours = the(_title(view, name))
    facts = [f for f in (_chance(view), _noise_level(view), _strength(view), _inference(view)) if f]
    if len(values) < 2:
        return Headline("–", "", "alone", f"Under {_attack(view)}, {ours} has no k-LRP that could be reported.", facts)
    mean, half = values.mean(), 1.959964 * values.std() / math.sqrt(len(values))
    found = f"{number(mean)} [{number(mean - half)}, {number(mean + half)}]; n = {len(values)}"
    sentence = (
        f"Under {_attack(view)}, {ours} keeps {percent(mean, 0)} of its {_top(view)} pixels: {found}. "
        "There is no second ensemble here to compare it with."
    )
    shown = f"95{THIN}% interval [{number(mean - half)}, {number(mean + half)}], mean k{HYPHEN}LRP"
    return Headline(number(mean), shown, "alone", sentence, facts)


def _title(view: View, name: str) -> str:
    return view.result.ensemble(name).title


def _attack(view: View) -> str:
    norm = norm_title(view.norm)
    return f"{attack_title(view.primary.attack)} of size {radius(view.primary.epsilon)}{f' ({norm})' if norm else ''}"


def _top(view: View) -> str:
    return f"top-{plain(view.k)}{THIN}%" if view.k else "top"


def _pixels(view: View, difference: float) -> str:
    if view.pixels is None:
        return f"a share of its {_top(view)} pixels that is {number(abs(difference))}"
    count = abs(difference) * view.pixels
    shown = "less than 1" if count < 0.5 else f"{count:.0f}"
    return f"{shown} of {view.pixels} {_top(view)} pixels"


def _levels(view: View) -> tuple[str, str]:
    p = view.primary
    ours, base = (view.scores(n, p.attack, p.epsilon, p.rule, p.layer)["k_lrp"].mean() for n in (p.ensemble, BASELINE))
    sentence = (
        f"{number(ours)} for {the(_title(view, p.ensemble))} against {number(base)} for "
        f"{the(_title(view, BASELINE))} ({rule_title(p.rule)}, 1 means the same pixels)."
    )
    return "In absolute terms", f"{sentence} {_chance(view)[1]}"


def _chance(view: View) -> tuple[str, str]:
    p = view.primary
    chance = view.scores(p.ensemble, p.attack, p.epsilon, p.rule, p.layer)["chance"].mean()
    if not math.isfinite(chance):
        return "Chance", "The chance level is not known, so the level itself says nothing."
    return "Chance", f"The map of another image already reaches {number(chance)}."


def _noise(view: View, row: "Series") -> tuple[str, str]:
    """How much of the difference is there without any attack, under random noise of the same size."""
    if view.primary.attack == CONTROL:
        return "Random noise", "This comparison is itself made under random noise: no attack was tried in it."
    noise = view.comparison(replace(view.primary, attack=CONTROL))
    if noise is None:
        return "Random noise", "No control under random noise of the same size: an averaging effect is not excluded."
    found = f"{signed(noise['mean_difference'])} {interval(noise['low'], noise['high'])}"
    same = noise["mean_difference"] * row["mean_difference"] > 0
    if not is_clear(noise):
        return "Random noise", f"Under noise of the same size the difference is not clear: {found}."
    if not is_clear(row):
        return "Random noise", f"Under noise of the same size the difference is clear: {found}."
    if not same:
        return "Random noise", f"Under noise of the same size the difference has the other sign: {found}."
    share = noise["mean_difference"] / row["mean_difference"]
    if share >= 1:
        return (
            "Random noise",
            f"Noise of the same size gives as much or more: {found}. "
            "The difference is no sign of resilience to attacks.",
        )
    return "Random noise", (
        f"Noise of the same size, which no one aimed, already gives {found}: {percent(share, 0)} of the difference."
    )


def _noise_level(view: View) -> tuple[str, str] | None:
    p = view.primary
    level = view.scores(p.ensemble, CONTROL, p.epsilon, p.rule, p.layer)["k_lrp"].mean()
    if p.attack == CONTROL or not math.isfinite(level):
        return None
    return "Random noise", f"Under noise of the same size, which no one aimed, it is {number(level)}."


def _control(view: View, row: "Series") -> tuple[str, str] | None:
    """Whether an ensemble without a posterior does as well: then the gain is averaging, not Bayes."""
    if view.primary.ensemble == ENSEMBLE_CONTROL or ENSEMBLE_CONTROL not in [e.name for e in view.others]:
        return None
    control = view.comparison(replace(view.primary, ensemble=ENSEMBLE_CONTROL))
    if control is None:
        return None
    found = f"{signed(control['mean_difference'])} {interval(control['low'], control['high'])}"
    title = the(_title(view, ENSEMBLE_CONTROL))
    sentence = f"For {title}, which averages networks without a posterior, the difference is {found}."
    overlap = control["low"] <= row["high"] and row["low"] <= control["high"]
    if is_clear(row) and overlap:
        sentence += " The two intervals overlap: this page does not show that a posterior is needed for it."
    elif is_clear(row) and abs(control["mean_difference"]) < abs(row["mean_difference"]):
        sentence += " The two intervals lie apart: averaging of that kind does not account for all of it."
    return "Averaging alone", sentence


def _labels(view: View) -> tuple[str, str]:
    p = view.primary
    kept = view.comparison(p, "label_preserving")
    share = view.predictions(p.ensemble, p.attack, p.epsilon)["label_preserved"].astype(float).mean()
    sentence = f"{percent(share, 0)} of the images keep their label for {the(_title(view, p.ensemble))}"
    if kept is None:
        return "Label kept", f"{sentence}; no comparison among those that both ensembles keep."
    found = f"{signed(kept['mean_difference'])} {interval(kept['low'], kept['high'])}, n = {int(kept['n'])}"
    return "Label kept", f"{sentence}; where both ensembles keep it, the difference is {found}."


def _strength(view: View) -> tuple[str, str]:
    """What the attack did to the decisions, and whether the masking checks let one believe it."""
    return "Attack strength", " ".join(part for part in (_accuracies(view), _checks(view)) if part)


def _accuracies(view: View) -> str:
    p, falls = view.primary, []
    for name in dict.fromkeys((p.ensemble, BASELINE)):
        found = view.predictions(name, p.attack, p.epsilon) if name in [e.name for e in view.result.ensembles] else []
        if len(found):
            clean, moved = ((found[c] == found["label"]).mean() for c in ("clean_predicted", "predicted"))
            falls.append(f"{the(_title(view, name))} from {percent(clean, 0)} to {percent(moved, 0)}")
    return f"It takes the accuracy of {listing(falls)}." if falls else ""


def _checks(view: View) -> str:
    checks = view.result.checks
    if checks is None or checks.empty:
        return "No masking checks were recorded, so it is not established that the attack worked."
    ran = checks[checks["passed"].notna()]
    failed = ran[~ran["passed"].astype(bool)]
    if failed.empty:
        left = len(checks) - len(ran)
        return f"All {len(ran)} masking checks that were run passed" + (f"; {left} were not run." if left else ".")
    names = listing(dict.fromkeys(_title(view, n) for n in failed["ensemble"].dropna()))
    about = f" ({names})" if names else ""
    return (
        f"{len(failed)} of {len(ran)} masking checks failed{about}: pixels may be kept there because the attack failed."
    )


def _inference(view: View) -> tuple[str, str] | None:
    warned = [e for e in view.result.ensembles if e.diagnostics is not None and e.diagnostics.warnings]
    if not warned:
        return None
    count = sum(len(e.diagnostics.warnings) for e in warned)
    return "Inference", (
        f"{count} {'warning' if count == 1 else 'warnings'} from training or sampling "
        f"({listing(e.title for e in warned)}); see Inference."
    )
