"""Drawings in fewer bytes: everything that is drawn is still there, in its place, with its style and its name."""

import re
from xml.etree import ElementTree

import pytest

from holdfast.report.figures import canvas
from holdfast.report.figures.minify import minify

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
INHERITED = ("clip-path", "style", "transform")


@pytest.fixture(scope="module")
def drawing():
    """What matplotlib writes of lines, bands, markers, an image, words, and a part with a name."""
    written = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "minify", lambda svg: written.setdefault("raw", svg))
        with canvas.panel(2.0) as (figure, axes):
            axes.plot([0, 1 / 3, 2], [1, 3, 2.123456], "o-", gid="named")
            axes.fill_between([0, 1], [0, 1], [2, 2])
            axes.scatter([1, 2], [2, 2.5], c=[0.3, 0.9])
            axes.imshow([[1, 2], [3, 4]], extent=(0, 1, 0, 1))
            axes.text(1, 1, "p = 0.123456", rotation=30)
            canvas.finish(figure, "drawing", "words")
    return written["raw"], minify(written["raw"])


def drawn(svg):
    """(tag, words, numbers of its place, what it inherits, the names around it) of all that is visible, in order."""
    root, found, clips = ElementTree.fromstring(svg), [], {}

    def visit(element, inherited, names):
        tag = element.tag.split("}")[1]
        if tag in ("metadata", "title", "style"):
            return
        around = inherited + [(k, _told(element.get(k), clips)) for k in INHERITED if element.get(k)]
        around = [one for one in around if not (one[1] or "").startswith("rotate(-0")]
        names = names + ([element.get("id")] if element.get("id") == "named" else [])
        if tag in ("path", "use", "text", "image", "rect"):
            place = [float(n) for k in ("d", "x", "y", "width", "height") for n in NUMBER.findall(element.get(k, ""))]
            found.append((tag, (element.text or "").strip(), place, around, names))
        for child in element:
            visit(child, around, names)

    visit(root, [], [])
    return found


def _told(value, clips):
    return f"clip {clips.setdefault(value, len(clips))}" if value.startswith("url") else value


def test_what_is_drawn_stays(drawing):
    raw, small = drawing
    before, after = drawn(raw), drawn(small)
    assert len(before) == len(after) > 20
    for (tag, words, place, around, names), (tag2, words2, place2, around2, names2) in zip(before, after):
        assert (tag, words, around, names) == (tag2, words2, around2, names2)
        assert place2 == pytest.approx(place, abs=0.0051)


def test_what_is_referred_to_is_there_once(drawing):
    _, small = drawing
    ids = re.findall(r'\bid="([^"]+)"', small)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', small)) <= {(i, "") for i in ids} | {("", i) for i in ids}
    assert "named" in ids
    assert not [i for i in ids if re.fullmatch(r"\w+_\d+", i)]


def test_it_is_much_smaller(drawing):
    raw, small = drawing
    assert len(small) < 0.64 * len(raw)


def test_words_with_many_digits_stay(drawing):
    assert "p = 0.123456" in drawing[1]


def test_minifying_twice_changes_nothing(drawing):
    assert minify(drawing[1]) == drawing[1]


def test_neighbours_that_are_alike_say_so_once():
    svg = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>'
    cut, red = 'clip-path="url(#a)"', 'style="fill: red"'
    alike = f'<path d="M1 2" {cut} {red} /><path d="M3 4" {cut} {red} />'
    once = f'<g {cut}><g {red}><path d="M1 2" /><path d="M3 4" /></g></g>'
    assert minify(svg.format(alike)) == svg.format(once)
    clear = alike.replace("fill", "opacity: 0.5; fill")  # of two that overlap it is not that of both together
    assert minify(svg.format(clear)).count("opacity") == 2
    for stays in (
        f'<use x="1" {cut} /><use x="2" {cut} />',  # a clip lies where the element puts it
        f'<path d="M1 2" transform="scale(2)" {cut} /><path d="M1 2" transform="scale(3)" {cut} />',
    ):
        assert minify(svg.format(stays)) == svg.format(stays)
