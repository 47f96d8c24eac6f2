"""What strangers wrote is shown in Markdown as they wrote it."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pages import markdown

HOSTILE = [
    "# a heading",
    "1. a list",
    "12) a list",
    "- [x] `code` *strong* __strong__ ~~gone~~",
    "> said | in | cells",
    "<script>alert(1)</script> <!-- gone --> <https://evil.example>",
    "![picture](https://evil.example/x.png) [link][ref] [^note]",
    "&lt;b&gt; &#65; \\ \\* $x$",
    "==== ---- ```",
    "clock_tick, R&B, a_b_, 3 < 4, -5 dB",
]


def shown(text: str) -> str:
    """What a reader sees of Markdown that is one paragraph; anything else fails."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    (paragraph,) = re.findall(r"^<p>([^<]*)</p>\n$", page) or [f"no plain text: {page}"]
    return html.unescape(paragraph)


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_text(text):
    assert shown(markdown.escape(text)) == text


@given(st.text(alphabet=st.sampled_from("ab1 #*_`[]()<>!&;|\\~$@:/.-+=\"'"), min_size=1))
def test_it_is_text_whatever_it_is(text):
    kept = " ".join(text.split())
    if kept:
        assert shown(markdown.escape(text)) == kept


def test_addresses_do_not_become_links_nor_names_calls():
    text = markdown.escape("see HTTPS://evil.example, www.evil.example, thanks @somebody a@b.c")
    assert text == r"see HTTPS\://evil.example, www\.evil.example, thanks \@somebody a@b.c"


def test_what_does_not_show_is_left_out():
    assert markdown.escape("a\x1b[31mb\u202e\nc\ud800") == "a\ufffd\\[31mb\ufffd c\ufffd"


def test_a_table_keeps_its_cells():
    lines = markdown.table(("class", "clips"), [("a|b\nc", "+3")], (False, True))
    assert lines == ["| class | clips |", "| --- | ---: |", r"| a\|b c | +3 |"]
    page = MarkdownIt().enable("table").render("\n".join(lines))
    assert page.count("<td") == 2
    assert "a|b c" in page
