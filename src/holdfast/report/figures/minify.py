"""Minify: a drawing by matplotlib in two thirds of the bytes, which a page with hundreds of them needs.

Gone are ids that nothing refers to, groups that say nothing, and digits beyond a hundredth of a point; neighbours that
are cut or styled alike are a group that says so once. What is drawn, with which style, in which order, stays.
"""

import itertools
import re
from collections.abc import Callable
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
GROUP, USE, DEFINITIONS = (f"{{{SVG}}}{tag}" for tag in ("g", "use", "defs"))
PLACES = ("d", "x", "y", "width", "height")  # attributes whose numbers are places on the paper
_AUTOMATIC = re.compile(
    r"[A-Za-z][A-Za-z0-9.]*_\d+|image[0-9a-f]{10}"
)  # "line2d_7": matplotlib's, nothing refers to them
_HASHED = re.compile(r"[mp][0-9a-f]{10}|C\w+_[0-9a-f]{10}")  # ids of markers and clips
_LONG = re.compile(r"-?\d+\.\d{3,}")
_OWN = re.compile(r"(^|[; ])opacity:")  # of a group it is not that of its parts, one by one
_UPRIGHT = re.compile(r"rotate\(-?0(\.0*)? [^)]*\)")


def minify(svg: str) -> str:
    """The same drawing in fewer bytes.

    Args:
        svg: what matplotlib wrote. Names given by `gid` stay as they are, unless they look like matplotlib's own:
            a word, an underscore, a number.

    >>> minify('<svg xmlns="http://www.w3.org/2000/svg"><g id="line2d_1"><path d="M 1.23456 2 " /></g><g /></svg>')
    '<svg xmlns="http://www.w3.org/2000/svg"><path d="M1.23 2" /></svg>'
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(svg)
    taken = {element.get("id") for element in root.iter()}
    free = (name for n in itertools.count() if (name := f"i{n}") not in taken)
    short: dict[str, str] = {}
    for element in root.iter():
        if _AUTOMATIC.fullmatch(element.get("id", "")):
            del element.attrib["id"]
        for name in PLACES:
            if name in element.attrib:
                element.set(name, _rounded(element.attrib[name]))
        if _UPRIGHT.fullmatch(element.get("transform", "")):
            del element.attrib["transform"]
        for name, value in element.attrib.items():
            if name == "id" or value.startswith(("#", "url(#")):
                element.set(name, _HASHED.sub(lambda m: short.get(m[0]) or short.setdefault(m[0], next(free)), value))
    _flatten(root)
    _bundle(root, "clip-path", _cut_where_it_lies)
    _bundle(root, "style", lambda element: not _OWN.search(element.get("style", "")))
    return ElementTree.tostring(root, encoding="unicode")


def _rounded(numbers: str) -> str:
    """Places with two decimals, and without the spaces that a path does not need."""
    text = _LONG.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), numbers)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", text).strip()


def _flatten(parent: ElementTree.Element) -> None:
    """Put what is in a group that has no attributes in its place."""
    children = []
    for child in list(parent):
        _flatten(child)
        children.extend(child if _says_nothing(child) else [child])
    parent[:] = [c for c in children if c.tag != GROUP or len(c) or c.get("id")]
    if parent.tag == GROUP:
        parent.text = None
    for child in parent:
        child.tail = None


def _says_nothing(element: ElementTree.Element) -> bool:
    return element.tag == GROUP and not element.attrib


def _cut_where_it_lies(element: ElementTree.Element) -> bool:
    """Whether a clip of the element means the same on a group around it: nothing shifts the element's own space."""
    return element.tag != USE and "transform" not in element.attrib


def _bundle(parent: ElementTree.Element, name: str, may: Callable[[ElementTree.Element], bool]) -> None:
    """Give an attribute that neighbours share to a group around them."""
    if parent.tag == DEFINITIONS:
        return
    children = []
    for value, run in itertools.groupby(parent, lambda e: e.get(name) if may(e) else None):
        run = list(run)
        if value is not None and len(run) > 1:
            group = ElementTree.Element(GROUP, {name: value})
            for element in run:
                del element.attrib[name]
                group.extend(element if _says_nothing(element) else [element])
            run = [group]
        children.extend(run)
    parent[:] = children
    for child in parent:
        _bundle(child, name, may)
