"""Searches against a server on this machine that speaks as Flickr and YouTube do, and fails."""

from __future__ import annotations

import collections
import dataclasses
import http.server
import json
import math
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.search import searching
from pipeline.search.command import Search, main, parse_args, read_words, search, search_keys
from pipeline.search.found import SearchStopped, VideoList, WordFailed
from schemas import SchemaError, video_list

KEY = "0123456789abcdef0123456789abcdef"
SECONDS = 1_400_000_000  # the first video's upload


class Site(http.server.BaseHTTPRequestHandler):
    """Flickr's API under /flickr, YouTube's search elsewhere. `server.videos` are numbers of videos
    by word, newest first; `server.faults` what goes wrong with a word first; requests after the
    `server.answered`th wait until that is raised."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(b"<html>ytcfg.set({});</html>", "text/html")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.startswith("/youtubei/v1/search"):
            asked = json.loads(body)
            asked["word"] = asked.get("query") or ""
        else:
            asked = dict(urllib.parse.parse_qsl(body))
            asked["word"] = asked.get("tags") or asked.get("text") or ""
        self.server.asked.append(asked)
        number = len(self.server.asked)
        while number > self.server.answered:
            time.sleep(0.005)
        faults = self.server.faults[asked["word"]]
        if faults:
            self._fail(faults.pop(0))
        elif "api_key" in asked:
            self._send(json.dumps(self._flickr(asked)).encode(), "application/json")
        else:
            self._send(json.dumps(self._youtube(asked)).encode(), "application/json")

    def _flickr(self, asked: dict) -> dict:
        if asked["api_key"] != KEY:
            return {"stat": "fail", "code": 100, "message": f"Invalid API Key {asked['api_key']}"}
        if asked["method"] == "flickr.photos.licenses.getInfo":
            names = {0: "All Rights Reserved", 4: "CC BY 2.0"}
            found = [{"id": str(number), "name": name} for number, name in names.items()]
            return {"stat": "ok", "licenses": {"license": found}}
        assert asked["method"] == "flickr.photos.search"
        assert asked["media"] == "videos"
        numbers = self.server.videos.get(asked["word"], [])
        newest, oldest = (
            int(asked.get("max_upload_date", 1 << 40)),
            int(asked.get("min_upload_date", 0)),
        )
        each = self.server.per_second
        numbers = [n for n in numbers if oldest <= SECONDS + n // each <= newest]
        if asked["sort"] == "relevance":
            numbers = sorted(numbers, key=lambda n: n * 7919 % 10_007)
        size, page = int(asked["per_page"]), int(asked["page"])
        assert size <= 500
        start = min((page - 1) * size, 4000 - size)  # beyond, the last page again
        photos = [
            {
                "id": str(n),
                "owner": "28042570@N08",
                "ownername": "An\u2028na",
                "title": f'=SUM(A1), "film"\n{n}',
                "license": "4" if n % 2 else "0",
                "dateupload": str(SECONDS + n // self.server.per_second),
                "media": "video",
                "media_status": "failed" if n in self.server.broken else "ready",
            }
            for n in numbers[start : start + size]
        ]
        pages = -(-len(numbers) // size)
        return {"stat": "ok", "photos": {"page": page, "pages": pages, "photo": photos}}

    def _youtube(self, asked: dict) -> dict:
        word, start = asked["word"], 0
        if token := asked.get("continuation"):
            word, start = token.split("/")[0], int(token.split("/")[1])
        numbers = self.server.videos.get(word, [])
        items = [
            {
                "videoRenderer": {
                    "videoId": f"{n:011d}",
                    "title": {"runs": [{"text": f"film {n}"}]},
                    "lengthText": {"simpleText": "1:05"},
                    "ownerText": {"runs": [{"text": "Anna"}]},
                }
            }
            for n in numbers[start : start + 20]
        ]
        items.append(
            {"channelRenderer": {"channelId": "UC" + "x" * 22, "title": {"simpleText": "c"}}}
        )
        contents = [{"itemSectionRenderer": {"contents": items}}]
        if start + 20 < len(numbers):
            command = {"continuationCommand": {"token": f"{word}/{start + 20}"}}
            contents.append({"continuationItemRenderer": {"continuationEndpoint": command}})
        if start:
            action = {"appendContinuationItemsAction": {"continuationItems": contents}}
            return {"onResponseReceivedCommands": [action]}
        section = {"primaryContents": {"sectionListRenderer": {"contents": contents}}}
        return {"contents": {"twoColumnSearchResultsRenderer": section}}

    def _fail(self, fault: str) -> None:
        if fault.isdigit():
            self._send(b"no", "text/html", int(fault), {"Retry-After": "0"})
        elif fault.startswith("wait"):
            self._send(b"no", "text/html", 429, {"Retry-After": fault[4:]})
        elif fault.startswith("code"):
            said = {"stat": "fail", "code": int(fault[4:]), "message": "we are sorry"}
            self._send(json.dumps(said).encode(), "application/json")
        elif fault == "hang":
            time.sleep(30)
        elif fault == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b" " * 65536)
        else:
            self._send(fault.encode(), "text/html")

    def _send(self, body: bytes, kind: str, status: int = 200, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch):
    """The server; `.url` is the address of its Flickr API, `.asked` what it was asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    server.asked, server.broken, server.answered, server.per_second = [], set(), math.inf, 1
    server.faults = collections.defaultdict(list)
    server.videos = {"dog": [9, 7, 5, 3], "cat": [8, 7, 6], "birds of prey": [2, 9], "rain": []}
    server.root = f"http://127.0.0.1:{server.server_port}"
    server.url = f"{server.root}/flickr"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("FLICKR_API_KEY", KEY)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def youtube(site, tmp_path, monkeypatch):
    """Has the searching process find YouTube at the server; all else of yt-dlp's stays."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'pipeline.search.searching' in sys.orig_argv:\n"
        "    import pipeline.downloads.downloading, yt_dlp\n"
        "    real = yt_dlp.YoutubeDL.urlopen\n"
        "    def urlopen(self, request):\n"
        "        url = request if isinstance(request, str) else request.url\n"
        f"        url = url.replace('https://www.youtube.com', {site.root!r})\n"
        "        if isinstance(request, str):\n"
        "            return real(self, url)\n"
        "        request.url = url\n"
        "        return real(self, request)\n"
        "    yt_dlp.YoutubeDL.urlopen = urlopen\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path.cwd()}")
    return site


@pytest.fixture
def asking(site, tmp_path) -> Search:
    """A search of Flickr's that doesn't wait."""
    (tmp_path / "words.txt").write_text("dog\ncat\n# tags\nbirds  of prey\n\ndog\nrain\n")
    return Search(
        words=tmp_path / "words.txt",
        output=tmp_path / "videos.csv",
        site="flickr",
        requests_per_hour=1e9,
        backoff_seconds=0.01,
        timeout=20,
        allow_local_network=True,
        flickr_url=site.url,
    )


def listed(settings: Search) -> dict[str, str]:
    """The word of each video in the list, as `python -m pipeline --input` reads it."""
    rows, bad = video_list.parse(settings.output.read_text(), settings.output.name)
    assert not bad
    return {row.video_id: row.extra["word"] for row in rows}


class TestFlickr:
    def test_words_become_a_video_list(self, site, asking):
        site.broken = {6}
        summary = search(asking)
        assert (summary.words, summary.before, summary.new, summary.failed) == (4, 0, 6, {})
        # A video that two words find stands once, with the first word.
        assert listed(asking) == dict.fromkeys("3579", "dog") | {"8": "cat", "2": "birds of prey"}
        rows, _ = video_list.parse(asking.output.read_text(), "videos.csv")
        row = next(row for row in rows if row.video_id == "9")
        assert row.url == "https://www.flickr.com/photos/28042570@N08/9/"
        assert row.extra == {
            "word": "dog",
            "title": '=SUM(A1), "film" 9',
            "uploader": "An na",
            "uploaded": "2014-05-13",
            "license": "CC BY 2.0",
            "site": "flickr",
        }

    def test_the_other_words_are_noted(self, asking):
        search(asking)
        lines = map(json.loads, Path(f"{asking.output}.words.jsonl").read_text().splitlines())
        also = {line["word"]: line["also"] for line in lines if "word" in line}
        assert also == {"dog": [], "cat": ["7"], "birds of prey": ["9"], "rain": []}

    def test_the_same_command_asks_nothing_again_and_new_words_are_added(self, site, asking):
        search(asking)
        before = asking.output.read_bytes()
        site.asked.clear()
        assert search(asking).before == 4
        assert not site.asked
        assert asking.output.read_bytes() == before
        with asking.words.open("a") as file:
            file.write("frog\n")
        site.videos["frog"] = [11, 9]
        assert search(asking).new == 1
        assert asking.output.read_bytes().startswith(before)

    def test_the_number_of_videos_and_what_flickr_is_asked(self, site, asking):
        asking = dataclasses.replace(
            asking,
            per_word=2,
            match="text",
            licenses="4,5",
            uploaded_after=0,
            uploaded_before=1 << 32,
        )
        assert search(asking).new == 5
        asked = next(asked for asked in site.asked if asked["method"] == "flickr.photos.search")
        assert (asked["text"], asked["license"], asked["per_page"]) == ("dog", "4,5", "2")
        assert (asked["min_upload_date"], asked["max_upload_date"]) == ("0", str(1 << 32))
        assert asked["api_key"] == KEY

    def test_other_settings_search_again_and_add(self, asking):
        search(dataclasses.replace(asking, per_word=1))
        few = listed(asking)
        summary = search(asking)
        assert summary.before == 0
        assert listed(asking).items() > few.items()

    def test_beyond_what_flickr_gives_of_one_search(self, site, asking):
        """4,000 are given, then the last page again; a second's videos lie on two pages."""
        numbers = list(range(6000, 0, -1))
        site.videos["dog"], site.per_second = numbers, 400
        asking.words.write_text("dog\n")
        assert search(dataclasses.replace(asking, per_word=4000)).new == 4000
        assert search(dataclasses.replace(asking, per_word=100_000)).videos == 6000
        assert listed(asking).keys() == set(map(str, numbers))

    @pytest.mark.slow
    def test_more_in_one_second_than_a_page_holds(self, site, asking):
        """What is left of that second is passed over; the others are all there."""
        site.videos["dog"], site.per_second = list(range(2099, -1, -1)), 700
        asking.words.write_text("dog\n")
        assert search(dataclasses.replace(asking, per_word=100_000)).videos == 3 * 500

    def test_failures_that_pass_are_tried_again(self, site, asking):
        site.faults["dog"] = ["429", "500", "<html>busy</html>"]
        site.faults["cat"] = ['{"stat": "o', "code105", "[1]"]
        assert not search(asking).failed
        assert len(listed(asking)) == 7

    def test_words_that_fail_are_named_and_tried_by_the_next_run(self, site, asking, capfd):
        site.faults["dog"] = ["503"] * 4
        site.faults["cat"] = ["code1"]
        summary = search(asking)
        assert {word: error.cause for word, error in summary.failed.items()} == {
            "dog": "server_error",
            "cat": "refused",
        }
        assert "we are sorry (1)" in summary.failed["cat"].message
        assert "failed: dog: server_error" in capfd.readouterr().err
        assert set(listed(asking).values()) == {"birds of prey"}
        summary = search(asking)
        assert (summary.before, summary.failed) == (2, {})
        assert len(listed(asking)) == 7

    def test_a_bad_key_ends_the_run_and_is_never_told(self, asking, monkeypatch, capfd):
        monkeypatch.setenv("FLICKR_API_KEY", "f" * 32)
        with pytest.raises(SearchStopped, match=r"Invalid API Key \*\*\*.*FLICKR_API_KEY"):
            search(asking)
        assert "f" * 32 not in "".join(capfd.readouterr())
        written = [path for path in asking.output.parent.rglob("*") if path.is_file()]
        assert all(b"f" * 32 not in path.read_bytes() for path in written)

    def test_a_wait_longer_than_sensible_ends_the_run(self, site, asking):
        site.faults["cat"] = ["wait3600"]
        with pytest.raises(SearchStopped, match="says to wait 3600 s"):
            search(asking)
        assert set(listed(asking).values()) == {"dog"}
        assert not search(asking).failed

    @pytest.mark.parametrize(("fault", "requests"), [("502", 20), ("404", 5)])
    def test_a_site_that_is_down_ends_the_run(self, site, asking, fault, requests):
        words = [f"w{i}" for i in range(9)]
        asking.words.write_text("\n".join(words))
        site.faults.update({word: [fault] * 4 for word in words})
        with pytest.raises(SearchStopped, match="5 words one after the other"):
            search(asking)
        assert len(site.asked) == requests
        # Those not tried yet come first the next time.
        site.asked.clear()
        site.faults.clear()
        search(asking)
        assert site.asked[0]["word"] == "w5"

    @pytest.mark.slow
    def test_nothing_hangs_the_run(self, site, asking):
        site.faults["dog"] = ["hang"]
        site.faults["cat"] = ["endless"]
        summary = search(dataclasses.replace(asking, timeout=1.5, tries=1))
        assert {word: error.cause for word, error in summary.failed.items()} == {
            "dog": "slow",
            "cat": "too_large",
        }
        assert listed(asking) == {"2": "birds of prey", "9": "birds of prey"}

    def test_the_local_network_is_out_of_reach(self, site, asking):
        summary = search(dataclasses.replace(asking, allow_local_network=False))
        assert {error.cause for error in summary.failed.values()} == {"forbidden"}
        assert not site.asked

    def test_without_a_key(self, asking, monkeypatch):
        monkeypatch.delenv("FLICKR_API_KEY")
        with pytest.raises(SearchStopped, match="FLICKR_API_KEY"):
            search(asking)


class TestYtDlp:
    def test_a_search_of_several_pages_asks_for_no_video(self, youtube, asking):
        youtube.videos["dog"] = list(range(100, 145))
        asking = dataclasses.replace(asking, site="ytsearch")
        summary = search(asking)
        assert (summary.new, summary.failed) == (45 + 3 + 2, {})
        rows, _ = video_list.parse(asking.output.read_text(), "videos.csv")
        assert rows[0].video_id == "00000000100"
        assert rows[0].url == "https://www.youtube.com/watch?v=00000000100"
        assert rows[0].extra == {
            "word": "dog",
            "title": "film 100",
            "uploader": "Anna",
            "duration": "65",
            "site": "ytsearch",
        }
        assert [asked.get("continuation") for asked in youtube.asked[:3]] == [
            None,
            "dog/20",
            "dog/40",
        ]
        assert {asked["word"] for asked in youtube.asked} <= {
            "",
            "dog",
            "cat",
            "birds of prey",
            "rain",
        }

    def test_failures_have_their_causes(self, youtube, asking):
        youtube.faults["dog"] = ["429"] * 2
        youtube.faults["cat"] = ["429"]  # passes
        asking = dataclasses.replace(asking, site="ytsearch", tries=2)
        summary = search(asking)
        assert summary.failed["dog"].cause == "rate_limited"
        assert set(summary.failed) == {"dog"}
        assert listed(asking).keys() == {f"{n:011d}" for n in (8, 7, 6, 2, 9)}

    def test_an_incomplete_answer_is_no_empty_result(self, youtube, asking):
        youtube.faults["dog"] = ["{}"] * 10
        asking = dataclasses.replace(asking, site="ytsearch", tries=1)
        assert set(search(asking).failed) == {"dog"}

    def test_the_searches_are_yt_dlps_own(self, asking):
        assert {"ytsearch", "scsearch", "nicosearch"} <= search_keys().keys()
        with pytest.raises(
            SchemaError, match="no site 'youtub'; there are youtube, flickr, .*ytsear"
        ):
            search(dataclasses.replace(asking, site="youtub"))

    def test_answers_are_made_clean(self):
        row = searching.clean(
            {"url": "https://a.org/v", "id": "a/b c", "title": "a\ud800\n\x07b", "duration": None}
        )
        assert row == {
            "url": "https://a.org/v",
            "id": video_list.default_id("https://a.org/v"),
            "title": "a b",
            "duration": "",
        }
        for url in (None, "", "file:///etc/passwd", "/etc/passwd", "https:// x"):
            assert searching.clean({"url": url, "id": "x"}) is None


QUERY = {"site": "flickr", "per_word": 50}
FOUND = {
    "dog": [{"url": f"https://a.org/{i}", "id": str(i), "title": 'é, "q"'} for i in range(4)],
    "bird of prey": [
        {"url": f"https://a.org/{i}", "id": str(i), "title": ""} for i in (3, 4, 1, 5)
    ],
    "rain": [],
}


def _add_all(path: Path) -> None:
    with VideoList(path) as videos:
        for word, found in FOUND.items():
            if videos.outcome(word, QUERY) != "done":
                videos.add(word, QUERY, found)


class TestVideoList:
    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_killed_at_any_moment_nothing_is_lost_or_doubled(self, tmp_path_factory, data):
        """Each line of words.jsonl is written after the rows before it: a kill leaves the rows up
        to any byte between those that two lines tell of, or all of them and half a line."""
        folder = tmp_path_factory.mktemp("list")
        whole, path = folder / "whole.csv", folder / "videos.csv"
        words_path = path.with_name("videos.csv.words.jsonl")
        _add_all(whole)
        lines = Path(f"{whole}.words.jsonl").read_bytes().splitlines(keepends=True)
        sizes = [json.loads(line)["bytes"] for line in lines] + [whole.stat().st_size]
        for _ in range(data.draw(st.integers(1, 3))):
            number = data.draw(st.integers(0, len(lines) - 1))
            if data.draw(st.booleans()):  # while the rows before this line were written
                low = sizes[number - 1] if number else 0
                cut, half = data.draw(st.integers(low, sizes[number])), 0
            else:
                cut, half = sizes[number], data.draw(st.integers(0, len(lines[number]) - 1))
            path.write_bytes(whole.read_bytes()[:cut])
            words_path.write_bytes(b"".join(lines[:number]) + lines[number][:half])
            _add_all(path)
            assert path.read_bytes() == whole.read_bytes()

    def test_a_list_that_was_edited_loses_no_row(self, tmp_path):
        path = tmp_path / "videos.csv"
        _add_all(path)
        text = path.read_text()
        path.write_text("".join(text.splitlines(keepends=True)[:-1]).rstrip("\n"))  # one row less
        with VideoList(path) as videos:
            assert videos.rows.keys() == {"0", "1", "2", "3", "4"}
            videos.add("frog", QUERY, [{"url": "https://a.org/9", "id": "9"}])
        rows, bad = video_list.parse(path.read_text(), "videos.csv")
        assert [row.video_id for row in rows] == ["0", "1", "2", "3", "4", "9"]
        assert not bad

    def test_two_sites_may_use_one_number(self, tmp_path):
        with VideoList(tmp_path / "l.csv") as videos:
            videos.add("a", QUERY, [{"url": "https://a.org/1", "id": "1"}])
            assert videos.add("b", QUERY, [{"url": "https://b.org/1", "id": "1"}]) == 1
            assert videos.add("b", QUERY, [{"url": "https://b.org/1", "id": "1"}]) == 0
            assert videos.rows.keys() == {"1", video_list.default_id("https://b.org/1")}

    def test_one_run_at_a_time(self, tmp_path):
        with VideoList(tmp_path / "l.csv"), pytest.raises(SearchStopped, match="another run"):
            VideoList(tmp_path / "l.csv")

    def test_what_does_not_fit_is_refused_and_untouched(self, tmp_path):
        mine = tmp_path / "mine.csv"
        mine.write_text("url\na.mp4")
        with pytest.raises(SchemaError, match="not a list that this command made"):
            VideoList(mine)
        assert [mine] == list(tmp_path.iterdir())
        assert mine.read_text() == "url\na.mp4"
        _add_all(tmp_path / "l.csv")
        (tmp_path / "l.csv").rename(tmp_path / "elsewhere.csv")
        with pytest.raises(SchemaError, match="which is gone: put it back"):
            VideoList(tmp_path / "l.csv")

    def test_a_failed_word_is_not_done(self, tmp_path):
        with VideoList(tmp_path / "l.csv") as videos:
            videos.add_failure("dog", QUERY, WordFailed("network", "reset"))
        with VideoList(tmp_path / "l.csv") as videos:
            assert videos.outcome("dog", QUERY) == "failed"
            assert videos.outcome("dog", {**QUERY, "per_word": 51}) == ""


RUN = """
import dataclasses, resource, sys
from pipeline.search.command import parse_args, search
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
search(dataclasses.replace(
    parse_args(sys.argv[1:]), flickr_url={url!r}, requests_per_hour=1e9, backoff_seconds=0.01))
"""


def _start(asking: Search, limit: int = 0) -> subprocess.Popen:
    words = ["--words", str(asking.words), "--output", str(asking.output), "--site", "flickr"]
    code = RUN.format(limit=limit, url=asking.flickr_url)
    return subprocess.Popen(
        [sys.executable, "-c", code, *words, "--allow-local-network"],
        stderr=subprocess.PIPE,
        text=True,
    )


def _many_words(site, asking: Search) -> None:
    random.seed(1)
    site.videos = {f"word {i}": random.sample(range(300), 40) for i in range(25)}
    asking.words.write_text("\n".join(site.videos))


class TestRuns:
    @pytest.mark.slow
    def test_a_full_disk(self, site, asking):
        _many_words(site, asking)
        full = _start(asking, limit=9000)
        assert "File too large" in full.communicate(timeout=300)[1]
        part = asking.output.read_bytes()
        assert part.endswith(b"\n")
        assert listed(asking)
        assert _start(asking).wait(300) == 0
        undisturbed = dataclasses.replace(asking, output=asking.output.with_name("whole.csv"))
        search(undisturbed)
        assert asking.output.read_bytes() == undisturbed.output.read_bytes()
        assert asking.output.read_bytes().startswith(part)

    @pytest.mark.slow
    def test_killed_at_random_moments(self, site, asking):
        """Each run is answered a few requests and then none, so none ends before it is killed."""
        _many_words(site, asking)
        undisturbed = dataclasses.replace(asking, output=asking.output.with_name("whole.csv"))
        search(undisturbed)
        chance = random.Random(0)
        for _ in range(6):
            asked = len(site.asked)
            few = chance.randint(2, 4)
            site.answered = asked + few + 1
            run = _start(asking)
            while len(site.asked) < asked + few:
                assert run.poll() is None, run.communicate()[1]
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))
            run.kill()
            assert run.wait() == -signal.SIGKILL
        site.answered = math.inf
        assert _start(asking).wait(300) == 0
        assert asking.output.read_bytes() == undisturbed.output.read_bytes()


class TestCommand:
    def test_words_searched_and_status(self, asking, site, monkeypatch, capsys):
        argv = ["--words", str(asking.words), "--output", str(asking.output), "--site", "flickr"]
        made = parse_args(
            [*argv, "--per-word", "7", "--licenses", "4,9", "--uploaded-after", "2015-12-31"]
        )
        assert (made.per_word, made.licenses, made.uploaded_after) == (7, "4,9", 1451520000)
        monkeypatch.setattr("pipeline.search.command.parse_args", lambda argv: asking)
        site.faults["dog"] = ["code1"]
        assert main(argv) == 1
        said = capsys.readouterr().out
        assert "5 videos, 5 of them new; 3 words searched, 0 before, 1 failed" in said
        assert "failed with refused: 1: dog" in said
        assert main(argv) == 0

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (["--per-word", "0"], "not a positive number"),
            (["--licenses", "by"], "not a list of numbers"),
            (["--uploaded-after", "2015"], "not a date"),
            (["--site", "ytsearch", "--match", "text"], "--match goes with --site flickr only"),
            (["--output", "videos.txt"], "must end in .csv"),
        ],
    )
    def test_bad_options_are_named(self, option, message, capsys):
        with pytest.raises(SystemExit):
            parse_args(["--words", "w", "--output", "l.csv", "--site", "flickr", *option])
        assert message in capsys.readouterr().err

    def test_nothing_to_begin_with(self, tmp_path, capsys):
        empty = tmp_path / "words.txt"
        empty.write_text("# no words\n\n")
        argv = ["--output", str(tmp_path / "l.csv"), "--words"]
        assert main([*argv, str(empty)]) == 2
        assert main([*argv, str(tmp_path / "none.txt")]) == 2
        assert main([*argv, str(empty), "--site", "myspace"]) == 2
        empty.write_text("a\n")
        assert main([*argv, str(empty), "--site", "myspace"]) == 2
        said = capsys.readouterr().err
        assert "has no words" in said
        assert "No such file" in said
        assert "no site 'myspace'" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize("data", [b"\xff\xfe", b"a\x00b\n"])
    def test_words_that_are_no_text(self, tmp_path, data):
        path = tmp_path / "words.txt"
        path.write_bytes(data)
        with pytest.raises(SchemaError, match=str(path)):
            read_words(path)

    def test_a_list_of_words(self, tmp_path):
        path = tmp_path / "words.txt"
        path.write_bytes("\ufeffdog\r\n  new   york \r\n#no\r\ndog\r\nсобака\n".encode())
        assert read_words(path) == ["dog", "new york", "собака"]
