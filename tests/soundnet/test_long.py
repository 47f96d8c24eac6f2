"""Three hours of sound, in memory that doesn't grow with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import media

CODE = """
import json, resource, sys, soundnet
embedding = soundnet.load_model(sys.argv[1]).embed(sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps([len(embedding.values), embedding.duration, embedding.times[-1], peak]))
"""


@pytest.mark.slow
def test_three_hours_take_little_more_memory_than_ten_minutes(
    published_weights, data_dir, tmp_path
):
    sound = media.load_waveform(data_dir / "videos" / "0500d23ded62.mp4")
    minute = np.resize((sound * 128).astype(np.int16), 60 * 22050)
    peaks = {}
    for minutes in (10, 180):
        path = tmp_path / f"{minutes}.ogg"
        with soundfile.SoundFile(path, "w", 22050, 1, format="OGG", subtype="VORBIS") as file:
            for _ in range(minutes):
                file.write(minute)
        run = subprocess.run(
            [sys.executable, "-c", CODE, str(published_weights), str(path)],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=True,
        )
        steps, duration, last, peaks[minutes] = json.loads(run.stdout)
        assert abs(duration - minutes * 60) < 0.1
        assert abs(steps - minutes * 60 / (8192 / 22050)) < 2
        assert abs(last - minutes * 60) < 1
    # Three hours of waveform alone would be 952 MB.
    assert peaks[180] < peaks[10] + 200, peaks
