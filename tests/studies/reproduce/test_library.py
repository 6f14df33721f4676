"""The library of studies: every file can be read, every name in it means something, every claim finds its figure."""

import pytest

from holdfast.studies.engine.cell import in_order
from holdfast.studies.reproduce.claim import claims
from holdfast.studies.reproduce.fits import is_single, size
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.rules import PRESETS, SCALES, Settled
from holdfast.studies.reproduce.study import HOME, Study, read, studies, study_of, without_study


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_study_can_be_planned(preset, scale):
    for part in plan(studies().values(), scale, [preset]):
        assert part.missing or any(True for _ in part.cells), (part.study.id, part.panel.title)


def test_every_network_that_is_trained_is_trained_with_every_seed_of_the_scale():
    for part in plan(studies().values(), "paper", ["corrected"]):
        seeds = Settled("corrected", "paper").scale.seeds
        for name, rows in part.tables.items():
            trained = [labels["seed"] for labels, cell in rows if any(_is_trained(c) for c in in_order([cell]))]
            given = part.study.paper == "BA"  # its networks are given
            assert given or not rows or set(trained) == set(seeds), (part.study.id, name)


def _is_trained(cell):
    return cell.kind == "fit" and "function" in cell.settings["fit"]


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize("preset", PRESETS)
def test_ensembles_that_are_compared_have_as_many_networks_as_each_other(preset, scale):
    """A control at a smaller number is none, and a posterior with fewer draws is not what a label says."""
    settled, compared = Settled(preset, scale), 0
    for part in plan(studies().values(), scale, [preset]):
        panel, counts = part.panel, {}
        rows = [row for table in ("resilience", "accuracy", "norms") for row in part.tables.get(table, ())]
        labels = {"study": part.study.id, "data": panel.data, "network": panel.network}
        wanted = max((settled.draws(asked) for asked in panel.draws), default=1)
        for treatment in {row["treatment"] for row, _ in rows if "treatment" in row}:
            own = size(settled, **labels, treatment=treatment)
            if own is not None and not is_single(settled, **labels, treatment=treatment):
                counts[treatment] = min(own, wanted)
        assert len(set(counts.values())) <= 1, (part.study.id, panel.title, counts)
        assert scale != "paper" or set(counts.values()) <= {wanted}, (part.study.id, panel.title, counts)
        compared += len(counts) > 1
    assert compared > (5 if preset == "corrected" else 0)


def test_studies_share_what_they_have_in_common():
    parts = plan([study_of("BE-F9"), study_of("BE-F3")], "smoke", ["corrected"])
    cells = [c for p in parts for c in p.cells]
    fits = {c.key for c in in_order(cells) if c.kind == "fit"}
    trained = {(p.panel.data, p.panel.network) for p in parts}
    assert len(fits) <= 7 * len({network for _, network in trained})


def test_panels_have_titles_of_their_own():
    for study in studies().values():
        titles = [p.title for p in study.panels]
        assert len(set(titles)) == len(titles), study.id


CHECKLIST = {  # every figure and table of the papers
    "BE": [*(f"F{n}" for n in range(1, 17)), *(f"T{n}" for n in range(1, 6))],
    "GA": ["F1", "F2", "F3", "F4", "T1", "TEXT", "TABLES"],
    "BA": [*(f"F{n}" for n in (1, 2, 3, 4, 5, "6A", "6B", 7, 8, 9, 10, 11)), "T1", "T2", "APPC"],
}


def test_every_figure_and_table_of_the_papers_is_there_or_says_why_not():
    wanted = {f"{paper}-{name}" for paper, names in CHECKLIST.items() for name in names}
    own = {name for name in studies() if not name.startswith("TH-")}
    assert own | set(without_study()) == wanted
    assert not own & set(without_study())
    with pytest.raises(ValueError, match=r"BA-F2, Figure 2 .* cannot be run. A sketch without data or numbers"):
        study_of("ba-f2")


def test_claims_are_of_panels_that_are_there():
    assert {"BE-C1", "BE-C2", "BE-C3", "BE-C4", "BE-C5", "BE-C6", "BE-C7"} <= set(claims())
    for claim in claims().values():
        assert claim.untestable or claim.evidence, claim.id
        for evidence in claim.evidence:
            for one in evidence.each():
                panel = next(p for p in study_of(one.study).panels if p.title == one.panel)
                known = {"draws": panel.draws, "layer": panel.layers, "rule": panel.rules}
                for label in known.keys() & one.where.keys():
                    assert one.where[label] in known[label], (claim.id, label)


def test_later_rules_lie_over_earlier_ones():
    laptop, paper = (Settled("corrected", s).of("fit", treatment="deep_ensemble") for s in ("laptop", "paper"))
    assert (laptop["members"], paper["members"]) == (20, 100)
    assert laptop["training"]["epochs"] == 5
    assert paper["training"]["epochs"] == 15
    assert laptop["function"] == paper["function"]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no study 'BE-F33'; perhaps BE-F3"):
        study_of("BE-F33")
    with pytest.raises(ValueError, match="the scale must be one of smoke, laptop, paper, got 'huge'"):
        Settled("published", "huge")
    file = tmp_path / "study.toml"
    text = (HOME / "library" / "be_f3.toml").read_text()
    for change, message in (
        (("panels", "pannels"), "pannels: Extra inputs are not permitted|panels: Field required"),
        (('paper = "BE"', 'paper = "XX"'), "paper: Input should be 'BE', 'GA', 'BA' or 'TH', got 'XX'"),
        (('data = "mnist"', "data = 3"), "panels.0.data: Input should be a valid string, got '3'"),
        (("[[panels]]", "[[panels"), "is not a TOML file"),
    ):
        file.write_text(text.replace(*change))
        with pytest.raises(ValueError, match=message):
            read(file, Study)
