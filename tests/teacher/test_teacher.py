"""A frame's answer depends on the frame alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from teacher import BATCH, Teacher, TeacherError, load, parse_spec


@pytest.fixture(params=["imagenet", "places"])
def teacher(request: pytest.FixtureRequest) -> Teacher:
    return request.getfixturevalue(request.param)


@pytest.fixture
def batch(teacher: Teacher, photographs: dict[str, np.ndarray]) -> np.ndarray:
    """33 different frames."""
    frames = [frame[n:] for n in (0, 5, 9) for frame in photographs.values()]
    return teacher.preprocess(frames[:33])


def test_answers_are_bit_equal_in_every_batch_and_order(
    teacher: Teacher, batch: np.ndarray
) -> None:
    together = teacher.predict(batch)
    assert teacher.batch == BATCH == 16
    for number in (0, 1, 16, 32):
        np.testing.assert_array_equal(
            teacher.predict(batch[number : number + 1])[0], together[number]
        )
    for size in (7, 16):
        parts = [teacher.predict(batch[start : start + size]) for start in range(0, 33, size)]
        np.testing.assert_array_equal(np.concatenate(parts), together, err_msg=f"batches of {size}")
    order = np.random.default_rng(1).permutation(33)
    np.testing.assert_array_equal(teacher.predict(batch[order]), together[order])


@pytest.mark.parametrize(("name", "values"), [("imagenet", 1280), ("places", 512)])
def test_the_usual_teachers_give_embeddings_too(
    name: str, values: int, data_dir: Path, photographs: dict[str, np.ndarray]
) -> None:
    """Bit-equal in every batch, and closest between two pictures of one thing."""
    weights = f",weights={data_dir / 'weights'}" if name == "places" else ""
    network = {"imagenet": "efficientnet_lite0", "places": "squeezenet_places365"}[name]
    looks = load(parse_spec(f"looks={network}{weights},outputs=embedding"))
    assert looks.info.target == "embedding"
    frames = list(photographs.values())[:5]
    together = looks([*frames, frames[2][:, ::-1]])
    assert together.shape == (6, values)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(looks([frame])[0], together[number])
    unit = together / np.linalg.norm(together, axis=1, keepdims=True)
    likeness = unit[5] @ unit[:5].T
    assert likeness.argmax() == 2  # its mirror image


def test_answers_are_distributions_over_the_classes(teacher: Teacher, batch: np.ndarray) -> None:
    probs = teacher.predict(batch[:5])
    assert probs.dtype == np.float32
    assert probs.shape == (5, len(teacher.classes))
    assert probs.min() >= 0
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_calling_is_preprocessing_and_predicting(
    teacher: Teacher, photographs: dict[str, np.ndarray]
) -> None:
    frames = list(photographs.values())[:3]
    np.testing.assert_array_equal(teacher(frames), teacher.predict(teacher.preprocess(frames)))
    assert teacher([]).shape == (0, len(teacher.classes))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((224, 224, 3), np.float32),
        np.zeros((2, 224, 224, 3), np.uint8),
    ],
)
def test_a_batch_of_another_shape_is_refused(teacher: Teacher, wrong: np.ndarray) -> None:
    with pytest.raises(TeacherError, match=r"wants float32 \(N, 224, 224, 3\).*use preprocess"):
        teacher.predict(wrong)
