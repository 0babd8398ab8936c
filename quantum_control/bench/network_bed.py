"""A network of our own: a client, a router with a bottleneck, a server, and distance.

    client  c0 ===> r0  router  r1 ===[bottleneck]===> s0  server
      d1 <------------------- delay line <------------------- d0

What the client sends passes the router, whose interface `r1` is the
bottleneck: a token bucket whose rate changes. Packets wait there and not in the
client, since TCP keeps its own sender from filling a queue of its own host
(TCP small queues). What goes back takes the delay line, so that the distance,
a round trip, is there with half the packets to carry in user space.

All of it lives in namespaces without names: this machine's interfaces and
settings are not touched, and nothing is left behind, however the process ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Any, Self

from quantum_control.bench.delay_line import open_tun
from quantum_control.bench.namespace import Namespace
from quantum_control.bench.probe import PERIOD, Probe
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.queue_site import QueueSite

START_SECONDS = 10.0
"""Longest that iperf3 may take to listen."""

CLIENT, SERVER = "10.71.1.1", "10.71.2.1"
"""Addresses, which nobody outside of the namespaces sees."""

BOTTLENECK = "r1"
"""Name of the interface in the router's namespace at which packets wait."""

MTU = 1500
FRAME = MTU + 14
"""Bytes that a full packet counts as in a queue."""

BURST_SECONDS = 0.0005
"""What the bucket holds, at least 2 packets: little, so that a change of rate is felt at once."""


class NetworkBed:
    """The network, from `__enter__` to `__exit__`.

    Parameters
    ----------
    rate
        Of the bottleneck at first, bit/s; 0 for none: the cable alone.
    distance
        Seconds of the way back, and so of the round trip.
    qdisc
        Where packets wait at the bottleneck: "tbf" keeps its queue inside;
        "tbf bfifo limit 30000", "htb pfifo limit 100" have a leaf as `tc`
        describes it, and "htb" leaves it to the kernel.
    limit
        Bytes that the queue inside of a tbf holds at first.

    Raises
    ------
    ConfigError
        Not root, or iproute2 or /dev/net/tun is missing.
    """

    def __init__(
        self, rate: float = 10e6, *, distance: float = 0.0, qdisc: str = "tbf", limit: int = 1000 * FRAME
    ) -> None:
        self.rate = rate
        self.distance = distance
        self.limit = limit
        self._kind, _, self._leaf = qdisc.partition(" ")
        self._stack = ExitStack()
        self.client: Namespace
        self.router: Namespace
        self.server: Namespace

    @property
    def netns(self) -> str:
        """Network namespace of the bottleneck, as a path."""
        return self.router.path

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.client, self.router, self.server = (stack.enter_context(Namespace()) for _ in range(3))
            self._cable(self.client, "c0", CLIENT, "r0", "10.71.1.254", SERVER)
            self._cable(self.server, "s0", SERVER, BOTTLENECK, "10.71.2.254", CLIENT)
            self.router.call(lambda: _write("ip_forward", "1"))
            if self.distance > 0.0:
                self._lengthen()
            if self.rate > 0.0:
                self._narrow()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def set_rate(self, rate: float, limit: int | None = None) -> None:
        """Change the rate of the bottleneck (bit/s); the limit stays, unless one is given."""
        self.rate = rate
        shape = f"rate {rate:.0f}bit burst {_burst(rate)}"
        if self._kind == "htb":
            self._tc(f"class change dev {BOTTLENECK} parent 1: classid 1:1 htb {shape} cburst {_burst(rate)}")
        else:
            # A tbf hands its limit on to a leaf, whatever the leaf counts.
            self._tc(f"qdisc change dev {BOTTLENECK} root tbf {shape} limit {limit or self.queue_limit()}")

    def queue_limit(self) -> int:
        """Limit of the queue that packets wait in, in its own unit, as it is now."""
        return QueueSite(BOTTLENECK, None, False, self.netns).read()[1]

    def listen(self, port: int = 5201) -> None:
        """Start an iperf3 server.

        Raises
        ------
        ConfigError
            iperf3 is not installed, or does not listen.
        """
        if which("iperf3") is None:
            raise ConfigError("iperf3 is not installed; apt-get install iperf3")
        self.server.start(["iperf3", "--server", "--port", str(port)])
        until = time.monotonic() + START_SECONDS
        # A connection to try it would be a client to iperf3, which turns away the next one meanwhile.
        listening = ("ss", "--no-header", "--tcp", "--listening", "--numeric", f"sport = :{port}")
        while not self.server.run(*listening):
            if time.monotonic() > until:
                raise ConfigError(f"iperf3 does not listen at port {port} after {START_SECONDS:g} s")
            time.sleep(0.02)

    def send(
        self,
        seconds: float,
        *,
        streams: int = 1,
        law: str = "cubic",
        port: int = 5201,
        options: Sequence[str] = (),
    ) -> Transfer:
        """Send from the client to the server with iperf3 for some seconds, over as many TCP connections.

        `law` is the congestion control. Call `listen()` first.
        """
        command = ["iperf3", "--client", SERVER, "--port", str(port), "--time", f"{seconds:g}", "--json"]
        command += ["--parallel", str(streams), "--congestion", law, *options]
        return Transfer(self.client.start(command, output=subprocess.PIPE))

    def probe(self, period: float = PERIOD) -> Probe:
        """Small packets from the client to the server that measure the delay on the way there."""
        return Probe(self.client, self.server, SERVER, period)

    def _cable(self, end: Namespace, near: str, address: str, far: str, gateway: str, to: str) -> None:
        """Connect `end` with the router, and send what is for `to` there."""
        end.run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self.router.path)
        end.run("ip", "address", "add", f"{address}/24", "dev", near)
        # One packet at a time, as on a wire: what is sent in one piece is queued, and dropped, in one piece.
        end.run("ip", "link", "set", near, "up", "gso_max_segs", "1")
        self.router.run("ip", "address", "add", f"{gateway}/24", "dev", far)
        self.router.run("ip", "link", "set", far, "up", "gso_max_segs", "1")
        end.run("ip", "route", "add", f"{to}/32", "via", gateway)

    def _lengthen(self) -> None:
        """Send what goes back by the delay line."""
        ends = []
        try:
            for end, name in ((self.server, "d0"), (self.client, "d1")):
                ends.append(end.call(partial(open_tun, name)))
                end.run("ip", "link", "set", name, "up", "txqueuelen", "10000")
            self.router.start(
                [
                    sys.executable,
                    "-m",
                    "quantum_control.bench.delay_line",
                    *map(str, ends),
                    str(self.distance),
                ],
                keep=ends,
            )
        finally:
            for descriptor in ends:
                os.close(descriptor)
        # The way back is not the way there, which a strict reverse-path filter would not let pass.
        for name in ("all", "d1"):
            self.client.call(partial(_write, f"conf/{name}/rp_filter", "0"))
        self.server.run("ip", "route", "replace", f"{CLIENT}/32", "dev", "d0")

    def _narrow(self) -> None:
        """Make the bottleneck."""
        burst = _burst(self.rate)
        if self._kind == "htb":
            self._tc(f"qdisc add dev {BOTTLENECK} root handle 1: htb default 1")
            self._tc(
                f"class add dev {BOTTLENECK} parent 1: classid 1:1 htb"
                f" rate {self.rate:.0f}bit burst {burst} cburst {burst}"
            )
        elif self._kind == "tbf":
            self._tc(
                f"qdisc add dev {BOTTLENECK} root handle 1: tbf"
                f" rate {self.rate:.0f}bit burst {burst} limit {self.limit}"
            )
        else:
            raise ConfigError(f"qdisc={self._kind!r}: a bottleneck is made of a tbf or an htb")
        if self._leaf:
            self._tc(f"qdisc add dev {BOTTLENECK} parent 1:1 handle 10: {self._leaf}")

    def _tc(self, arguments: str) -> None:
        self.router.run("tc", *arguments.split())


class Transfer:
    """A run of iperf3 that is under way."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def result(self, timeout: float = 60.0) -> dict[str, Any]:
        """What iperf3 says at its end, as its JSON.

        Raises
        ------
        SensorError
            It failed, or is not through after `timeout` seconds.
        """
        try:
            told, _ = self._process.communicate(timeout=timeout)
            answer: dict[str, Any] = json.loads(told)
        except (subprocess.TimeoutExpired, ValueError) as error:
            raise SensorError(f"iperf3 gave no result: {error}") from error
        if "error" in answer:
            raise SensorError(f"iperf3: {answer['error']}")
        return answer


def _burst(rate: float) -> int:
    """Bytes that the bucket of a bottleneck of `rate` bit/s holds."""
    return max(2 * FRAME, round(rate / 8.0 * BURST_SECONDS))


def _write(name: str, value: str) -> None:
    """Set a sysctl of IPv4 of the network namespace of the calling thread."""
    Path("/proc/sys/net/ipv4", name).write_text(value)
