"""How the documents are read, on a page made up here."""

from __future__ import annotations

import pytest

from tests.docs.reading import anchors, blocks, commands, links, options, ours, spans
from tests.docs.workplace import made

PAGE = """\
# A page: `soundnet`

See [there](other.md#a-page) and `python -m pipeline
report data`.

```sh
python -m pipeline --input videos --output data   # a comment
python -m trainer.task --data data --model-dir model \\
    --steps 5
```

<!-- not run: needs Google Cloud -->
```sh
docker run -v "$PWD:/data" soundnet python -m evaluation esc10 --data esc
```

```
$ soundnet predict a.wav
```

## A page

    python -m indented
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_have_a_language_a_place_and_perhaps_an_excuse(page):
    found = [(block.line, block.language, block.excuse) for block in blocks(page)]
    assert found == [
        (7, "sh", ""),
        (14, "sh", "needs Google Cloud"),
        (18, "", ""),
        (23, "indented", ""),
    ]


def test_commands_are_words_without_comments():
    text = "a 'b c' # d\ncat > x <<'END'\nnot this\nEND\n$ e | f --g=1 ... && h\n"
    assert list(commands(text)) == [["a", "b c"], ["cat"], ["e"], ["f", "--g=1"], ["h"]]


def test_ours_is_what_a_container_runs_too():
    words = ["docker", "run", "--rm", "soundnet", "python", "-m", "pipeline", "--input", "x"]
    assert ours(words) == ["python", "-m", "pipeline", "--input", "x"]
    assert ours(["docker", "run", "soundnet", "soundnet", "embed", "x"]) == [
        "soundnet",
        "embed",
        "x",
    ]
    assert ours(["python", "-m", "http.server"]) == []
    assert options(["--input", "x", "--steps=3", "-v"]) == ["--input", "--steps"]


def test_what_a_page_makes_itself_is_not_there_before(page):
    assert made(blocks(page)) == {"data", "model"}


def test_links_anchors_and_what_stands_between_backticks(page):
    assert list(links(page)) == ["other.md#a-page"]
    assert anchors(page) == {"a-page-soundnet", "a-page"}
    assert list(spans(page)) == ["soundnet", "python -m pipeline report data"]
