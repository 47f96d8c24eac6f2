"""The class lists are complete and in the order of the networks' outputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from schemas import SchemaError, classes


@pytest.mark.parametrize(("name", "count"), classes.LISTS.items())
def test_each_list_has_its_names_once(name: str, count: int) -> None:
    assert len(set(classes.load(name))) == count


def test_imagenet_is_in_the_order_of_the_synsets(data_dir: Path) -> None:
    names = classes.load("imagenet1000")
    synsets = [name.split(" ", 1)[0] for name in names]
    assert synsets == sorted(synsets)
    assert (names[0], names[999]) == ("n01440764 tench", "n15075141 toilet tissue")
    for file in (data_dir / "images").glob("n*.JPEG"):
        synset, _, name = file.stem.partition("_")
        assert names[synsets.index(synset)] == f"{synset} {name.replace('_', ' ')}"
    # Two names stand for two things each; the synset tells them apart.
    assert {"n02012849 crane", "n03126707 crane"} < set(names)


def test_places365_is_the_published_list(data_dir: Path) -> None:
    lines = (data_dir / "weights" / "categories_places365.txt").read_text().splitlines()
    assert classes.load("places365") == [line.split()[0] for line in lines]
    assert [int(line.split()[1]) for line in lines] == list(range(365))


def test_places401_is_the_authors_list() -> None:
    """`categories/categories_places2.txt` of cvondrick/soundnet: 6,049 characters, sorted."""
    names = classes.load("places401")
    text = "".join(f"{name}\n" for name in names)
    assert len(text) == 6049
    assert names == sorted(names)
    assert (names[0], names[9]) == ("/a/abbey", "/a/apartment_building/outdoor")
    assert (names[200], names[400]) == ("/i/ice_shelf", "/z/zen_garden")
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "db187ee1d1e0bed37fa30e760717833107e0a416b61e3d8fbb8f5534a9940900"
    )


def test_a_list_of_ones_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "birds.txt"
    file.write_text("robin\n\n wren \nowl")
    assert classes.read(file) == ["robin", "wren", "owl"]


@pytest.mark.parametrize(
    ("text", "says"), [("", "no class names"), ("a\nb\na\n", "the class 'a' twice")]
)
def test_a_bad_list_is_refused(text: str, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        classes.parse(text, "birds.txt")


def test_an_unknown_list_is_told_what_there_is() -> None:
    with pytest.raises(SchemaError, match="there are imagenet1000, places365, places401"):
        classes.load("places205")
