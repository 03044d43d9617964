"""A page as a list of sections, rendered to one HTML file that contains everything it needs."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kilnet.page.album import Album, picture_uri
from kilnet.runs.wording import one_line

_ASSETS = files("kilnet.page") / "assets"
_SCRIPTS = ("tables.js", "sections.js", "charts.js", "pictures.js", "viewer.js", "matrix.js", "confusion.js")


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        id: the anchor; letters and dashes.
        title: the heading.
        template: a file in `templates/`, without its suffix.
        content: variables of the template, which escapes text.
        data: JSON-able values for the scripts, in `<script type="application/json" id="data-ID">`.
        is_half: whether it needs only half of a wide screen.
    """

    id: str
    title: str
    template: str
    content: Mapping[str, Any]
    data: Mapping[str, Any] = field(default_factory=dict)
    is_half: bool = False


@dataclass(frozen=True)
class Live:
    """How a page that a server shows follows what it is about.

    Attributes:
        source: the address of what has changed; "" for a page whose own script asks.
        script: a file in `assets/` that does so.
        note: what the foot of the page says instead of that the file is complete.
        version: of what the page shows at first.
    """

    source: str
    script: str
    note: str
    version: str = ""


def render(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    album: Album | None = None,
    live: Live | None = None,
) -> str:
    """Return a page as HTML, with its style and scripts inside and a policy that forbids everything else.

    Args:
        title, subtitle: any text.
        sections: in the order of the page.
        album: the pictures, to which sections refer by number.
        live: of a page that a server shows, which may ask that server and nobody else.
    """
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in (*_SCRIPTS, *([live.script] if live else [])))
    parts = [(section, section_html(section)) for section in sections]
    # The browser accepts only a style and a script with exactly these bytes; nothing can be fetched or sent.
    asked = "connect-src 'self'; " if live else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        f"{asked}base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("page.html.j2")
    own = {"style": Markup(style), "script": Markup(script)}  # noqa: S704 own files
    about = {"title": title, "subtitle": subtitle, "version": version("kilnet")}
    return template.render(about, **own, parts=parts, album=album, policy=policy, live=live)


def picture_section(id: str, title: str, sheet: npt.NDArray[np.uint8], hint: str, alt: str) -> Section:  # noqa: A002
    """Return a section of one picture, uint8 as `picture_uri` takes it, with words above and for screen readers."""
    size = {"width": sheet.shape[1], "height": sheet.shape[0]}
    return Section(id, title, "picture", {"hint": hint, "uri": picture_uri(sheet), **size, "alt": alt})


def percent(ratio: float | None) -> str:
    """Return a fraction as a percentage; a dash where there is none."""
    return "–" if ratio is None else f"{ratio:.1%}"


def isolated(text: str) -> Markup:
    """Return a name in its own direction, which cannot reorder the text around it; a path may break after a slash."""
    return Markup("<bdi>{}</bdi>").format(Markup("/<wbr>").join(one_line(text).split("/")))


def section_html(section: Section) -> Markup:
    """Return what stands below a section's heading."""
    template = _environment().get_template(f"{section.template}.html.j2")
    return Markup(template.render(section.content))  # noqa: S704 the template escaped it


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kilnet.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Compact, and without NaN, which is not JSON. `tojson` escapes <, >, &, ' and everything beyond ASCII.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters["name"] = isolated
    environment.filters["one_line"] = one_line
    environment.filters["percent"] = percent
    return environment


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
