"""What the image is made of, as far as it can be told without building it; `make image-test` runs
the commands inside one."""

from __future__ import annotations

import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.conftest import ROOT

PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
INSTEAD = {"tensorflow-cpu": "tensorflow"}
"""The same in another build."""


def pins(lock: str) -> set[tuple[str, str]]:
    """Names with versions; of some packages there is one for each Python."""
    return set(PIN.findall((ROOT / lock).read_text()))


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_an_image_has_the_versions_that_the_tests_run_with(variant):
    tested, shipped = pins("requirements.lock"), pins(f"requirements-{variant}.lock")
    nvidia = {pin for pin in shipped if pin[0].startswith("nvidia-")}
    assert bool(nvidia) == (variant == "gpu")
    assert len(shipped) > 100
    untested = {(INSTEAD.get(name, name), version) for name, version in shipped - nvidia} - tested
    assert not untested, "run make lock"
    assert not {name for name, _ in shipped} & {"pytest", "ruff", "moto", "selenium"}


def test_all_that_the_image_is_built_from_is_there_and_not_ignored():
    words = (ROOT / "Dockerfile").read_text()
    sources = [
        word.replace("${VARIANT}", "cpu")
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", words, re.MULTILINE)
        for word in line.split()
    ]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    for source in (path for path in sources if path != "."):
        assert (ROOT / source).is_file()
        assert any(fnmatch(source, line) or source.startswith(f"{line}/") for line in kept)
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert rooms <= set(kept)


def test_beams_image_has_the_version_that_is_installed():
    (image,) = re.findall(r"^ARG BEAM=\S+:(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert ("apache-beam", image) in pins("requirements-cpu.lock")


def entrypoint(*arguments: str, folder: Path, user: int | None = None):
    return subprocess.run(
        [ROOT / "image" / "entrypoint", *arguments],
        cwd=folder,
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_entry_point_runs_the_command_that_it_is_given(tmp_path):
    done = entrypoint("echo", "a  b", "--c", folder=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("a  b --c\n", "", 0)


@pytest.mark.skipif(os.path.exists("/opt/apache/beam/boot"), reason="Beam's boot is here")
@pytest.mark.parametrize("option", ["--id=1-1", "--worker_pool"])
def test_the_entry_point_is_beams_boot_to_a_cluster(option, tmp_path):
    done = entrypoint(option, "--provision_endpoint=localhost:1", folder=tmp_path)
    assert "/opt/apache/beam/boot" in done.stderr
    assert done.returncode == 127


def test_who_cant_write_is_told_how_to(tmp_path):
    with_rights = entrypoint("true", folder=tmp_path)
    assert not with_rights.stderr
    tmp_path.chmod(0o555)
    for parent in tmp_path.parents[:3]:  # pytest's own, closed to others
        parent.chmod(parent.stat().st_mode | 0o055)
    nobody = 65534 if os.geteuid() == 0 else None
    done = entrypoint("echo", "works", folder=tmp_path, user=nobody)
    assert done.stdout == "works\n"  # it may have nothing to write
    assert 'docker run --user "$(id -u):$(id -g)"' in done.stderr
    assert str(tmp_path) in done.stderr
