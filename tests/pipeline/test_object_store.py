"""Lists, videos and data sets on s3:// and gs://, against emulators on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from media import Limits
from pipeline.build import build
from pipeline.downloads.download import DownloadError
from pipeline.object_store import copy_in, set_options
from pipeline.store import Store
from schemas.clip import ClipRecord
from tests.pipeline.emulators import amazon_storage, google_storage
from tests.pipeline.test_build import SETTINGS, contents, records, rows_of


@pytest.fixture(scope="module")
def s3(videos):
    """A client of a bucket that holds the small videos and a list of them; `.options` lead Beam to
    it."""
    with amazon_storage() as url:
        client = boto3.client("s3", endpoint_url=url)
        rows = []
        for path in sorted(videos.iterdir()):
            client.upload_file(str(path), "bucket", f"videos/{path.name}")
            rows.append({"url": f"s3://bucket/videos/{path.name}", "id": path.stem})
        rows.append({"url": "s3://bucket/videos/none.mp4", "id": "none"})
        text = "\n".join(json.dumps(row) for row in rows)
        client.put_object(Bucket="bucket", Key="list.jsonl", Body=text.encode())
        client.options = ["--s3_endpoint_url", url]
        yield client


def keys(s3, prefix: str, suffix: str = "") -> list[str]:
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
    return [item["Key"] for item in found if item["Key"].endswith(suffix)]


def download(s3, prefix: str, folder: Path) -> Path:
    """The objects directly under a prefix, as files."""
    folder.mkdir()
    for key in keys(s3, f"{prefix}/"):
        if "/" not in (name := key.removeprefix(f"{prefix}/")):
            s3.download_file("bucket", key, str(folder / name))
    return folder


def command(s3, output: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pipeline", "--input", "s3://bucket/list.jsonl"),
        *("--output", output, "--processes", "2", "--validation-share", "0", *s3.options),
        "--exact-frames",
    ]


@pytest.fixture(scope="module")
def built(s3, tmp_path_factory) -> Path:
    """What the command made of the list on s3://, copied to here."""
    done = subprocess.run(
        command(s3, "s3://bucket/data"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "3 done, 4 failed, 4 clips" in done.stderr
    return download(s3, "data", tmp_path_factory.mktemp("copy") / "data")


@pytest.mark.slow
def test_the_records_on_s3_are_those_of_the_same_files_here(s3, built, videos, tmp_path):
    summary = build(rows_of(videos), [], str(tmp_path / "data"), SETTINGS)
    here, there = records(tmp_path / "data"), records(built)
    assert here.keys() == there.keys()
    for name, data in there.items():
        record = ClipRecord.from_bytes(data)
        assert record.url.startswith("s3://bucket/videos/")
        local = ClipRecord.from_bytes(here[name])
        assert dataclasses.replace(record, url=local.url).to_bytes() == here[name]
    rows = [json.loads(line) for line in (built / "ledger-00000.jsonl").read_text().splitlines()]
    causes = {row["video_id"]: row["cause"] for row in rows}
    assert causes.pop("none") == "not_found"
    assert causes == {name: row.cause for name, row in summary.rows.items()}
    assert not keys(s3, "data/work")


@pytest.mark.slow
def test_a_killed_run_on_s3_goes_on_where_it_was(s3, built, tmp_path):
    for settled in (1, 3, 6):
        process = subprocess.Popen(
            command(s3, "s3://bucket/killed"), start_new_session=True, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 180
        while len(keys(s3, "killed/work-00000/", ".json")) < settled + 2:
            if process.poll() is not None or time.monotonic() > end:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(
        command(s3, "s3://bucket/killed"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert contents(download(s3, "killed", tmp_path / "data")) == contents(built)


@pytest.fixture(scope="module")
def gs() -> Iterator[None]:
    with google_storage():
        yield


@pytest.fixture(params=["s3", "gs"])
def root(request, s3, gs) -> Iterator[str]:
    """A bucket on either store."""
    set_options(s3.options)
    yield f"{request.param}://bucket"
    set_options([])


def test_the_store_on_an_object_store(root):
    store = Store(f"{root}/set")
    assert store.info() is None
    assert store.list(store.work()) == {}
    store.write(store.work("a.json"), b"one")
    store.write(store.work("a.json"), [b"t", b"wo"])
    store.write(store.work("b.json"), b"b")
    store.write(f"{store.work()}0/c.json", b"of another run")
    assert store.list(store.work()) == {"a.json": 3, "b.json": 1}
    assert store.read(store.work("a.json")) == b"two"
    assert store.exists(store.work("b.json"))
    store.delete(["b.json"])
    assert not store.exists(store.work("b.json"))
    assert store.scratch() is None
    store.clear_work(before=1)
    assert store.list(store.work()) == {}


def test_a_write_that_breaks_off_leaves_nothing(root):
    store = Store(f"{root}/broken")

    def data():
        yield b"some"
        raise OSError("the disk that it comes from")

    with pytest.raises(OSError, match="comes from"):
        store.write(store.path("a"), data())
    assert not store.exists(store.path("a"))


def test_a_video_is_copied_in_whole_or_has_its_cause(root, tmp_path):
    store, data = Store(root), os.urandom(3_000_000)
    store.write(store.path("a b.mp4"), data)
    fetched = copy_in(store.path("a b.mp4"), str(tmp_path), Limits())
    assert Path(fetched.path).read_bytes() == data
    assert (fetched.bytes, fetched.offset) == (len(data), 0.0)
    with pytest.raises(DownloadError, match="a b.mp4: more than 1000000 bytes") as caught:
        copy_in(store.path("a b.mp4"), str(tmp_path), Limits(max_bytes=1_000_000))
    assert caught.value.cause == "too_large"
    with pytest.raises(DownloadError) as caught:
        copy_in(store.path("none.mp4"), str(tmp_path), Limits())
    assert caught.value.cause == "not_found"
