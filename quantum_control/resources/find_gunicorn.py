"""Which gunicorns of this machine could be steered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from quantum_control.core.discovery import Found
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.gunicorn_master import PROC, Master, look

SYNC = ("sync", "")
"""Classes of workers that take one request at a time."""


def find(proc: Path = PROC) -> Iterator[Found]:
    """The masters whose files may be seen; nothing is sent to them."""
    for home in sorted((each for each in proc.iterdir() if each.name.isdecimal()), key=lambda p: int(p.name)):
        process = look(home)
        if process is None or not process.steerable:
            continue
        try:
            workers = len(Master(process.pid, proc).crew().workers)
            words = (home / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            folder = (home / "cwd").readlink()
        except (ConfigError, SensorError, OSError):
            continue  # no gunicorn, gone meanwhile, or not for the caller to see
        yield _found(process.pid, words, folder, workers)


def _found(pid: int, words: Sequence[str], folder: Path, workers: int) -> Found:
    options: dict[str, object] = {}
    pidfile = _option(words, "-p", "--pid")
    kind, threads = _option(words, "-k", "--worker-class"), _option(words, "--threads")
    note = f"gunicorn, process {pid}, {workers} workers"
    if pidfile:
        options["pidfile"] = str(folder / pidfile)
    else:
        options["process_id"] = pid
        note += "; with --pid, and pidfile= here, it would be found again after a restart"
    if threads.isdecimal() and int(threads) > 1:
        options["threads"] = int(threads)
    elif kind not in SYNC:
        note += f"; workers of class {kind}: give threads=, the requests that one is to take at once"
    return Found("gunicorn", f"gunicorn-{Path(pidfile).stem or pid}", options, note)


def _option(words: Sequence[str], *names: str) -> str:
    """Value of an option of the command line; empty if it is not there, as where a file has it."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else "".join(words[index + 1 : index + 2])
    return ""
