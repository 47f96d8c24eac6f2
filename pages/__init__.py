"""What people look at: HTML pages, each in one file that needs no server and no network.

    page = pages.render("dataset.html", report=report, samples=samples)

What a page shows may come from strangers: templates escape everything, only http and https
addresses become links (`is_web`), and the page itself forbids the browser to load anything or to
run any script but its own.

templates/base.html     the frame of every page, with its style and script
templates/blocks.html   what pages are made of: tiles, tables, bars, histograms, clips
templates/dataset.html  a data set
templates/evaluation.html  an experiment: its tables, and what made them
templates/classify.html  sounds named: bars, confusions, clips to listen to
templates/hears.html    what moves a network's units, to search, look at and listen to
templates/multimodal.html  maps of videos by what is seen and what is heard
templates/script.js     the script of every page; player.js plays moments of stored sounds
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"

_WEB = re.compile(r"https?://[^\s\x00-\x1f\x7f]+", re.IGNORECASE)
_CATALOGUE = re.compile(r"^(n\d{8} (?=\S)|/[a-z]/(?=\S))")


def render(template: str, **data: object) -> str:
    """A page from one of the templates.

    Raises:
        jinja2.UndefinedError: the template shows something that `data` lacks.
    """
    return _environment().get_template(template).render(data)


def is_web(url: str) -> bool:
    """Whether an address may become a link."""
    return bool(_WEB.fullmatch(url))


def data_url(data: bytes, kind: str) -> str:
    """An address that holds the data itself; `kind` is a media type, such as image/jpeg."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def number(value: float | None) -> str:
    """A number for people: 1,234,567; 12.3; 0.00123."""
    if value is None:
        return "–"
    whole = isinstance(value, int) or abs(value) >= 999.5
    return (f"{value:,.0f}" if whole else f"{value:.3g}").replace("-", "−")


def short(value: int) -> str:
    """A number for people in few characters: 950, 1.2k, 35M."""
    return _scaled(value, ("", "k", "M", "G", "T"))


def percent(share: float | None) -> str:
    """A share for people: 12.0 %; of small ones two digits."""
    if share is None:
        return "–"
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.2g} %"


def size(value: float | None) -> str:
    """A number of bytes for people, in powers of 1000."""
    if value is None:
        return "–"
    return _scaled(value, (" B", " kB", " MB", " GB", " TB", " PB"))


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.0f}{units[power]}" if value >= 999.5 else f"{value:.3g}{units[power]}"


def duration(seconds: float | None) -> str:
    """A time for people: 0.5 s; 12 s; 3 min 20 s; 2 h 05 min; 12,345 h."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h" if hours >= 100 else f"{hours} h {minutes:02d} min"


def label(name: str) -> str:
    """A class's name without what its catalogue puts before it (n02110341 dalmatian, /o/office)."""
    return _CATALOGUE.sub("", name)


def code(text: str) -> Markup:
    """A sentence, what stands between backticks in it set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def edge(value: float | None, unit: str) -> str:
    """An edge of a histogram's bin, short; "" for one at infinity."""
    if value is None:
        return ""
    if unit == "s" and value >= 60:
        return f"{value / 3600:g}h" if value >= 3600 else f"{value / 60:g}m"
    return f"{value:g}s" if unit == "s" and value else f"{value:g}".replace("-", "−")


def bin_name(low: float | None, high: float | None, unit: str) -> str:
    """A bin of a histogram in words."""
    if low is None:
        return f"< {edge(high, unit)}"
    if high is None:
        return f"≥ {edge(low, unit)}"
    return f"{edge(low, unit)} – {edge(high, unit)}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (number, short, percent, size, duration, label, code, edge):
        environment.filters[function.__name__] = function
    environment.tests["web"] = is_web
    environment.globals.update(bin_name=bin_name, script=_script, script_hash=_script_hash)
    return environment


def _script(names: Sequence[str]) -> Markup:
    """The script of a page, made of some of the templates' folder."""
    return Markup("\n".join((TEMPLATES / name).read_text("utf-8") for name in names))


def _script_hash(names: Sequence[str]) -> str:
    """What the page names its script by, so that the browser runs no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(_script(names).encode()).digest()).decode()}"
