"""The verdict page as text: one file, every state of a claim, hostile words harmless, sliders true to the tables."""

import dataclasses
import gzip
import io
import json
import os
import re

import numpy as np
import pandas
import pytest
from synthetic_reproduction import FAILED, NOT_RELEASED, RULES, make_claims, make_reproduction, make_study
from test_page import HOSTILE, Page

from holdfast import report
from holdfast.report.studies.blocks import blocks
from holdfast.report.studies.cards import STATES, by_paper, cards, headline
from holdfast.report.studies.page import page_text
from holdfast.report.studies.pictures.densities import GRID
from holdfast.report.studies.rows import Lookup, chosen
from holdfast.report.studies.summary import summary
from holdfast.studies.reproduce.verdict import lies_there


@pytest.fixture(scope="module")
def found():
    return make_reproduction()


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdicts")
    (folder / "tables").mkdir()
    table = found.tables["BE-F3", "MNIST", "corrected"]["resilience"]
    table.to_parquet(folder / "tables" / "BE-F3-resilience-corrected.parquet", index=False)
    path = report.write_verdicts(found, folder)
    return path, Page(path.read_text(encoding="utf-8"))


def data_of(page, anchor):
    """What the sliders of a figure read, as the browser would."""
    text = page[0].read_text(encoding="utf-8")
    return json.loads(re.search(rf'id="data-{anchor}">(.*?)</script>', text, flags=re.DOTALL)[1])


def marks_of(data, plot):
    return {m["id"].removeprefix(f"{plot}-"): m for p in data["plots"] for m in p["marks"] if m["id"].startswith(plot)}


def small(**changes):
    """One small study with one claim, so that a page takes a second."""
    study = make_study("BE-F3", "differences", **changes)
    return make_reproduction((study,), claims=make_claims("BE-F3")[:1])


def test_page_is_one_file_that_asks_nothing_of_others(page):
    path, parsed = page
    text = path.read_text(encoding="utf-8")
    loads = [
        a.get("src") or a.get("href") for t, a in parsed.elements if t in ("img", "link", "iframe", "use", "script")
    ]
    assert all(s is None or s.startswith(("data:", "#")) for s in loads)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)
    assert "@import" not in text
    assert not re.search(r"url\((?!#|data:)", text)
    assert "default-src 'none'" in text


def test_links_lead_somewhere(page):
    path, parsed = page
    assert len(parsed.ids) == len(set(parsed.ids))
    for link in parsed.links:
        assert link[1:] in parsed.ids if link.startswith("#") else (path.parent / link).is_file(), link


def test_every_state_is_said_with_its_reason(page):
    text = page[1].text
    assert {"untestable", "failed", "not run"} <= {s for s in STATES if s in text}
    assert "The weights were never published." in text
    assert FAILED in text
    assert NOT_RELEASED in text
    assert "proves that it runs, not what it shows" in text


def test_a_claim_can_have_every_verdict():
    claims = make_claims("BE-F3")[:3]
    shown = make_reproduction((make_study("BE-F3", "differences", rules=RULES),), claims=claims, images=400)
    states = {c.claim.id: c.state for c in cards(shown)}
    assert (states["BE-X2"], states["BE-X3"]) == ("holds weaker", "does not hold")
    evidence = claims[0].evidence[0].model_copy(update={"controls": ()})
    alone = make_reproduction(
        shown.studies, claims=[claims[0].model_copy(update={"evidence": (evidence,)})], images=400
    )
    assert {c.claim.id: c.state for c in cards(alone)}["BE-X1"] == "holds"


def test_headline_counts_what_the_list_shows(found, page):
    shown = cards(found)
    assert headline(found, shown) in page[1].text
    assert f"Of {len(shown)} claims" in page[1].text
    text = page[0].read_text(encoding="utf-8")
    for state in STATES:
        listed = len(
            re.findall(rf'<li>.*?class="chip[^>]*><span aria-hidden="true">[^<]*</span> {state}</span></li>', text)
        )
        assert listed == sum(c.state == state for c in shown), state


def test_every_claim_says_how_many_of_its_numbers_lie_where_it_says(found, page):
    shown = {c.claim.id: c for c in cards(found)}
    first, other = shown["BE-X1"], shown["BE-X3"]
    corrected, beyond = (
        sum(lies_there(f.evidence, getattr(f, which)) for f in first.findings)
        for which in ("corrected", "beyond_chance")
    )
    told = f"3 of 3 as published and {corrected} of 3 corrected ({beyond} of 3 once the chance level is taken off)."
    assert first.sides == f"On the claimed side: {told}"
    assert first.sides in page[1].text
    assert other.sides.startswith("On the claimed side: 0 of 3 as published and 0 of 3 corrected (0 of 3 ")
    assert other.sides.endswith("). The released procedure does not show it here either.")
    assert page[1].text.count("The released procedure does not show it here") == 1
    assert shown["BE-X4"].sides == ""


def test_a_paper_counts_apart_what_was_computed_one_way(found, page):
    both = [f for c in cards(found) for f in c.findings if f.published is not None and f.corrected is not None]
    there = [sum(lies_there(f.evidence, getattr(f, which)) for f in both) for which in ("published", "corrected")]
    (paper,) = by_paper(cards(found))
    assert paper.sides == (
        f"Of {len(both)} computed both ways, {there[0]} as published and {there[1]} corrected; "
        "of 3 computed as published alone, 3."  # of the panel that failed when corrected
    )
    said = f"Numbers that lie on the claimed side with their whole interval: o{paper.sides[1:]}"
    assert said in page[1].text
    alone = make_reproduction((make_study("BE-F3", "differences", rules=RULES),), presets=("corrected",))
    (paper,) = by_paper(cards(alone))
    assert re.search(r"^Of 9 computed corrected alone, \d\.$", paper.sides)


def test_numbers_of_a_claim_are_those_of_its_judgement(found, page):
    finding = found.judgements[0].findings[0]
    said = f"{finding.corrected.value:+.2f} [{finding.corrected.low:+.2f}, {finding.corrected.high:+.2f}]"
    beyond = finding.beyond_chance
    told = f"{beyond.value:+.2f} [{beyond.low:+.2f}, {beyond.high:+.2f}]"
    text = page[1].text.replace("\xa0", " ").replace("−", "-")
    assert said in text
    assert told in text
    assert "beyond chance, 0.20:" in text


def test_controls_have_titles_and_are_compared_where_there_is_something_to_compare(found, page):
    cell = re.compile(r"<div>(Deep ensemble|NoiseGrad|SmoothGrad) [^<]*?( \(no clear lead\))?</div>")
    text = page[0].read_text(encoding="utf-8").split('id="claims"', 1)[1]
    findings = [f for c in cards(found) for f in c.findings if f.corrected]
    shown = [bool(words) for _, words in cell.findall(text)]
    expected = [lies_there(f.evidence, f.corrected) and not above for f in findings for *_, above in f.controls]
    assert shown == expected
    assert True in shown
    assert any(not above for f in findings for *_, above in f.controls if not lies_there(f.evidence, f.corrected))


def test_tables_say_a_label_once_and_call_columns_by_their_titles(page):
    text = page[0].read_text(encoding="utf-8")
    assert '<th scope="col" class="n">k-LRP beyond chance, corrected</th>' in text
    assert "<td>10 (here 6)</td>" in text or "<td>100 (here 6)</td>" in text
    assert not re.search(r"<td>(draws|layer|k =) ", text)
    assert "k lrp" not in text


def test_what_is_drawn_one_way_stands_alone():
    study = make_study("BE-F3", "components")
    rows = {"treatment": "hmc", "draws": 100, "seed": 0, "level": [0.01, 0.25, 0.5, 0.75, 0.99], "value": range(5)}
    tables = {p: pandas.concat([pandas.DataFrame(rows | {"of": of}) for of in kinds]) for p, kinds in {
        "published": ["loss"], "corrected": ["loss", "log_predictive"]}.items()}  # fmt: skip
    found = make_reproduction((study,), claims=[])
    found.tables.update({("BE-F3", "MNIST", p): {"components": t} for p, t in tables.items()})
    (block,) = blocks(found, [], None)
    assert [(row.heading, list(row.drawn)) for row in block.panels[0].rows] == [
        ("loss", ["published", "corrected"]), ("log predictive", ["corrected"]),
    ]  # fmt: skip
    text = page_text(found, [], [block], [])
    assert "Nothing to draw" not in text
    assert text.count('<p class="plot-title">') == 3


def test_sentences_and_failed_checks_do_not_split_rows():
    rows = {
        "treatment": ["hmc"] * 2,
        "check": ["order"] * 2,
        "passed": [1.0, 0.0],
        "sentence": ["It is.", "It is not."],
    }
    assert summary(pandas.DataFrame(rows)).to_dict("records") == [
        {"treatment": "hmc", "check": "order", "rows": 2, "passed": 0.5}
    ]


def test_numbers_of_draws_say_how_many_there_were(page):
    text = page[0].read_text(encoding="utf-8").split("<body", 1)[1]
    assert "All: MNIST, HMC, FGSM, last layer, 100 draws (here 6), k = 20\u202f%." in text
    assert "Means over images at 100 draws (here 6), k = 20\u202f%, ε = 0.2" in text
    assert not re.findall(r"100 draws(?! \(here 6\)|</text>)", text)  # a label of an axis has two lines


def test_boxes_of_the_sliders_are_quantiles_of_the_tables(found, page):
    table = found.tables["BE-F3", "MNIST", "corrected"]["resilience"]
    data = data_of(page, "be-f3")
    assert data["sizes"] == [1, 3, 1]  # draws, k, epsilon
    marks = marks_of(data, "be-f3_mnist_layer-1_corrected")
    for g, rule in enumerate(RULES):
        for t, treatment in enumerate(("adversarial", "hmc", "deep_ensemble", "noise_grad", "smooth_grad", "loud")):
            for place, k in enumerate((10, 20, 40)):
                own = table[(table.rule == rule) & (table.k == k)].pivot_table(
                    index="image", columns=["treatment", "attack"], values="k_lrp"
                )
                apart = own[treatment, "fgsm"] - own["deterministic", "fgsm"]
                expected = np.quantile(apart, [0.05, 0.25, 0.5, 0.75, 0.95])
                assert np.allclose(marks[f"g{g}t{t}"]["values"][place], expected, atol=1e-4)
                noise = own[treatment, "random_noise"] - own["deterministic", "random_noise"]
                assert np.isclose(marks[f"g{g}t{t}n"]["values"][place], noise.median(), atol=1e-4)
                words = marks[f"g{g}t{t}v"]["values"][place].replace("−", "-")
                assert abs(float(words) - expected[2]) <= 0.005 + 1e-9


def test_drawings_stand_where_the_sliders_start(page):
    """What matplotlib drew for the figure's own k is what the script would draw from its numbers."""
    text, data = page[0].read_text(encoding="utf-8"), data_of(page, "be-f3")
    plot = next(p for p in data["plots"] if p["marks"][0]["id"].startswith("be-f3_mnist_layer-1_corrected"))
    mark = next(m for m in plot["marks"] if m["id"].endswith("g0t1"))
    path = re.search(rf'<g id="{mark["id"]}b">\s*<path d="([^"]*)"', text)[1]
    x = sorted({float(v) for v in re.findall(r"[ML] ?([\d.]+) [\d.]+", path)})
    y = sorted({float(v) for v in re.findall(r"[ML] ?[\d.]+ ([\d.]+)", path)})
    expected = [plot["scale"][0] + plot["scale"][1] * mark["values"][1][i] for i in (1, 3)]
    assert np.allclose(x, expected, atol=0.1)
    assert np.allclose(y, [mark["y"] - mark["half"], mark["y"] + mark["half"]], atol=0.1)


def test_densities_and_dots_of_the_sliders_are_those_of_the_tables(found, page):
    ridges = marks_of(data_of(page, "be-f2"), "be-f2_mnist_layer0_published")
    assert {len(v) for m in ridges.values() for v in m["values"]} == {GRID}
    assert {max(max(m["values"][1]) for n, m in ridges.items() if n.startswith(f"d{i}")) for i in range(3)} == {900}
    tables = found.tables["BE-F4", "MNIST", "published"]
    both = tables["resilience"].merge(tables["predictions"][["treatment", "draws", "image", "softmax_robustness"]])
    own = both[(both.treatment == "hmc") & (both.k == 10) & (both.draws == 50)]
    marks = marks_of(data_of(page, "be-f4"), "be-f4_mnist_layer-1_published")
    cloud = marks["hmcc"]
    dots = np.stack([cloud["across"][cloud["which"][0]], cloud["values"][0]], 1) / 1000
    assert np.allclose(dots, own[["softmax_robustness", "k_lrp"]], atol=1e-3)
    assert len(cloud["across"]) == len(set(both.draws))  # they do not depend on k
    rho = own[["softmax_robustness", "k_lrp"]].corr("spearman").iloc[0, 1]
    assert f"ρ = {rho:.2f}".replace("-", "−") in marks["hmcr"]["values"][0]


def test_every_panel_says_how_accurate_its_networks_are(page):
    text = page[0].read_text(encoding="utf-8")
    line = "Accuracy on clean images, corrected: Deterministic 90.0\u202f%, Adversarially trained 90.0\u202f%, HMC 90.0"
    assert text.count(line) == 5  # one panel failed when corrected, one was not released
    assert text.count("Accuracy on clean images, as published") == 5


def test_figures_without_a_study_are_listed(page):
    text = page[1].text
    assert "BE-T5 Table V, asterisks for p-values. Notation, no result." in text
    assert "GA-TABLES" not in text  # no study of that paper is on the page


def test_unknown_pictures_are_tables_of_means(found, page):
    table = found.tables["BE-T1", "MNIST", "corrected"]["resilience"]
    mean = table[(table.treatment == "hmc") & (table.k == 20) & (table.attack == "fgsm")].k_lrp.mean()
    assert f"{mean:.4g}" in page[1].text


def test_tables_can_be_opened_as_csv(found, page):
    file = page[0].parent / "tables" / "BE-F3-resilience-corrected.csv.gz"
    read = pandas.read_csv(io.BytesIO(gzip.decompress(file.read_bytes())))
    table = found.tables["BE-F3", "MNIST", "corrected"]["resilience"]
    assert list(read.columns) == list(table.columns)
    assert np.allclose(read.k_lrp, table.k_lrp, atol=1e-5)


def test_the_same_run_gives_the_same_bytes(tmp_path):
    first, second = (report.write_verdicts(small(), tmp_path / n).read_bytes() for n in "ab")
    assert first == second


def test_the_page_says_what_was_begun_again(tmp_path):
    words = "begun again, because the process that computed them was lost"
    for names, told in (((), None), (("fit/0a1b",), "1 cell was"), (("fit/0a1b", "attack/2c3d"), "2 cells were")):
        text = report.write_verdicts(dataclasses.replace(small(), retried=names), tmp_path).read_text(encoding="utf-8")
        assert (f"{told} {words}" in text) if told else (words not in text)


def test_the_page_does_not_depend_on_the_number_of_processes(tmp_path):
    one, two = (report.write_verdicts(small(), tmp_path / str(n), jobs=n).read_bytes() for n in (1, 2))
    assert one == two


def test_csv_is_written_again_where_its_table_changed_and_only_there(tmp_path):
    files = [tmp_path / "tables" / f"BE-F3-{name}-corrected.parquet" for name in ("a", "b")]
    files[0].parent.mkdir()
    for file in files:
        pandas.DataFrame({"x": [1.0]}).to_parquet(file)
    found, copies = small(), [file.with_suffix(".csv.gz") for file in files]
    report.write_verdicts(found, tmp_path)
    before = [copy.stat().st_mtime_ns for copy in copies]
    pandas.DataFrame({"x": [2.0]}).to_parquet(files[1])
    os.utime(files[1], ns=(before[1], before[1]))  # within what a clock can tell apart
    report.write_verdicts(found, tmp_path)
    assert copies[0].stat().st_mtime_ns == before[0]
    assert gzip.decompress(copies[1].read_bytes()) == b"x\n2\n"


def test_rows_that_are_looked_up_are_those_that_are_chosen(found):
    table = found.tables["BE-F2", "MNIST", "corrected"]["resilience"]
    lookup = Lookup(table)
    for labels in (
        {}, {"treatment": "hmc"}, {"treatment": "hmc", "k": 20, "draws": 50.0, "layer": 0}, {"no column": 3},
        {"k": 20.0, "treatment": "nobody"}, {"k": 20.0, "epsilon": 0.2, "no column": 3},
    ):  # fmt: skip
        pandas.testing.assert_frame_equal(lookup(labels), chosen(table, labels))
        assert np.array_equal(lookup.values("k_lrp", labels), chosen(table, labels).k_lrp)


def test_hostile_words_stay_words(tmp_path):
    study = make_study(
        "BE-F3", "differences", (HOSTILE,), title=HOSTILE, paper_shows=HOSTILE, note=HOSTILE, figure=HOSTILE
    )
    claim = make_claims("BE-F3")[0]
    evidence = claim.evidence[0].model_copy(update={"panel": HOSTILE})
    told = {"statement": HOSTILE, "source": HOSTILE, "background": HOSTILE, "evidence": (evidence,)}
    found = make_reproduction((study,), claims=[claim.model_copy(update=told)])
    found.missing["BE-F3", HOSTILE, "published"] = HOSTILE
    text = report.write_verdicts(found, tmp_path).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert "Wolpertinger" in Page(text).text


def test_one_preset_and_several_seeds_still_make_a_page(tmp_path):
    study = make_study("BE-F3", "differences")
    found = make_reproduction((study,), scale="paper", presets=("corrected",), claims=[], seeds=(0, 1, 2))
    parsed = Page(report.write_verdicts(found, tmp_path).read_text(encoding="utf-8"))
    assert "As published" not in [w.strip() for w in parsed.words]
    assert "proves that it runs" not in parsed.text
    assert len(parsed.all("svg")) == 1


def test_a_study_of_nothing_but_failures_says_so(tmp_path):
    study = make_study("BE-F3", "densities")
    found = make_reproduction((study,), claims=[])
    for name in list(found.tables):
        found.tables[name] = {"resilience": pandas.DataFrame(), "predictions": pandas.DataFrame()}
        found.missing[name] = FAILED
    parsed = Page(report.write_verdicts(found, tmp_path).read_text(encoding="utf-8"))
    assert parsed.text.count(FAILED) == 2
    assert not parsed.all("svg")


def test_what_is_not_a_reproduction_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"report.write_verdicts: expected a Reproduction, got dict"):
        report.write_verdicts({}, tmp_path)
    assert not list(tmp_path.iterdir())
