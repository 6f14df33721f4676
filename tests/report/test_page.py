"""The page as text: one file, nothing from outside, every sentence true to its numbers, hostile names harmless."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from PIL import Image

from holdfast import report
from holdfast.ensemble import Diagnostics
from holdfast.report.gallery import examples
from holdfast.report.view import View
from synthetic_result import TITLES, make_result

PAIR = ("deterministic", "mean_field")
SMALL = {"names": PAIR, "epsilons": (0.1,), "rules": ("epsilon",), "layers": ("input",), "images": 30, "examples": 2}
HOSTILE = '<script>alert("x")</script>' + "Wolpertinger" * 12


class Page(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.ids, self.links, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [a for t, a in self.elements if t == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    path = report.write(make_result(images=60), folder)
    return path, Page(path.read_text(encoding="utf-8"))


def written(folder, **changes):
    result = make_result(**{**SMALL, **changes})
    return report.write(result, folder).read_text(encoding="utf-8")


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_page_is_one_file_that_asks_nothing_of_others(full):
    path, page = full
    text = path.read_text(encoding="utf-8")
    assert path.name == "report.html"
    assert path.stat().st_size < 6e6
    loads = [a.get("src") or a.get("href") for t, a in page.elements if t in ("img", "script", "link", "iframe", "use")]
    assert all(s is None or s.startswith(("data:", "#")) for s in loads)
    assert "@import" not in text
    assert not re.search(r"url\((?!#|data:)", text)
    assert "default-src 'none'" in text


def test_every_anchor_of_the_contents_exists_and_no_id_is_double(full):
    _, page = full
    assert len(page.ids) == len(set(page.ids))
    assert len(page.links) > 15
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_references_inside_drawings_point_into_the_same_page(full):
    path, page = full
    text = path.read_text(encoding="utf-8")
    used = {a["xlink:href"][1:] for a in page.all("use")} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used
    assert used <= set(page.ids)


def test_everything_drawn_has_a_text_alternative_with_numbers(full):
    _, page = full
    pictures, drawings = page.all("img"), page.all("svg")
    assert len(pictures) > 10
    assert len(drawings) > 10
    assert all(len(a["alt"]) > 10 for a in pictures)
    assert all(a["role"] == "img" and re.search(r"\d", a["aria-label"]) for a in drawings)


def test_drawings_follow_the_theme(full):
    path, _ = full
    drawings = re.findall(r"<svg.*?</svg>", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not [c for d in drawings for c in re.findall(r"#[0-9a-f]{6}\b(?=[;\"])", d)]
    assert all("var(--" in d for d in drawings)


def test_headings_are_numbered_in_the_order_of_the_contents(full):
    _, page = full
    sections = [a["id"] for a in page.all("section")]
    assert sections == [
        "answer", "tested", "predictions", "differences", "chance", "softmax", "labels", "examples", "layers",
        "statistics", "masking", "inference", "settings", "limits", "reproduce",
    ]  # fmt: skip


def test_figures_are_written_beside_the_page(full):
    path, page = full
    folder = path.parent / "figures"
    drawings = {f.stem for f in folder.glob("*.svg")}
    assert len(drawings) == len(page.all("svg"))
    assert {f.stem for f in folder.glob("*.png")} == drawings | {"examples"}
    assert all("var(--" not in f.read_text() for f in folder.glob("*.svg"))
    with Image.open(folder / "headline.png") as picture:
        assert picture.width > 600


def test_numbers_of_the_headline_are_those_of_the_table(full):
    _, page = full
    result = make_result(images=60)
    row = View(result).comparison(result.primary)
    assert f"n = {row['n']:.0f}" in page.text.replace("\xa0", " ")
    assert f"+{row['mean_difference']:.2f} [+{row['low']:.2f}, +{row['high']:.2f}]" in page.text.replace("\xa0", " ")
    assert f"keeps {row['mean_difference'] * 156:.0f} of 156 top-20" in page.text


def test_the_same_result_gives_the_same_bytes(tmp_path):
    assert written(tmp_path / "a", names=PAIR[:1]) == written(tmp_path / "b", names=PAIR[:1])


def test_hostile_and_endless_names_stay_names(tmp_path):
    titles = {n: f"{HOSTILE} $x_{i}$ & 模型" for i, n in enumerate(TITLES)}
    text = written(tmp_path, classes=[HOSTILE, "a & b", "</svg>"], titles=titles)
    page = Page(text)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert "Wolpertinger" in page.text
    assert len(page.all("svg")) == text.count("</svg>")


def test_one_ensemble_alone_has_an_answer_and_no_comparison(tmp_path):
    text = written(tmp_path, names=PAIR[:1])
    page = Page(text)
    assert "There is no second ensemble here to compare it with" in page.text
    assert "nothing was compared" in page.text.lower()
    assert "keeps" in page.text
    assert "nan" not in page.text.lower().split()


def test_a_run_without_a_baseline_still_makes_a_page(tmp_path):
    text = written(tmp_path, names=PAIR[1:])
    assert "the mean-field posterior keeps" in Page(text).text


def test_undefined_numbers_are_dashes_and_empty_groups_are_said(tmp_path):
    result = make_result(**SMALL, preserved=False)
    scores = result.scores.assign(spearman=np.nan, cosine=np.nan, chance=np.nan, k_lrp_corrected=np.nan)
    predictions = result.predictions.assign(softmax_robustness=0.5)
    result = dataclasses.replace(result, scores=scores, predictions=predictions)
    page = Page(report.write(result, tmp_path).read_text(encoding="utf-8"))
    assert "ρ not defined" in page.text
    assert "The chance level is not known" in page.text
    assert "no comparison among" in page.text
    assert " nan" not in page.text.lower()


def test_colour_images_are_shown_in_colour(tmp_path):
    result = make_result(**SMALL, channels=3, side=12)
    shown = examples(View(result))
    picture = decoded(shown[0].image)
    assert picture.mode == "RGB"
    assert picture.size == (12, 12)
    assert report.write(result, tmp_path).exists()


def test_heatmaps_of_one_image_share_one_signed_scale_in_shares_of_the_clean_map():
    result = make_result(**{**SMALL, "names": tuple(TITLES)})
    gallery = result.gallery
    total = {n: m[0].abs().sum().item() for n, m in gallery.clean_maps.items()}
    pairs = {n: (m[0] / total[n], gallery.attacked_maps[n][0] / total[n]) for n, m in gallery.clean_maps.items()}
    limit = np.quantile(np.abs(np.concatenate([m.numpy().ravel() for pair in pairs.values() for m in pair])), 0.995)
    first = examples(View(result))[0]
    assert first.scale == f"{100 * limit:.2g}"
    palette = matplotlib.colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3] * 255
    for shown, (clean, attacked) in zip(first.shown, pairs.values()):
        for drawn, values in ((shown.clean_map, clean), (shown.attacked_map, attacked)):
            pixels = np.asarray(decoded(drawn).convert("RGB"), float)
            level = np.round((values.numpy().astype(float) / limit).clip(-1, 1) * 127 + 127).astype(int)
            assert np.abs(pixels - palette[level]).max() <= 4  # a level may round either way


def test_layers_and_gallery_sections_vanish_with_their_data(tmp_path):
    result = dataclasses.replace(make_result(**SMALL), gallery=None, checks=None)
    page = Page(report.write(result, tmp_path).read_text(encoding="utf-8"))
    assert not {"layers", "examples"} & set(page.ids)
    assert "That the attacks worked is not established" in page.text


def test_warnings_of_inference_are_on_the_page(tmp_path):
    result = make_result(**{**SMALL, "names": ("adversarial", *PAIR)})
    loud = dataclasses.replace(result.ensembles[0], diagnostics=Diagnostics("sgd", warnings=("Loss < 0 & rising.",)))
    silent = dataclasses.replace(result.ensembles[1], diagnostics=None)
    result = dataclasses.replace(result, ensembles=[loud, silent, *result.ensembles[2:]])
    page = Page(report.write(result, tmp_path).read_text(encoding="utf-8"))
    assert "Loss < 0 & rising." in page.text
    assert "No diagnostics were recorded" in page.text


def test_an_interrupted_write_leaves_the_old_page(tmp_path, monkeypatch):
    result = make_result(**{**SMALL, "names": PAIR[:1]})
    path = report.write(result, tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr("holdfast.report.page.headline.headline", lambda view: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(dataclasses.replace(result, title="Another"), tmp_path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*partial"))


def test_what_is_not_a_result_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"report.write: expected a holdfast.studies.result.Result, got dict"):
        report.write({}, tmp_path)
    assert not list(tmp_path.iterdir())
