"""What these numbers do not say: limits that hold for every such study, and those that this result's numbers show."""

from holdfast.report.headline import ENSEMBLE_CONTROL
from holdfast.report.view import View
from holdfast.report.wording import attack_title, listing, percent, plain, radius, the
from holdfast.studies.result import BASELINE, CONTROL

ACCURACY_GAP = 0.02  # a difference in clean accuracy that a reader must know of


def caveats(view: View) -> list[tuple[str, str]]:
    """(short claim, explanation) pairs."""
    return [c for c in (*_always(view), *_here(view)) if c]


def _always(view: View) -> list[tuple[str, str]]:
    gradient = listing(attack_title(a) for a in view.attacks if a != CONTROL) or "the attacks"
    k = f"{plain(view.k)} %" if view.k else "k %"
    return [
        (
            "Not that an explanation is right.",
            "k-LRP asks whether the same pixels stay on top, not whether they are the reason for the decision. A "
            "method that always marks the middle of the picture would score 1.",
        ),
        (
            "Not that no attack can do worse.",
            f"{gradient} search for a wrong prediction. A stronger search may find worse, and none of them aims "
            "at the heatmap itself, which is a harder test.",
        ),
        (
            "Not how other networks, data or seeds behave.",
            f"The intervals are over the {view.images} images. Each ensemble was trained once, so the scatter between "
            "training runs is in none of them.",
        ),
        (
            "Not that small values mean little, or high ones much.",
            f"The scale depends on k ({k}), on the images' background and on the rule. Read a value beside its chance "
            "level and its noise control only; do not compare it across data sets.",
        ),
        (
            "Not why a map is stable.",
            "The heatmap of an ensemble is a mean over its draws, and means are smoother than their parts. A gain that "
            "also appears under random noise, or for a deep ensemble, is likely of that kind.",
        ),
        (
            "Not a cause.",
            "The subsets of images with kept and with changed labels are made by the attack's outcome and differ from "
            "one ensemble to the next; the same holds for the correlation with softmax robustness.",
        ),
    ]


def _here(view: View) -> list[tuple[str, str] | None]:
    return [_accuracy(view), _posterior(view), _no_control(view), _one_radius(view), _corrected(view)]


def _accuracy(view: View) -> tuple[str, str] | None:
    if view.baseline is None:
        return None
    apart = [e for e in view.others if abs(e.clean_accuracy - view.baseline.clean_accuracy) > ACCURACY_GAP]
    if not apart:
        return None
    said = listing(f"{the(e.title)} {percent(e.clean_accuracy)}" for e in apart)
    base = f"{the(view.baseline.title)} {percent(view.baseline.clean_accuracy)}"
    return (
        "Not a comparison of equally good classifiers.",
        f"On clean images the accuracies are: {base}; {said}. A network that has learned less can also be "
        "harder to move.",
    )


def _posterior(view: View) -> tuple[str, str] | None:
    approximate = [
        e for e in view.result.ensembles if e.draws > 1 and e.name not in (BASELINE, "adversarial", ENSEMBLE_CONTROL)
    ]
    if not approximate:
        return None
    names = listing(the(e.title) for e in approximate)
    return (
        "Nothing about the exact posterior.",
        f"What is sampled here is an approximation ({names}), with a finite number of draws. Theorems on exact "
        "posteriors of wide networks do not carry over to it by themselves.",
    )


def _no_control(view: View) -> tuple[str, str] | None:
    if ENSEMBLE_CONTROL in [e.name for e in view.result.ensembles] or not view.others:
        return None
    return (
        "Not that a posterior is needed.",
        "There is no deep ensemble in this run, so a gain of averaging and a gain of Bayesian inference look the same.",
    )


def _one_radius(view: View) -> tuple[str, str] | None:
    if len(view.epsilons) > 1:
        return None
    return (
        "Nothing about other sizes.",
        f"All perturbations have the size {radius(view.epsilons[0])}. Differences can vanish or change "
        "their sign at another.",
    )


def _corrected(view: View) -> tuple[str, str] | None:
    if view.result.comparisons.empty:
        return None
    return (
        "Not that what is not significant is equal.",
        f"{view.family()} comparisons over all images were tested and corrected together (Holm). A p-value above 0.05 "
        "says that these images do not decide, nothing more.",
    )
