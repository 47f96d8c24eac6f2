"""One ffmpeg process: how it is found, told, listened to, bounded and ended.

Every file is taken for hostile. Its name reaches ffmpeg as `file:` and an absolute path, in a list
of arguments, so that no name is read as an option, a protocol or a shell's word. Only formats that
hold media themselves are admitted: none that names other files (playlists, concat scripts, image
patterns). A MOV can do so too, but ffmpeg follows that only when asked to (`enable_drefs`).
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import functools
import os
import re
import resource
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import IO

import ffmpeg

from media.errors import MediaError
from media.limits import Limits

FORMATS = (
    # Containers. Names differ a little between versions of ffmpeg; it ignores those it lacks.
    "mov,mp4,matroska,webm,avi,flv,live_flv,mpegts,mpeg,ogg,asf,asf_o,mxf,nut,rm,dv,gxf,wtv,nsv,"
    "nuv,ivf,obu,gif,swf,"
    # Bare pictures.
    "h261,h263,h264,hevc,vvc,m4v,mpegvideo,mjpeg,vc1,av1,dirac,yuv4mpegpipe,"
    # Bare sound.
    "wav,w64,mp3,aac,loas,flac,aiff,au,caf,amr,amrnb,amrwb,ac3,eac3,dts,dtshd,truehd,mlp,"
    "ape,mpc,mpc8,tak,tta,wv,voc,dsf,iff,oma,spdif,sox,ircam,nistsphere,qcp,xwma,gsm,g729,aax,"
    "adx,ea,roq,smk,bink,iamf"
)
"""The demuxers that may read a file."""

GLOBAL_OPTIONS = (
    *("-nostdin", "-hide_banner", "-nostats"),
    *("-loglevel", "level+info"),
    *("-filter_threads", "1"),
)
CHUNK = 1 << 20
"""Bytes that a pipe holds, where the system grants it, and that are read at once."""


@functools.cache
def binary() -> str:
    """The ffmpeg to run: the one on PATH, else the one that imageio-ffmpeg carries.

    Raises RuntimeError where there is neither.
    """
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(
            "no ffmpeg found: there is no `ffmpeg` on PATH and the package imageio-ffmpeg gives "
            f"none ({error}); install one of the two, e.g. `pip install imageio-ffmpeg`"
        ) from error


@functools.cache
def version() -> str:
    """The version of that ffmpeg, in its own words."""
    said = subprocess.run([binary(), "-version"], capture_output=True, text=True, check=True)
    return said.stdout.split(" Copyright")[0].removeprefix("ffmpeg version ").strip()


def open_file(path: str | os.PathLike, limits: Limits, **options) -> ffmpeg.nodes.FilterableStream:
    """An input of ffmpeg-python for a plain file; options as ffmpeg names them.

    Raises MediaError: not_found, unreadable (no plain file, empty), too_large.
    """
    try:
        name = os.path.abspath(os.fsdecode(path))
        name.encode()  # what ffmpeg-python can't take it refuses too late
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("not_found", f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise MediaError("unreadable", f"{path!r} can't be opened: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("unreadable", f"{path} is no plain file")
    if status.st_size == 0:
        raise MediaError("unreadable", f"{path} is empty")
    if status.st_size > limits.max_bytes:
        raise MediaError(
            "too_large",
            f"{path} has {status.st_size:,} bytes, more than the {limits.max_bytes:,} of "
            "Limits.max_bytes",
        )
    return ffmpeg.input(
        "file:" + name,
        protocol_whitelist="file",
        format_whitelist=FORMATS,
        max_pixels=limits.max_pixels,
        threads=1,  # the pipeline runs a process per core
        **options,
    )


def open_pipe(limits: Limits) -> ffmpeg.nodes.FilterableStream:
    """An input of ffmpeg-python for what comes on ffmpeg's standard input (`stdin` of `run`)."""
    return ffmpeg.input(
        "pipe:0",
        protocol_whitelist="pipe",
        format_whitelist=FORMATS,
        max_pixels=limits.max_pixels,
        threads=1,
    )


def open_raw_pipe(kind: str, sample_rate: int, channels: int) -> ffmpeg.nodes.FilterableStream:
    """The same for bare samples, of a kind that ffmpeg knows, as "s16le"."""
    return ffmpeg.input(
        "pipe:0",
        protocol_whitelist="pipe",
        format=kind,
        ar=int(sample_rate),
        ac=channels,
        threads=1,
    )


class Report:
    """What ffmpeg says on stderr: its dump of the input, and the last of its errors."""

    LINE = re.compile(r"((?:\[[^\]]*\] )*?)\[(panic|fatal|error|warning|info)\] ?(.*)")
    NOISE = re.compile(
        r"At least one output file|Conversion failed|Error opening (?:in|out)put file"
        r"|Nothing was written into output|Terminating thread|Task finished with error"
        r"|Last message repeated|Output file is empty"
    )

    def __init__(self) -> None:
        self.header: list[str] = []
        self.header_done = False
        self.estimated_duration = False
        self.stopped = False  # by a signal, as if the file had ended
        self.errors: collections.deque[str] = collections.deque(maxlen=200)
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what came from stderr; b"" at its end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data:
            lines, self._rest, self.header_done = [*lines, self._rest], b"", True
        self._rest = self._rest[-65536:]
        for line in lines:
            self._line(line.decode(errors="replace").rstrip("\r"))

    def _line(self, line: str) -> None:
        match = self.LINE.match(line)
        context, level, text = match.groups() if match else ("", "info", line)
        if level in ("panic", "fatal", "error"):
            if text.strip() and not self.NOISE.search(text):
                text = re.sub(r"(not on whitelist) '.*", r"\1", text.strip())
                self.errors.append(re.sub(r" @ 0x[0-9a-f]+", "", context) + text)
        elif text.startswith(("Stream mapping:", "Output #0")):
            self.header_done = True
        elif not context and text.startswith("Exiting normally, received signal"):
            self.stopped = True
        elif "Estimating duration from bitrate" in text:
            self.estimated_duration = True
        elif not self.header_done and not context and len(self.header) < 10_000:
            self.header.append(text[:1000])

    def words(self) -> str:
        """The last three different errors, each once and in order."""
        last = list(dict.fromkeys(reversed(self.errors)))[:3]
        return "; ".join(line[:300] for line in reversed(last))

    def says(self, text: str) -> bool:
        """Whether one of the last errors holds the text."""
        return any(text in line for line in self.errors)

    def limit(self) -> str | None:
        """The limit that the last errors name, if any."""
        if self.says("exceeds specified max pixel count"):
            return "a picture has more than Limits.max_pixels"
        if self.says("Cannot allocate memory") or self.says("pthread_create() failed"):
            return "ffmpeg needs more than Limits.max_memory_bytes"
        return None


def failure(cause: str, message: str, report: Report) -> MediaError:
    """The error with ffmpeg's own words; too_large, whatever the cause, if they name a limit."""
    if limit := report.limit():
        cause, message = "too_large", f"{message}: {limit}"
    words = report.words()
    return MediaError(cause, f"{message}; ffmpeg: {words}" if words else message)


@dataclass
class Waited:
    """Seconds spent waiting for ffmpeg: of one process, or of several that share them."""

    seconds: float = 0.0


def run(
    outputs: Callable[..., ffmpeg.nodes.Stream],
    pipes: Sequence[str],
    report: Report,
    limits: Limits,
    *,
    on_header: Callable[[], None] = lambda: None,
    stdin: IO[bytes] | None = None,
    waited: Waited | None = None,
) -> Generator[tuple[str, bytes], None, None]:
    """Run ffmpeg, and give what arrives on its pipes as (name of the pipe, bytes; none at its end).

    outputs: called with one output address a pipe ("pipe:5"), gives what ffmpeg-python compiles
    pipes: names for the pipes that are wanted
    report: takes what ffmpeg says
    on_header: called once, as soon as ffmpeg has described its input
    stdin: an open file that ffmpeg reads as "pipe:0"
    waited: what Limits.timeout_seconds bounds, where several processes work on one file

    Any number of threads may do this at once: a pipe is inherited by its own process alone.
    The process ends with the generator, whatever happens. What ffmpeg could not read is judged by
    the caller: an exit code alone is no error here. Raises MediaError: timeout, too_large (out of
    memory), unreadable (it crashed), killed, and what on_header raises.
    """
    waited = waited or Waited()
    with contextlib.ExitStack() as stack:
        reads, writes = {}, []
        for name in pipes:
            read_fd, write_fd = os.pipe()  # which no child inherits, but for pass_fds
            reads[name] = stack.enter_context(os.fdopen(read_fd, "rb", buffering=0))
            writes.append(stack.enter_context(os.fdopen(write_fd, "wb", buffering=0)))
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with contextlib.suppress(OSError):  # all pipes of a user together are bounded
                    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, CHUNK)
        command = ffmpeg.compile(
            outputs(*(f"pipe:{write.fileno()}" for write in writes)),
            cmd=[binary(), *GLOBAL_OPTIONS],
        )
        process = subprocess.Popen(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[write.fileno() for write in writes],
            # Ctrl-C is for whoever reads: ffmpeg would end as if the file did.
            process_group=0,
        )
        assert process.stderr is not None
        stack.callback(process.stderr.close)
        stack.callback(process.wait)
        stack.callback(process.kill)  # runs first; no effect on a process that has ended
        if hasattr(resource, "prlimit"):
            # PermissionError: a lower bound holds already (`ulimit -d`), which can't be raised.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                bound = limits.max_memory_bytes
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (bound, bound))
        if hasattr(os, "SCHED_BATCH"):
            # ffmpeg's threads wake each other a thousand times a second of sound; a thread that
            # may not interrupt another then finds more to do at once.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.sched_setscheduler(process.pid, os.SCHED_BATCH, os.sched_param(0))
        for write in writes:
            write.close()
        selector = stack.enter_context(selectors.DefaultSelector())
        for name, read in reads.items():
            selector.register(read, selectors.EVENT_READ, name)
        selector.register(process.stderr, selectors.EVENT_READ, None)
        while selector.get_map():
            before = time.monotonic()
            ready = selector.select(
                min(limits.idle_seconds, limits.timeout_seconds - waited.seconds)
            )
            waited.seconds += time.monotonic() - before
            if not ready or waited.seconds >= limits.timeout_seconds:
                raise failure("timeout", _late(waited.seconds, limits), report)
            # What ffmpeg says comes first: the header describes the data.
            for key, _ in sorted(ready, key=lambda item: item[0].data is not None):
                data = os.read(key.fd, CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                if key.data is None:
                    told = report.header_done
                    report.feed(data)
                    if report.header_done and not told:
                        on_header()
                else:
                    yield key.data, data
        try:
            code = process.wait(limits.idle_seconds)
        except subprocess.TimeoutExpired:
            raise failure("timeout", _late(waited.seconds, limits), report) from None
        if code < 0 or (code and report.limit()):
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            # A file may crash ffmpeg, but by these signals it is ended by somebody.
            ended = -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            raise failure("killed" if ended else "unreadable", f"ffmpeg ended by {how}", report)
        if code == 255 and report.stopped:
            raise failure("killed", "ffmpeg was told to stop", report)


def _late(waited: float, limits: Limits) -> str:
    if waited >= limits.timeout_seconds:
        return f"ffmpeg took longer than the {limits.timeout_seconds:g} s of Limits.timeout_seconds"
    return f"ffmpeg gave nothing for the {limits.idle_seconds:g} s of Limits.idle_seconds"
