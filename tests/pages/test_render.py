"""Pages: what strangers wrote stays text, and a page needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pages
from evaluation.report import Column, Table

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Reader(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def block(call: str, **data: object) -> str:
    """What a block makes of some data."""
    source = f'{{% import "blocks.html" as blocks %}}{{{{ blocks.{call} }}}}'
    return pages._environment().from_string(source).render(data)


SPREAD = {
    "unit": "s",
    "number": 5,
    "mean": 3.0,
    "quantiles": {"5": 1.0, "50": 2.0, "95": 90.0},
    "bins": [{"from": 0, "to": 60, "count": 4}, {"from": 60, "to": None, "count": 1}],
}
RESULTS = Table("t", "t", (Column(HOSTILE), Column("n", 1)), [(HOSTILE, 1.0)], note=HOSTILE)
SAMPLE = {
    "clip_id": "a/0",
    "url": "https://videos.example/a",
    "split": "train",
    "start_seconds": 20.0,
    "seconds": 10.0,
    "sound": pages.data_url(b"sound", "audio/mpeg"),
    "words": "a/0 cat",
    "steps": [
        {
            "seconds": 22.5,
            "picture": pages.data_url(b"picture", "image/jpeg"),
            "answers": [("objects", [("n02123045 tabby", "60.0 %", 0.6, "")])],
        }
    ],
}


@pytest.mark.parametrize(
    ("call", "data"),
    [
        ("tiles([(x, x, x)])", {}),
        ("table([x], [[x]])", {}),
        ("results(found)", {"found": RESULTS}),
        ("bars([(x, x, 0.5, x)])", {}),
        ("address(x)", {}),
        ("address('https://videos.example/?' ~ x)", {}),
        ("histogram(spread, x)", {"spread": SPREAD}),
        ("clip(sample)", {"sample": {**SAMPLE, "clip_id": HOSTILE, "words": HOSTILE}}),
        ("clip(sample)", {"sample": {**SAMPLE, "url": HOSTILE, "split": HOSTILE}}),
    ],
)
def test_no_block_lets_markup_through(call, data):
    page = Reader(block(call, x=HOSTILE, **data))
    assert not page.all("script")
    assert not [image for image in page.all("img") if image["src"] == "x"]
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    shown = page.text + "".join(
        value or "" for _, attributes in page.elements for value in attributes.values()
    )
    assert HOSTILE in shown


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://videos.example/watch?v=1&t=2", True),
        ("HTTP://videos.example/", True),
        ("javascript:alert(1)", False),
        ("https:javascript", False),
        (" https://videos.example/", False),
        ("java\nscript:alert(1)//https://videos.example/", False),
        ("https://videos.example/\njavascript:alert(1)", False),
        ("data:text/html,<script>alert(1)</script>", False),
        ("file:///etc/passwd", False),
        ("//videos.example/a.mp4", False),
        ("videos/a.mp4", False),
    ],
)
def test_only_addresses_of_the_web_become_links(url, link):
    page = Reader(block("address(url)", url=url))
    assert [a["href"] for a in page.all("a")] == ([url] if link else [])
    assert page.text == url


def test_a_histogram_has_a_bar_for_each_bin_to_scale():
    page = Reader(block("histogram(spread, 'lengths')", spread=SPREAD))
    tall, low = (float(bar["height"]) for bar in page.all("rect"))
    assert tall == pytest.approx(4 * low)
    assert "0 – 1m: 4" in page.text
    assert "≥ 1m: 1" in page.text
    empty = {**SPREAD, "number": 0, "quantiles": {}, "bins": [{"from": 0, "to": 1, "count": 0}]}
    assert float(Reader(block("histogram(s, '')", s=empty)).all("rect")[0]["height"]) == 0


def test_a_clip_has_its_picture_its_sound_and_what_the_teachers_say():
    page = Reader(block("clip(sample)", sample=SAMPLE))
    assert [audio["src"] for audio in page.all("audio")] == [SAMPLE["sound"]]
    assert [image["src"] for image in page.all("img")] == [SAMPLE["steps"][0]["picture"]]
    assert "at 22.5 s" in page.text
    assert "tabby60.0 %" in re.sub(r"\s+", "", page.text).replace("%", " %")
    assert page.all("i")[0]["style"] == "width:60.0%"
    without = {**SAMPLE, "steps": [{**SAMPLE["steps"][0], "picture": ""}]}
    assert not Reader(block("clip(sample)", sample=without)).all("img")


def test_a_page_runs_its_own_script_and_loads_nothing(tmp_path):
    page = pages._environment().from_string('{% extends "base.html" %}').render()
    (policy,) = [m["content"] for m in Reader(page).all("meta") if "http-equiv" in m]
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_what_a_template_lacks_is_an_error_not_a_gap():
    with pytest.raises(jinja2.UndefinedError, match="report"):
        pages.render("dataset.html", samples=[])


@pytest.mark.parametrize(
    ("said", "as_"),
    [
        (pages.number(1234567), "1,234,567"),
        (pages.number(1234.5), "1,234"),
        (pages.number(999.9), "1,000"),
        (pages.number(-12.345), "−12.3"),
        (pages.number(None), "–"),
        (pages.percent(0.123), "12.3 %"),
        (pages.percent(0.00012), "0.012 %"),
        (pages.percent(0), "0 %"),
        (pages.size(999), "999 B"),
        (pages.size(12_345_678), "12.3 MB"),
        (pages.size(999_999), "1 MB"),
        (pages.size(0), "0 B"),
        (pages.short(12_345), "12.3k"),
        (pages.duration(0.5), "0.5 s"),
        (pages.duration(200), "3 min 20 s"),
        (pages.duration(7500), "2 h 05 min"),
        (pages.duration(44_442_000), "12,345 h"),
        (pages.label("n02110341 dalmatian"), "dalmatian"),
        (pages.label("/t/train_station/platform"), "train_station/platform"),
        (pages.label("n02110341"), "n02110341"),
        (pages.code("run `a <b>` & `c`"), "run <code>a &lt;b&gt;</code> &amp; <code>c</code>"),
    ],
)
def test_figures_are_written_for_people(said, as_):
    assert said == as_


@given(st.integers(0, 10**17))
def test_sizes_take_few_characters_and_are_right_to_half_a_percent(value):
    digits, unit = pages.size(value).split()
    assert len(digits) <= 4
    scale = 1000 ** ("B", "kB", "MB", "GB", "TB", "PB").index(unit)
    assert float(digits) * scale == pytest.approx(value, rel=0.005)
