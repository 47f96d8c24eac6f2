"""The same sound, the same numbers: whatever the cores, and beside whatever other sounds."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import soundnet
from soundnet.bulk import workers

CODE = """
import hashlib, sys
from soundnet.bulk import workers
workers.use_threads()
import soundnet
model = soundnet.load_model(sys.argv[1])
digest = hashlib.sha256()
import media
for path in sys.argv[2:]:
    heard = model.listen(media.stream_waveform(path), ["conv3", "pool5", "conv7", *model.heads])
    for embedding in heard.values():
        digest.update(embedding.values.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(published_weights, data_dir):
    """As many as `soundnet` uses; with more, TensorFlow adds up in another order."""
    sounds = [data_dir / "esc10/audio/1-100032-A-0.ogg", data_dir / "videos/0500d23ded62.mp4"]
    root = Path(soundnet.__file__).parents[1]
    digests = set()
    for threads in (1, 2, workers.MAX_THREADS):
        environment = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(published_weights), *map(str, sounds)],
            env={**os.environ, "PYTHONPATH": str(root), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_threads_are_the_cores_share(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(12))
    for processes, threads in ((1, 8), (2, 6), (5, 2), (50, 1)):
        monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
        workers.use_threads(processes)
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(threads)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")  # whoever says so knows why
    workers.use_threads()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "3"
