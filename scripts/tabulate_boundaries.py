"""Write docs/boundaries.md from docs/boundaries/*.json, what measure_boundaries.py found."""

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
FOLDER, PAGE = HOME / "docs" / "boundaries", HOME / "docs" / "boundaries.md"
SCORES = {
    "localisation": "overlap",
    "energy_game": "energy",
    "positive_percentage": "positive",
    "concentration": "concentration",
    "pointing_game": "pointing",
    "relevance_mass": "mass",
    "relevance_rank": "rank",
}
BASELINES = ("noise", "edges", "centre", "brightness")
SHEETS = """
Each picture shows the first image that enters the means, not one chosen: the image, its boundary point, the way there,
and the map of every method, red for the class and blue against it, each on a scale of its own. Boundary SmoothGrad is
on the pictures alone, since its search takes as many times as long as there are noisy copies, with noise of 0.05 (the
others' SmoothGrad has 0.15); where the smoothed classifier does not decide for the label it has no map.
"""
RIVALS = ("IG from black", "IG from the mean", "SmoothGrad", "saliency squared", *BASELINES)  # of BIG
INTRODUCTION = """# Boundary attributions, measured

Written by `scripts/tabulate_boundaries.py` from `docs/boundaries/*.json`, which `scripts/measure_boundaries.py` makes;
never by hand. Methods, scores and distances: `holdfast.studies.boundary_attributions`, `holdfast.scores`. Intervals are
95 %, over images, not corrected for how many there are. Images that are misclassified, without a boundary point, or
without a box or mask that says something are counted and left out of every mean. How far the search is from the truth
and from Foolbox: `python -m benchmarks boundaries`, [measured.md](measured.md).
"""
FACTORS = """
What a map is multiplied by decides much of this. Integrated gradients from black carry the factor `x`, which finds
whatever is brighter than what is around it; BIG carries `x - x*`, which near a boundary is parallel to the gradient
itself, so that BIG comes close to the gradient's square, and most of it is positive wherever it lies. Where BIG is not
told apart from the squared gradient, the search for the boundary has added nothing to where the map points. Noise has
as much of its energy in the region as the region has of the image: a map has to beat noise, edges, centre and
brightness on a score before the score says anything. Energy by factor; in the rows "none" and "x" the place where
gradients are taken is all that differs, in the row "its own" each has its own factor.
"""
BY_FACTOR = {  # factor -> methods whose gradients are taken on the way from black, on that from the boundary, at x
    "none": ("IG from black, gradients alone", "BIG, gradients alone", "saliency"),
    "x": ("IG from black", "BIG's gradients x input", "gradient x input"),
    "its own": ("IG from black", "BIG", "saliency squared"),
}


def main() -> None:
    """Write the page."""
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}
    studies = {name: values for name, values in found.items() if "counts" in values}
    localised = {name: values for name, values in studies.items() if "localisation" in values}
    parts = [INTRODUCTION, "## Images", counts(studies)]
    if localised:
        parts += ["## Does BIG point at the object better than the others?", condition(localised), verdicts(localised)]
        parts += [FACTORS, factors(localised, studies), SHEETS]
        parts += [part for name, values in localised.items() for part in localisation(name, values)]
        parts += [removal(localised)]
    parts += ["## Alignment: a method and its boundary variant", ALIGNMENT, robust(studies), alignment(studies)]
    if localised:
        parts += ["## Where they agree, does the method point at the object?", correlation(localised)]
    for name, title, text in SMOOTHING:
        if name in found:
            parts += [title, text, smoothing(found[name])]
    PAGE.write_text("\n\n".join(part.strip("\n") for part in parts) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(HOME)}")


def paragraph(text: str) -> str:
    """Text in lines of the page's width."""
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Rows as a Markdown table; numbers with three digits behind the point."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def counts(studies: dict[str, Any]) -> str:
    """How many images each network was asked about, and what became of them."""
    head = ("network", "trained", "region", "images", "misclassified", "not found", "no box", "used", "distance")
    rows = []
    for name, s in studies.items():
        c = s["counts"]
        kept = (c["images"], c["misclassified"], c["not_found"], c.get("no_region", 0), c["used"], c["median_distance"])
        rows.append((name, s["trained"], s["region"] or "none", *kept))
    text = table(head, rows)
    empty = {s["data"]: s["counts"]["no_region_in_train_and_test"] for s in studies.values() if s["region"] == "boxes"}
    for data, (train, test) in empty.items():
        text += f"\n\nOf the boxes of {data} {train} in the training and {test} in the test split are empty: flagged."
    found, on = (sum(s["counts"][key] for s in studies.values()) for key in ("found", "on_boundary"))
    steps = " or ".join(sorted({str(s["steps"]) for s in studies.values()}))
    said = f"""An image may be misclassified and without a box. The distance is the median l2 distance to the nearest
boundary point found with {steps} gradients an image. All {found} points were seen to be decided otherwise when the
network was asked again; {on} of them lie within 0.0001 of the boundary, in units of the log predictive."""
    return f"{text}\n\n{paragraph(said)}"


def condition(localised: dict[str, Any]) -> str:
    """What was asked for beforehand: on `placed` BIG's energy is above that of IG, SmoothGrad and noise."""
    said = []
    for name, s in localised.items():
        if s["data"] == "placed":
            energy = {c["second"]: c for c in s["comparison"] if c["score"] == "energy_game"}
            short = [rival for rival in ("IG from black", "SmoothGrad", "noise") if energy[rival]["low"] <= 0]
            missed = f"does not hold against {' and '.join(short)}" if short else "holds"
            said.append(f"on {name} it {missed}")
    text = f"""Asked for beforehand: on `placed`, where the pixels that make the label are known, BIG's energy in the
mask is above that of IG from black, SmoothGrad and noise. Plainly: {"; ".join(said)}."""
    return paragraph(text)


def factors(localised: dict[str, Any], studies: dict[str, Any]) -> str:
    """The energy, by the factor and by where gradients are taken; how close BIG is to the squared gradient."""
    rows = []
    for name, s in localised.items():
        means = {r["explanation"]: r["mean"] for r in s["localisation"] if r["score"] == "energy_game"}
        rows += [(name, factor, *(means[method] for method in methods)) for factor, methods in BY_FACTOR.items()]
    alike = [(black, boundary) for _, factor, black, boundary, _ in rows if factor != "its own"]
    ahead = sum(boundary > black for black, boundary in alike)
    near = {
        name: row["median"]
        for name, s in studies.items()
        for row in s["alignment"]
        if (row["first"], row["second"], row["distance"]) == ("BIG", "saliency squared", "cosine")
    }
    here, least = [near[name] for name in localised], min(near, key=near.get)
    text = f"""With the same factor, gradients on the way from the boundary have more energy in the region than those on
the way from black in {ahead} of {len(alike)} rows. BIG and the squared gradient have median cosines of {min(here):.3f}
to {max(here):.3f} on these networks; of all networks the least is {near[least]:.3f}, on {least}."""
    head = ("network", "factor", "way from black", "way from the boundary", "at the image")
    return f"{paragraph(text)}\n\n{table(head, rows)}"


def verdicts(localised: dict[str, Any]) -> str:
    """The energy game: BIG against the rivals, in words."""
    rows, said = [], []
    for name, s in localised.items():
        means = {r["explanation"]: r["mean"] for r in s["localisation"] if r["score"] == "energy_game"}
        words: dict[str, list[str]] = {}
        for c in s["comparison"]:
            if c["score"] == "energy_game" and c["second"] in RIVALS:
                word = "above" if c["low"] > 0 else "below" if c["high"] < 0 else "not told apart from"
                words.setdefault(word, []).append(c["second"])
                interval = f"{c['difference']:.3f} [{c['low']:.3f}, {c['high']:.3f}]"
                rows.append((name, word, c["second"], means["BIG"], means[c["second"]], interval))
        parts = "; ".join(f"{word} {', '.join(others)}" for word, others in words.items())
        said.append(f"- {name}: BIG is {parts}.")
    text = "Share of the positive relevance that lies in the region, paired over images.\n\n" + "\n".join(said)
    return f"{text}\n\n" + table(("network", "BIG is", "", "BIG", "the other", "difference"), rows)


def localisation(name: str, values: dict[str, Any]) -> list[str]:
    """All scores of all methods of one network, best energy first, baselines in the same table."""
    means: dict[str, dict[str, float]] = {}
    for row in values["localisation"]:
        means.setdefault(row["explanation"], {})[row["score"]] = row["mean"]
        if row["score"] == "energy_game":
            means[row["explanation"]]["interval"] = f"[{row['low']:.3f}, {row['high']:.3f}]"
    ordered = sorted(means.items(), key=lambda item: -item[1]["energy_game"])
    others = [score for score in SCORES if score != "energy_game"]
    rows = []
    for method, m in ordered:
        shown = f"*{method}*" if method in BASELINES else method
        rows.append((shown, m["energy_game"], m["interval"], *(m[score] for score in others)))
    head = ("method", "energy", "its interval", *(SCORES[score] for score in others))
    region = {"masks": "the exact mask", "boxes": "the box"}[values["region"]]
    title = f"### {name}: maps against {region}, {values['counts']['used']} images"
    picture = f"![{name}: one image, its boundary point and all maps](boundaries/{name}-0.png)"
    return [title, table(head, rows), picture if (FOLDER / f"{name}-0.png").exists() else ""]


def removal(localised: dict[str, Any]) -> str:
    """One of two items removed: does the decision follow the map?"""
    with_items = {name: s["removal"] for name, s in localised.items() if "removal" in s}
    if not with_items:
        return ""
    text = """## One of two items removed

On `placed` the label is that of the brighter of two items. A map points at the item with more of its positive
relevance. "brighter": share of the maps that point at the brighter item. "decisive": share that point at an item
without which the decision changes. The maps in italics know nothing of the network. What makes the label is what is
brighter, so that edges and brightness find it too: a map has to do as well before it has shown anything."""
    head = ["method", *(f"{name}: {what}" for name in with_items for what in ("brighter", "decisive"))]
    cells: dict[str, list[float]] = {}
    for rows in with_items.values():
        for row in rows:
            cells.setdefault(row["explanation"], []).extend((row["first"], row["decisive"]))
    images = ", ".join(f"{rows[0]['images']} ({name})" for name, rows in with_items.items())
    rows = ((f"*{method}*" if method in BASELINES else method, *values) for method, values in cells.items())
    title, body = text.split("\n\n")
    return f"{title}\n\n{paragraph(f'{body} Images: {images}.')}\n\n" + table(head, rows)


ALIGNMENT = """
Medians over images of the published distance (l2), of the distance over the mean length of the two maps (relative) and
of the cosine. Where all gradients of a network are smaller, so is every l2 distance between its maps: only the other
two say whether maps point the same way. "saliency and BSM as published" compares the gradient of the class
at the image with that at the boundary point; "saliency of the lead and BSM" that of the class's lead over the class
across, which is the function that makes the boundary. The last four pairs say how far integrated gradients depend on
their baseline, how far BIG depends on the norm of its search, and how close BIG is to the squared gradient.

Is a method nearer to its boundary variant in the robust network? Medians of the standard and of the robust one; both
have one architecture, save those of CIFAR-10."""
STANDARD_ROBUST = (
    ("mnist-lenet-standard", "mnist-lenet-adversarial"),
    ("placed-standard", "placed-robust"),
    ("tiny-standard", "tiny-robust"),
    ("cifar-resnet20", "cifar-resnet2b"),
    ("cifar-resnet20", "cifar-small-adversarial"),
)
PUBLISHED_PAIRS = (
    ("saliency", "BSM as published"),
    ("saliency of the lead", "BSM"),
    ("IG from black", "AGI"),
    ("IG from black", "BIG"),
)

BASELINE_PAIR = ("IG from black", "IG from white")


def robust(studies: dict[str, Any]) -> str:
    """Standard and robust networks side by side, on the pairs of the paper."""
    medians = {
        (name, r["first"], r["second"], r["distance"]): r["median"]
        for name, s in studies.items()
        for r in s["alignment"]
    }
    rows, nearer = [], dict.fromkeys(("l2", "relative", "cosine"), 0)
    for standard, other in STANDARD_ROBUST:
        for pair in PUBLISHED_PAIRS if {standard, other} <= studies.keys() else ():
            cells = []
            for distance in nearer:
                a, b = medians[(standard, *pair, distance)], medians[(other, *pair, distance)]
                holds = b > a if distance == "cosine" else b < a
                nearer[distance] += holds
                cells.append(f"{a:.3f} to {b:.3f}, {'nearer' if holds else 'not nearer'}")
            rows.append((f"{standard}, {other}", " and ".join(pair), *cells))
    said = ", ".join(f"{count} of {len(rows)} by {distance}" for distance, count in nearer.items())
    cosines = [m for (_, *pair, distance), m in medians.items() if (*pair, distance) == (*BASELINE_PAIR, "cosine")]
    text = f"""Nearer in the robust network are {said}. From black and from white integrated gradients have
median cosines of {min(cosines):.3f} to {max(cosines):.3f}: below zero they contradict each other."""
    return paragraph(text) + "\n\n" + table(("networks", "pair", "l2", "relative", "cosine"), rows)


def alignment(studies: dict[str, Any]) -> str:
    """One row per pair and network."""
    rows = {}
    for name, s in studies.items():
        for row in s["alignment"]:
            pair = (f"{row['first']} and {row['second']}", name)
            rows.setdefault(pair, {})[row["distance"]] = row["median"]
    order = list(dict.fromkeys(pair for pair, _ in rows))
    ordered = sorted(rows.items(), key=lambda item: order.index(item[0][0]))
    return table(("pair", "network", "l2", "relative", "cosine"), ((*k, *v.values()) for k, v in ordered))


def correlation(localised: dict[str, Any]) -> str:
    """Spearman's correlation of cosine and energy, with its interval."""
    rows, intervals = [], []
    for name, s in localised.items():
        by_pair: dict[tuple[str, str], dict[str, str]] = {}
        for r in s["correlation"]:
            if r["score"] == "energy_game" and r["rho"] is not None:
                said = f"{r['rho']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
                if r["distance"] == "cosine" and (r["first"], r["second"]) in PUBLISHED_PAIRS:
                    intervals.append((r["low"], r["high"]))
                by_pair.setdefault((r["first"], r["second"]), {})[r["distance"]] = said
        rows += [(name, f"{a} and {b}", v["cosine"], v["l2"]) for (a, b), v in by_pair.items()]
    above, below = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
    text = f"""Spearman's correlation over images of the cosine, and of the l2 distance, with the first method's energy.
If closeness went with pointing at the object, cosines would have positive correlations, distances negative ones. The
paper reports .46 for saliency and BSM, .25 for IG and AGI, .30 for IG and BIG, of the l2 distance and of unclear sign.
Of the {len(intervals)} intervals of cosines of pairs of the paper {above} lie above zero and {below} below."""
    return f"{paragraph(text)}\n\n" + table(("network", "pair", "cosine", "l2"), rows)


SMOOTHING = (
    (
        "noise",
        "## SmoothGrad and the boundary's normal, as the noise grows",
        """CIFAR-10 ResNet-20. The smoothed classifier averages its logits over fixed noise of this standard deviation;
its gradient at the image is SmoothGrad (SG), that at its own nearest boundary point boundary SmoothGrad (BSG). Theorem
1 of Wang, Fredrikson and Datta, on networks of one layer, lets them come close as the noise grows. "class": of the
class decided for, as published; "lead": of its lead over the class across. Medians over images, also over those decided
wrongly: the accuracy says how much of the classifier the noise has left.""",
    ),
    (
        "softplus",
        "## Softplus in the place of ReLU",
        """The same network with `log(1 + exp(beta z)) / beta`: the smaller beta, the smoother. Gradient at the image
against that at its own nearest boundary point.""",
    ),
)


def smoothing(values: dict[str, Any]) -> str:
    """One row per amount of smoothing."""
    rows = values["rows"]
    setting, first, last = next(iter(rows[0])), rows[0], rows[-1]
    goes = {key: f"from {first[key]:.3f} to {last[key]:.3f}" for key in ("lead relative", "lead cosine", "accuracy")}
    least = lambda among: min(among, key=lambda row: row["lead relative"])
    nearest, useful = least(rows), least([row for row in rows if row["accuracy"] >= 0.9 * first["accuracy"]])
    said = f"""From {setting} {first[setting]:g} to {last[setting]:g} the relative distance of the leads goes
{goes["lead relative"]}, their cosine {goes["lead cosine"]}, the accuracy {goes["accuracy"]}. The least distance is
{nearest["lead relative"]:.3f}, at {nearest[setting]:g}; among networks with nine tenths of the first accuracy
{useful["lead relative"]:.3f}, at {useful[setting]:g}."""
    named = {k: " and ".join(v) if isinstance(v, list) else v for k, v in values["settings"].items()}
    settings = ", ".join(f"{key} {value}" for key, value in named.items())
    return table(rows[0], (row.values() for row in rows)) + "\n\n" + paragraph(f"{said} Settings: {settings}.")


def _cell(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
