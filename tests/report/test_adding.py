"""Adding panels to kept results: as if all had been computed by one run."""

import json
import re
from dataclasses import replace

import pandas
import pytest
from synthetic_reproduction import make_claims, make_reproduction

from holdfast import report
from holdfast.report.studies.posteriors import posteriors
from holdfast.studies.reproduce.kept import read_kept
from holdfast.studies.reproduce.study import study_of
from holdfast.studies.reproduce.verdict import judge

WHOLE = study_of("BE-F3")
COLUMNS = (
    "kept", "distinct", "chains", "acceptance", "log_probability_rhat_90", "log_probability_ess_50",
    "relevance_rhat_90", "relevance_ess_50", "robustness", "robustness_mcse", "accuracy",
)  # fmt: skip
FIRST, SECOND, BOTH = (WHOLE.only(titles) for titles in (["MNIST"], ["CIFAR-10"], ["MNIST", "CIFAR-10"]))
OTHER = study_of("BE-F13")  # one layer: its figure is drawn in a moment
CLAIMS = [
    claim.model_copy(
        update={"evidence": (*claim.evidence, *(e.model_copy(update={"panel": "CIFAR-10"}) for e in claim.evidence))}
    )
    for claim in make_claims("BE-F3")
]


def run(*chosen, claims=CLAIMS, **more):
    return make_reproduction(chosen, claims=claims, **more)


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def copied(home, folder):
    for name, content in contents(home).items():
        file = folder / "smoke" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder / "smoke"


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    return report.keep_results(run(BOTH), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    """(folder, its content before the last part was added)."""
    folder = tmp_path_factory.mktemp("parts")
    home = report.keep_results(run(FIRST, OTHER), folder)
    before = contents(home)
    report.keep_results(run(SECOND, kept=read_kept(home, "smoke")), folder)
    return home, before


def test_claims_are_judged_as_if_all_were_one_run(at_once, in_parts):
    one, parts = (json.loads((home / "claims.json").read_text())["claims"] for home in (at_once, in_parts[0]))
    shown = [{k: c[k] for k in ("id", "verdict", "why")} for c in parts]
    assert shown == [{k: c[k] for k in ("id", "verdict", "why")} for c in one]
    for a, b in zip(one, parts):
        assert a["numbers"] == b["numbers"]
    assert any(n["panel"] == "CIFAR-10" and n["corrected"] for c in parts for n in c["numbers"])


def test_tables_have_the_rows_of_both(at_once, in_parts):
    for name in ("resilience", "predictions"):
        one, parts = (pandas.read_csv(home / "tables" / f"BE-F3-{name}.csv") for home in (at_once, in_parts[0]))
        by = ["panel", "preset", *(c for c in one.columns if one[c].dtype == object and c not in ("panel", "preset"))]
        by += [c for c in ("k", "epsilon", "layer", "draws") if c in one]
        pandas.testing.assert_frame_equal(
            one.sort_values(by, ignore_index=True), parts.sort_values(by, ignore_index=True), check_exact=True
        )
    assert (in_parts[0] / "tables" / "BE-F13-resilience.csv").read_bytes() == in_parts[1][
        "tables/BE-F13-resilience.csv"
    ]


def test_figures_of_both_are_there(in_parts):
    home, before = in_parts
    figures = {f.name: f.read_bytes() for f in home.glob("figures/BE-F3/*.svg")}
    assert {n.split("_")[1] for n in figures} == {"mnist", "cifar-10"}
    for name, content in before.items():
        if name.startswith("figures/BE-"):
            assert (home / name).read_bytes() == content


def test_the_page_has_the_articles_of_both(in_parts):
    home, before = in_parts
    text = (home / "verdicts.html").read_text(encoding="utf-8")
    assert re.findall(r'<article class="study" id="([^"]+)"', text) == ["be-f3", "be-f3-part2", "be-f13"]
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'data-figure="([^"]+)"', text)) == {i[5:] for i in ids if i.startswith("data-be")}
    assert re.findall(r"<h4>(.*?) <span", text) == ["CIFAR-10", "MNIST", "CIFAR-10"]
    for figure, own in re.findall(r'id="data-([^"]+)">(.*?)</script>', text):
        article = text[text.index(f'<article class="study" id="{figure}"') :].partition("</article>")[0]
        marks = [mark["id"] for plot in json.loads(own)["plots"] for mark in plot["marks"]]
        assert marks
        assert [m for m in marks if f'id="{m}' not in article] == []  # no numbers of panels that are elsewhere
    links = [link for link in re.findall(r'href="([^"#]+)"', text) if not link.startswith("data:")]
    assert links
    assert all((home / link).is_file() for link in links)
    old = re.search(r'<article class="study" id="be-f13">.*?</article>', before["verdicts.html"].decode(), re.DOTALL)
    assert old[0] in text
    assert "made in 2 runs" in text


def test_articles_of_an_earlier_version_say_what_is_said_today(in_parts, tmp_path):
    home, before = in_parts
    again = tmp_path / "smoke"
    for name, content in before.items():
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_bytes(content)
    page = before["verdicts.html"].decode().replace("100 draws (here 6)", "100 draws")
    page = re.sub(r"<td>(\d+) \(here 6\)</td>", r"<td>\1 draws</td>", page)
    page = page.replace("k-LRP beyond chance, ", "k lrp corrected, ").replace(">decision kept, ", ">label kept, ")
    page = re.sub(r' *<p class="clean.*\n', "", page)
    page = re.sub(r'<p class="read">(?!Means over images and).*?</p>', '<p class="read">Read it well.</p>', page)
    page = re.sub(
        r"<b>Means and quantiles over images:</b>(.*?)<br><b>Image.*?</span>", r"<b>Image by image:</b>\1", page
    )
    (again / "verdicts.html").write_text(page.replace(">CSV</a>", ">means</a>"), encoding="utf-8")
    assert page.count("Image by image") == page.count("</article>") - page.count('<article class="claim"')
    report.keep_results(run(SECOND, kept=read_kept(again, "smoke")), tmp_path)
    articles = lambda folder: re.findall(
        r'<article class="study".*?</article>', (folder / "verdicts.html").read_text(encoding="utf-8"), re.DOTALL
    )
    assert articles(again) == articles(home)


def test_the_manifest_has_both_runs(in_parts):
    runs = json.loads((in_parts[0] / "manifest.json").read_text())["runs"]
    assert runs[0] == json.loads(in_parts[1]["manifest.json"])["runs"][0]
    assert set(runs[1]["studies"]["BE-F3"]["panels"]) == {"CIFAR-10"}
    assert set(read_kept(in_parts[0], "smoke").panels) == {
        ("BE-F13", "CIFAR-10"), ("BE-F3", "MNIST"), ("BE-F3", "CIFAR-10"),
    }  # fmt: skip


def test_a_run_whose_adding_was_stopped_can_be_added_again(in_parts, tmp_path):
    """All but the manifest was written."""
    home, before = in_parts
    again = tmp_path / "smoke"
    for name, content in contents(home).items():
        file = again / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(before[name] if name == "manifest.json" else content)
    report.keep_results(run(SECOND, kept=read_kept(again, "smoke")), tmp_path)
    assert contents(again) == contents(home)


def test_claims_can_be_judged_anew_when_nothing_is_lacking(in_parts, tmp_path):
    again = copied(in_parts[0], tmp_path)
    kept = read_kept(again, "smoke")
    judgements = tuple(judge(c, {}, kept.findings.get(c.id, ())) for c in CLAIMS)
    nothing = {"studies": (), "parts": (), "tables": {}, "missing": {}, "times": {}, "seconds": 0.0}
    found = replace(run(SECOND), kept=kept, judgements=judgements, **nothing)
    report.keep_results(found, tmp_path)
    without_drawings = lambda home: {
        name: re.sub(r"<svg.*?</svg>", "", content.decode(), flags=re.DOTALL)
        for name, content in contents(home).items()
        if name != "manifest.json" and not name.startswith("figures/claims")  # of numbers with six digits
    }
    assert without_drawings(again) == without_drawings(in_parts[0])
    assert read_kept(again, "smoke").manifest == read_kept(in_parts[0], "smoke").manifest


def test_the_page_of_the_run_links_to_the_kept_tables(in_parts, tmp_path):
    home, _ = in_parts
    found = run(study_of("BE-F4").only(["(b) PGD, HMC"]), kept=read_kept(home, "smoke"))
    page = report.write_verdicts(found, tmp_path / "run")
    links = re.findall(r'href="([^"#]*tables/[^"]*)"', page.read_text(encoding="utf-8"))
    assert links
    assert all((page.parent / link).is_file() for link in links)


def test_only_the_folder_that_was_read_is_added_to(in_parts, tmp_path):
    found = run(study_of("BE-F4").only(["(b) PGD, HMC"]), kept=read_kept(in_parts[0], "smoke"))
    with pytest.raises(ValueError, match=r"report.keep_results: the run adds to .*, it cannot be kept in"):
        report.keep_results(found, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_kept_yet(tmp_path):
    assert read_kept(tmp_path, "smoke") is None


def test_a_panel_that_is_computed_again_takes_the_place_of_the_old(in_parts, tmp_path):
    home, _ = in_parts
    again = copied(home, tmp_path)
    stale = again / "figures" / "BE-F3" / "be-f3_mnist_layer9_published.svg"
    stale.write_text("<svg/>")
    found = run(FIRST, kept=read_kept(again, "smoke"), seed=5)
    report.keep_results(found, tmp_path)
    at_once = report.keep_results(run(FIRST, seed=5), tmp_path / "other")
    rows = [pandas.read_csv(f / "tables" / "BE-F3-resilience.csv") for f in (again, at_once)]
    own = rows[0][rows[0].panel == "MNIST"].reset_index(drop=True)
    pandas.testing.assert_frame_equal(own, rows[1], check_exact=True)
    assert set(rows[0].panel) == {"MNIST", "CIFAR-10"}
    figures = {f.name.split("_")[1] for f in again.glob("figures/BE-F3/*.svg")}
    assert (stale.exists(), figures) == (False, {"mnist", "cifar-10"})
    assert "made in 3 runs" in (again / "verdicts.html").read_text(encoding="utf-8")
    text = (again / "verdicts.html").read_text(encoding="utf-8")
    assert re.findall(r"<h4>(.*?) <span", text) == ["MNIST", "CIFAR-10", "CIFAR-10"]
    assert set(re.findall(r'<g id="(be-f3_[a-z0-9-]+)_', text)) == {"be-f3_mnist", "be-f3_cifar-10"}
    runs = json.loads((again / "manifest.json").read_text())["runs"]
    panels = [{s: list(v["panels"]) for s, v in r["studies"].items()} for r in runs]
    assert panels == [{"BE-F13": ["CIFAR-10"]}, {"BE-F3": ["CIFAR-10"]}, {"BE-F3": ["MNIST"]}]


def test_states_of_claims_stay_when_something_else_is_added(tmp_path):
    failing = study_of("BE-F3").only(["MNIST", "Fashion-MNIST"])  # its second panel fails in the made-up run
    claims = make_claims("BE-F3")
    home = report.keep_results(make_reproduction((failing,), claims=claims), tmp_path)
    before = {c["id"]: (c["verdict"], c["why"]) for c in json.loads((home / "claims.json").read_text())["claims"]}
    assert before["BE-X5"][0] == "failed"
    report.keep_results(run(OTHER, claims=claims, kept=read_kept(home, "smoke")), tmp_path)
    after = {c["id"]: (c["verdict"], c["why"]) for c in json.loads((home / "claims.json").read_text())["claims"]}
    assert {k: after[k] for k in before} == before


def test_two_runs_that_add_at_once_do_not_lose_each_others(in_parts, tmp_path):
    home = copied(in_parts[0], tmp_path)
    one, two = (run(study_of("BE-F4").only([t]), kept=read_kept(home, "smoke")) for t in ("(b) PGD, HMC",) * 2)
    report.keep_results(one, tmp_path)
    before = contents(home)
    with pytest.raises(ValueError, match="was changed by another run since this one read it; repeat the command"):
        report.keep_results(two, tmp_path)
    assert contents(home) == before


def test_replacing_begins_without_a_manifest(at_once, tmp_path, monkeypatch):
    """A kill in the middle must not leave the old manifest beside new numbers."""
    home = copied(at_once, tmp_path)
    monkeypatch.setattr("holdfast.report.studies.keep.save", stopped)
    with pytest.raises(KeyboardInterrupt):
        report.keep_results(run(OTHER), tmp_path)
    with pytest.raises(ValueError, match=r"cannot be added to: .*Keep the results anew, without --add"):
        read_kept(home, "smoke")


def stopped(file, content):
    raise KeyboardInterrupt


def test_a_page_or_table_that_is_damaged_is_noticed_before_any_work(in_parts, tmp_path):
    home = copied(in_parts[0], tmp_path)
    report.check_kept(read_kept(home, "smoke"))
    table = home / "tables" / "BE-F3-resilience.csv"
    for damage, said in (("", "cannot be read"), ("a,b\n1,2\n", "has no columns 'panel' and 'preset'")):
        table.write_text(damage)
        with pytest.raises(ValueError, match=f"BE-F3-resilience.csv .*{said}"):
            report.check_kept(read_kept(home, "smoke"))
    table.unlink()
    page = home / "verdicts.html"
    page.write_text(page.read_text(encoding="utf-8").replace("<h4>CIFAR-10", "<h4>Elsewhere", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"verdicts.html has no figure of BE-F3 CIFAR-10; keep it anew"):
        report.check_kept(read_kept(home, "smoke"))
    page.unlink()
    with pytest.raises(ValueError, match=r"the kept page .*verdicts.html cannot be read"):
        report.check_kept(read_kept(home, "smoke"))


def test_posteriors_of_every_seed_and_study_are_kept(tmp_path):
    row = {"treatment": "hmc", "seed": 0, "method": "hmc"} | {name: 1.0 for name in COLUMNS}
    row |= {"mixing": "partly mixed", "said": ""}
    table = pandas.DataFrame([row | {"deviation_over_prior": "", "seed": s} for s in (0, 1)])
    heatmaps = study_of("BE-F6")
    found = make_reproduction((heatmaps,), claims=[])
    tables = {n: t | {"posteriors": table} for n, t in found.tables.items()}
    home = report.keep_results(replace(found, tables=tables), tmp_path)
    (file,) = home.glob("tables/BE-F6-posteriors.csv")
    assert pandas.read_csv(file).seed.tolist() == [0, 1, 0, 1]
    rows = posteriors(run(OTHER, kept=read_kept(home, "smoke")))
    assert [title for title, _ in rows.groups] == ["HMC, embedded Fashion-MNIST, fc2"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("manifest.json", '"points": ', '"points": 9', r"computed with other sizes \(points \d+ and not \d+\)"),
        ("manifest.json", '"runs"', '"walks"', "cannot be added to: it is not what this version keeps"),
        ("manifest.json", '  "corrected"\n', '  "corrected", "mine"\n', "cannot be added to: it is not what"),
        ("manifest.json", '  "corrected"\n', '  "published"\n', "under the preset published and published alone"),
        ("claims.json", '"claims"', '"kl', "cannot be added to: it is not what this version keeps"),
        ("claims.json", '"quantity": "difference"', '"quantity": "sum"', "cannot be added to: it is not what"),
        ("claims.json", '"numbers": [', '"numbers": "abc", "more": [', "cannot be added to: it is not what"),
        ("claims.json", '"images": ', '"images": "ten", "count": ', "cannot be added to: it is not what"),
        ("claims.json", '"value": ', '"value": "abc", "other": ', "cannot be added to: it is not what"),
    ],
)
def test_what_cannot_be_added_to_is_refused(at_once, tmp_path, file, old, new, said):
    for name in ("claims.json", "manifest.json"):
        (tmp_path / name).write_bytes((at_once / name).read_bytes())
    whole = (tmp_path / file).read_text(encoding="utf-8")
    damaged = whole.replace(old, new, 1)
    assert damaged != whole
    (tmp_path / file).write_text(damaged, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^reproduce: .*{said}"):
        read_kept(tmp_path, "smoke")


def test_half_of_the_results_or_a_file_is_not_nothing(at_once, tmp_path):
    (tmp_path / "manifest.json").write_bytes((at_once / "manifest.json").read_bytes())
    with pytest.raises(ValueError, match="cannot be added to"):
        read_kept(tmp_path, "smoke")
    with pytest.raises(ValueError, match=r"manifest.json is a file; results are kept in a folder"):
        read_kept(tmp_path / "manifest.json", "smoke")
