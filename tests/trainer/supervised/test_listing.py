"""Lists of sounds with labels: what is read, what is held out, what is refused."""

from pathlib import Path

import pytest

from schemas import SchemaError
from trainer.supervised import listing


def write(folder: Path, text: str) -> str:
    (folder / "list.csv").write_text(text, "utf-8")
    return str(folder / "list.csv")


def test_paths_start_from_the_list_or_from_the_folder_given(tmp_path):
    path = write(tmp_path, "path,label\na.wav,cat\nsub/b.wav, dog \n/c.wav,dog\n")
    sounds = listing.read(path)
    assert [sound.path for sound in sounds] == [
        tmp_path / "a.wav",
        tmp_path / "sub/b.wav",
        Path("/c.wav"),
    ]
    assert [sound.label for sound in sounds] == ["cat", "dog", "dog"]
    assert listing.read(path, "/sounds")[0].path == Path("/sounds/a.wav")


def test_esc_50s_own_list_is_read_as_it_is(data_dir):
    sounds = listing.read(str(data_dir / "esc10/meta/esc50.csv"), str(data_dir / "esc10/audio"))
    assert len(sounds) == 400
    assert all(sound.path.is_file() for sound in sounds)
    parts = listing.parts(sounds)
    assert [part.name for part in parts] == ["1", "2", "3", "4", "5"]
    assert all(len(part.train) == 320 and len(part.test) == 80 for part in parts)
    for part in parts:
        assert {sounds[i].fold for i in part.test} == {part.name}
        assert not {sounds[i].fold for i in part.train} & {part.name}
    (part,) = listing.parts(sounds, folds=("3",))
    assert part == parts[2]


def test_a_split_holds_test_or_validation_out_and_leaves_the_rest_alone(tmp_path):
    rows = ["path,label,split"]
    rows += [f"{i}.wav,{'ab'[i % 2]},{split}" for i, split in enumerate(["train"] * 4 + ["test"])]
    rows += ["5.wav,a,validation", "6.wav,b,"]
    sounds = listing.read(write(tmp_path, "\n".join(rows)))
    (part,) = listing.parts(sounds)
    assert (part.train, part.test) == ((0, 1, 2, 3), (4, 5))
    (part,) = listing.parts(sounds, "none")
    assert (part.train, part.test) == (tuple(range(7)), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,b\n", "columns name, label; one called path, filename or file"),
        ("path\na\n", "one called label, category or class"),
        ("", "columns none"),
        ("path,label\na.wav,x\n,y\n", "line 3: no path"),
        ("path,label\na.wav,x\nb.wav,\n", "line 3: no label"),
        ("path,label\na.wav,x\nb.wav\n", "line 3: no label"),
        ("path,label\na.wav,x\nb.wav,y\na.wav,y\n", "line 4: a.wav is on line 2 already"),
        ("path,label\na.wav,x\nb.wav,x\n", "2 sounds of 1 classes"),
        ('path,label\n"a.wav,x\n', "can't be read as a list of sounds"),
    ],
)
def test_lists_that_are_refused(tmp_path, text, message):
    with pytest.raises(SchemaError, match=message):
        listing.read(write(tmp_path, text))


def test_no_list_at_all(tmp_path):
    with pytest.raises(SchemaError, match="No such file.*a CSV file with a column path"):
        listing.read(str(tmp_path / "none.csv"))
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match="can't be read as a list"):
        listing.read(str(tmp_path / "list.csv"))


@pytest.mark.parametrize(
    ("rows", "held_out", "folds", "message"),
    [
        (["a,x,1,train", "b,y,2,test"], "auto", (), "--held-out folds or --held-out split"),
        (["a,x,1,", "b,y,,"], "auto", (), "b: fold ''"),
        (["a,x,../1,", "b,y,2,"], "auto", (), "a: fold '../1'"),
        (["a,x,1,", "b,y,1,"], "auto", (), "one fold; a second"),
        (["a,x,1,", "b,y,2,"], "auto", (), "without fold 1 nothing to train on is left of x"),
        (["a,x,1,", "b,y,2,"], "auto", ("3",), "no fold 3; the list has 1, 2"),
        (["a,x,,train", "b,y,,"], "auto", (), "1 sounds to train and 0 to judge"),
        (["a,x,,train", "b,y,,exam"], "auto", (), "b: split 'exam'; train, test, validation"),
        (["a,x,,", "b,y,,"], "auto", ("1",), "--folds was given, and the list has no column fold"),
        (["a,x,,", "b,y,,"], "folds", (), "a: fold ''"),
    ],
)
def test_parts_that_cannot_be(tmp_path, rows, held_out, folds, message):
    sounds = listing.read(write(tmp_path, "\n".join(["path,label,fold,split", *rows])))
    with pytest.raises(SchemaError, match=message):
        listing.parts(sounds, held_out, folds)
