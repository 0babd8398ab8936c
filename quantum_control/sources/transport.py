"""HTTP with time-outs that hold, and tries that back off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from quantum_control.core.errors import ConfigError, SensorError

try:
    import urllib3
except ImportError as error:
    raise ConfigError(
        "urllib3 is missing; install it with: pip install 'quantum-control[prometheus]'"
    ) from error

TIMEOUT = 2.0
"""Seconds for each try: a controller steps each second or so, and an old answer is of no use to it."""

RETRIES = 2
"""Tries after the first."""

BACK_OFF = 0.1
"""Seconds before the second try, doubled before each further one."""

MAX_ANSWER = 1 << 20
"""Bytes; one number for each expression takes some hundred."""

AGAIN = frozenset({429, 502, 503, 504})
"""Status codes of a server, or a proxy before it, that is busy, starting or restarting."""


class Http:
    """A server that is asked the same kind of thing again and again, over connections that stay open.

    Parameters
    ----------
    address
        `http://HOST:PORT[/PREFIX]` or `https://...`.
    timeout
        Seconds for each try, from the connection to the last byte.
    retries
        Tries after the first.
    ca_file
        Certificates to trust, in PEM; None for the system's.
    sleep
        Waits for some seconds.

    Raises
    ------
    ConfigError
        The file of certificates cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        ca_file: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        context = urllib3.util.create_urllib3_context()
        try:
            if ca_file is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(ca_file)
        except OSError as error:
            raise ConfigError(f"ca_file={ca_file!r} cannot be used: {error}") from error
        self._http = urllib3.PoolManager(num_pools=1, retries=False, ssl_context=context)

    def post(self, path: str, body: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and content of the answer; of the last try, if each said that the server is busy.

        Raises
        ------
        SensorError
            No try was answered in time, or the answer is far too long.
        """
        why: Exception | None = None
        for attempt in range(self._retries + 1):
            if attempt:
                self._sleep(BACK_OFF * 2 ** (attempt - 1))
            try:
                status, answer = self._once(path, body, headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                why = error
                continue
            if status not in AGAIN or attempt == self._retries:
                return status, answer
        raise SensorError(
            f"{self.address} gave no answer in {self._retries + 1} tries; last: {type(why).__name__}: {why}"
        ) from why

    def _once(self, path: str, body: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        response = self._http.request(
            "POST",
            self.address + path,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=self._timeout),
            redirect=False,
            preload_content=False,
        )
        complete = False
        try:
            answer = self._content(response, deadline)
            complete = True
        finally:
            # What is left of an answer must not be taken for the next one.
            response.release_conn() if complete else response.close()
        return response.status, answer

    def _content(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        answer = b""
        # Piece by piece: the timeout of a socket starts anew with each byte that trickles in.
        while piece := response.read1(65536):
            answer += piece
            if len(answer) > MAX_ANSWER:
                raise SensorError(
                    f"{self.address} answers with more than {MAX_ANSWER} bytes: far too many series;"
                    " aggregate them: sum(...)"
                )
            if time.monotonic() > deadline:
                raise urllib3.exceptions.TimeoutError(f"not complete after {self._timeout:g} s")
        return answer

    def close(self) -> None:
        """Close the connections; the next request opens them again."""
        self._http.clear()
