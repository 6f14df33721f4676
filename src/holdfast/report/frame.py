"""Frame: what all pages have in common: one file, light and dark, a table of contents, no request to anyone."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.report import palette, wording
from holdfast.studies.atomic import atomic

WORDS = (
    "number", "signed", "interval", "percent", "p_value", "radius", "attack_title", "rule_title", "the", "plain",
    "listing", "capital", "short",
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One section of a page: its anchor, its title in the table of contents, and the template that fills it."""

    anchor: str
    title: str
    room: str = ""

    @property
    def template(self) -> str:
        """File name of the section's template."""
        return f"{self.room}{self.anchor}.html.j2"


def render(
    template: str, *, title: str, description: str, version: str, sections: Sequence[Section],
    scripts: Sequence[str] = ("page.js",), **context: Any,
) -> str:  # fmt: skip
    """The text of a page.

    Args:
        template: that extends `frame.html.j2`.
        title, description: of the page, for the browser and for those who find it.
        version: of holdfast.
        sections: in order.
        scripts: template files, one after the other in the page's only script.
        context: what the templates read besides.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("holdfast.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in WORDS}
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    environment.filters["drawing"] = lambda plot: Markup(plot.inline)
    script = _dense("".join(environment.loader.get_source(environment, name)[0] for name in scripts))
    text = environment.get_template(template).render(
        title=title,
        description=description,
        version=version,
        sections=sections,
        light=Markup(palette.declarations(0)),
        dark=Markup(palette.declarations(1)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        nbsp=wording.THIN,
        **context,
    )
    return _dense(text)


def _dense(text: str) -> str:
    """Without empty lines; also the script, whose checksum the page names."""
    return re.sub(r"\n\s*\n+", "\n", text)


def save(file: Path, content: bytes) -> None:
    """Write a file; it is whole or not there."""
    with atomic(file) as partial:
        partial.write_bytes(content)
