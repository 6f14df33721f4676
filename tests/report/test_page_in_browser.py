"""The page in a real browser: no errors, nothing wider than a phone or a desktop, dark is dark, and it prints.

Screenshots and the printed page are kept in `runs/screenshots` for a person to look at.
"""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from holdfast import report
from synthetic_result import CLASSES, TITLES, make_result

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEPT = Path(__file__).resolve().parents[2] / "runs" / "screenshots"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--hide-scrollbars", "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio",
    "--allow-file-access-from-files", "--enable-logging=stderr", "--no-pdf-header-footer",
]  # fmt: skip
LONG = "Ein sehr langer Name, der " + "Wolpertingerdressur" * 6

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's `chromium` to run this")

# Frames stand for windows: a headless window cannot be made as narrow as a phone.
FRAMES = """<!doctype html><body style="margin:0">
{frames}
<pre id="measured"></pre>
<script>
addEventListener("load", function () {{
  var all = [].map.call(document.querySelectorAll("iframe"), function (frame) {{
    var w = frame.contentWindow, d = w.document, root = d.documentElement, wide = w.innerWidth + 1;
    var over = [].filter.call(d.body.querySelectorAll("*"), function (e) {{
      return e.getBoundingClientRect().right > wide && !e.closest(".scroll") && !e.closest("pre") && !e.closest("svg");
    }}).map(function (e) {{ return e.tagName + "." + e.className; }});
    var texts = [].map.call(d.querySelectorAll("svg text"), function (t) {{
      var box = t.ownerSVGElement;
      return parseFloat(w.getComputedStyle(t).fontSize) * box.clientWidth / box.viewBox.baseVal.width;
    }});
    var empty = [].filter.call(d.images, function (i) {{ return !i.complete || !i.naturalWidth; }});
    return {{
      width: w.innerWidth, scroll: root.scrollWidth, over: over.slice(0, 5),
      unnamed: [].filter.call(d.images, function (i) {{ return !i.alt; }}).length, broken: empty.length,
      text: Math.min.apply(null, texts), background: w.getComputedStyle(d.body).backgroundColor,
      ink: w.getComputedStyle(d.querySelector("svg text") || d.body).fill,
      sections: d.querySelectorAll("section").length
    }};
  }});
  document.getElementById("measured").textContent = JSON.stringify(all);
}});
</script>"""


def browse(tmp_path, *arguments):
    """Run Chromium once; returns what it printed and what it logged."""
    profile = tmp_path / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments], capture_output=True, text=True, timeout=120
    )
    return done.stdout, done.stderr


def measure(tmp_path, page, frames):
    """What each of several windows (width, fragment) shows of a page, and the messages of the console."""
    shown = "".join(
        f'<iframe src="{page.as_uri()}#{fragment}" style="border:0;width:{width}px;height:900px"></iframe>'
        for width, fragment in frames
    )
    file = tmp_path / "frames.html"
    file.write_text(FRAMES.format(frames=shown), encoding="utf-8")
    dom, log = browse(tmp_path, "--window-size=1400,1000", "--dump-dom", file.as_uri())
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, flags=re.DOTALL)
    assert found, log[-2000:]
    return json.loads(unescape(found[1])), [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """An ordinary page, and one with endless names."""
    folder = tmp_path_factory.mktemp("pages")
    small = {"epsilons": (0.1,), "rules": ("epsilon",), "layers": ("input",), "images": 30, "examples": 1}
    titles = {n: f"{LONG} {t}" for n, t in TITLES.items()}
    names = ("deterministic", "mean_field")
    plain = report.write(make_result(images=80), folder / "plain")
    long = report.write(
        make_result(**small, names=names, titles=titles, classes=[LONG, *CLASSES], channels=3), folder / "long"
    )
    return {"plain": plain, "long": long}


@pytest.mark.parametrize("which", ["plain", "long"])
def test_page_fits_phone_and_desktop_without_an_error(pages, which, tmp_path):
    frames = [(390, "theme=light"), (820, "theme=light"), (1280, "theme=light"), (1280, "theme=dark")]
    windows, console = measure(tmp_path, pages[which], frames)
    assert console == []
    assert [w["width"] for w in windows] == [390, 820, 1280, 1280]
    for window in windows:
        assert window["scroll"] <= window["width"], window
        assert window["over"] == []
        assert window["unnamed"] == window["broken"] == 0
        assert window["sections"] >= 13
    assert windows[0]["text"] >= 8.5, "letters in the figures are too small on a phone"
    assert windows[2]["background"] == "rgb(255, 255, 255)"
    assert windows[3]["background"] == "rgb(21, 22, 25)"
    assert windows[2]["ink"] != windows[3]["ink"]


def test_the_measurement_sees_what_it_looks_for(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<meta name="viewport" content="width=device-width"><p style="width:2000px">wide</p><img src="none.png">'
        "<script>undefinedFunction()</script>",
        encoding="utf-8",
    )
    (window,), console = measure(tmp_path, bad, [(390, "")])
    assert window["scroll"] > window["width"]
    assert window["over"] == ["P."]
    assert window["unnamed"] == window["broken"] == 1
    assert any("undefinedFunction" in line for line in console)


def test_screenshots_and_print_are_kept(pages, tmp_path):
    KEPT.mkdir(parents=True, exist_ok=True)
    page = pages["plain"].as_uri()
    frame = tmp_path / "phone.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="{page}#theme=light" style="border:0;width:390px;height:9000px">'
    )
    for name, size, address in (
        ("phone", "390,9000", frame.as_uri()),
        ("desktop", "1280,9000", f"{page}#theme=light"),
        ("dark", "1280,9000", f"{page}#theme=dark"),
    ):
        browse(tmp_path, f"--window-size={size}", f"--screenshot={KEPT / name}.png", address)
        with Image.open(KEPT / f"{name}.png") as picture:
            assert picture.height >= 8000
            assert len(picture.convert("RGB").resize((64, 512)).getcolors(40000)) > 50
    browse(tmp_path, f"--print-to-pdf={KEPT / 'print.pdf'}", f"{page}#theme=dark")
    assert (KEPT / "print.pdf").read_bytes().startswith(b"%PDF")
