"""What has been learnt, kept over restarts."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from quantum_control.core.errors import ConfigError

VERSION = 1

_log = logging.getLogger("quantum_control")


class Learner(Protocol):
    """A law, or the knee."""

    @property
    def name(self) -> str:
        """Under which it is remembered."""

    def learned(self) -> dict[str, object]:
        """What was learnt, as a JSON object; empty if nothing was."""

    def recall(self, learned: Mapping[str, object], /) -> None:
        """Go on from it; raises `ConfigError` if it is not understood."""


class Memory:
    """A JSON file of what each law, and the knee, has learnt, by their names.

    The file is replaced as a whole, so that a crash leaves the old one or the
    new one. One controller writes to it: give each resource a file of its own.

    Parameters
    ----------
    path
        The file; it need not exist yet, its folder must.

    Raises
    ------
    ConfigError
        The folder does not exist, the file cannot be read, or it is not one of ours.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ConfigError(f"memory={str(path)!r}: the folder {str(self.path.parent)!r} does not exist")
        self._learned = self._read()
        self._failing = False
        self._writing = threading.Lock()  # stop() and the loop that it ends may both keep, at once

    def recall(self, learner: Learner) -> None:
        """Give `learner` back what one of its name had learnt, if any had.

        Raises
        ------
        ConfigError
            It was learnt in a way that this version does not understand.
        """
        learned = self._learned.get(learner.name)
        if learned is None:
            return
        if not isinstance(learned, dict):
            raise ConfigError(f"{self}: what it holds of {learner.name!r} is not an object; delete it")
        try:
            learner.recall(learned)
        except ConfigError as error:
            raise ConfigError(f"{self}: {error}; delete it to start anew") from error

    def keep(self, *learners: Learner) -> None:
        """Save what each has learnt; a failure is logged, once until it works again."""
        with self._writing:
            self._keep(learners)

    def _keep(self, learners: Iterable[Learner]) -> None:
        try:
            news = {learner.name: learned for learner in learners if (learned := learner.learned())}
            if news:
                self._write({**self._learned, **news})
                self._learned.update(news)
        except Exception as error:  # noqa: BLE001 - a law may be anyone's; steering matters more than remembering
            if not self._failing:
                _log.warning("%s cannot be written, the controller goes on without: %s", self, error)
            self._failing = True
        else:
            self._failing = False

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise ConfigError(f"{self} is not of version {VERSION}; delete it to start anew")
        learned = content.get("learned")
        if not isinstance(learned, dict):
            raise ConfigError(f"{self} holds nothing that was learnt; delete it to start anew")
        return learned

    def _write(self, learned: Mapping[str, object]) -> None:
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump({"version": VERSION, "learned": learned}, file, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def __str__(self) -> str:
        return f"memory {str(self.path)!r}"
