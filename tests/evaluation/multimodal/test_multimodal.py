"""Labelled videos, start to finish, on real clips; and the page with its two maps."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from evaluation.__main__ import main
from tests.conftest import opened, requests
from tests.evaluation.conftest import VIDEOS, write_data_set

LABELS = dict(zip(VIDEOS, ("drums", "other", "other", "other", "drums"), strict=True))


@pytest.fixture(scope="module")
def twice(records, tmp_path_factory) -> tuple[str, str]:
    """Each clip as two videos, so that each can be told by its copy; and their labels."""
    folder = tmp_path_factory.mktemp("twice")
    copies = [
        dataclasses.replace(record, video_id=f"{record.video_id}-{copy}", number=0)
        for record in records
        for copy in "ab"
    ]
    labels = folder / "labels.csv"
    rows = [f"{name}-{copy},{label},sounds\n" for name, label in LABELS.items() for copy in "ab"]
    labels.write_text("video_id,label,group\n" + "".join(rows) + "x,rare,none\n")
    return write_data_set(folder / "data", copies, True), str(labels)


@pytest.fixture(scope="module")
def written(twice, published_weights, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("multimodal")
    data, labels = twice
    options = ["--data", data, "--labels", labels, "--weights", str(published_weights)]
    options += ["--folds", "4", "--cache", str(output / "cache"), "--output", str(output)]
    assert main(["multimodal", *options]) == 0
    return output


@pytest.mark.slow
def test_the_command_writes_tables_map_and_answers(written):
    found = json.loads((written / "multimodal.json").read_text())
    tables = {table["name"]: table for table in found["tables"]}
    rows = {row[1]: row for row in tables["accuracies"]["rows"]}
    assert list(rows) == [
        *("conv7", "conv8", "classes", "looks"),
        *("conv7 + classes", "conv8 + classes", "conv7 + looks", "conv8 + looks"),
        *("any label alike", "always other"),
    ]
    papers = {name: row[5] for name, row in rows.items() if row[5]}
    assert papers == {
        **{"conv7": 32.4, "conv8": 32.3, "classes": 49.4},
        **{"conv7 + classes": 51.4, "conv8 + classes": 50.5},
    }
    assert rows["conv7"][2] >= 80  # most have their copy among those learnt from
    assert rows["conv7"][3] < rows["conv7"][2] <= rows["conv7"][4] <= 100
    assert rows["any label alike"][2] == 50
    assert rows["always other"][2] == pytest.approx(60)
    videos = found["details"]["videos"]
    assert len(videos) == 10
    right = sum(video["answers"]["conv7"] == video["label"] for video in videos)
    assert 10 * right == pytest.approx(rows["conv7"][2])
    assert "10 videos judged; the list labels 11" in found["notes"]
    assert any("10 videos are few" in note for note in found["notes"])
    assert "<svg" in (written / "figure4.svg").read_text()


@pytest.mark.slow
def test_what_can_not_be_judged_is_said(twice, published_weights, tmp_path, capsys):
    data, labels = twice
    weights = ["--weights", str(published_weights), "--cache", str(tmp_path)]
    elsewhere = tmp_path / "labels.csv"
    elsewhere.write_text("video_id,label\nq,drums\nr,other\n")
    assert main(["multimodal", "--data", data, "--labels", str(elsewhere), *weights]) == 1
    assert main(["multimodal", "--data", data, "--labels", labels, *weights]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "evaluation:" in line]
    assert f"none of the videos in {data} (such as" in said[0]
    assert f"has a label in {elsewhere} (such as for q)" in said[0]
    assert "1 of 2 labels have 5 videos or more" in said[1]


HEAR = """
const answer = arguments[arguments.length - 1];
const length = (point) => data.clips[point.clip].seconds;
const longest = data.points.reduce((a, b) => (length(a) >= length(b) ? a : b));
const places = [...document.querySelectorAll(".plane[data-map=heard] circle")];
const dot = places.find((one) => Number(one.getAttribute("cx")) === longest.heard[0]);
document.addEventListener("playing", (event) => {
  const button = event.target;
  setTimeout(() => {
    const done = Number(button.style.getPropertyValue("--done"));
    answer([event.detail.seconds, done, button.getAttribute("aria-pressed")]);
  }, 400);
}, { once: true });
dot.dispatchEvent(new MouseEvent("click", { bubbles: true }));
"""


@pytest.mark.slow
def test_the_maps_work_from_disk_in_a_browser(written, browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    chrome = opened(browser, written / "multimodal.html")
    seen, heard = chrome.find_elements("css selector", ".plane")
    assert [len(map_.find_elements("css selector", "circle")) for map_ in (seen, heard)] == [10, 10]
    card = chrome.find_element("css selector", "#video")

    # Under the pointer: the same video in both maps, and what it is.
    dots = seen.find_elements("css selector", "circle")
    ActionChains(chrome).scroll_to_element(dots[5]).move_to_element(dots[5]).perform()
    assert len(chrome.find_elements("css selector", "circle.current")) == 2
    assert card.text.split("\n")[1 if "no picture" in card.text else 0] in ("drums", "other")
    height = chrome.execute_script("return document.querySelector('#video img').naturalHeight")
    assert height == 256
    assert len(card.find_elements("css selector", ".answers li")) == 8

    # Click: it sounds. Escape: it is still.
    seconds, done, pressed = chrome.execute_async_script(HEAR)
    assert seconds >= 10
    assert 0 < done < 0.9
    assert pressed == "true"
    heard.send_keys(Keys.ESCAPE)
    assert not chrome.find_elements("css selector", ".play[aria-pressed=true]")

    # Keys go to other videos, in their direction.
    at = "return +document.querySelector('.plane[data-map=heard] .current').getAttribute('cx')"
    for _ in range(10):
        heard.send_keys(Keys.ARROW_LEFT)
    left = chrome.execute_script(at)
    heard.send_keys(Keys.ARROW_RIGHT)
    assert chrome.execute_script(at) > left

    # A group can be put aside.
    chrome.find_element("css selector", "#groups button").click()
    assert not any(dot.is_displayed() for dot in seen.find_elements("css selector", "circle"))
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= 400
    assert requests(chrome) <= {"file", "data"}
    assert chrome.get_log("browser") == []
