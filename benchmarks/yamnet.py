"""YAMNet on sound files, as a peer to measure: 1024 numbers every 0.48 s, an `.npz` each.

    python -m benchmarks.yamnet yamnet.tflite FOLDER OUTPUT

Files are decoded by ffmpeg to what it hears (16 kHz, mono), one at a time, and go through the
TensorFlow Lite interpreter a minute at a time, on all cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from media import process

RATE = 16_000
BLOCK = 60 * RATE


def main() -> None:
    model, folder, output = map(Path, sys.argv[1:])
    interpreter = tf.lite.Interpreter(str(model), num_threads=len(os.sched_getaffinity(0)))
    (waveform,) = interpreter.get_input_details()
    _, embedding, _ = interpreter.get_output_details()
    length = None
    output.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        command = [process.binary(), "-v", "error", "-nostdin", "-i", f"file:{path}"]
        command += ["-ac", "1", "-ar", str(RATE), "-f", "f32le", "pipe:1"]
        parts = []
        with subprocess.Popen(command, stdout=subprocess.PIPE) as decoder:
            assert decoder.stdout is not None
            while data := decoder.stdout.read(BLOCK * 4):
                sound = np.frombuffer(data, np.float32)
                if len(sound) != length:
                    length = len(sound)
                    interpreter.resize_tensor_input(waveform["index"], [length])
                    interpreter.allocate_tensors()
                interpreter.set_tensor(waveform["index"], sound)
                interpreter.invoke()
                parts.append(interpreter.get_tensor(embedding["index"]))
        np.savez(output / f"{path.name}.npz", embeddings=np.concatenate(parts))


if __name__ == "__main__":
    main()
