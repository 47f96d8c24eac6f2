"""What a sound's spectrum is like in 26 numbers, as in the baseline of ESC-50's author.

K. J. Piczak: ESC: Dataset for Environmental Sound Classification, 2015, and the notebook published
with it: 13 MFCCs of mel spectra with 128 bands and the rate of zero crossings, each described by
its mean and standard deviation over the frames; the first MFCC, the loudness, is left out.

His frames: windows of 46 ms every 11.6 ms, at 44,100 Hz. Ours are as long at 22,050 Hz, the rate at
which SoundNet hears; what lies above 11 kHz is lost to both.
"""

from __future__ import annotations

import numpy as np

from schemas.waveform import SAMPLE_RATE, WAVEFORM_PEAK
from trainer.network import tile_to

WINDOW, HOP = 1024, 256
"""Samples of the window that a spectrum is taken of, and from one to the next."""

BANDS, COEFFICIENTS = 128, 13


def describe(waveform: np.ndarray) -> np.ndarray:
    """The features of a sound.

    Args:
        waveform: float32 (samples,), -256..256, 22,050 Hz; if shorter than a window, repeated.

    Returns:
        float32 (26,): 12 means, 12 deviations, then the two of the zero crossings.
    """
    import librosa

    sound = tile_to(waveform, WINDOW) / np.float32(WAVEFORM_PEAK)
    power = librosa.feature.melspectrogram(
        y=sound, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS
    )
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(power), n_mfcc=COEFFICIENTS)[1:]
    crossings = librosa.feature.zero_crossing_rate(
        sound, frame_length=HOP, hop_length=HOP, center=False
    )
    return np.concatenate(
        [cepstra.mean(1), cepstra.std(1), [crossings.mean(), crossings.std()]]
    ).astype(np.float32)
