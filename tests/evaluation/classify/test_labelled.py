"""Labelled sounds of one's own: folders and lists, and how they are divided."""

from __future__ import annotations

from collections import Counter

import pytest

from evaluation.classify.labelled import deal, read
from evaluation.errors import DatasetError
from schemas import SchemaError


def folder_of(path, **classes: int):
    for name, number in classes.items():
        (path / name).mkdir(parents=True)
        for i in range(number):
            (path / name / f"{i}.wav").write_bytes(b"")
    return path


def test_a_sub_folder_is_a_class(tmp_path):
    folder_of(tmp_path, dog=4, rain=6)
    (tmp_path / "rain" / "roof").mkdir()
    (tmp_path / "rain" / "roof" / "deep.wav").write_bytes(b"")
    (tmp_path / "LICENCE.txt").write_text("not a sound of any class")
    (tmp_path / "rain" / ".hidden").write_text("")
    found = read(tmp_path, None, 2)
    assert Counter(clip.label for clip in found.clips) == {"dog": 4, "rain": 7}
    assert found.clips[0].name == "dog/0.wav"
    assert found.tested == (1, 2)


def test_a_folder_without_classes_is_refused(tmp_path):
    folder_of(tmp_path, dog=4)
    with pytest.raises(DatasetError, match="1 sub-folders with sounds; a sub-folder a class"):
        read(tmp_path, None, 2)


def test_folds_are_alike_in_every_class_and_in_size():
    sounds = [(f"{label}/{i}", label) for label in "abc" for i in range(11)]
    folds = deal(sounds, 5)
    assert sorted(Counter(folds).values()) == [6, 6, 7, 7, 7]
    for label in "abc":
        counts = Counter(f for f, (_, of) in zip(folds, sounds, strict=True) if of == label)
        assert sorted(counts.values()) == [2, 2, 2, 2, 3]


def test_folds_are_the_same_in_any_order_and_not_in_that_of_the_names():
    sounds = [(f"{label}/{i:02d}", label) for label in "ab" for i in range(20)]
    folds = dict(zip(sounds, deal(sounds, 4), strict=True))
    turned = sounds[::-1]
    assert dict(zip(turned, deal(turned, 4), strict=True)) == folds
    assert [folds[sound] for sound in sounds[:8]] != [1, 2, 3, 4] * 2


def test_a_class_with_one_sound_is_named():
    with pytest.raises(DatasetError, match="the class b has one sound"):
        deal([("1", "a"), ("2", "a"), ("3", "b")], 2)
    with pytest.raises(DatasetError, match="4 sounds can't be divided into 5 folds"):
        deal([("1", "a"), ("2", "a"), ("3", "b"), ("4", "b")], 5)


def test_a_lists_own_folds_are_taken(tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,label,fold\na.wav,x,1\nb.wav,y,1\nc.wav,x,b\nd.wav,y,b\n"
    )
    found = read(tmp_path / "list.csv", tmp_path / "sounds", 5)
    assert found.tested == ("1", "b")
    assert [clip.fold for clip in found.clips] == ["1", "1", "b", "b"]
    assert found.clips[0].path == tmp_path / "sounds" / "a.wav"


def test_a_lists_own_split_is_taken(tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,label,split\na,x,train\nb,y,train\nc,x,test\nd,y,validation\ne,y,\n"
    )
    found = read(tmp_path / "list.csv", None, 5)
    assert found.tested == ("test",)
    folds = {clip.name: clip.fold for clip in found.clips}
    assert folds == {"a": "train", "b": "train", "c": "test", "d": "test"}


def test_a_list_with_neither_is_divided(tmp_path):
    rows = [f"{i}.wav,{'xy'[i % 2]}\n" for i in range(8)]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(rows))
    found = read(tmp_path / "list.csv", None, 2)
    assert Counter(clip.fold for clip in found.clips) == {1: 4, 2: 4}
    assert "SHA-256" in found.about


def test_a_list_that_is_none_is_refused(tmp_path):
    with pytest.raises(SchemaError, match="can't be read as a list"):
        read(tmp_path / "none.csv", None, 5)
    (tmp_path / "list.csv").write_text("path,label,fold\na,x,1\nb,y,2\n")
    with pytest.raises(SchemaError, match="nothing to train on is left of x"):
        read(tmp_path / "list.csv", None, 5)
