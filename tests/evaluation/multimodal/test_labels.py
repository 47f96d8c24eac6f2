"""Which video is what."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.errors import DatasetError
from evaluation.multimodal import labels
from evaluation.multimodal.labels import Label
from schemas.dataset_info import DatasetInfo, RunInfo
from schemas.ledger import LedgerRow

NONE = DatasetInfo([], "flac")


def write(folder: Path, text: str) -> str:
    path = folder / "labels.csv"
    path.write_text(text)
    return str(path)


def test_a_file_names_videos_by_id_or_address(tmp_path):
    by_id = labels.read(write(tmp_path, "video_id,label,group\na,drum,music\nb,dog,\n"), "", NONE)
    assert by_id.of("a", "https://x") == Label("drum", "music")
    assert by_id.of("b", "https://y") == Label("dog", "dog")  # where there is no group
    assert by_id.of("c", "a") is not None  # a name is a name
    assert by_id.of("c", "https://z") is None
    by_url = labels.read(write(tmp_path, "label,url\ndrum,https://x\ndog,https://y\n"), "", NONE)
    assert by_url.of("a", "https://x") == Label("drum", "drum")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,label\na,drum\n", "has the columns video, label; --labels takes"),
        ("video_id,label\na,\n", "line 2: no label"),
        ("video_id,label\na,drum\n,dog\n", "line 3: no video_id"),
        ("video_id,label\na,drum\na,dog\n", "a is 'drum' and 'dog'; a video has one"),
        ("video_id,label\na,drum\nb,drum\n", "has 1 labels; at least 2"),
        ("", "has the columns none"),
    ],
)
def test_what_is_no_list_of_labels_is_said(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        labels.read(write(tmp_path, text), "", NONE)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DatasetError, match="can't be read .*No such file"):
        labels.read(str(tmp_path / "none.csv"), "", NONE)


def test_a_column_of_the_list_is_read_from_the_ledgers_last_words(tmp_path):
    rows = [
        ("a", {"category": "drum", "group": "music"}),
        ("b", {"category": "cat"}),
        ("b", {"category": "dog"}),
        ("c", {"category": ""}),
    ]
    lines = [
        LedgerRow(name, f"https://{name}", "train", "write", "done", extra=extra).to_json()
        for name, extra in rows
    ]
    (tmp_path / "ledger-0.jsonl").write_text("\n".join(lines) + "\n")
    info = DatasetInfo([], "flac", runs=[RunInfo("ledger-0.jsonl", {})])
    found = labels.read("category", str(tmp_path), info)
    assert len(found) == 2
    assert found.of("a", "") == Label("drum", "music")
    assert found.of("b", "") == Label("dog", "dog")
    with pytest.raises(DatasetError, match=r"'colour' is no file, .* \(it had category, group\)"):
        labels.read("colour", str(tmp_path), info)
