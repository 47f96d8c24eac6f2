"""What the network hears in real clips, and the page that lets you look and listen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import soundnet
from evaluation.__main__ import main
from evaluation.hears import findings, study
from evaluation.hears.study import Settings
from schemas.waveform import pcm_to_waveform
from soundnet.model import TRAINING_CLIP
from tests.conftest import opened, requests, until
from tests.evaluation.conftest import write_data_set

LAYERS = ("conv5", "conv7", "places")


@pytest.fixture(scope="module")
def result(data_set, published_weights):
    return study.study(Settings(data_set, str(published_weights), LAYERS, top=3))


def test_a_units_moments_are_its_greatest_answers(result, records):
    assert [layer.name for layer in result.layers] == list(LAYERS)
    assert result.heard == len(records) == 5
    conv7 = result.layers[1]
    best = []
    for record in records:
        answer = study.listen(result.model, record.pcm, ["conv7"])["conv7"]
        inside = answer.values[answer.times < len(record.pcm) / 22050]
        best.append((inside.max(axis=0), inside.argmax(axis=0)))
    values = np.array([greatest for greatest, _ in best])  # (clips, units)
    moved = 0
    for unit in range(conv7.units):
        order = [n for n in np.argsort(-values[:, unit], kind="stable") if values[n, unit] > 0][:3]
        moments = findings.moments_of(conv7, unit)
        assert [m.value for m in moments] == pytest.approx(values[order, unit].tolist(), rel=1e-5)
        assert [m.step for m in moments] == [best[n][1][unit] for n in order]
        assert [result.clips.at(m.place).clip_id for m in moments[:1]] == [
            records[n].clip_id for n in order[:1]
        ]
        moved += bool(moments)
    assert 50 < moved < 1024


def test_a_moments_window_is_all_that_the_unit_heard(result):
    """Silence outside of it changes nothing; silence in any eighth of it does."""
    conv5 = result.layers[0]
    unit, moment = max(
        ((u, m) for u in range(conv5.units) for m in findings.moments_of(conv5, u)[:1]),
        key=lambda one: one[1].value,
    )
    record = result.clips.at(moment.place)
    waveform = np.resize(pcm_to_waveform(record.pcm), TRAINING_CLIP)
    first, last = (round(22050 * seconds) for seconds in conv5.window(moment.step))
    assert last - first == 11294
    assert 0 < first < last < len(waveform)

    def answer(sound):
        return result.model.activations([sound], ["conv5"])["conv5"][moment.step, unit]

    alone = np.zeros_like(waveform)
    alone[first:last] = waveform[first:last]
    assert answer(alone) == pytest.approx(moment.value, rel=1e-4)
    for start in range(first, last, (last - first) // 8 + 1):
        lacking = alone.copy()
        lacking[start : start + (last - first) // 8 + 1] = 0
        assert abs(answer(lacking) - moment.value) > 1e-3 * moment.value


def test_the_answers_of_a_class_are_probabilities(result):
    places = result.layers[2]
    values = [findings.moments_of(places, unit)[0].value for unit in range(places.units)]
    assert len(places.classes) == len(values) == 401
    assert 0 < min(values) < max(values) <= 1


def test_a_label_step_hears_its_own_five_seconds(result, records):
    long = max(records, key=lambda record: len(record.frame_times))
    answer = study.listen(result.model, long.pcm, ["conv7"])["conv7"]
    means = study.by_step(answer, long, result.clips)
    assert means.shape == (len(long.frame_times), 1024)
    inside = (answer.times >= 5) & (answer.times < min(10, len(long.pcm) / 22050))
    np.testing.assert_allclose(means[1], answer.values[inside].mean(axis=0), rtol=1e-6)


def test_layers_are_chosen_by_name():
    from tests.soundnet.conftest import lively

    model = soundnet.TrainedSoundNet(lively(5))
    every = ["conv1", "conv2", "conv3", "conv4", "imagenet", "places"]
    assert study.choose(model, ()) == every
    assert study.choose(model, ("places", "conv2", "pool3", "places")) == [
        *("conv2", "pool3", "places"),
    ]
    assert study.choose(model, ("conv5",)) == ["imagenet", "places"]
    with pytest.raises(ValueError, match="no layer 'conv9'; choose among conv1"):
        study.choose(model, ("conv9",))


@pytest.fixture(scope="module")
def written(data_set, published_weights, tmp_path_factory) -> Path:
    """What the command writes of two layers and both heads."""
    output = tmp_path_factory.mktemp("hears")
    options = ["--data", data_set, "--weights", str(published_weights), "--output", str(output)]
    assert main(["hears", *options, "--layers", "conv1", "conv7", "conv8", "--top", "4"]) == 0
    return output


@pytest.mark.slow
def test_the_command_writes_page_figure_and_data(written, records):
    names = {"hears.html", "hears.md", "hears.csv", "hears.json", "figure5.svg"}
    assert {path.name for path in written.iterdir()} == names
    found = json.loads((written / "hears.json").read_text())
    details, tables = found["details"], {table["name"]: table for table in found["tables"]}
    assert details["clips"] == 5
    assert details["seconds"] == pytest.approx(
        sum(len(record.pcm) for record in records) / 22050, abs=0.01
    )
    rows = {row[0]: row[1:] for row in tables["layers"]["rows"]}
    assert rows["conv7"][0] == 1024
    assert rows["conv7"][1] == pytest.approx(4134.5, abs=0.1)  # ms that a unit hears
    assert rows["imagenet"][0] == 1000
    assert len(tables["filters"]["rows"]) == 16
    layers = {layer["name"]: layer for layer in details["units"]["layers"]}
    assert layers["conv1"]["moments"][0][::3] == pytest.approx(
        list(dict.fromkeys(layers["conv1"]["moments"][0][::3]))
    )  # each of another clip
    assert all(len(unit) <= 12 for layer in layers.values() for unit in layer["moments"])
    assert (written / "figure5.svg").read_text().count('<g id="axes_') == 32


def test_what_does_not_fit_into_the_page_is_told_of(result):
    exhibits, numbers = findings.gather(result, megabytes=0.05)
    assert len(exhibits.clips) == len(numbers) == 5
    heard = [clip["sound"] for clip in exhibits.clips]
    assert heard[0] == 0
    assert heard[-1] is None
    size = sum(map(len, (*exhibits.sounds, *exhibits.pictures)))
    assert size < 0.05e6 + 3e5  # the clip that crosses the limit is the last


@pytest.mark.slow
def test_a_record_that_can_not_be_read_is_told_at_the_end(
    records, published_weights, tmp_path, capsys
):
    folder = Path(write_data_set(tmp_path / "data", records[:2], False))
    shard = folder / "train-00000.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-9])
    output = tmp_path / "out"
    options = ["--data", str(folder), "--weights", str(published_weights)]
    assert main(["hears", *options, "--layers", "conv6", "--output", str(output)]) == 1
    assert "Unreadable: train-00000.tfrecord: the record at byte" in capsys.readouterr().out
    assert json.loads((output / "hears.json").read_text())["details"]["clips"] == 1
    assert main(["hears", *options, "--layers", "conv0", "--output", str(output)]) == 1
    assert "no layer 'conv0'" in capsys.readouterr().err


# In a browser.

HEAR = """
const answer = arguments[arguments.length - 1];
const button = document.querySelectorAll(".moment .play")[arguments[0]];
const seen = { seconds: null, done: [], pressed: null };
button.addEventListener("playing", (event) => {
  seen.seconds = event.detail.seconds;
  seen.pressed = button.getAttribute("aria-pressed");
  const note = () => seen.done.push(Number(button.style.getPropertyValue("--done")));
  const look = setInterval(note, 50);
  button.addEventListener("stopped", () => {
    clearInterval(look);
    answer({ ...seen, after: button.getAttribute("aria-pressed") });
  });
});
button.click();
"""

DECODED = """
const answer = arguments[arguments.length - 1];
const text = document.getElementById("sound-" + arguments[0]).textContent;
const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
new AudioContext({ sampleRate: 22050 }).decodeAudioData(bytes.buffer).then(
  (sound) => answer([sound.length, Array.from(sound.getChannelData(0).slice(0, 44100))]),
  (error) => answer(String(error)));
"""


def type_in(chrome, text: str) -> list[str]:
    """Search for something; returns what is found."""
    field = chrome.find_element("css selector", "#words")
    field.clear()
    field.send_keys(text)
    return [item.text for item in chrome.find_elements("css selector", "#found a")]


def shows(chrome, unit: str) -> bool:
    """Wait until the page shows a unit, whose address it follows a little later."""
    return until(chrome, lambda: heading(chrome).startswith(unit))


def heading(chrome) -> str:
    return chrome.execute_script("return document.querySelector('#unit h2').textContent")


@pytest.mark.slow
def test_the_page_works_from_disk_in_a_browser(written, browser, records):
    chrome = opened(browser, written / "hears.html")
    assert chrome.title == "What the network hears"
    found = json.loads((written / "hears.json").read_text())["details"]["units"]

    # Units are found by layer and number, classes by their words.
    assert type_in(chrome, "conv1 5") == ["conv1 5\nno name"]
    chrome.find_element("css selector", "#words").send_keys("\ue007")  # Enter
    assert shows(chrome, "conv1 5")
    hits = type_in(chrome, "drum")
    assert hits[0] == "imagenet 541\ndrum"
    assert any("drumstick" in hit for hit in hits)
    assert type_in(chrome, "no such word") == []
    assert type_in(chrome, "imagenet 541") == ["imagenet 541\ndrum"]
    chrome.find_element("css selector", "#found a").click()
    assert shows(chrome, "imagenet 541: drum")
    cards = chrome.find_elements("css selector", ".moment")
    assert len(cards) == 4
    assert cards[0].find_element("css selector", "a").get_attribute("href").startswith("https://")

    # The stored sound is the clip's, sample by sample.
    imagenet = next(layer for layer in found["layers"] if layer["name"] == "imagenet")
    clip = found["clips"][imagenet["moments"][541][0]]
    record = next(record for record in records if record.clip_id == clip["id"])
    length, samples = chrome.execute_async_script(DECODED, clip["sound"])
    assert abs(length - len(record.pcm)) <= 1152  # a frame of MP3
    assert np.corrcoef(samples, record.pcm[: len(samples)])[0, 1] > 0.9

    # Playing goes on for as long as the moment, and stops by itself.
    type_in(chrome, "conv1 5")
    chrome.find_element("css selector", "#found a").click()
    assert shows(chrome, "conv1 5")
    seen = chrome.execute_async_script(HEAR, 0)
    assert (seen["pressed"], seen["after"]) == ("true", "false")
    assert seen["seconds"] == pytest.approx(0.5)
    assert seen["done"] == sorted(seen["done"])
    assert seen["done"][-1] > 0  # how far it was, looked at while it played
    heights = chrome.execute_script("return [...document.images].map((i) => i.naturalHeight)")
    assert heights == [256] * 4

    for width, height in ((1280, 900), (400, 800)):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
    assert requests(chrome) <= {"file", "data"}
    assert chrome.get_log("browser") == []


@pytest.mark.slow
def test_the_page_is_used_with_keys_and_addresses(written, browser):
    from selenium.webdriver.common.keys import Keys

    chrome = opened(browser, written / "hears.html")
    chrome.execute_script("location.hash = '#conv7/231'")
    assert shows(chrome, "conv7 231")
    field = chrome.find_element("css selector", "#words")
    first, second = (found.split("\n")[0] for found in type_in(chrome, "bar")[:2])
    field.send_keys(Keys.ENTER)
    assert shows(chrome, first)
    field.send_keys(Keys.ARROW_DOWN)
    assert shows(chrome, second)
    assert chrome.find_element("css selector", "[aria-current]").text.startswith(second)
    # A class hears 14.5 s: long enough to be stopped.
    chrome.execute_script("document.querySelector('.moment .play').click()")
    pressed = "return document.querySelectorAll('[aria-pressed=true]').length"
    assert until(chrome, lambda: chrome.execute_script(pressed) == 1)
    field.send_keys(Keys.ESCAPE)
    assert until(chrome, lambda: chrome.execute_script(pressed) == 0)
    chrome.back()
    assert shows(chrome, first)
    assert chrome.get_log("browser") == []


@pytest.mark.slow
def test_hostile_names_do_nothing_in_the_page(records, published_weights, browser, tmp_path):
    import dataclasses

    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)></script>"
    strange = [
        dataclasses.replace(record, video_id=hostile, url="javascript:alert(1)", number=number)
        for number, record in enumerate(records[:2])
    ]
    data = write_data_set(tmp_path / "data", strange, True)
    options = ["--data", data, "--weights", str(published_weights), "--output", str(tmp_path)]
    assert main(["hears", *options, "--layers", "conv6"]) == 0
    chrome = opened(browser, tmp_path / "hears.html")
    assert hostile in chrome.find_element("css selector", ".moment .id").text
    assert chrome.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    protocols = chrome.execute_script("return [...document.links].map((a) => a.protocol)")
    assert set(protocols) <= {"file:"}
    assert chrome.get_log("browser") == []
