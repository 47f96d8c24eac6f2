"""Kept media: downloaded once, whoever asks."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from media import Limits
from pipeline.downloads.download import Downloader, DownloadError
from pipeline.downloads.media_folder import MediaFolder


@pytest.fixture
def open_media(tmp_path):
    """A function that gives one more worker's view of the same folder."""
    opened = []

    def another(seconds: float = 60, **options) -> MediaFolder:
        downloader = Downloader(Limits(), seconds, allow_local_network=True, options=options)
        opened.append(MediaFolder(str(tmp_path / "media"), downloader))
        return opened[-1]

    yield another
    for media in opened:
        media.close()


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return str(folder)


def files(media: MediaFolder) -> list[str]:
    return sorted(path.suffix for path in media.folder.rglob("*") if path.is_file())


def test_what_was_downloaded_is_there_for_the_next(open_media, server, videos, scratch):
    url = f"{server.url}/other.mkv"
    first = open_media().fetch(url, scratch)
    asked = len(server.requests)
    media = open_media()
    assert media.fetch(url, scratch) == first
    assert len(server.requests) == asked
    assert Path(first.path).read_bytes() == (videos / "other.mkv").read_bytes()
    assert Path(first.path).is_relative_to(media.folder)
    assert os.listdir(scratch) == []
    facts = json.loads(Path(first.path).with_suffix(".json").read_text())
    assert facts["bytes"] == first.bytes == (videos / "other.mkv").stat().st_size
    assert facts["asked"] == {
        "url": url,
        "start": None,
        "end": None,
        "format": "the smallest with sound and 240 lines",
    }


def test_every_section_and_format_is_an_entry_of_its_own(open_media, server, scratch):
    url = f"{server.url}/long.mp4"
    media = open_media()
    got = [media.fetch(url, scratch, *section) for section in ((), (0, 5), (5, 20), (5, None))]
    got.append(open_media(format="best").fetch(url, scratch))
    assert len({one.path for one in got}) == 5
    asked = len(server.requests)
    assert media.fetch(url, scratch, 5, 20) == got[2]
    assert len(server.requests) == asked
    assert files(media) == [".json"] * 5 + [".mp4"] * 5


@pytest.mark.parametrize("damage", ["cut", "changed", "no file", "no note", "half a note", "null"])
def test_a_damaged_entry_is_never_used(open_media, server, videos, scratch, damage):
    url = f"{server.url}/other.mkv"
    media = open_media()
    file = Path(media.fetch(url, scratch).path)
    note = file.with_suffix(".json")
    data = file.read_bytes()
    if damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "changed":
        file.write_bytes(data[:1000] + b"?" + data[1001:])
    elif damage == "no file":
        file.unlink()
    elif damage == "no note":
        note.unlink()
    elif damage == "half a note":
        note.write_text(note.read_text()[:40])
    else:
        note.write_text("null")
    asked = len(server.requests)
    again = media.fetch(url, scratch)
    assert len(server.requests) > asked
    assert Path(again.path).read_bytes() == data
    asked = len(server.requests)
    assert media.fetch(url, scratch) == again
    assert len(server.requests) == asked


def test_a_failed_download_leaves_nothing(open_media, server, scratch):
    media = open_media()
    for path in ("fail/404/a.mp4", "fail/cut/other.mkv"):
        for _ in range(2):
            with pytest.raises(DownloadError):
                media.fetch(f"{server.url}/{path}", scratch)
    assert [path for path in media.folder.rglob("*") if not path.is_dir()] == []
    assert not list(media.folder.rglob("*.part"))
    assert len(server.asked["/fail/404/a.mp4"]) == 2, "a failure is not kept"


WORKER = """
import sys
from media import Limits
from pipeline.downloads.download import Downloader
from pipeline.downloads.media_folder import MediaFolder
folder, url, scratch = sys.argv[1:]
media = MediaFolder(folder, Downloader(Limits(), 120, allow_local_network=True))
print("asks", flush=True)
print(media.fetch(url, scratch).bytes, flush=True)
"""


def worker(folder: Path, url: str, scratch: str) -> subprocess.Popen:
    command = [sys.executable, "-c", WORKER, str(folder), url, scratch]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_download(server, other: subprocess.Popen) -> None:
    while len(server.asked["/fail/slow-first/other.mkv"]) < 2:
        assert other.poll() is None
        time.sleep(0.05)


def test_workers_who_want_the_same_download_it_once(open_media, server, videos, scratch):
    url = f"{server.url}/other.mkv"
    workers = [open_media() for _ in range(4)]
    others = [worker(workers[0].folder, url, scratch) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        got = set(pool.map(lambda media: media.fetch(url, scratch), workers))
    assert len(got) == 1
    size = (videos / "other.mkv").stat().st_size
    for other in others:
        assert other.communicate(timeout=120)[0] == f"asks\n{size}\n"
    assert len(server.asked["/other.mkv"]) == 2, "yt-dlp looks once, and downloads once"
    assert files(workers[0]) == [".json", ".mkv"]


def test_a_worker_that_is_killed_holds_up_nobody(open_media, server, videos, scratch):
    url = f"{server.url}/fail/slow-first/other.mkv"
    media = open_media()
    other = worker(media.folder, url, scratch)
    wait_for_download(server, other)
    other.send_signal(signal.SIGKILL)
    other.wait()
    got = media.fetch(url, scratch)
    assert got.bytes == (videos / "other.mkv").stat().st_size
    assert files(media) == [".json", ".mkv"]
    assert not list(media.folder.rglob("*.part"))


def test_the_wait_for_another_worker_has_an_end(open_media, server, scratch):
    url = f"{server.url}/fail/slow-first/other.mkv"
    media = open_media(seconds=1)
    other = worker(media.folder, url, scratch)
    wait_for_download(server, other)
    with pytest.raises(DownloadError, match="slow: another worker"):
        media.fetch(url, scratch)
    other.kill()
    other.wait()
