"""The downloading process: requests in on stdin, one JSON line each; answers out on stdout.

Not for people: `Downloader` starts it. The first line tells the settings, and each of the others
asks for one video. One yt-dlp serves them all, with its connections and the cookies that the sites
gave it.
"""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import resource
import sys
from pathlib import Path

# It resolves names itself, past the guard. (None is what Python's own docs give for that.)
sys.modules["curl_cffi"] = None  # type: ignore[assignment]

import yt_dlp
from yt_dlp.downloader.external import ExternalFD, FFmpegFD
from yt_dlp.downloader.rtmp import RtmpFD
from yt_dlp.networking._requests import RequestsResponseAdapter
from yt_dlp.postprocessor.ffmpeg import FFmpegMergerPP, FFmpegPostProcessor
from yt_dlp.utils import UnsupportedError, YoutubeDLError

from media.guard import check_scheme, guard_network
from media.process import binary
from pipeline.downloads import sections
from pipeline.downloads.causes import TooLarge, cause_of, machine_error, retry_after
from pipeline.downloads.formats import smallest
from pipeline.downloads.sections import MARGIN, NoSections, NothingThere
from pipeline.worker import end_with_parent

PAGE_BYTES = 32 * 2**20
"""Of a page, decompressed; media are never read as one."""

MEMORY_BYTES = 2**31
"""What a downloading process may allocate, and each program that it starts. It itself needs 72 MB;
deno, which yt-dlp runs for YouTube, does not start where it may not reserve 1 GB."""


def _refuse(downloader, filename: str, info: dict) -> bool:
    """In place of yt-dlp's downloaders that are other programs: the guard doesn't reach those."""
    raise UnsupportedError(f"{info.get('protocol')} of {info.get('url')}: needs another program")


def _bounded(read):
    """A `read` of yt-dlp's responses that gives no more than a page where no size is asked for."""

    @functools.wraps(read)
    def bounded(self, amount: int | None = None) -> bytes:
        if amount is not None:
            return read(self, amount)
        blocks, size = [], 0
        while block := read(self, 1 << 16):
            blocks.append(block)
            size += len(block)
            if size > PAGE_BYTES:
                self.close()
                raise TooLarge(f"{self.url}: a page of more than {PAGE_BYTES:,} bytes")
        return b"".join(blocks)

    return bounded


ExternalFD.real_download = RtmpFD.real_download = _refuse
FFmpegFD.real_download = sections.download
FFmpegMergerPP.run = sections.merge
FFmpegMergerPP.get_audio_codec = sections.audio_codec
RequestsResponseAdapter.read = _bounded(RequestsResponseAdapter.read)


class _Log:
    """Keeps yt-dlp's last words, and the exceptions over which they were said."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.errors: list[str] = []
        self.exceptions: list[BaseException | None] = []

    def debug(self, message: str) -> None:
        # yt-dlp reports a file over its size limit here, and as no error.
        if "max-filesize" in message:
            self.error(message)

    info = warning = debug

    def error(self, message: str) -> None:
        if message.strip():
            self.errors.append(message.replace("\r", ""))
            self.exceptions.append(sys.exception())


class VideoDownloader:
    """yt-dlp, as it is used here.

    Args:
        max_bytes: no larger file is written.
        guarded: whether `guard_network` holds.
        options: of yt-dlp's, as `pipeline.downloads.download.read_options` admits them.
    """

    def __init__(self, max_bytes: int, guarded: bool, options: dict) -> None:
        self._max_bytes = max_bytes
        self._log = _Log()
        FFmpegPostProcessor._ffmpeg_location.set(binary())  # some of yt-dlp looks there alone
        self._ydl = yt_dlp.YoutubeDL({**self._defaults(guarded), **opened(options)})

    def _defaults(self, guarded: bool) -> dict:
        return {
            "format": smallest,
            "outtmpl": {"default": "media.%(ext)s"},
            "overwrites": True,  # what lies there is another video's
            "continuedl": False,
            "noplaylist": True,
            "playlist_items": "1:2",
            "max_filesize": self._max_bytes,
            "progress_hooks": [self._check_size],
            "socket_timeout": 20,
            # The schedule tries again, after a while.
            "retries": 1,
            "fragment_retries": 1,
            "extractor_retries": 1,
            "file_access_retries": 0,
            "skip_unavailable_fragments": False,
            "external_downloader": {"default": "native"},
            "hls_prefer_native": True,
            "ffmpeg_location": binary(),
            "fixup": "never",
            "cachedir": False,
            "updatetime": False,
            "quiet": True,
            "noprogress": True,
            "logger": self._log,
            # A proxy would resolve the names instead of us.
            **({"proxy": ""} if guarded else {}),
        }

    def _check_size(self, progress: dict) -> None:
        if (progress.get("downloaded_bytes") or 0) > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")

    def answer(self, url: str, folder: str, start: float | None, end: float | None) -> dict:
        """Download a video into a folder; returns `path` and `offset`, or `cause`, `message` and
        `retry_after`, or `errno` and `message` of a trouble that is the machine's."""
        self._log.clear()
        try:
            os.chdir(folder)  # names of folders may hold what yt-dlp's templates would expand
            name, offset = self._download(url, start, end)
            return {"cause": "", "path": str(Path(folder) / name), "offset": offset}
        except NothingThere as error:
            return {"cause": "too_short", "message": str(error), "retry_after": None}
        except Exception as error:  # noqa: BLE001 - whatever a site does is told, not raised
            message = "; ".join(self._log.errors) or f"{type(error).__name__}: {error}"
            number = machine_error([error, *self._log.exceptions])
            if not number and "No space left on device" in message and _is_full():
                number = errno.ENOSPC  # ffmpeg found out
            if number:
                return {"errno": number, "message": message}
            return {
                "cause": cause_of(error, message),
                "message": plain(message),
                "retry_after": retry_after(error),
            }
        finally:
            os.chdir("/")

    def _download(self, url: str, start: float | None, end: float | None) -> tuple[str, float]:
        """Returns the file's name and the time of the video at which it starts."""
        check_scheme(url)
        ydl = self._ydl
        ydl.params.pop("download_ranges", None)
        info = ydl.extract_info(url, download=False)
        entries = list(info["entries"]) if "entries" in info else [info]
        if len(entries) != 1:
            raise UnsupportedError(f"{url}, a playlist; list its videos one by one")
        info = entries[0]
        if info.get("is_live"):
            raise UnsupportedError(f"{url}, a live stream, which has no end")
        ydl.offset = None
        if start or end:
            ydl.params["download_ranges"] = functools.partial(_section, start or 0.0, end)
        try:
            done = ydl.process_ie_result(info, download=True)
        except (NoSections, yt_dlp.utils.DownloadError) as error:
            unable = isinstance(error, NoSections) or "partially downloaded" in str(error)
            if not unable or not ydl.params.pop("download_ranges", None):
                raise
            self._log.clear()
            done = ydl.process_ie_result(info, download=True)
        files = [item.get("filepath") for item in done.get("requested_downloads") or []]
        if not files or not files[0] or not os.path.isfile(files[0]):
            words = "; ".join(self._log.errors)
            raise YoutubeDLError(words or "yt-dlp wrote no file and said nothing")
        # Some addresses are themselves a section of a video.
        base = info.get("section_start") or 0.0
        return files[0], 0.0 if ydl.offset is None else round(ydl.offset - base, 6)


def _section(start: float, end: float | None, info: dict, ydl: yt_dlp.YoutubeDL) -> list[dict]:
    """The part of a video to download, as yt-dlp asks for it."""
    # Sites round it; yt-dlp would cut there.
    length = info.pop("duration", None) or float("inf")
    if start > length + MARGIN:
        raise NothingThere(f"the video ends at {length:g} s, before the section at {start:g} s")
    last = float("inf") if end is None else end + MARGIN
    if info.get("section_end"):
        last = min(last, info["section_end"] - (info.get("section_start") or 0.0))
    return [{"start_time": round(max(0.0, start - MARGIN), 3), "end_time": round(last, 3)}]


def opened(options: dict) -> dict:
    """The options with the text of the cookie file, which yt-dlp would write to when it ends."""
    path = options.get("cookiefile")
    return {**options, "cookiefile": io.StringIO(Path(path).read_text())} if path else options


def _is_full() -> bool:
    """Whether the disk of the current folder is."""
    state = os.statvfs(".")
    return state.f_bavail * state.f_frsize < 2**24


def plain(message: str) -> str:
    """Without terminal colours and yt-dlp's call to report its bugs."""
    plain = message.replace("\x1b[0;31m", "").replace("\x1b[0m", "")
    return plain.split("; please report this issue on")[0].strip()[:2000]


def _limit(kind: int, amount: int) -> None:
    hard = resource.getrlimit(kind)[1]
    soft = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (soft, hard))


def main() -> None:
    """Answer requests until stdin ends."""
    end_with_parent(group=True)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes to stdout must not pass for an answer
    settings = json.loads(sys.stdin.readline())
    _limit(resource.RLIMIT_DATA, MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, settings["max_bytes"])
    if settings["guarded"]:
        guard_network()
    downloader = VideoDownloader(**settings)
    for line in sys.stdin:
        answers.write(json.dumps(downloader.answer(**json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
