"""Sounds from the web: bounded, and nothing of the local network."""

from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path

import pytest

from media import guard
from soundnet.bulk import addresses
from soundnet.bulk.addresses import AddressError, downloaded


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/to-file":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif self.path == "/to-sound":
            self.answer(301, b"", Location="/sound")
        elif self.path == "/round":
            self.answer(302, b"", Location="/round")
        elif self.path == "/cut":
            self.answer(200, b"so far", **{"Content-Length": "1000"})
        elif self.path == "/sound":
            self.answer(200, b"a sound" * 1000)
        else:
            self.answer(404, b"")

    def answer(self, code, body, **headers):
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.asked = []
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
        yield httpd
        httpd.shutdown()


def test_a_sound_is_there_as_long_as_it_is_wanted(server):
    with downloaded(f"{server.url}/to-sound", allow_local=True) as path:
        assert Path(path).read_bytes() == b"a sound" * 1000
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "the server answers 404"),
        ("/cut", "cut off after 6 of 1000 bytes"),
        ("/to-file", "not allowed|can't be reached|unknown url type"),
        ("/round", "infinite loop"),
    ],
)
def test_what_can_not_be_had_says_why(server, path, why):
    with (
        pytest.raises(AddressError, match=why),
        downloaded(server.url + path, allow_local=True),
    ):
        pass


def test_too_much_is_too_much(server, monkeypatch):
    monkeypatch.setattr(addresses, "MAX_BYTES", 6999)
    with (
        pytest.raises(AddressError, match="more than 6,999 bytes"),
        downloaded(f"{server.url}/sound", allow_local=True),
    ):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_the_local_network_is_not_asked(server, host, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)  # which would go there instead
    with (
        pytest.raises(AddressError, match="not a public address|can't be reached"),
        downloaded(f"http://{host}:{server.server_port}/sound"),
    ):
        pass
    assert server.asked == []


def test_a_name_is_connected_to_where_it_was_found_to_be(server, monkeypatch):
    """A name that is public when it is asked for, and local a moment later, leads nowhere local."""
    resolve, asked = socket.getaddrinfo, []

    def turncoat(host, port, *args, **kwargs):
        if host != "turncoat.example":
            return resolve(host, port, *args, **kwargs)
        asked.append(host)
        address = "192.0.2.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", turncoat)
    monkeypatch.setattr(guard, "is_public", lambda address: address == "192.0.2.1")
    monkeypatch.setattr(addresses, "IDLE_SECONDS", 0.2)
    with (
        pytest.raises(AddressError),
        downloaded(f"http://turncoat.example:{server.server_port}/sound"),
    ):
        pass
    assert (len(asked), server.asked) == (1, [])


def test_only_the_web_is_asked():
    with pytest.raises(AddressError, match="only http and https"), downloaded("file:///etc/passwd"):
        pass
