"""The Places teacher on photographs.

The probabilities were computed by a script of its own (Pillow, NumPy, the network as it is in the
file, one picture at a time).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teacher import Teacher, TeacherError, load, parse_spec
from teacher.places_squeezenet import ENVIRONMENT, MEAN, NETWORK, SHA256, read_mean

GOLDEN = {
    # synset in the file's name: the two best scenes with their probabilities
    "n02690373": {"/h/heliport": 0.39488, "/r/runway": 0.27234},  # airliner
    "n03272010": {"/s/stage/indoor": 0.25671, "/d/discotheque": 0.06909},  # electric guitar
    "n04081281": {"/f/fastfood_restaurant": 0.31520, "/s/sushi_bar": 0.29437},  # restaurant
    "n04310018": {"/t/train_station/platform": 0.21001, "/r/railroad_track": 0.17645},
    "n09193705": {"/m/mountain_path": 0.29948, "/m/mountain": 0.18859},  # alp
    "n09428293": {"/l/lagoon": 0.40909, "/i/islet": 0.34710},  # seashore
}
TOLERANCE = 2e-3


@pytest.fixture
def scenes(photographs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [photographs[synset] for synset in GOLDEN]


def furthest(teacher: Teacher, probs: np.ndarray) -> float:
    return max(
        abs(float(row[teacher.classes.index(scene)]) - prob)
        for row, golden in zip(probs, GOLDEN.values(), strict=True)
        for scene, prob in golden.items()
    )


def test_scenes_get_the_golden_probabilities(places: Teacher, scenes: list[np.ndarray]) -> None:
    probs = places(scenes)
    assert furthest(places, probs) < TOLERANCE
    best = [[places.classes[number] for number in np.argsort(-row)[:2]] for row in probs]
    assert best == [list(golden) for golden in GOLDEN.values()]


@pytest.mark.parametrize("change", ["rgb", "no mean", "mean colour", "0..255", "crop", "whole"])
def test_another_preprocessing_fails_the_golden_comparison(
    places: Teacher, scenes: list[np.ndarray], data_dir: Path, change: str
) -> None:
    batch = places.preprocess(scenes)
    mean = read_mean((data_dir / "weights" / MEAN).read_bytes()) / 255
    inside = mean[16:240, 16:240]

    def resized(frame: np.ndarray, size: int) -> np.ndarray:
        picture = Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(picture)[..., ::-1].astype(np.float32) / 255

    changed = {
        "rgb": lambda: np.ascontiguousarray(batch[..., ::-1]),
        "no mean": lambda: batch + inside,
        "mean colour": lambda: batch + inside - mean.mean((0, 1)),
        "0..255": lambda: batch * 255,
        "crop": lambda: np.stack([resized(frame, 256)[:224, :224] - inside for frame in scenes]),
        "whole": lambda: np.stack([resized(frame, 224) - inside for frame in scenes]),
    }[change]()
    assert furthest(places, places.predict(changed)) > 10 * TOLERANCE


def test_the_file_of_the_weights_does_as_well_as_its_folder(
    places: Teacher, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"places=squeezenet_places365,weights={data_dir / 'weights' / NETWORK}"
    assert load(parse_spec(spec)).info == places.info
    monkeypatch.setenv(ENVIRONMENT, str(data_dir / "weights"))
    assert load(parse_spec("places")).info == places.info
    assert places.info.sha256 == SHA256[NETWORK]
    assert "BGR, minus Places365's mean image" in places.info.preprocessing


def test_without_weights_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(TeacherError) as error:
        load(parse_spec("places"))
    for word in ("weights=FOLDER", ENVIRONMENT, NETWORK, MEAN):
        assert word in str(error.value)


def test_a_file_that_can_not_be_read_is_named(data_dir: Path, tmp_path: Path) -> None:
    shutil.copyfile(data_dir / "weights" / NETWORK, tmp_path / NETWORK)
    (tmp_path / MEAN).symlink_to("/proc/self/mem")  # a plain file whose start can't be read
    with pytest.raises(TeacherError, match="squeezenet_places365 can't be read: .*Errno"):
        load(parse_spec(f"places=squeezenet_places365,weights={tmp_path}"))


@pytest.mark.parametrize("name", [NETWORK, MEAN])
def test_a_missing_or_changed_file_is_refused(data_dir: Path, tmp_path: Path, name: str) -> None:
    for file in (NETWORK, MEAN):
        shutil.copyfile(data_dir / "weights" / file, tmp_path / file)
    spec = parse_spec(f"places=squeezenet_places365,weights={tmp_path}")
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(TeacherError, match=f"{name} has sha256 .* it was not read"):
        load(spec)
    (tmp_path / name).unlink()
    with pytest.raises(TeacherError, match=f"{name}, which is not there; give weights=FOLDER"):
        load(spec)
