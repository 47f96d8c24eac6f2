"""yt-dlp's options from a file."""

import json

import pytest
import yt_dlp

from media import Limits
from pipeline.downloads.download import OPTIONS, Downloader, OptionsError, read_options


def written(folder, options: object) -> str:
    path = folder / "options.json"
    path.write_text(json.dumps(options))
    return str(path)


def test_options_come_as_they_were_written(tmp_path):
    options = {
        "ratelimit": 1_000_000,
        "username": "me",
        "http_headers": {"Referer": "https://example.com"},
        "extractor_args": {"youtube": {"player_client": ["web", "android"]}},
        "sleep_interval": 1.5,
        "geo_bypass": False,
        "format": "worst",
    }
    assert read_options(written(tmp_path, options)) == options


def test_every_admitted_option_is_one_of_yt_dlps():
    text = yt_dlp.YoutubeDL.__doc__ + yt_dlp.downloader.FileDownloader.__doc__
    # These three it takes, and describes nowhere.
    known = {"legacyserverconnect", "client_certificate", "client_certificate_key"}
    known |= {"client_certificate_password", "socket_timeout"}
    assert [name for name in OPTIONS if f"{name}:" not in text and name not in known] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"postprocessors": [{"key": "Exec", "exec_cmd": "rm -r /"}]}, "would run a program"),
        ({"external_downloader": "curl"}, "would run a program"),
        ({"netrc_cmd": "sh"}, "would run a program"),
        ({"ffmpeg_location": "/tmp/x"}, "would run a program"),
        ({"cookiesfrombrowser": ["firefox"]}, "cookiefile"),
        ({"outtmpl": "/etc/x"}, "would write"),
        ({"paths": {"home": "/"}}, "would write"),
        ({"download_archive": "x"}, "would write"),
        ({"proxy": "http://10.0.0.1"}, "--allow-local-network"),
        ({"impersonate": "chrome"}, "past the guard"),
        ({"enable_file_urls": True}, "a file of this machine"),
        ({"nocheckcertificate": True}, "another video"),
        ({"retries": 10}, "--tries"),
        ({"playlist_items": "1:9"}, "a row is one video"),
        ({"download_ranges": "x"}, "--first-seconds"),
        ({"cookies": "x.txt"}, "did you mean cookiefile?"),
        ({"--rate-limit": 1}, "did you mean ratelimit?"),
        ({"compat_opts": ["all"]}, "these are admitted: cookiefile, "),
        ({"ratelimit": "50K"}, "ratelimit must be a number"),
        ({"ratelimit": -1}, "ratelimit must be a number"),
        ({"ratelimit": True}, "ratelimit must be a number"),
        ({"password": 1234}, "password must be a text"),
        ({"format": "-"}, "nobody answers"),
        ({"geo_bypass": "yes"}, "geo_bypass must be true or false"),
        ({"http_headers": ["a"]}, "http_headers must be an object of texts"),
        ({"extractor_args": {"youtube": "web"}}, "extractor_args must be as"),
        ({"cookiefile": "missing.txt"}, "can't be read"),
        (["ratelimit"], "no JSON object"),
        ({"username": "x" * 40_000}, "at most 32 KB"),
    ],
)
def test_what_would_break_a_promise_is_refused_by_name(tmp_path, options, words):
    with pytest.raises(OptionsError) as raised:
        read_options(written(tmp_path, options))
    assert words in str(raised.value)
    assert "options.json" in str(raised.value)
    assert "1234" not in str(raised.value), "a password is not for a log"


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "x.json").write_text("{ratelimit: 1}")
    for name in ("x.json", "missing.json"):
        with pytest.raises(OptionsError, match="can't be read as JSON"):
            read_options(str(tmp_path / name))


def test_cookies_and_headers_reach_the_site_and_the_cookie_file_stays(tmp_path, server):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tkey\tsecret\n")
    before = cookies.read_text()
    options = {"cookiefile": "cookies.txt", "http_headers": {"X-Who": "me"}, "format": "worst"}
    options = read_options(written(tmp_path, options))
    assert options["cookiefile"] == str(cookies)
    downloader = Downloader(Limits(), 60, allow_local_network=True, options=options)
    try:
        for section in ((None, None), (None, 2.0)):
            server.headers.clear()
            downloader.fetch(f"{server.url}/short%20one.mp4", str(tmp_path), *section)
            assert len(server.headers) >= 2
            for headers in server.headers:
                assert headers["Cookie"] == "key=secret"
                assert headers["X-Who"] == "me"
    finally:
        downloader.close()
    assert cookies.read_text() == before


def test_a_cookie_file_that_is_none(tmp_path):
    (tmp_path / "cookies.txt").write_text("key=secret\n")
    with pytest.raises(OptionsError, match="cookiefile: .*Netscape"):
        read_options(written(tmp_path, {"cookiefile": "cookies.txt"}))


def test_options_of_a_format_choose_it(tmp_path, server):
    options = read_options(written(tmp_path, {"format": "bestaudio[vcodec=none]"}))
    downloader = Downloader(Limits(), 60, allow_local_network=True, options=options)
    try:
        got = downloader.fetch(f"{server.url}/streams/whole.m3u8", str(tmp_path))
        assert got.bytes < 100_000
        assert any("a0.ts" in path for path in server.requests)
        assert not any("v0.ts" in path for path in server.requests)
    finally:
        downloader.close()
