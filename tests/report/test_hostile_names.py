"""Every word of a result is planted with markup; the page shows it and runs none of it."""

import dataclasses
from html.parser import HTMLParser

import pytest

from holdfast import report
from synthetic_result import TITLES, make_result

NAMES = ("deterministic", "mean_field")
SMALL = {"names": NAMES, "epsilons": (0.1,), "rules": ("epsilon",), "images": 30, "examples": 2}
PLANTED = (
    "<script>planted()</script>"
    '"><img src=x onerror=planted()>'
    "' onmouseover='planted()"
    "</script></style></svg></title><iframe srcdoc='planted()'></iframe>"
    "{{ planted() }}{% raw %}<a href='javascript:planted()'>"
)


class Elements(HTMLParser):
    """Counts elements, and keeps what could run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.runs, self.shown = {}, [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.runs += [(tag, name) for name, _ in attributes if name.startswith("on") or name == "srcdoc"]
        self.runs += [(tag, v) for n, v in attributes if n in ("href", "src") and (v or "").startswith("javascript")]

    def handle_data(self, data):
        self.shown += "planted()" in data and not data.lstrip().startswith("(")


def planted(value, word):
    """The same nested value with a word after every string in it, keys too where they are shown."""
    if isinstance(value, str):
        return value + word
    if isinstance(value, dict):
        return {k: planted(v, word) for k, v in value.items()} | {f"more {word}": word}
    if isinstance(value, list | tuple):
        return type(value)(planted(v, word) for v in value)
    return value


def hostile(word):
    result = make_result(**SMALL, layers=("input", f"layers{word}"), titles=planted(dict.fromkeys(TITLES, ""), word))
    change = lambda thing, *names: dataclasses.replace(thing, **{n: planted(getattr(thing, n), word) for n in names})
    ensembles = [
        change(dataclasses.replace(e, diagnostics=change(e.diagnostics, "method", "settings", "warnings")), "title")
        for e in result.ensembles
    ]
    settings = {k: v if k == "budget" else planted(v, word) for k, v in result.settings.items()}
    settings["budget"] = result.settings["budget"] | {"note": word}
    result = change(result, "title", "question", "command", "versions", "checksums", "classes")
    checks = result.checks.assign(sentence=result.checks.sentence + word, check=result.checks.check + word)
    gallery = change(result.gallery, "chosen_by")
    seconds = {f"{stage}{word}": s for stage, s in result.seconds.items()}
    return dataclasses.replace(
        result, ensembles=ensembles, settings=settings, checks=checks, gallery=gallery, seconds=seconds
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    words = {"harmless": " word", "hostile": PLANTED}
    return {kind: report.write(hostile(word), tmp_path_factory.mktemp(kind)) for kind, word in words.items()}


def test_markup_in_any_word_of_a_result_is_shown_and_not_run(pages):
    harmless, page = (Elements(pages[kind].read_text(encoding="utf-8")) for kind in ("harmless", "hostile"))
    assert page.runs == harmless.runs == []
    assert page.tags.keys() == harmless.tags.keys()
    for tag in ("script", "img", "style", "svg", "a", "link", "title"):
        assert page.tags.get(tag) == harmless.tags.get(tag), tag
    assert page.tags["script"] == 1
    assert page.shown > 20


def test_drawings_beside_the_page_are_as_harmless(pages):
    drawings = list((pages["hostile"].parent / "figures").glob("*.svg"))
    assert drawings
    for file in drawings:
        found = Elements(file.read_text(encoding="utf-8"))
        assert not found.runs
        assert not {"script", "img", "iframe"} & found.tags.keys(), file.name
