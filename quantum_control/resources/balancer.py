"""What load balancers of every kind report and take; `open_balancer` finds the one that a URL means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from quantum_control.core.errors import ConfigError, unknown_name

FULL_WEIGHT = 256
"""Weight given to the largest share: HAProxy's largest, and fine enough for the others."""


@dataclass(frozen=True, slots=True)
class BackEnd:
    """One back end at one instant; the differences of two describe the time between them."""

    weight: int
    """Weight that it was given; 0 means that it gets no new requests (drained)."""
    started: int
    """Requests sent to it so far."""
    ended: int
    """Of these, the ones that have ended, well or badly."""
    failed: int
    """Of these, the ones that failed: a 5xx status, no connection, no answer in time."""
    in_flight: float
    """Requests under way or queued for it now, or on average since the reading before."""
    up: bool = True
    """Whether the balancer takes it for usable: not failing its health checks, not in maintenance."""
    spare: bool = False
    """A back-up that the balancer uses only when nothing else is left; not ours to weigh."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole set of back ends at one instant."""

    back_ends: Mapping[str, BackEnd]
    run: str = ""
    """Changes when the balancer has been restarted or reloaded, and weights set at run time are gone."""


class Balancer(ABC):
    """A set of back ends whose weights can be read and set. Derive from it to bring your own."""

    dead_band: float = 0.1
    """Relative change of weight that is not worth an order."""
    outlives_boot: bool = False
    """Whether what is set is there still when this machine has started anew, as in a file."""

    @abstractmethod
    def read(self) -> Reading:
        """Measure now.

        Raises
        ------
        SensorError
            It cannot be reached, or its answer makes no sense.
        """

    def read_weights(self) -> Reading:
        """Read the weights in force, for giving back; what is counted may be left at 0.

        Where they are in a file this asks nothing of the balancer, which may be down.

        Raises
        ------
        SensorError
            They cannot be read.
        """
        return self.read()

    @abstractmethod
    def write(self, weights: Mapping[str, int]) -> None:
        """Set these weights, all of them or none; 0 drains, more makes ready.

        Most are FULL_WEIGHT at the most. One that is put back is what was found, however large.

        Raises
        ------
        ActuatorError
            Refused or not to be reached; what was set already has been put back.
        """

    def snapshot(self) -> dict[str, object]:
        """All that was found beyond weights; JSON. Empty where weights are everything."""
        return {}

    def recall(self, snapshot: Mapping[str, object]) -> None:  # noqa: B027 - nothing to do if that was empty
        """Take what `snapshot()` has said, in another process, for what is to come back."""

    def check_spares(self, addresses: Sequence[str]) -> None:
        """Check that `add` could take these.

        Raises
        ------
        ConfigError
            One is no "host:port", or this kind of balancer adds none.
        """
        if addresses and type(self).add is Balancer.add:
            raise ConfigError(
                f"{self!r} cannot add back ends while it runs: leave out spares=, list the servers in its"
                " configuration, and give min_backends= to have some of them kept out"
            )
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or (":" in host and host[0] + host[-1] != "[]"):
                raise ConfigError(
                    f"the spare {address!r} is no address; write host:port, or [host]:port for IPv6"
                )

    def name_of(self, address: str) -> str:
        """Name that `add` gives to the server at `address`."""
        return address

    def add(self, address: str) -> str:
        """Take the server at `address` ("host:port") into the set, drained; return its name.

        Raises
        ------
        ActuatorError
            Refused, or this kind of balancer cannot.
        """
        raise ConfigError(f"{self!r} cannot add {address!r}: no back ends can be added here")

    def remove(self, name: str) -> bool:
        """Take a back end that `add` has added out of the set; False while requests hold on to it.

        Raises
        ------
        ActuatorError
            Refused, or this kind of balancer cannot.
        """
        raise ConfigError(f"{self!r} cannot remove {name!r}: no back ends can be removed here")


def host_port(host: str, port: int) -> str:
    """Write an address as in a URL: "host:port", an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_balancer(url: str) -> Balancer:
    """Make the balancer that `url` means; nothing is connected or read yet.

    haproxy+unix:///run/haproxy/admin.sock?backend=app
    haproxy+tcp://127.0.0.1:9999?backend=app, or with [::1] as the host
    envoy+http://127.0.0.1:9901?cluster=app&eds=/etc/envoy/eds.json
    nginx+file:///etc/nginx/app.upstream?log=/var/log/nginx/app.log&pid=/run/nginx.pid

    Raises
    ------
    ConfigError
        The URL is of no known form, lacks something, says something unknown, or holds a password.
        It is not repeated: whatever is in the wrong place might be one.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(
            "the URL of the balancer has no host that makes sense; write [::1] for IPv6"
        ) from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"the URL of a {parts.scheme} balancer holds a user or a password; take them out,"
            " URLs end up in logs. Envoy takes authorization_env=NAME, the name of an environment variable,"
            " or authorization_file=PATH"
        )
    # Imported when they are asked for: each brings its own client.
    if parts.scheme in ("haproxy+unix", "haproxy+tcp"):
        from quantum_control.resources.haproxy import HAProxy

        backend = _options(parts, required=("backend",))["backend"]
        if parts.scheme == "haproxy+unix":
            return HAProxy(backend, path=_path(parts))
        return HAProxy(backend, address=_address(parts))
    if parts.scheme == "envoy+http":
        from quantum_control.resources.envoy import Envoy

        options = _options(parts, ("cluster", "eds"), optional=("authorization_env", "authorization_file"))
        return Envoy(_address(parts), **options)
    if parts.scheme == "nginx+file":
        from quantum_control.resources.nginx import Nginx

        options = _options(parts, required=("log", "pid"))
        return Nginx(_path(parts), options["log"], options["pid"])
    known = ("haproxy+unix", "haproxy+tcp", "envoy+http", "nginx+file")
    raise ConfigError(unknown_name("balancer URL scheme", parts.scheme, known))


def _options(parts: SplitResult, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in (*required, *optional):
            unknown = unknown_name("option", name, (*required, *optional))
            raise ConfigError(f"{unknown}, in the URL of a {parts.scheme} balancer")
    for name in required:
        if not options.get(name):
            raise ConfigError(
                f"the URL of a {parts.scheme} balancer lacks {name}=;"
                f" write {parts.scheme}:...?{'=...&'.join(required)}=..."
            )
    return options


def _path(parts: SplitResult) -> str:
    if parts.netloc or not parts.path.startswith("/"):
        raise ConfigError(f"write three slashes before an absolute path, {parts.scheme}:///path")
    return parts.path


def _address(parts: SplitResult) -> tuple[str, int]:
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path not in ("", "/"):
        raise ConfigError(f"write {parts.scheme}://host:port, the port as a number, and without a path")
    return host, port
