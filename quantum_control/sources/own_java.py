"""The small JVM in this process, by JPype (the extra `jvm`), which speaks JMX for us."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ConfigError

HEAP = "-Xmx64m"
"""Of the JVM in this process."""

LONGEST_SECONDS = 60.0
"""After which Java itself gives a request up, one time for all of the process: that of a collection that was
asked for. Whoever waits less leaves the request to end by this."""

_starting = threading.Lock()


def trust(path: str) -> None:
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


def start_java(timeout: float) -> None:
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
            "sun.rmi.transport.tcp.responseTimeout": str(round(1e3 * max(timeout, LONGEST_SECONDS))),
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
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_leave_at_exit)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no JVM can be started in this process, which JMX needs ({error}); install a Java runtime"
                " (openjdk-17-jre-headless) or set JAVA_HOME"
            ) from error


def _leave_at_exit() -> None:
    """Let a forked child end without an end of Java, which would wait for threads that are not there."""
    config: Any = import_module("jpype.config")
    config.onexit = False
