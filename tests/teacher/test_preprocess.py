"""Crop, resize and scaling on pictures whose every pixel is known."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from teacher import TeacherError
from teacher.places_squeezenet import MEAN_HEADER, MEAN_SHAPE, read_mean
from teacher.preprocess import WORDS, Preprocessing
from teacher.spec import FILE_PREPROCESSING, KERAS_APPLICATIONS


def coordinates(height: int, width: int, step: int = 1) -> np.ndarray:
    """A picture that says where each pixel is: red its row, green its column, blue 7."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows // step, columns // step, np.full_like(rows, 7)], axis=-1).astype(
        np.uint8
    )


def test_a_frame_of_the_pipeline_is_cropped_and_not_resampled() -> None:
    """Short side 256: the network's 224 x 224 are pixels of the frame, 16 from its edge."""
    frame = coordinates(256, 400, step=2)
    (seen,) = Preprocessing("raw", 224)([frame])
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, frame[16:240, 88:312])
    (portrait,) = Preprocessing("raw", 224)([frame.transpose(1, 0, 2)])
    np.testing.assert_array_equal(portrait, frame.transpose(1, 0, 2)[88:312, 16:240])


@pytest.mark.parametrize("kind", ["raw", "efficientnet_lite"])
def test_a_large_picture_is_scaled_about_its_centre(kind: str) -> None:
    """512 x 640, a ramp: the crop of 448 starts at (32, 96), halving it averages neighbours."""
    (seen,) = Preprocessing(kind, 224)([coordinates(512, 640, step=3)])
    values = seen * 128 + 127 if kind == "efficientnet_lite" else seen
    inner = np.arange(4, 220)  # a filter knows less at the crop's edge
    expected = (2 * inner + 0.5) / 3
    # Each pixel of the ramp was rounded down, by 1/3 in the mean.
    np.testing.assert_allclose(values[inner, 100, 0], (32 / 3) + expected - 1 / 3, atol=0.8)
    np.testing.assert_allclose(values[100, inner, 1], (96 / 3) + expected - 1 / 3, atol=0.8)
    np.testing.assert_allclose(values[..., 2], 7, atol=1e-5)


def test_places_squashes_the_whole_picture_and_takes_its_centre() -> None:
    """512 x 1024 becomes 256 x 256; the 224 in the middle start 16 of these from the edge."""
    mean = np.zeros((256, 256, 3), np.float32)
    frame = coordinates(512, 1024, step=4)
    (seen,) = Preprocessing("places365_squeezenet", 224, mean)([frame])
    inner = np.arange(224)
    np.testing.assert_allclose(
        seen[:, 100, 2] * 255, ((inner + 16) * 2 + 0.5) / 4 - 3 / 8, atol=0.8
    )
    np.testing.assert_allclose(seen[100, :, 1] * 255, inner + 16, atol=0.8)
    np.testing.assert_allclose(seen[..., 0] * 255, 7, atol=1e-4)


def test_places_subtracts_the_mean_image_where_it_belongs() -> None:
    """Channels first in the file, blue first; the crop of the mean is the crop of the picture."""
    blob = np.arange(np.prod(MEAN_SHAPE)).reshape(MEAN_SHAPE).astype("<f4")
    mean = read_mean(MEAN_HEADER + blob.tobytes())
    assert mean.shape == (256, 256, 3)
    assert mean[2, 3, 1] == blob[1, 2, 3]
    (seen,) = Preprocessing("places365_squeezenet", 224, mean)([np.zeros((256, 256, 3), np.uint8)])
    np.testing.assert_allclose(seen[0, 0] * 255, -blob[:, 16, 16], rtol=1e-6)
    np.testing.assert_allclose(seen[223, 5] * 255, -blob[:, 239, 21], rtol=1e-6)


@pytest.mark.parametrize("change", [b"", b"\x09"])
def test_another_blob_is_refused(change: bytes) -> None:
    blob = change + MEAN_HEADER[len(change) :] + bytes(4 * int(np.prod(MEAN_SHAPE)) - 4)
    with pytest.raises(TeacherError, match="not a Caffe blob"):
        read_mean(blob)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("efficientnet_lite", [(200 - 127) / 128, (100 - 127) / 128, (50 - 127) / 128]),
        ("caffe", [50 - 103.939, 100 - 116.779, 200 - 123.68]),
        ("tf", [200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1]),
        (
            "torch",
            [
                (200 / 255 - 0.485) / 0.229,
                (100 / 255 - 0.456) / 0.224,
                (50 / 255 - 0.406) / 0.225,
            ],
        ),
        ("raw", [200, 100, 50]),
    ],
)
def test_channel_order_and_scale(kind: str, expected: list[float]) -> None:
    frame = np.full((300, 280, 3), (200, 100, 50), np.uint8)
    (seen,) = Preprocessing(kind, 96)([frame])
    np.testing.assert_allclose(seen, np.broadcast_to(expected, (96, 96, 3)), rtol=1e-5, atol=1e-5)


def test_every_classifier_of_keras_is_listed_with_its_own_scaling() -> None:
    import keras
    from keras.applications.imagenet_utils import preprocess_input

    constructors = inspect.getmembers(keras.applications, inspect.isfunction)
    listed = {name: mode for mode, names in KERAS_APPLICATIONS.items() for name in names}
    assert sorted(listed) == sorted(name for name, _ in constructors)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 5, 5, 3)).astype(np.float32)
    for name, constructor in constructors:
        its_own = inspect.getmodule(constructor).preprocess_input(picture.copy())
        ours = picture
        if listed[name] != "raw":
            ours = preprocess_input(picture.copy(), mode=listed[name])
        np.testing.assert_array_equal(its_own, ours, err_msg=name)


def test_pictures_of_any_size_make_one_batch() -> None:
    frames = [np.zeros(shape, np.uint8) for shape in ((1, 1, 3), (3, 999, 3), (256, 341, 3))]
    for kind in FILE_PREPROCESSING:
        assert Preprocessing(kind, 64)(frames).shape == (3, 64, 64, 3)
    assert Preprocessing("tf", 64)([]).shape == (0, 64, 64, 3)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        "picture.jpg",
    ],
)
def test_what_is_not_a_picture_is_refused(frame: object) -> None:
    with pytest.raises(TeacherError, match="frame 1 is .* an RGB picture, uint8"):
        Preprocessing("tf", 8)([np.zeros((8, 8, 3), np.uint8), frame])


def test_the_words_tell_the_kinds_apart() -> None:
    mean = np.zeros((256, 256, 3), np.float32)
    words = {Preprocessing(kind, 224, mean).words for kind in WORDS}
    assert len(words) == len(WORDS) == len(FILE_PREPROCESSING) + 1
    assert "224/256 of the short side" in Preprocessing("tf", 224).words
