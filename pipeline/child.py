"""A module of ours in a process of its own, which can be killed whatever it does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO


class Child(subprocess.Popen[bytes]):
    """Runs a module that reads requests on its stdin and answers on its stdout, with yt-dlp.

    It leads a group of its own: what yt-dlp starts (ffmpeg, to join two streams) can be killed with
    it, and Ctrl-C is left to the process that started it.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]

    def __init__(self, module: str) -> None:
        super().__init__(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "YTDLP_NO_PLUGINS": "1"},
        )
