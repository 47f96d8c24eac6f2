"""Downloads by yt-dlp, in a process of its own that can be killed.

A worker keeps one such process (`python -m pipeline.downloading`) and hands it one address at a
time. Whatever yt-dlp does there (hang, crash, fill memory) ends at the time limit with that
process, and only that download is lost.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys

from media import Limits

MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE}
"""Troubles of the machine, which would fail every video: they end the run, to be gone on with."""

_GRACE_SECONDS = 5.0


class DownloadError(Exception):
    """A download failed.

    Attributes:
        cause: one of `schemas.ledger.CAUSES`.
        message: yt-dlp's own words.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(cause, message)
        self.cause, self.message = cause, message

    def __str__(self) -> str:
        return f"{self.cause}: {self.message}"


class Downloader:
    """Downloads one video after the other.

    Args:
        limits: no file larger than its `max_bytes` is written.
        seconds: wall time that one download may take.
        allow_local_network: whether addresses that aren't public may be reached.
    """

    def __init__(
        self, limits: Limits, seconds: float = 1800.0, allow_local_network: bool = False
    ) -> None:
        self.limits = limits
        self.seconds = seconds
        self.allow_local_network = allow_local_network
        self._process: subprocess.Popen | None = None

    def fetch(self, url: str, folder: str) -> str:
        """Download one video into a folder; returns the file's path.

        Raises:
            DownloadError: with its cause.
            OSError: the disk is full or can't be written, which is no fault of the video's.
        """
        process = self._started()
        request = {
            "url": url,
            "folder": folder,
            "max_bytes": self.limits.max_bytes,
            "allow_local_network": self.allow_local_network,
        }
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.seconds)
            if not ready:
                self.close()
                raise DownloadError("timeout", f"not downloaded within {self.seconds:g} s")
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            code = process.wait()
            self.close()
            raise DownloadError("download_error", f"the downloading process ended with code {code}")
        reply = json.loads(answer)
        if reply.get("errno"):
            raise OSError(reply["errno"], reply["message"])
        if reply["cause"]:
            raise DownloadError(reply["cause"], reply["message"])
        return reply["path"]

    def _started(self) -> subprocess.Popen:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.downloading"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # A group of its own, so that what yt-dlp starts (ffmpeg, to join two streams) ends
                # with it.
                start_new_session=True,
                env={**os.environ, "YTDLP_NO_PLUGINS": "1"},
            )
        return self._process

    def close(self) -> None:
        """End the process and what it started; the next `fetch` starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_GRACE_SECONDS)
        with contextlib.suppress(OSError):  # what was still to be written to it
            process.stdin.close()
        process.stdout.close()
