"""Files decoded once; what can't be decoded is named and stays out."""

import json

import numpy as np
import pytest
import soundfile

import media
from schemas import SchemaError
from trainer.supervised import listing
from trainer.supervised.sounds import decode


@pytest.fixture
def sounds(sound_list):
    return listing.read(str(sound_list))


def test_every_file_is_what_media_hears(sounds, tmp_path):
    seen = []
    heard = decode(sounds, tmp_path, "downmix", lambda: seen.append(1))
    assert len(seen) == 9
    for place, sound in enumerate(sounds[:8]):
        expected = media.load_waveform(sound.path)
        assert heard.length(place) == len(expected)
        np.testing.assert_array_equal(heard.piece(place, 0, len(expected)), expected)
        np.testing.assert_array_equal(heard.piece(place, 100, 500), expected[100:600])
    first = decode(sounds, tmp_path / "first", "first")
    tone = sounds[0].path
    np.testing.assert_array_equal(
        first.piece(0, 0, 1000), media.load_waveform(tone, channels="first")[:1000]
    )


def test_what_is_no_sound_is_named_and_never_heard(sounds, tmp_path):
    heard = decode(sounds, tmp_path, "downmix")
    assert list(heard.unreadable) == [8]
    assert "broken.wav" in heard.unreadable[8]
    with pytest.raises(ValueError, match="sound 8 can't be read"):
        heard.piece(8, 0, 100)
    assert heard.length(8) == 0


def test_pieces_cover_a_sound_and_short_ones_are_repeated(sounds, tmp_path):
    heard = decode(sounds, tmp_path, "downmix")
    samples = 5 * 22050
    short, (only,) = heard.length(2), heard.pieces(2, samples)
    assert short == 3 * 22050
    np.testing.assert_array_equal(only[short:], only[: samples - short])
    pieces = heard.pieces(5, samples)  # 12 s
    assert [len(piece) for piece in pieces] == [samples] * 3
    whole = heard.piece(5, 0, heard.length(5))
    np.testing.assert_array_equal(np.concatenate([*pieces[:2], pieces[2][-2 * 22050 :]]), whole)
    assert len(heard.pieces(0, heard.length(0))) == 1


def test_files_are_decoded_once(sounds, tmp_path, monkeypatch):
    before = decode(sounds, tmp_path, "downmix")
    monkeypatch.setattr(media, "load_waveform", lambda *_, **__: pytest.fail("decoded again"))
    after = decode(sounds, tmp_path, "downmix")
    np.testing.assert_array_equal(before.pcm, after.pcm)
    assert before.unreadable == after.unreadable
    with pytest.raises(SchemaError, match="sounds of another list"):
        decode(sounds[:8], tmp_path, "downmix")


def test_a_stop_while_decoding_leaves_nothing_that_counts(sounds, tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode(sounds, tmp_path, "downmix", stop)
    assert not (tmp_path / "sounds.json").exists()
    assert decode(sounds, tmp_path, "downmix").length(0) == 5 * 22050


def test_damage_is_noticed(sounds, tmp_path):
    decode(sounds, tmp_path, "downmix")
    pcm = tmp_path / "sounds.pcm"
    pcm.write_bytes(pcm.read_bytes()[:-2])
    with pytest.raises(SchemaError, match="sounds.pcm is damaged; remove .* to decode anew"):
        decode(sounds, tmp_path, "downmix")
    (tmp_path / "sounds.json").write_text("{")
    with pytest.raises(SchemaError, match="is damaged .*; remove it to decode anew"):
        decode(sounds, tmp_path, "downmix")


def test_no_file_at_all(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,label\na.wav,x\nb.wav,y\n")
    with pytest.raises(SchemaError, match="none of the 2 sounds.*a.wav.*Does --audio name"):
        decode(listing.read(str(path)), tmp_path / "sounds", "downmix")


def test_silence_that_is_recorded_is_a_sound(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,label\na.wav,x\nb.wav,y\n")
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(22050, np.int16), 22050)
    heard = decode(listing.read(str(path)), tmp_path / "sounds", "downmix")
    assert not heard.unreadable
    assert json.loads((tmp_path / "sounds/sounds.json").read_text())["files"][0]["samples"] == 22050
