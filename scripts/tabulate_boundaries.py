"""Write docs/boundaries.md from docs/boundaries/*.json, what measure_boundaries.py found."""

import json
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
RIVALS = (
    "IG from black",
    "IG from the mean",
    "SmoothGrad",
    "saliency squared",
    *BASELINES,
)  # what BIG's energy in the mask is held against
INTRODUCTION = """# Boundary attributions, measured

Written by `scripts/tabulate_boundaries.py` from `docs/boundaries/*.json`, which `scripts/measure_boundaries.py` makes;
never by hand. Methods, scores and distances: `holdfast.studies.boundary_attributions`, `holdfast.scores`. Intervals are
95 %, over images. Images that are misclassified, without a boundary point, or without a box or mask that says something
are counted and left out of every mean.
"""
PLAINLY = """
Plainly: the published claim, that BIG points at the object better than integrated gradients do, depends on what the map
is multiplied by. Integrated gradients from black carry the factor `x`: where the object is brighter than what is around
it, as on `placed`, that factor finds it without help; with the factor `1 - x` (from white) they look away from it. BIG
carries the factor `x - x*`, which is parallel to the boundary's normal: where the boundary is near, BIG comes close to
the square of the gradient. Compare it with the rows "gradients alone" (no factor), "BIG's gradients x input" (the
factor of integrated gradients) and "saliency squared": where BIG is not told apart from the latter, the search for the
boundary has added nothing to where the map points. The positive percentage of BIG is near 1 for the same reason,
whatever the network; a map has to beat noise, edges, centre and brightness on a score before the score says anything.
"""


def main() -> None:
    """Write the page."""
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}
    studies = {name: values for name, values in found.items() if "counts" in values}
    localised = {name: values for name, values in studies.items() if "localisation" in values}
    parts = [INTRODUCTION, "## Images", counts(studies)]
    if localised:
        parts += ["## Does BIG point at the object better than the others?", verdicts(localised), PLAINLY]
        parts += [part for name, values in localised.items() for part in localisation(name, values)]
        parts += [removal(localised)]
    parts += ["## Alignment: a method and its boundary variant", ALIGNMENT, alignment(studies)]
    if localised:
        parts += ["## Where they agree, does the method point at the object?", correlation(localised)]
    for name, title, text in SMOOTHING:
        if name in found:
            parts += [title, text, smoothing(found[name])]
    PAGE.write_text("\n\n".join(part.strip("\n") for part in parts) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(HOME)}")


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Rows as a Markdown table; numbers with three digits behind the point."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def counts(studies: dict[str, Any]) -> str:
    """How many images each network was asked about, and what became of them."""
    head = (
        "network",
        "trained",
        "region",
        "images",
        "misclassified",
        "no boundary found",
        "no box",
        "used",
        "distance",
    )
    rows = []
    for name, s in studies.items():
        c = s["counts"]
        kept = (c["images"], c["misclassified"], c["not_found"], c.get("no_region", 0), c["used"], c["median_distance"])
        rows.append((name, s["trained"], s["region"] or "none", *kept))
    text = table(head, rows)
    empty = {s["data"]: s["counts"]["no_region_in_train_and_test"] for s in studies.values() if s["region"] == "boxes"}
    for data, (train, test) in empty.items():
        text += f"\n\nOf the boxes of {data} {train} in the training and {test} in the test split are empty: flagged."
    return text + "\n\nThe distance is the median l2 distance to the nearest boundary point found."


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
without which the decision changes."""
    head = ["method", *(f"{name}: {what}" for name in with_items for what in ("brighter", "decisive"))]
    cells: dict[str, list[float]] = {}
    for rows in with_items.values():
        for row in rows:
            cells.setdefault(row["explanation"], []).extend((row["first"], row["decisive"]))
    images = ", ".join(f"{rows[0]['images']} ({name})" for name, rows in with_items.items())
    return f"{text} Images: {images}.\n\n" + table(head, ((method, *values) for method, values in cells.items()))


ALIGNMENT = """
Medians over images of the published distance (l2), of the distance over the mean length of the two maps (relative) and
of the cosine. Gradients of robust networks are smaller altogether, and so is every l2 distance between their maps: only
the other two say whether maps point the same way. The last four pairs say how far integrated gradients depend on their
baseline, how far BIG depends on the norm of its search, and how close BIG is to the squared gradient."""


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
    text = "Spearman's correlation over images of the cosine, and of the l2 distance, with the first method's energy."
    rows = []
    for name, s in localised.items():
        by_pair: dict[tuple[str, str], dict[str, str]] = {}
        for r in s["correlation"]:
            if r["score"] == "energy_game" and r["rho"] is not None:
                said = f"{r['rho']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
                by_pair.setdefault((r["first"], r["second"]), {})[r["distance"]] = said
        rows += [(name, f"{a} and {b}", v["cosine"], v["l2"]) for (a, b), v in by_pair.items()]
    return f"{text}\n\n" + table(("network", "pair", "cosine", "l2"), rows)


SMOOTHING = (
    (
        "noise",
        "## SmoothGrad and the boundary's normal, as the noise grows",
        """CIFAR-10 ResNet-20. The smoothed classifier averages its logits over fixed noise of this standard deviation;
its gradient at the image is SmoothGrad (SG), that at its own nearest boundary point boundary SmoothGrad (BSG). Theorem
1 of Wang, Fredrikson and Datta lets them come close as the noise grows. "class": of the class decided for, as
published; "lead": of its lead over the class across. Medians over images.""",
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
    return table(rows[0], (row.values() for row in rows)) + f"\n\nSettings: {values['settings']}."


def _cell(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
