"""What is meant by the names on a command line."""

from __future__ import annotations

import pytest

from soundnet.bulk.sources import NoSource, Source, address_place, find


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with files in it (empty: names are all that counts)."""
    for name in ("b.wav", "a.MP3", "notes.txt", "sub/c.flac", "sub/deep/d.ogg", ".hidden/e.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / ".f.wav").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*names: str, lists=()) -> list[tuple[str, str]]:
    return [(sound.name, sound.place) for sound in find(names, lists)]


def test_a_folder_gives_the_sounds_below_it_sorted(here):
    assert named(".") == [
        ("a.MP3", "a.MP3"),
        ("b.wav", "b.wav"),
        ("sub/c.flac", "sub/c.flac"),
        ("sub/deep/d.ogg", "sub/deep/d.ogg"),
    ]
    assert named("sub") == [("sub/c.flac", "c.flac"), ("sub/deep/d.ogg", "deep/d.ogg")]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(here):
    assert named("notes.txt", "sub/c.flac", "none") == [
        ("notes.txt", "notes.txt"),
        ("sub/c.flac", "c.flac"),
        ("none", "none"),  # reading it will say that it isn't there
    ]


def test_a_pattern_gives_what_fits_relative_to_its_fixed_part(here):
    assert named("*.wav") == [("b.wav", "b.wav")]
    assert named("sub/**/*.ogg") == [("sub/deep/d.ogg", "deep/d.ogg")]
    assert named(f"{here}/s*/*.flac") == [(f"{here}/sub/c.flac", "sub/c.flac")]
    assert list(find(["*.aiff"])) == [NoSource("*.aiff", "no file's name fits this pattern")]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(here):
    (here / "take[1].wav").touch()
    assert named("take[1].wav") == [("take[1].wav", "take[1].wav")]


def test_a_playlists_paths_are_relative_to_it(here):
    (here / "sub" / "list.m3u8").write_text(
        "\ufeff#EXTM3U\n#EXTINF:3,C\nc.flac\n\ndeep/d.ogg\r\n../b.wav\nhttp://example.org/x.mp3\n"
    )
    assert named("sub/list.m3u8") == [
        ("sub/c.flac", "c.flac"),
        ("sub/deep/d.ogg", "deep/d.ogg"),
        ("sub/../b.wav", "b.wav"),
        ("http://example.org/x.mp3", "example.org/x.mp3"),
    ]


def test_the_playlist_of_a_stream_is_no_list(here):
    (here / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n1.ts\n")
    (refused,) = find(["live.m3u8"])
    assert isinstance(refused, NoSource)
    assert "the playlist of a stream (HLS)" in refused.message


def test_a_lists_paths_are_relative_to_here_and_keep_their_folders(here):
    lines = ["# found\n", "sub/c.flac\n", "\n", f"{here}/b.wav\n", "../up.wav\n", "sub\n"]
    assert named(lists=[lines]) == [
        ("sub/c.flac", "sub/c.flac"),
        (f"{here}/b.wav", "b.wav"),
        ("../up.wav", "up.wav"),
        ("sub/deep/d.ogg", "deep/d.ogg"),  # the folder's other one was named before
    ]


def test_each_sound_is_taken_once(here):
    assert named("b.wav", "b.wav", "-", "-") == [("b.wav", "b.wav"), ("-", "stdin")]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://example.org/a/b.mp3", "example.org/a/b.mp3"),
        ("http://example.org:8080/../x y.ogg", "example.org/x_y.ogg"),
        ("https://user:secret@example.org/x.wav", "example.org/x.wav"),
        ("https://example.org/", "example.org-"),
        ("https://example.org/get?id=1", "example.org/get-"),
        ("https://[", "address-"),
    ],
)
def test_an_address_becomes_the_name_of_a_file(url, place):
    found = address_place(url)
    assert found.startswith(place.rpartition("-")[0] + "-" if "-" in place else place)
    assert ".." not in found
    assert address_place(url) == found != address_place(url + "?2")


def test_what_is_an_address(here):
    assert Source("https://example.org/x.wav", "x").is_address
    assert not Source("ftp://example.org/x.wav", "x").is_address
