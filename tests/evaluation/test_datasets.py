"""Data sets in their own layouts, made of real clips that are put there."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from evaluation.datasets import DCASE_CLASSES, read_dcase, read_esc, read_urbansound8k
from evaluation.errors import DatasetError


def test_esc10_has_its_classes_and_folds(data_dir):
    clips = read_esc(data_dir / "esc10", "esc10")
    assert len(clips) == 400
    assert len({clip.label for clip in clips}) == 10
    assert [sum(clip.fold == fold for clip in clips) for fold in (1, 2, 3, 4, 5)] == [80] * 5
    assert all(clip.path.is_file() for clip in clips)


def test_esc10_is_not_taken_for_esc50(data_dir):
    with pytest.raises(DatasetError, match="holds ESC-10 alone: judge with esc10"):
        read_esc(data_dir / "esc10", "esc50")


def test_a_folder_that_is_no_esc_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"meta/esc50\.csv and audio/"):
        read_esc(tmp_path, "esc10")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("name,label\nx.wav,dog\n")
    with pytest.raises(DatasetError, match="is not the list of ESC-50"):
        read_esc(tmp_path, "esc10")
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,category,esc10\nx.wav\n")
    with pytest.raises(DatasetError, match="is not the list of ESC-50"):
        read_esc(tmp_path, "esc50")
    (tmp_path / "meta" / "esc50.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="is no list"):
        read_esc(tmp_path, "esc50")


def scenes(folder: Path, train: str, test: str, within: str = "") -> Path:
    for part in (train, test):
        (folder / part / within).mkdir(parents=True)
        for number in (1, 10):
            for name in DCASE_CLASSES:
                (folder / part / within / f"{name}{number:02d}.wav").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("train", "test", "within"),
    [
        ("scenes_stereo", "scenes_stereo_testset", ""),
        ("scenes_stereo", "scenes_stereo_testset", "scenes_stereo"),
        ("train", "test", ""),
    ],
)
def test_the_scenes_of_dcase_are_in_two_parts(tmp_path, train, test, within):
    clips = read_dcase(scenes(tmp_path, train, test, within))
    assert Counter(clip.fold for clip in clips) == {"train": 20, "test": 20}
    assert {clip.label for clip in clips} == set(DCASE_CLASSES)
    assert clips[0].label == "bus"
    assert len({clip.name for clip in clips}) == 40  # the parts' files are called alike


def test_scenes_that_are_not_dcases_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no folder scenes_stereo or train"):
        read_dcase(tmp_path)
    scenes(tmp_path, "train", "test")
    (tmp_path / "test" / "tube01.wav").unlink()
    (tmp_path / "test" / "tube10.wav").unlink()
    with pytest.raises(DatasetError, match=r"test has no sound of tube$"):
        read_dcase(tmp_path)
    (tmp_path / "train" / "beach01.wav").write_bytes(b"")
    with pytest.raises(DatasetError, match="beach01.wav is of no scene of DCASE 2013"):
        read_dcase(tmp_path)


def urban(folder: Path, folds: int = 10) -> Path:
    (folder / "metadata").mkdir()
    with (folder / "metadata" / "UrbanSound8K.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["slice_file_name", "fsID", "start", "end", "fold", "classID", "class"])
        for fold in range(1, folds + 1):
            rows.writerow([f"{fold}-0.wav", fold, 0, 4, fold, fold, f"class {fold}"])
    return folder


def test_urbansound8k_has_its_folds_in_folders(tmp_path):
    clips = read_urbansound8k(urban(tmp_path))
    assert len(clips) == 10
    assert clips[2].path == tmp_path / "audio" / "fold3" / "3-0.wav"
    assert (clips[2].label, clips[2].fold, clips[2].name) == ("class 3", 3, "fold3/3-0.wav")


def test_what_is_not_urbansound8k_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"metadata/UrbanSound8K\.csv and audio/"):
        read_urbansound8k(tmp_path)
    with pytest.raises(DatasetError, match="has 9 classes; 10 are wanted"):
        read_urbansound8k(urban(tmp_path, folds=9))
    listing = tmp_path / "metadata" / "UrbanSound8K.csv"
    listing.write_text(listing.read_text() + "x.wav,1,0,4,1,1,class 10\n")
    with pytest.raises(DatasetError, match="doesn't have the folds 1 to 10"):
        read_urbansound8k(tmp_path)
    listing.write_text("slice_file_name,class\nx.wav,dog\n")
    with pytest.raises(DatasetError, match="not the list of UrbanSound8K: 'fold'"):
        read_urbansound8k(tmp_path)
