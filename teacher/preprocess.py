"""How a frame becomes a network's input: one table, one crop.

| kind | picture | values |
|---|---|---|
| efficientnet_lite | centre crop, bicubic | RGB, (x - 127) / 128 |
| caffe | centre crop, bilinear | BGR, minus (103.939, 116.779, 123.68) |
| tf | centre crop, bilinear | RGB, x / 127.5 - 1 |
| torch | centre crop, bilinear | RGB, x / 255, minus mean, over standard deviation of ImageNet |
| raw | centre crop, bilinear | RGB, 0..255 |
| places365_squeezenet | 256 x 256, bilinear; then its centre | BGR, minus the mean image, / 255 |

The centre crop is TensorFlow's for the EfficientNets: a square of size / (size + 32) of the short
side, scaled to size x size; for 224 the well-known 7/8, which takes 224 x 224 from a frame whose
short side is 256 as it is.
Sources: tensorflow/tpu `models/official/efficientnet/preprocessing.py` and `lite/`;
`keras.applications.imagenet_utils.preprocess_input`; urbste/squeezenet_places365's README.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from teacher.spec import TeacherError

CROP_PADDING = 32
SQUASH = 256
"""Side of the square that Places365's pictures were squashed to, and of its mean image."""

WORDS = {
    "efficientnet_lite": "bicubic, RGB, (x - 127) / 128",
    "caffe": "bilinear, BGR, minus ImageNet's mean colour",
    "tf": "bilinear, RGB, x / 127.5 - 1",
    "torch": "bilinear, RGB, x / 255, ImageNet's mean and standard deviation",
    "raw": "bilinear, RGB, 0 to 255",
    "places365_squeezenet": "bilinear, BGR, minus Places365's mean image, / 255",
}


@dataclass(frozen=True)
class Preprocessing:
    """Frames of any size in, a batch for the network out.

    Attributes:
        kind: a key of `WORDS`.
        size: side of the network's input in pixels.
        mean: for places365_squeezenet, the mean image, float32 (256, 256, 3), BGR.
    """

    kind: str
    size: int
    mean: np.ndarray | None = None

    @property
    def words(self) -> str:
        """What is done to a frame, for people."""
        if self.kind == "places365_squeezenet":
            crop = f"scaled to {SQUASH} x {SQUASH}, centre crop of {self.size} x {self.size}"
        else:
            crop = (
                f"centre crop of {self.size}/{self.size + CROP_PADDING} of the short side, "
                f"scaled to {self.size} x {self.size}"
            )
        return f"{crop}, {WORDS[self.kind]}"

    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Make a batch, float32 (N, size, size, 3), of RGB pictures, each uint8 (H, W, 3).

        Raises:
            TeacherError: something is not such a picture.
        """
        batch = np.empty((len(frames), self.size, self.size, 3), np.float32)
        for number, frame in enumerate(frames):
            if (
                not isinstance(frame, np.ndarray)
                or frame.dtype != np.uint8
                or frame.ndim != 3
                or frame.shape[2] != 3
                or not frame.size
            ):
                found = f"{getattr(frame, 'dtype', type(frame).__name__)} {np.shape(frame)}"
                raise TeacherError(
                    f"frame {number} is {found}; an RGB picture, uint8 (H, W, 3), is wanted"
                )
            batch[number] = self._one(frame)
        return batch

    def _one(self, frame: np.ndarray) -> np.ndarray:
        if self.kind == "places365_squeezenet":
            assert self.mean is not None
            squashed = _resize(frame, SQUASH, bicubic=False).astype(np.float32)
            edge = (SQUASH - self.size) // 2
            inside = slice(edge, edge + self.size)
            return (squashed[inside, inside, ::-1] - self.mean[inside, inside]) / 255
        if self.kind == "efficientnet_lite":
            return (_centre(frame, self.size, bicubic=True).astype(np.float32) - 127) / 128
        # Keras is imported here, not above: the command line reads its arguments without it.
        from keras.applications.imagenet_utils import preprocess_input

        cropped = _centre(frame, self.size, bicubic=False).astype(np.float32)
        if self.kind == "raw":
            return cropped
        return preprocess_input(cropped, data_format="channels_last", mode=self.kind)


def _centre(frame: np.ndarray, size: int, bicubic: bool) -> np.ndarray:
    height, width = frame.shape[:2]
    side = max(1, size * min(height, width) // (size + CROP_PADDING))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    return _resize(frame[top : top + side, left : left + side], size, bicubic)


def _resize(frame: np.ndarray, size: int, bicubic: bool) -> np.ndarray:
    if frame.shape[:2] == (size, size):
        return frame
    from PIL import Image

    filter_ = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(frame).resize((size, size), filter_))
