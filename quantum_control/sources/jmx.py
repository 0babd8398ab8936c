"""JMX of a JVM, near or far, by a small JVM in this process (JPype, the extra `jvm`).

The form of the address is

    jmx://HOST:PORT?user=NAME&password=env:NAME&tls=true&ca=PATH

of which all that follows the port may be left out. `user` may itself be
`env:NAME` or `file:PATH`; `password` is never given itself. `ca` is a file with
the certificates to trust (PEM), by default those that the JDK trusts. Java keeps
one set for the process: give all addresses the same file. With `tls=true` the
JVM's registry is spoken to by TLS too: it needs
`-Dcom.sun.management.jmxremote.registry.ssl=true` besides `...jmxremote.ssl=true`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.core.secret import Secret
from quantum_control.sources.bounded_calls import BoundedCalls
from quantum_control.sources.own_java import start_java, trust

T = TypeVar("T")

TIMEOUT_SECONDS = 5.0
"""For an answer, connecting included, and for all of what has one deadline."""

NOBODY = "nobody listens there; is the JVM running, with -Dcom.sun.management.jmxremote.port=PORT?"
SLOW = "no answer in time; it is no JMX port, or the JVM is stopped or overloaded, or a firewall is between"

_PARAMETERS = ("user", "password", "tls", "ca")


class JmxAddress:
    """Where a JVM's JMX is, and who asks.

    Raises
    ------
    ConfigError
        The URL is not of the form above. A password in it is not repeated.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
            pairs = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
        except ValueError:
            raise ConfigError(f"this is no JMX address: {_FORM}") from None
        if "@" in parts.netloc:
            raise ConfigError(f"user and password do not belong before the host: {_FORM}")
        if parts.scheme != "jmx" or not parts.hostname or port is None or parts.path not in ("", "/"):
            raise ConfigError(f"{parts.scheme}://{parts.netloc} is no JMX address: {_FORM}")
        given = dict(pairs)
        unknown = sorted(set(given) - set(_PARAMETERS))
        if unknown:
            raise ConfigError(f"jmx://{parts.netloc} has the unknown parameter {unknown[0]!r}: {_FORM}")
        if given.get("tls", "false") not in ("true", "false"):
            raise ConfigError(f"jmx://{parts.netloc}: tls is 'true' or 'false'")
        if ("user" in given) != ("password" in given):
            raise ConfigError(f"jmx://{parts.netloc}: give both user and password, or neither")
        self.host, self.port = parts.hostname, port
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.place = f"{host}:{port}"
        self.tls = given.get("tls") == "true"
        self.ca = given.get("ca")
        self._user = given.get("user")
        self._password = Secret("JMX password", given["password"]) if "password" in given else None

    def credentials(self) -> tuple[str, str] | None:
        """User and password, read now; None where there are none.

        Raises
        ------
        ConfigError
            They are not where the address says.
        """
        if self._user is None or self._password is None:
            return None
        kept = self._user.startswith(("env:", "file:"))
        user = Secret("JMX user", self._user).read() if kept else self._user
        return user, self._password.read()

    def __repr__(self) -> str:
        return f"jmx://{self.place}"


_FORM = "the form is jmx://HOST:PORT?user=NAME&password=env:NAME&tls=true&ca=PATH"


class Jmx:
    """A connection to a JVM's JMX, opened when first used and again after a failure.

    Between requests nothing is sent but the renewal of a lease every few minutes.

    Parameters
    ----------
    timeout
        Seconds for a request, or for all those of a `one_deadline()`, whatever
        is slow: name service, connecting (to where the JVM then says that it is,
        too), or the JVM. What hangs is left to end by Java's own time-outs.

    Raises
    ------
    ConfigError
        The address is wrong, or JPype or a JVM for it is not installed.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.address = JmxAddress(url)
        start_java(timeout)
        self._timeout = timeout
        self._until: float | None = None
        self._calls = BoundedCalls()
        self._connection = _Connection(self.address, timeout)

    @contextlib.contextmanager
    def one_deadline(self, seconds: float | None = None) -> Iterator[None]:
        """All requests within it share one time-out, by default that of one request; the outermost counts.

        It is `own_java.LONGEST_SECONDS` at the most.
        """
        before = self._until
        if before is None:
            self._until = time.monotonic() + (self._timeout if seconds is None else seconds)
        try:
            yield
        finally:
            self._until = before

    def attributes(self, bean: str, names: Sequence[str]) -> dict[str, Any]:
        """Attributes of one bean, in one request; those that it has not are left out.

        Raises
        ------
        SensorError
            The JVM cannot be asked, or has no such bean.
        """

        def ask(server: Any) -> dict[str, Any]:
            answer = server.getAttributes(_name(bean), list(names))
            return {str(each.getName()): each.getValue() for each in answer.asList()}

        return self._ask(f"attributes of {bean}", ask)

    def names(self, pattern: str) -> list[str]:
        """Names of the beans that match a pattern; raises as `attributes` does."""
        return self._ask(
            pattern,
            lambda server: sorted(str(name) for name in server.queryNames(_name(pattern), None)),
        )

    def invoke(self, bean: str, operation: str, *arguments: str) -> Any:
        """Call an operation of a bean that takes strings; raises as `attributes` does."""

        def ask(server: Any) -> Any:
            jpype = import_module("jpype")
            return server.invoke(
                _name(bean),
                operation,
                jpype.JArray(jpype.JObject)(list(arguments)),
                jpype.JArray(jpype.JString)(["java.lang.String"] * len(arguments)),
            )

        return self._ask(f"{operation} of {bean}", ask)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        close = self._connection.close
        with contextlib.suppress(TimeoutError):
            self._calls.call(close, self._timeout, late=close)
        self._calls.close()

    def __repr__(self) -> str:
        return f"<{self.address!r}>"

    def _ask(self, what: str, request: Callable[[Any], T]) -> T:
        """Answer to a request within the time left; what goes wrong lets the next one connect anew."""
        connection = self._connection
        left = self._timeout if self._until is None else self._until - time.monotonic()
        try:
            return self._calls.call(lambda: connection.ask(request), left, late=connection.close)
        except TimeoutError:
            self._connection = _Connection(self.address, self._timeout)
            raise SensorError(f"{self.address!r}, {what}: {SLOW}") from None
        except _FailedError as error:
            raise SensorError(f"{self.address!r}, {what}: {error}") from error.__cause__


class _FailedError(Exception):
    """Why a request failed, for people."""


class _Connection:
    """What one thread at a time asks by."""

    def __init__(self, address: JmxAddress, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._connector: Any = None
        self._server: Any = None

    def ask(self, request: Callable[[Any], T]) -> T:
        """Answer to a request; raises `_FailedError`."""
        jpype = import_module("jpype")
        try:
            return request(self._open())
        except jpype.JException as error:
            self.close()
            raise _FailedError(_reason(error)) from error

    def close(self) -> None:
        """Close it, if it is open."""
        connector, self._connector, self._server = self._connector, None, None
        if connector is not None:
            with contextlib.suppress(Exception):
                connector.close()

    def _open(self) -> Any:
        if self._server is not None:
            return self._server
        self._knock()
        remote, rmi = import_module("javax.management.remote"), import_module("javax.rmi.ssl")
        environment = import_module("java.util").HashMap()
        # No heartbeat: a connection that is dead shows at the next request.
        environment.put("jmx.remote.x.client.connection.check.period", import_module("java.lang").Long(0))
        who = self._address.credentials()
        if who is not None:
            jpype = import_module("jpype")
            environment.put("jmx.remote.credentials", jpype.JArray(jpype.JString)(list(who)))
        if self._address.tls:
            if self._address.ca is not None:
                trust(self._address.ca)
            environment.put("com.sun.jndi.rmi.factory.socket", rmi.SslRMIClientSocketFactory())
        url = remote.JMXServiceURL(f"service:jmx:rmi:///jndi/rmi://{self._address.place}/jmxrmi")
        self._connector = remote.JMXConnectorFactory.connect(url, environment)
        self._server = self._connector.getMBeanServerConnection()
        return self._server

    def _knock(self) -> None:
        """See whether anybody is there: Java's own connecting has no time-out, the kernel's is minutes."""
        try:
            socket.create_connection((self._address.host, self._address.port), self._timeout).close()
        except TimeoutError as error:
            raise _FailedError(SLOW) from error
        except ConnectionRefusedError as error:
            raise _FailedError(NOBODY) from error
        except OSError as error:
            raise _FailedError(f"no connection: {error}") from error


def _reason(error: Any) -> str:
    """What went wrong, and what to do, of a Java exception; without what it may repeat of the credentials."""
    chain: list[tuple[str, str]] = []
    each = error
    while each is not None and len(chain) < 10:
        chain.append((str(each.getClass().getName()), str(each.getMessage() or "")))
        each = each.getCause()
    kinds = [kind for kind, _ in chain]
    if "java.lang.SecurityException" in kinds:
        return "user and password were refused, or are needed: give user= and password= in the address"
    if any("SSL" in kind for kind in kinds):
        return (
            f"no TLS was agreed on ({chain[-1][1]}); see ca= in the address, and give the JVM"
            " -Dcom.sun.management.jmxremote.registry.ssl=true"
        )
    if "non-JRMP server" in chain[-1][1]:
        return "what listens there is no JMX, or wants TLS: see tls= in the address"
    if "java.net.ConnectException" in kinds:
        return NOBODY
    if "java.net.SocketTimeoutException" in kinds:
        return SLOW
    return f"{kinds[-1]}: {chain[-1][1]}"


def _name(name: str) -> Any:
    return import_module("javax.management").ObjectName(name)
