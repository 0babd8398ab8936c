"""Measurements from a Prometheus server: any PromQL expression, as of now or not at all."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.core.loopback import is_loopback
from quantum_control.core.secret import Secret
from quantum_control.sources.transport import RETRIES, TIMEOUT, Http

SCHEMES = {"prometheus": "http", "prometheus+https": "https"}
"""Of our URLs, and what is spoken."""

MAX_AGE = 60.0
"""Seconds: four of the usual 15 s scrapes missed. Prometheus itself goes on answering for 300."""

SHOWN = 3
"""Series, of several where one is needed, that an error names."""

_MARK = "quantum_control_read"
"""Label by which the parts of an answer are told apart."""

# Only of a plain selector does Prometheus know when it was sampled; `timestamp()` of anything else is now.
_MATCHERS = r"""\{(?:[^{}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*\}"""
_SELECTOR = re.compile(rf"\s*(?:[A-Za-z_:][\w:]*\s*(?:{_MATCHERS})?|{_MATCHERS})\s*")


@dataclass(frozen=True, slots=True)
class _Series:
    """One series of an answer."""

    labels: dict[str, str]
    time: float
    """Seconds since 1970 at which the server evaluated it."""
    value: float

    def __str__(self) -> str:
        inner = ",".join(f'{name}="{value}"' for name, value in self.labels.items() if name != "__name__")
        return f"{self.labels.get('__name__', '')}{{{inner}}}"


class PrometheusSource:
    """A Prometheus server, or what speaks its HTTP API: Thanos, Mimir, VictoriaMetrics.

    Parameters
    ----------
    url
        `prometheus://HOST:PORT[/PREFIX]`, or `prometheus+https://...` for TLS.
        The parameters below may be in its query instead:
        `prometheus+https://monitor:9090?user=qc&password=file:/etc/qc/password`.
    user, password
        Basic authentication; `password` says where it is kept, as `Secret` does.
    token
        Where a bearer token is kept, instead of a user.
    ca_file
        File of the certificates to trust, in PEM; the system's by default.
    timeout
        Seconds for each of at most `retries` + 1 tries.
    retries
        Tries after the first, where the server cannot be reached or is busy.
    max_age
        Seconds after which a sample is too old to act upon.
    sleep
        Waits for some seconds.

    Raises
    ------
    ConfigError
        A parameter is wrong, a secret was given itself, or urllib3 is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        max_age: float = MAX_AGE,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        address, said = _parts(url)
        user = user or said.pop("user", None)
        password = password or said.pop("password", None)
        token = token or said.pop("token", None)
        ca_file = ca_file or said.pop("ca_file", None)
        timeout = _number("timeout", said.pop("timeout", timeout))
        max_age = _number("max_age", said.pop("max_age", max_age))
        tries = _number("retries", said.pop("retries", retries))
        if said:
            raise ConfigError(
                f"metric source {address}: unknown parameter {', '.join(sorted(said))}; known: user,"
                " password, token, ca_file, timeout, retries, max_age"
            )
        if not 0.0 < timeout < inf or not max_age > 0.0 or not 0.0 <= tries < inf:
            raise ConfigError(
                f"metric source {address}: timeout and max_age are seconds above 0, and retries is 0 or more"
            )
        if (user is None) != (password is None) or (user and token):
            raise ConfigError(f"metric source {address}: give user and password, or token, or neither")
        if (
            (password or token)
            and address.startswith("http://")
            and not is_loopback(urlsplit(address).hostname or "")
        ):
            raise ConfigError(
                f"metric source {address}: a password or token would cross the network for all to read;"
                " use prometheus+https://"
            )
        self.address = address
        self.max_age = max_age
        self._user = user
        self._password = None if password is None else Secret("password", password)
        self._token = None if token is None else Secret("token", token)
        self._timeout = timeout
        self._authorization()  # what is missing is told now, not at the first step
        self._http = Http(address, timeout=timeout, retries=int(tries), ca_file=ca_file, sleep=sleep)

    def query(self, expression: str) -> float:
        """Return what `expression` is now.

        Raises
        ------
        SensorError
            As `read`.
        """
        return self.read({"value": expression})["value"]

    def read(self, expressions: Mapping[str, str]) -> dict[str, float]:
        """Return what each of the `expressions` is now, by the names that they are given under.

        All are evaluated at the same instant, in one round trip. The age of a
        sample is known to Prometheus for plain selectors only, such as
        `node_load1{instance="a"}`; what is computed from samples is as old as its
        ranges let it be: prefer `sum(max_over_time(x[30s]))` to `sum(x)`.

        Raises
        ------
        SensorError
            The server cannot be reached, refuses, or does not understand; or an
            expression has no series, several, one that is older than `max_age`,
            or no finite value.
        ConfigError
            The password or token is no longer where it was.
        """
        parts = []
        for index, expression in enumerate(expressions.values()):
            parts.append(_marked(expression, f"{index}"))
            if _SELECTOR.fullmatch(expression):
                parts.append(_marked(f"timestamp({expression})", f"{index}@"))
        found: dict[str, list[_Series]] = {}
        for series in self._ask(" or ".join(parts)):
            found.setdefault(series.labels.pop(_MARK, ""), []).append(series)
        return {
            name: self._value(expression, found.get(f"{index}", []), found.get(f"{index}@", []))
            for index, (name, expression) in enumerate(expressions.items())
        }

    def _value(self, expression: str, found: Sequence[_Series], sampled: Sequence[_Series]) -> float:
        if not found:
            raise SensorError(
                f"{self.address} has no series for {expression!r}: look whether its target is up and the name"
                " is right; a metric that is only sometimes there needs ' or vector(0)'"
            )
        if len(found) > 1:
            shown = "; ".join(str(each) for each in found[:SHOWN])
            raise SensorError(
                f"{self.address} has {len(found)} series for {expression!r}, one is needed: {shown}"
                f"{'; ...' if len(found) > SHOWN else ''}. Select one by its labels, or aggregate: sum(...)"
            )
        now, value = found[0].time, found[0].value
        if not isfinite(value):
            raise SensorError(f"{self.address}: {expression!r} is {value}, which is no measurement")
        if sampled and (age := now - sampled[0].value) > self.max_age:
            raise SensorError(
                f"{self.address}: {expression!r} was sampled {age:.0f} s ago, more than max_age="
                f"{self.max_age:g}; look whether its target is still scraped"
            )
        return value

    def _ask(self, expression: str) -> list[_Series]:
        body = urlencode({"query": expression, "timeout": f"{self._timeout:g}s"})
        status, answer = self._post(body)
        try:
            content = json.loads(answer)
            if content["status"] != "success":
                why = str(content["error"])
                hint = "; write vector(...) around a number" if "got scalar" in why else ""
                raise SensorError(f"{self.address} refused {expression!r}: {why}{hint}")
            # A store that could not be asked, for example: a sum over what is left would be too small.
            if warnings := content.get("warnings"):
                raise SensorError(f"{self.address} answered {expression!r} in part: {'; '.join(warnings)}")
            return [
                _Series(dict(each["metric"]), float(each["value"][0]), float(each["value"][1]))
                for each in content["data"]["result"]
            ]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SensorError(
                f"{self.address} answered {status} with what is no answer of Prometheus in numbers:"
                f" {answer[:80]!r}; look whether host, port and prefix are its own"
            ) from error

    def _post(self, body: str) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self._authorization()}
        status, answer = self._http.post("/api/v1/query", body, headers)
        if status in (401, 403):
            raise SensorError(
                f"{self.address} answered {status}: {self._password or self._token or 'no user or token'}"
                " is not accepted"
            )
        return status, answer

    def _authorization(self) -> dict[str, str]:
        if self._token is not None:
            token = self._token.read()
            if not token.isascii():
                raise ConfigError(f"the {self._token!r} has other than ASCII characters")
            return {"Authorization": f"Bearer {token}"}
        if self._password is not None:
            pair = f"{self._user}:{self._password.read()}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
        return {}

    def close(self) -> None:
        """Close the connections; the next query opens them again."""
        self._http.close()

    def __repr__(self) -> str:
        return f"PrometheusSource({self.address!r})"


def _parts(url: str) -> tuple[str, dict[str, Any]]:
    """Address to speak to, and the parameters that the URL carries."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"this metric source is no URL: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"metric source {parts.scheme}://...@{host}: no user and password before the host; use"
            " '?user=NAME&password=env:VARIABLE' or '?user=NAME&password=file:PATH' after it"
        )
    if parts.scheme not in SCHEMES or not host:
        raise ConfigError(
            f"metric source {url.partition('?')[0]!r}: prometheus://HOST:PORT or prometheus+https://HOST:PORT"
            " is needed"
        )
    shown = f"[{host}]" if ":" in host else host
    address = f"{SCHEMES[parts.scheme]}://{shown}:{port or 9090}{parts.path.rstrip('/')}"
    return address, dict(parse_qsl(parts.query))


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise ConfigError(f"metric source: {name}={value!r} is no number") from None


def _marked(expression: str, mark: str) -> str:
    """PromQL of an expression whose series carry a label more, by which they are told apart."""
    return f'label_replace({expression}\n, "{_MARK}", "{mark}", "", "")'
