"""The verdict page in a real browser: it fits, no script fails, sliders move what they say, and it prints."""

import json
import re
from html import unescape

import pytest
from synthetic_reproduction import RULES, make_claims, make_reproduction, make_study
from test_page_in_browser import CHROMIUM, KEPT, browse, measure

from holdfast import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's `chromium` to run this")

# Moves the first slider of each figure to its first value, and then back by the button.
MOVES = """<!doctype html><iframe src="{page}" style="width:1280px;height:900px"></iframe><pre id="measured"></pre>
<script>
addEventListener("load", function () {{
  var d = document.querySelector("iframe").contentDocument;
  var all = [].map.call(d.querySelectorAll(".sliders"), function (box) {{
    var figure = box.closest("article"), input = box.querySelector("input");
    var plots = [].slice.call(figure.querySelectorAll(".twins svg"));
    function boxes() {{ return plots.map(function (svg) {{
      return [].map.call(svg.querySelectorAll("path, use"), function (e) {{
        var b = e.getBBox(); return [b.x, b.y, b.width, b.height];
      }});
    }}); }}
    function texts() {{
      return [].map.call(figure.querySelectorAll(".twins svg text"), function (t) {{ return t.textContent; }});
    }}
    var before = [boxes(), texts()];
    input.value = 0; input.dispatchEvent(new Event("input"));
    var moved = [boxes(), texts()], said = box.querySelector("output").textContent;
    box.querySelector(".reset").click();
    return {{ before: before, moved: moved, said: said, after: [boxes(), texts()], shown: !box.hidden }};
  }});
  document.getElementById("measured").textContent = JSON.stringify(all);
}});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    studies = (
        make_study("BE-F2", "densities", draws=(10, 100)),
        make_study("BE-F3", "differences", ("MNIST", "Fashion-MNIST"), rules=RULES),
        make_study("BE-F4", "scatter", draws=(50, 100)),
    )
    return report.write_verdicts(make_reproduction(studies, images=20), tmp_path_factory.mktemp("verdicts"))


def test_page_fits_phone_and_desktop_without_an_error(page, tmp_path):
    frames = [(390, "theme=light"), (820, "theme=light"), (1280, "theme=light"), (1280, "theme=dark")]
    windows, console = measure(tmp_path, page, frames)
    assert console == []
    for window in windows:
        assert window["scroll"] <= window["width"], window
        assert window["over"] == []
        assert window["sections"] == 5
    assert windows[0]["text"] >= 8.5, "letters in the figures are too small on a phone"
    assert [w["background"] for w in windows[2:]] == ["rgb(255, 255, 255)", "rgb(21, 22, 25)"]


def test_endless_words_do_not_widen_the_page(tmp_path):
    endless = "Wolpertingerdressur" * 12
    study = make_study("BE-F3", "differences", (endless,), title=endless, paper_shows=endless, note=endless)
    told = {"statement": endless, "source": endless, "background": endless, "untestable": endless}
    found = make_reproduction((study,), claims=[make_claims("BE-F3")[3].model_copy(update=told)], images=10)
    windows, console = measure(tmp_path, report.write_verdicts(found, tmp_path), [(390, ""), (1280, "")])
    assert console == []
    assert [w["over"] for w in windows] == [[], []]


def test_sliders_move_the_figures_and_come_back(page, tmp_path):
    file = tmp_path / "moves.html"
    file.write_text(MOVES.format(page=page.as_uri()), encoding="utf-8")
    dom, log = browse(tmp_path, "--window-size=1400,1000", "--dump-dom", file.as_uri())
    assert "CONSOLE" not in log
    figures = json.loads(unescape(re.search(r'<pre id="measured">(.*?)</pre>', dom, flags=re.DOTALL)[1]))
    assert [f["said"] for f in figures] == ["k = 10\u202f%", "k = 10\u202f%", "50 draws (here 4)"]
    data = json.loads(
        re.search(r'id="data-be-f3">(.*?)</script>', page.read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    )
    words = [m["values"][0] for plot in data["plots"] for m in plot["marks"] if m["kind"] == "text"]
    assert set(words) <= set(figures[1]["moved"][1])
    for figure in figures:
        assert figure["shown"]
        assert figure["moved"][0] != figure["before"][0]
        assert figure["after"][1] == figure["before"][1]
        flat = lambda boxes: [v for plot in boxes for box in plot for v in box]
        assert flat(figure["after"][0]) == pytest.approx(flat(figure["before"][0]), abs=0.3)


def test_print_is_kept(page, tmp_path):
    KEPT.mkdir(parents=True, exist_ok=True)
    browse(tmp_path, f"--print-to-pdf={KEPT / 'verdicts.pdf'}", f"{page.as_uri()}#theme=dark")
    assert (KEPT / "verdicts.pdf").read_bytes().startswith(b"%PDF")
