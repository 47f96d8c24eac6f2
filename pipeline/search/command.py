"""`python -m pipeline search`: a list of words in, a video list out."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from yt_dlp.extractor import gen_extractor_classes

from pipeline.child import Child
from pipeline.downloads.download import OptionsError, read_options
from pipeline.options import positive
from pipeline.schedule import LONGEST_WAIT
from pipeline.search.found import SearchStopped, VideoList, WordFailed
from schemas import SchemaError

FLICKR_URL = "https://api.flickr.com/services/rest/"
FLICKR_PAGE = 500
FLICKR_DEPTH = 4000
"""Flickr gives so many results of a search, in whichever order, and then repeats itself."""

MISSES = 5
"""So many words that fail one after the other end the run: it is not the words."""

_SHOW_SECONDS = 10.0
_START_SECONDS = 120.0

EXAMPLES = """\
examples:
  python -m pipeline search --words words.txt --output videos.csv
  python -m pipeline search --words words.txt --output nico.csv --site nicosearch --per-word 200
  FLICKR_API_KEY=... python -m pipeline search --words tags.txt --output flickr.csv --site flickr \\
      --licenses 4,5,9,10 --per-word 20000
  python -m pipeline --input videos.csv --output data

The same command, given again, searches only the words that are missing or failed; new words may be
added to the file at any time. Other settings (--site, --per-word ...) search every word again and
add what is new. Exit status: 0 all words are searched, 1 some failed, 2 the search can't go on.

sites:
  youtube         the same as ytsearch
  flickr          by the Flickr API; the key is read from FLICKR_API_KEY
"""


@dataclass(frozen=True)
class Search:
    """What is searched, where, and how politely.

    Attributes:
        words: file of words, one a line.
        output: the video list.
        site: "flickr", or one of `search_keys()`.
        per_word: videos taken of a word at most.
        match: Flickr: "tags", or "text" for titles, descriptions and tags.
        licenses: Flickr: ids of licences, with commas; "" for all.
        uploaded_after, uploaded_before: Flickr: seconds since 1970; None for no bound.
        requests_per_hour: how many the site is sent at most.
        tries: how often a question is asked, if asking again may help.
        backoff_seconds: wait before the second try; doubled with each one, drawn by lot between a
            half and the whole of it.
        timeout: seconds that an answer may take: a word's at yt-dlp's sites, a page's at Flickr.
        ytdlp_options: see `pipeline.downloads.download.read_options`.
        allow_local_network: whether addresses that aren't public may be reached.
        flickr_url: where Flickr's API is.
    """

    words: Path
    output: Path
    site: str = "ytsearch"
    per_word: int = 50
    match: str = "tags"
    licenses: str = ""
    uploaded_after: int | None = None
    uploaded_before: int | None = None
    requests_per_hour: float = 3600.0
    tries: int = 4
    backoff_seconds: float = 5.0
    timeout: float = 300.0
    ytdlp_options: dict = field(default_factory=dict)
    allow_local_network: bool = False
    flickr_url: str = FLICKR_URL

    @property
    def gap_seconds(self) -> float:
        """Between two requests."""
        return 3600.0 / self.requests_per_hour

    @property
    def query(self) -> dict[str, object]:
        """What a word's results depend on; a word searched with another query counts as missing."""
        query: dict[str, object] = {"site": self.site, "per_word": self.per_word}
        if self.site == "flickr":
            query |= {"match": self.match, "licenses": self.licenses}
            query |= {"after": self.uploaded_after, "before": self.uploaded_before}
        return query


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Attributes:
        words: in the file.
        before: of them, searched by earlier runs.
        failed: words that failed in this run, with cause and message.
        new: videos that this run added.
        videos: in the list now.
    """

    words: int
    before: int
    failed: dict[str, WordFailed]
    new: int
    videos: int


def search_keys() -> dict[str, str]:
    """The searches that yt-dlp has, by the key that names each: what it searches."""
    found = [site for site in gen_extractor_classes() if site.SEARCH_KEY]
    return dict(sorted((site.SEARCH_KEY, site.IE_DESC or site.IE_NAME) for site in found))


def read_words(path: Path) -> list[str]:
    """The words or phrases of a file, one a line, each once; lines that begin with # are comments.

    Raises:
        SchemaError: it is no text, or has no words.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path} is no text in UTF-8 ({error})") from error
    words = dict.fromkeys(" ".join(line.split()) for line in lines if not line.startswith("#"))
    words.pop("", None)
    for word in words:
        if re.search(r"[\x00-\x1f\x7f]", word):
            raise SchemaError(f"{path}: control characters in {word!r}")
    if not words:
        raise SchemaError(f"{path} has no words")
    return list(words)


class Searcher:
    """Asks a site, in a process of its own that can be ended: whatever yt-dlp does there (hang,
    crash, fill memory) costs one question."""

    def __init__(self, settings: Search, say: Callable[[str], None]) -> None:
        self.settings = settings
        self._say = say
        self._process: Child | None = None
        self._not_before = 0.0

    def videos(self, word: str) -> list[dict[str, str]]:
        """What a word finds: at most `per_word` videos, no id twice.

        Raises:
            WordFailed, SearchStopped
        """
        found: dict[str, dict[str, str]] = {}
        pages: Iterable[dict]
        if self.settings.site != "flickr":
            number = self.settings.per_word
            pages = [self._ask({"site": self.settings.site, "word": word, "number": number})]
        else:
            pages = self._flickr_pages(word)
        for page in pages:
            for video in page["videos"]:
                found.setdefault(video["id"], video)
            if len(found) >= self.settings.per_word:
                break
        return list(found.values())[: self.settings.per_word]

    def _flickr_pages(self, word: str) -> Iterator[dict]:
        """Flickr's answers, page by page.

        Flickr gives the first 4,000 results of a search. Where more are wanted, they are asked for
        from the newest on, and each question ends where the last answer ended.
        """
        settings = self.settings
        deep = settings.per_word > FLICKR_DEPTH
        arguments: dict[str, Any] = {
            settings.match: word,
            "tag_mode": "all",
            "sort": "date-posted-desc" if deep else "relevance",
            "per_page": min(FLICKR_PAGE, settings.per_word),
            "page": 1,
        }
        if settings.licenses:
            arguments["license"] = settings.licenses
        if settings.uploaded_after is not None:
            arguments["min_upload_date"] = settings.uploaded_after
        if settings.uploaded_before is not None:
            arguments["max_upload_date"] = settings.uploaded_before
        question = {"site": "flickr", "url": settings.flickr_url, "arguments": arguments}
        while True:
            answer = self._ask(question)
            yield answer
            oldest, last = answer["oldest"], arguments.get("max_upload_date", float("inf"))
            if answer["pages"] <= arguments["page"] or not oldest:
                return
            if deep and oldest <= last:
                # A page that lies within one second is passed over, with what is left of it.
                arguments["max_upload_date"] = oldest if oldest < last else oldest - 1
            elif not deep and arguments["page"] * arguments["per_page"] < FLICKR_DEPTH:
                arguments["page"] += 1
            else:
                return

    def _ask(self, question: dict) -> dict:
        """An answer to a question, after as many tries and waits as are allowed."""
        settings = self.settings
        tried = 0
        while True:
            time.sleep(max(0.0, self._not_before - time.monotonic()))
            self._not_before = time.monotonic() + settings.gap_seconds
            tried += 1
            try:
                return self._once(question)
            except WordFailed as error:
                asked = error.retry_after or 0.0
                if error.for_all:
                    raise SearchStopped(str(error)) from error
                if asked > LONGEST_WAIT:
                    raise SearchStopped(f"{error}; the site says to wait {asked:.0f} s") from error
                if not error.again or tried >= settings.tries:
                    raise
                wait = settings.backoff_seconds * 2 ** (tried - 1) * random.uniform(0.5, 1)
                wait = max(asked, min(wait, LONGEST_WAIT))
                self._say(f"{error}; asking again in {wait:.0f} s")
                time.sleep(wait)

    def _once(self, question: dict) -> dict:
        process = self._process
        if process is None:
            process = self._process = Child("pipeline.search.searching")
            begin = {
                "gap_seconds": self.settings.gap_seconds,
                "allow_local_network": self.settings.allow_local_network,
                "options": self.settings.ytdlp_options,
            }
            self._exchange(process, begin, _START_SECONDS)
        return self._exchange(process, question, self.settings.timeout)

    def _exchange(self, process: Child, line: dict, seconds: float) -> dict:
        """A line to the process, and the line that it answers. Raises WordFailed."""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
        data = b""
        until = time.monotonic() + seconds
        while not data.endswith(b"\n"):
            left = max(0.0, until - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], left)
            if not ready:
                self.close()
                raise WordFailed("slow", f"no answer within {seconds:g} s")
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                message = f"the searching process ended with code {process.wait()}"
                self.close()
                raise WordFailed("internal", message)
            data += chunk
        answer = json.loads(data)
        if "failed" in answer:
            raise WordFailed(**answer["failed"])
        return answer

    def close(self) -> None:
        """End the process; the next question starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(OSError):  # what was still to be written to it
            process.stdin.close()
        process.stdout.close()


class _Watch:
    """Shows progress while its `with` block runs: a bar on a terminal, else a line now and then."""

    def __init__(self, words: int, done: int, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("words"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._words, self._done = words, done
        self._task = self._bar.add_task("words", total=words, completed=done, text="")
        self._shown = time.monotonic()

    def __enter__(self) -> _Watch:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line to read."""
        self._console.print(text, markup=False)

    def step(self, failed: int, videos: int) -> None:
        """One word more is searched, or failed."""
        self._done += 1
        text = f"{videos} videos, {failed} words failed"
        self._bar.update(self._task, completed=self._done, text=text)
        if self._bar.disable and time.monotonic() - self._shown >= _SHOW_SECONDS:
            self._shown = time.monotonic()
            self.say(f"words {self._done}/{self._words}, {text}")


def search(settings: Search, console: Console | None = None) -> Summary:
    """Search every word that is missing from the list, and add what is found.

    Args:
        console: where to show progress; None for stderr.

    Raises:
        SchemaError: the words or the list can't be used.
        SearchStopped: the site refuses us, or is down; run again later.
        OSError: the disk is full.
    """
    words = read_words(settings.words)
    if settings.site == "flickr" and not os.environ.get("FLICKR_API_KEY"):
        raise SearchStopped(
            "searching Flickr takes a key of its API: get one at flickr.com/services/apps/create "
            "and put it into the environment as FLICKR_API_KEY"
        )
    if settings.site != "flickr" and settings.site not in search_keys():
        raise SchemaError(
            f"no site {settings.site!r}; there are youtube, flickr, {', '.join(search_keys())}"
        )
    console = console or Console(file=sys.stderr, soft_wrap=True, highlight=False)
    query = settings.query
    failed: dict[str, WordFailed] = {}
    misses = new = 0
    with contextlib.ExitStack() as stack:
        videos = stack.enter_context(VideoList(settings.output))
        missing = [word for word in words if videos.outcome(word, query) != "done"]
        # Those that failed before come last, so that they can't keep the others waiting.
        missing.sort(key=lambda word: videos.outcome(word, query) == "failed")
        watch = stack.enter_context(_Watch(len(words), len(words) - len(missing), console))
        searcher = stack.enter_context(contextlib.closing(Searcher(settings, watch.say)))
        for word in missing:
            try:
                new += videos.add(word, query, searcher.videos(word))
                misses = 0
            except WordFailed as error:
                videos.add_failure(word, query, error)
                failed[word] = error
                misses += not error.of_word
                watch.say(f"failed: {word}: {error}")
            watch.step(len(failed), len(videos.rows))
            if misses == MISSES:
                raise SearchStopped(
                    f"{MISSES} words one after the other failed, the last with {failed[word]}"
                )
        return Summary(len(words), len(words) - len(missing), failed, new, len(videos.rows))


def parser() -> argparse.ArgumentParser:
    defaults = Search(Path(), Path())
    sites = "".join(f"  {key:<15} {what}\n" for key, what in search_keys().items())
    parse = argparse.ArgumentParser(
        prog="python -m pipeline search",
        description="Search sites for words, and write what is found as a video list.",
        epilog=EXAMPLES + sites,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parse.add_argument(
        "--words",
        type=Path,
        required=True,
        metavar="FILE",
        help="words or phrases (tags, dictionary words), one a line; lines that begin with # are "
        "comments",
    )
    parse.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="LIST.csv",
        help="the video list, made or added to; LIST.csv.words.jsonl beside it says which words "
        "are searched",
    )
    parse.add_argument(
        "--site", default="youtube", metavar="SITE", help="see below (default: %(default)s)"
    )
    parse.add_argument(
        "--per-word",
        type=positive,
        default=defaults.per_word,
        metavar="N",
        help="videos taken of each word at most (default: %(default)s)",
    )
    parse.add_argument(
        "--requests-per-hour",
        type=positive,
        default=3600,
        metavar="N",
        help="what the site is sent at most; Flickr allows a key 3600 (default: %(default)s)",
    )
    parse.add_argument(
        "--tries",
        type=positive,
        default=defaults.tries,
        metavar="N",
        help="how often a search is tried that may succeed another time (default: %(default)s)",
    )
    parse.add_argument(
        "--timeout",
        type=positive,
        default=300,
        metavar="S",
        help="seconds that a try may take (default: %(default)s)",
    )
    parse.add_argument(
        "--ytdlp-options",
        type=_options,
        default={},
        metavar="FILE",
        help="JSON file of options for yt-dlp (cookies, say), see docs/downloads.md",
    )
    parse.add_argument(
        "--allow-local-network",
        action="store_true",
        help="let searches reach addresses that aren't public (localhost, 192.168...)",
    )
    flickr = parse.add_argument_group("Flickr only")
    flickr.add_argument(
        "--match",
        choices=("tags", "text"),
        default=defaults.match,
        help="look for the words in the tags alone, or in titles and descriptions too "
        "(default: %(default)s)",
    )
    flickr.add_argument(
        "--licenses",
        type=_licenses,
        default="",
        metavar="ID,ID",
        help="ids of Flickr's licences: 4 CC BY 2.0, 5 CC BY-SA 2.0, 9 CC0, 10 public domain ... "
        "(default: all)",
    )
    for side in ("after", "before"):
        flickr.add_argument(
            f"--uploaded-{side}", type=_date, metavar="DATE", help="such as 2015-12-31, in UTC"
        )
    return parse


def _options(path: str) -> dict:
    try:
        return read_options(path)
    except OptionsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _licenses(text: str) -> str:
    if text and not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 4,5,9")
    return text


def _date(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2015-12-31") from None


def parse_args(argv: list[str] | None) -> Search:
    """The settings that a command line gives."""
    parse = parser()
    args = vars(parse.parse_args(argv))
    site = args["site"] = {"youtube": "ytsearch"}.get(args["site"], args["site"])
    if site != "flickr":
        for name in ("match", "licenses", "uploaded_after", "uploaded_before"):
            if args[name] != parse.get_default(name):
                parse.error(f"--{name.replace('_', '-')} goes with --site flickr only")
    if args["output"].suffix.lower() != ".csv":
        parse.error(f"{args['output']}: the list's name must end in .csv, by which it is read")
    return Search(**args)


def print_summary(summary: Summary, settings: Search) -> None:
    """What came of it, and what to do next."""
    searched = summary.words - summary.before - len(summary.failed)
    print(
        f"{settings.output}: {summary.videos} videos, {summary.new} of them new; {searched} words "
        f"searched, {summary.before} before, {len(summary.failed)} failed"
    )
    for cause, number in Counter(error.cause for error in summary.failed.values()).most_common():
        words = [word for word, error in summary.failed.items() if error.cause == cause]
        print(f"failed with {cause}: {number}: {', '.join(words[:10])}{' ...' * (number > 10)}")
    if summary.failed:
        print("The same command tries these words again.")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    settings = parse_args(argv)
    try:
        summary = search(settings)
    except (SchemaError, SearchStopped, OSError) as error:
        print(f"python -m pipeline search: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    print_summary(summary, settings)
    return 1 if summary.failed else 0
