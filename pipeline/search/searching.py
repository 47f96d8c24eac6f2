"""The searching process: questions in on stdin, one JSON line each; answers out on stdout.

Not for people: `pipeline.search.command` starts it and ends it when it takes too long.
"""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import sys
import urllib.parse
from datetime import UTC, datetime

# Before yt-dlp: it settles what that may load, and bounds what it reads and starts.
from pipeline.downloads.downloading import MEMORY_BYTES, opened, plain  # isort: skip

import yt_dlp
from yt_dlp.networking import Request

from media.guard import guard_network
from pipeline.downloads.causes import cause_of, retry_after
from pipeline.search.found import WordFailed
from pipeline.worker import end_with_parent
from schemas import video_list
from schemas.ledger import CAUSES

_PLAIN_ID = re.compile(r"[\w.@+-]{1,100}", re.ASCII)
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_OWNER = re.compile(r"[\w@-]+", re.ASCII)
_EXTRAS = "license,date_upload,owner_name,media"

_BAD_KEY = 100
_FOR_NOW = {
    10,  # the search is not available
    105,  # the service is not available
    106,  # a temporary issue
}
"""Flickr's error codes: https://www.flickr.com/services/api/flickr.photos.search.html."""


class Log:
    """Keeps yt-dlp's last words."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, message: str) -> None:
        pass

    info = warning = debug

    def error(self, message: str) -> None:
        self.errors.append(message)


def ytdlp_search(question: dict, downloader: yt_dlp.YoutubeDL) -> dict:
    """The first `number` videos that a search of yt-dlp's finds, no request made for each."""
    query = f"{question['site']}{question['number']}:{question['word']}"
    found = downloader.extract_info(query, download=False)
    videos = []
    for entry in found.get("entries") or ():
        # Channels, playlists and what is not over yet are not videos one can list.
        if not entry or entry.get("_type") == "playlist" or entry.get("ie_key") == "YoutubeTab":
            continue
        if entry.get("live_status") in ("is_live", "is_upcoming") or entry.get("is_live"):
            continue
        uploaded = entry.get("timestamp")
        videos.append(
            {
                "url": entry.get("webpage_url") or entry.get("url"),
                "id": entry.get("id"),
                "title": entry.get("title"),
                "uploader": entry.get("uploader") or entry.get("channel"),
                "duration": entry.get("duration"),
                "uploaded": _day(uploaded) if uploaded else _dashed(entry.get("upload_date")),
                "license": entry.get("license"),
            }
        )
    return {"videos": videos}


def flickr_page(question: dict, downloader: yt_dlp.YoutubeDL) -> dict:
    """One page of `flickr.photos.search`.

    Returns:
        the `videos`, how many `pages` there are, and the `oldest` date of upload on this page, in
        seconds since 1970.
    """
    arguments = {"media": "videos", "extras": _EXTRAS, **question["arguments"]}
    page = _flickr(downloader, question["url"], "flickr.photos.search", **arguments)["photos"]
    licences = _licences(downloader, question["url"]) if page["photo"] else {}
    videos, dates = [], []
    for photo in page["photo"]:
        uploaded = int(photo.get("dateupload") or 0)
        dates += [uploaded] if uploaded else []
        owner, photo_id = str(photo.get("owner")), str(photo.get("id"))
        named = _OWNER.fullmatch(owner) and photo_id.isascii() and photo_id.isdigit()
        if not named or photo.get("media", "video") != "video":
            continue
        if photo.get("media_status", "ready") != "ready":
            continue
        licence = str(photo.get("license", ""))
        videos.append(
            {
                "url": f"https://www.flickr.com/photos/{owner}/{photo_id}/",
                "id": photo_id,
                "title": photo.get("title"),
                "uploader": photo.get("ownername"),
                "uploaded": _day(uploaded) if uploaded else "",
                "license": licences.get(licence, licence),
            }
        )
    return {"videos": videos, "pages": int(page["pages"]), "oldest": min(dates, default=0)}


@functools.cache
def _licences(downloader: yt_dlp.YoutubeDL, url: str) -> dict[str, str]:
    """The names of Flickr's licences by their ids."""
    answer = _flickr(downloader, url, "flickr.photos.licenses.getInfo")
    return {str(item["id"]): str(item["name"]) for item in answer["licenses"]["license"]}


def _flickr(downloader: yt_dlp.YoutubeDL, url: str, method: str, **arguments: object) -> dict:
    """What a method of Flickr's API answers. The key goes in the body: addresses get logged."""
    fields = {
        "method": method,
        "api_key": os.environ["FLICKR_API_KEY"],
        "format": "json",
        "nojsoncallback": 1,
        **arguments,
    }
    request = Request(url, data=urllib.parse.urlencode(fields).encode())
    with downloader.urlopen(request) as response:
        body = response.read()
    try:
        said = json.loads(body)
        status = said["stat"]
    except (ValueError, TypeError, KeyError):
        text = body[:80].decode(errors="replace")
        raise WordFailed("server_error", f"not what Flickr's API would say: {text!r}") from None
    if status == "ok":
        return said
    code, message = said.get("code"), f"Flickr: {said.get('message')} ({said.get('code')})"
    if code == _BAD_KEY:
        raise WordFailed("refused", f"{message}; FLICKR_API_KEY holds the key", for_all=True)
    if code in _FOR_NOW:
        raise WordFailed("server_error", message)
    raise WordFailed("refused", message, again=False, of_word=True)


def _day(seconds: float) -> str:
    """Seconds since 1970 as a date."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _dashed(day: str | None) -> str:
    """20240131 as 2024-01-31."""
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else ""


def clean(video: dict) -> dict[str, str] | None:
    """A video as a row of text, each field on one line; None if it has no address of the web.

    Where the site's id is missing or odd, it is the one that a list without ids would give.
    """
    fields = {
        name: " ".join(_UNUSABLE.sub(" ", str(value or "")).split())
        for name, value in video.items()
    }
    if not re.match(r"https?://[^\s/]", fields["url"]):
        return None
    if not _PLAIN_ID.fullmatch(fields["id"]):
        fields["id"] = video_list.default_id(fields["url"])
    return fields


def answer(question: dict, downloader: yt_dlp.YoutubeDL, log: Log) -> dict:
    """The answer to a question; or `failed`, with the attributes of a `WordFailed`."""
    log.errors.clear()
    try:
        search = flickr_page if question["site"] == "flickr" else ytdlp_search
        found = search(question, downloader)
        found["videos"] = [row for row in map(clean, found["videos"]) if row]
        return found
    except WordFailed as error:
        failed = error
    except Exception as error:  # noqa: BLE001 - whatever a site does is told, not raised
        message = plain("; ".join(log.errors) or f"{type(error).__name__}: {error}")
        cause = cause_of(error, message)
        again = not CAUSES[cause].permanent
        failed = WordFailed(cause, message, again, retry_after=retry_after(error))
    if key := os.environ.get("FLICKR_API_KEY"):
        failed.message = failed.message.replace(key, "***")
    return {"failed": vars(failed)}


def open_ytdlp(log: Log, gap_seconds: float, guarded: bool, options: dict) -> yt_dlp.YoutubeDL:
    """yt-dlp, set to search.

    Args:
        gap_seconds: between the requests of one search; between searches the caller waits.
        guarded: whether the network is, see `guard_network`.
        options: of yt-dlp's, as `pipeline.downloads.download.read_options` admits them.
    """
    arguments = options.get("extractor_args", {})
    # Else YouTube's incomplete answers pass for searches that found nothing.
    youtube = {**arguments.get("youtube", {}), "raise_incomplete_data": ["1"]}
    return yt_dlp.YoutubeDL(
        {
            "socket_timeout": 20,
            "sleep_interval_requests": gap_seconds,
            **opened(options),
            "extract_flat": "in_playlist",
            "skip_download": True,
            "extractor_retries": 1,
            "extractor_args": {**arguments, "youtube": youtube},
            "cachedir": False,
            "quiet": True,
            "noprogress": True,
            "logger": log,
            # A proxy would resolve the names instead of us.
            **({"proxy": ""} if guarded else {}),
        }
    )


def main() -> None:
    """Answer the first line, which has the settings, and then questions until stdin ends."""
    end_with_parent(group=True)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes to stdout must not pass for an answer
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard))
    begin = json.loads(sys.stdin.readline())
    guarded = not begin["allow_local_network"]
    if guarded:
        guard_network()
    log = Log()
    with open_ytdlp(log, begin["gap_seconds"], guarded, begin["options"]) as downloader:
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), downloader, log)), file=answers, flush=True)


if __name__ == "__main__":
    main()
