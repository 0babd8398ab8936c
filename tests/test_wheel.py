"""The wheel that is built of the source has in it what runs without a compiler or a download."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SUFFIXES = (".py", ".o", ".java", ".toml", ".html", ".css", ".js", ".json", ".yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build it with what is installed, offline."""
    pytest.importorskip("hatchling", reason="hatchling is not installed; pip install 'quantum-control[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    words = [
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("quantum_control-*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


def test_the_ebpf_object_is_in_it_as_it_is_in_the_source(wheel):
    name = "quantum_control/resources/bpf/socket_buffers.bpf.o"
    assert wheel.read(name) == (ROOT / name).read_bytes()


def test_so_is_every_other_file_of_the_package(wheel):
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "quantum_control").rglob("*")
        if path.is_file() and path.suffix in SUFFIXES
    }
    assert here <= set(wheel.namelist())
    assert "quantum_control/py.typed" in wheel.namelist()
