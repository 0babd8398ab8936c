"""Passwords and tokens: where they are kept, never what they are."""

from __future__ import annotations

import os
from pathlib import Path

from quantum_control.core.errors import ConfigError

_HOW = "say where it is kept: 'env:NAME' for an environment variable, 'file:PATH' for a file"


class Secret:
    """A password or token in the environment or in a file.

    It is read anew each time, so that one that is replaced now and then, as a
    container platform does, stays good. Neither `repr` nor an error shows it.

    Parameters
    ----------
    name
        What it is, for messages: "password".
    place
        "env:NAME" or "file:PATH". The line end of a file does not count.

    Raises
    ------
    ConfigError
        `place` is neither, as where the secret itself was given.
    """

    def __init__(self, name: str, place: str) -> None:
        kind, separator, where = place.partition(":")
        if kind not in ("env", "file") or not separator or not where:
            # `place` may be the secret itself: it is not repeated.
            raise ConfigError(f"{name} must not be given itself; {_HOW}")
        self.name = name
        self.place = place
        self._kind = kind
        self._where = where

    def read(self) -> str:
        """Return the secret.

        Raises
        ------
        ConfigError
            The variable is not set, the file cannot be read, or what is there is empty or no text.
        """
        if self._kind == "env":
            value = os.environ.get(self._where, "")
        else:
            try:
                value = Path(self._where).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise ConfigError(f"the {self.name} cannot be read from {self.place}: {error}") from error
            except UnicodeDecodeError:
                # Not chained: that error holds the bytes.
                raise ConfigError(f"the {self.name} in {self.place} is not text in UTF-8") from None
        if not value:
            raise ConfigError(f"the {self.name} in {self.place} is not set or empty")
        if not value.isprintable():  # a header with a line end would be refused in words that show it
            raise ConfigError(f"the {self.name} in {self.place} has line ends or control characters")
        return value

    def __repr__(self) -> str:
        return f"<{self.name} in {self.place}>"
