"""JMX of a JVM, near or far, by a small JVM in this process (JPype, the extra `jvm`).

The form of the address is

    jmx://HOST:PORT?user=NAME&password=env:NAME&tls=true&ca=PATH

of which all that follows the port may be left out. `user` may itself be
`env:NAME` or `file:PATH`; `password` is never given itself. `ca` is a file with
the certificates to trust (PEM), by default those that the JDK trusts. Java keeps
one set for the process: give all addresses the same file.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.core.secret import Secret

TIMEOUT_SECONDS = 5.0
"""For an answer, and for the greeting of a port that may be no JMX at all."""

HEAP = "-Xmx64m"
"""Of the JVM in this process."""

_PARAMETERS = ("user", "password", "tls", "ca")

_starting = threading.Lock()


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

    Raises
    ------
    ConfigError
        The address is wrong, or JPype or a JVM for it is not installed.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.address = JmxAddress(url)
        _start_java(timeout)
        self._connector: Any = None
        self._server: Any = None

    def attributes(self, bean: str, names: Sequence[str]) -> dict[str, Any]:
        """Attributes of one bean, in one request; those that it has not are left out.

        Raises
        ------
        SensorError
            The JVM cannot be asked, or has no such bean.
        """
        with self._asking(f"attributes of {bean}"):
            answer = self._open().getAttributes(_name(bean), list(names))
            return {str(each.getName()): each.getValue() for each in answer.asList()}

    def names(self, pattern: str) -> list[str]:
        """Names of the beans that match a pattern; raises as `attributes` does."""
        with self._asking(pattern):
            return sorted(str(name) for name in self._open().queryNames(_name(pattern), None))

    def invoke(self, bean: str, operation: str, *arguments: str) -> Any:
        """Call an operation of a bean that takes strings; raises as `attributes` does."""
        jpype = import_module("jpype")
        with self._asking(f"{operation} of {bean}"):
            return self._open().invoke(
                _name(bean),
                operation,
                jpype.JArray(jpype.JObject)(list(arguments)),
                jpype.JArray(jpype.JString)(["java.lang.String"] * len(arguments)),
            )

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connector, self._connector, self._server = self._connector, None, None
        if connector is not None:
            with contextlib.suppress(Exception):
                connector.close()

    def __repr__(self) -> str:
        return f"<{self.address!r}>"

    def _open(self) -> Any:
        if self._server is not None:
            return self._server
        remote, rmi = import_module("javax.management.remote"), import_module("javax.rmi.ssl")
        environment = import_module("java.util").HashMap()
        # No heartbeat: a connection that is dead shows at the next request.
        environment.put("jmx.remote.x.client.connection.check.period", import_module("java.lang").Long(0))
        who = self.address.credentials()
        if who is not None:
            jpype = import_module("jpype")
            environment.put("jmx.remote.credentials", jpype.JArray(jpype.JString)(list(who)))
        if self.address.tls:
            if self.address.ca is not None:
                _trust(self.address.ca)
            environment.put("com.sun.jndi.rmi.factory.socket", rmi.SslRMIClientSocketFactory())
        url = remote.JMXServiceURL(f"service:jmx:rmi:///jndi/rmi://{self.address.place}/jmxrmi")
        self._connector = remote.JMXConnectorFactory.connect(url, environment)
        self._server = self._connector.getMBeanServerConnection()
        return self._server

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn what Java throws into errors of ours, and let the next request connect anew."""
        jpype = import_module("jpype")
        try:
            yield
        except jpype.JException as error:
            self.close()
            raise SensorError(f"{self.address!r}, {what}: {_reason(error)}") from error


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
        return f"no TLS was agreed on ({chain[-1][1]}); see tls= and ca= in the address"
    if "java.net.ConnectException" in kinds:
        return "nobody listens there; is the JVM running, with -Dcom.sun.management.jmxremote.port=PORT?"
    if "java.net.SocketTimeoutException" in kinds:
        return "no answer in time; it is no JMX port, or the JVM is stopped or overloaded"
    return f"{kinds[-1]}: {chain[-1][1]}"


def _name(name: str) -> Any:
    return import_module("javax.management").ObjectName(name)


def _trust(path: str) -> None:
    """Make the certificates in a file the ones that TLS in this process trusts.

    Raises
    ------
    ConfigError
        The file cannot be read, or has none.
    """
    ssl, security = import_module("javax.net.ssl"), import_module("java.security")
    factory = import_module("java.security.cert").CertificateFactory.getInstance("X.509")
    store = security.KeyStore.getInstance(security.KeyStore.getDefaultType())
    store.load(None, None)
    jpype = import_module("jpype")
    try:
        stream = import_module("java.io").ByteArrayInputStream(Path(path).read_bytes())
        for number, certificate in enumerate(factory.generateCertificates(stream)):
            store.setCertificateEntry(str(number), certificate)
    except (OSError, jpype.JException) as error:
        raise ConfigError(f"ca={path}: no certificates can be read there ({error})") from error
    trusted = ssl.TrustManagerFactory.getInstance(ssl.TrustManagerFactory.getDefaultAlgorithm())
    trusted.init(store)
    context = ssl.SSLContext.getInstance("TLS")
    context.init(None, trusted.getTrustManagers(), None)
    ssl.SSLContext.setDefault(context)


def _start_java(timeout: float) -> None:
    """Start the JVM of this process, once; the first time-out counts.

    Raises
    ------
    ConfigError
        JPype or a JVM is not installed.
    """
    with _starting:
        try:
            jpype = import_module("jpype")
            import_module("jpype.imports")
        except ImportError as error:
            raise ConfigError(
                "JPype1 is missing; install it with: pip install 'quantum-control[jvm]'"
            ) from error
        if jpype.isJVMStarted():
            return
        wait = str(max(1, round(1e3 * timeout)))
        properties = {
            "sun.rmi.transport.tcp.responseTimeout": wait,
            "sun.rmi.transport.tcp.handshakeTimeout": wait,
            "sun.rmi.transport.tcp.readTimeout": wait,
        }
        try:
            jpype.startJVM(
                HEAP,
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Xrs",  # signals are Python's
                *(f"-D{name}={value}" for name, value in properties.items()),
                convertStrings=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no JVM can be started in this process, which JMX needs ({error}); install a Java runtime"
                " (openjdk-17-jre-headless) or set JAVA_HOME"
            ) from error
