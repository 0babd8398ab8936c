"""Time of GetMetrics over real gRPC, with ten thousand targets that are stepped all the while.

    python benchmarks/keda_calls.py [--targets 10000] [--rate 2000] [--seconds 60] [--cores 2] [--out FILE]

The scaler is started as a user starts it. This process stands in for KEDA: it calls at random moments
(Poisson) of the given rate whether answers come or not (open loop), and a call's time counts from the moment
at which it was due, so that whatever this process is late by counts as well. Another one stands in for
Prometheus and answers every expression with a sine. All of them share the same few cores.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs

import grpc

from quantum_control.bench.server_process import wait_until
from quantum_control.fleet.keda_externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from quantum_control.fleet.keda_externalscaler_pb2_grpc import ExternalScalerStub

MARK = re.compile(r'"quantum_control_read", "(\d+)"')
IN_FLIGHT = 200
"""Of the calls with which the targets are made known."""

QUANTILES = (50.0, 90.0, 99.0, 99.9)


@lru_cache(maxsize=64)
def sine(start: float, step: float, count: int) -> str:
    """Values of a series, as JSON."""
    times = [start + step * i for i in range(count)]
    return json.dumps([[t, f"{100 + 50 * math.sin(t / 500):.3f}"] for t in times])


class Prometheus(BaseHTTPRequestHandler):
    """Answers ranges."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Give each expression its sine."""
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        start, end, step = (float(asked[key][0]) for key in ("start", "end", "step"))
        values = sine(start, step, round((end - start) / step) + 1)
        marks = MARK.findall(asked["query"][0])
        result = ",".join(
            f'{{"metric":{{"quantum_control_read":"{mark}"}},"values":{values}}}' for mark in marks
        )
        body = f'{{"status":"success","data":{{"result":[{result}]}}}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def references(count: int, model: str) -> list[ScaledObjectRef]:
    """Triggers of `count` ScaledObjects."""
    said = {"scalerAddress": "scaler:9465", "perPod": "10", "startup": "60", "model": model}
    return [
        ScaledObjectRef(
            name=f"web-{i}",
            namespace="shop",
            scalerMetadata={**said, "query": f'sum(rate(requests_total{{app="web-{i}"}}[1m]))'},
        )
        for i in range(count)
    ]


async def made_known(stub: ExternalScalerStub, refs: list[ScaledObjectRef]) -> list[GetMetricsRequest]:
    """Requests for all targets, once each has been warmed up."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(ref: ScaledObjectRef) -> GetMetricsRequest:
        async with gate:
            spec = await stub.GetMetricSpec(ref)
            request = GetMetricsRequest(scaledObjectRef=ref, metricName=spec.metricSpecs[0].metricName)
            while True:
                try:
                    await stub.GetMetrics(request)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.5)
                else:
                    return request

    return list(await asyncio.gather(*map(one, refs)))


async def called(
    call: Callable[..., Awaitable[bytes]], requests: list[bytes], rate: float, seconds: float
) -> tuple[list[float], int]:
    """Seconds of each call, from when it was due; and how many failed."""
    rng = random.Random(1)
    taken: list[float] = []
    failed = 0

    async def one(request: bytes, due: float) -> None:
        nonlocal failed
        try:
            await call(request, timeout=10.0)
        except grpc.aio.AioRpcError:
            failed += 1
        taken.append(time.perf_counter() - due)

    due = time.perf_counter()
    end = due + seconds
    under_way: set[asyncio.Task[None]] = set()
    while (due := due + rng.expovariate(rate)) < end:
        if (left := due - time.perf_counter()) > 0.0:
            await asyncio.sleep(left)
        task = asyncio.create_task(one(rng.choice(requests), due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return taken, failed


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [pid, *(each for child in children for each in family(child))]


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of processes."""
    ticks = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pids: list[int]) -> int:
    """Memory of processes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(port: int, scaler: int, stand_in: int, options: argparse.Namespace) -> dict[str, float]:
    """Make the targets known, and call."""
    processes = {"scaler": family(scaler), "prometheus": [stand_in], "caller": [os.getpid()]}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        begun = time.perf_counter()
        requests = await made_known(ExternalScalerStub(channel), references(options.targets, options.model))
        warmed = time.perf_counter() - begun
        print(f"{options.targets} targets warmed up in {warmed:.1f} s", flush=True)
        # Without making bytes of messages and messages of bytes: that is the caller's own.
        call = channel.unary_unary("/externalscaler.ExternalScaler/GetMetrics")
        coded = [request.SerializeToString() for request in requests]
        # This process' own collector would look through all requests, and every call under way wait for it.
        gc.collect()
        gc.freeze()
        begun, before = time.perf_counter(), {name: cpu_seconds(pids) for name, pids in processes.items()}
        taken, failed = await called(call, coded, options.rate, options.seconds)
        lasted = time.perf_counter() - begun
        used = {name: cpu_seconds(pids) - before[name] for name, pids in processes.items()}
    taken.sort()
    found: dict[str, float] = {
        "targets": options.targets,
        "rate": options.rate,
        "seconds": options.seconds,
        "cores": len(os.sched_getaffinity(0)),
        "warm_up_s": round(warmed, 2),
        "calls": len(taken),
        "failed": failed,
    }
    for quantile in QUANTILES:
        place = min(int(len(taken) * quantile / 100.0), len(taken) - 1)
        found[f"p{quantile:g}_ms"] = round(1e3 * taken[place], 3)
    found["most_ms"] = round(1e3 * taken[-1], 3)
    found |= {f"{name}_cores": round(seconds / lasted, 3) for name, seconds in used.items()}
    found["scaler_mb"] = round(resident_bytes(processes["scaler"]) / 1e6, 1)
    return found


def main() -> None:
    """Start the stand-in and the scaler, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="coherent")
    parser.add_argument("--cores", type=int, default=2, help="that all processes share")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    stand_in = os.fork()
    if not stand_in:
        server.serve_forever()
    try:
        with TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            command = [sys.executable, "-m", "quantum_control", "keda", "--port", "0", "--metrics-port", "0"]
            with log.open("wb") as out:
                scaler = subprocess.Popen(  # noqa: S603 - our own
                    [*command, "--prometheus", f"prometheus://127.0.0.1:{server.server_port}"], stderr=out
                )
            try:
                wait_until(lambda: "metrics at" in log.read_text() or scaler.poll() is not None)
                port = re.search(r"at port (\d+)", log.read_text())
                if port is None:
                    sys.exit(log.read_text())
                found = asyncio.run(measure(int(port[1]), scaler.pid, stand_in, options))
            finally:
                scaler.send_signal(signal.SIGTERM)
                scaler.wait()
    finally:
        os.kill(stand_in, signal.SIGTERM)
        os.waitpid(stand_in, 0)
    print("  ".join(f"{name} {value:g}" for name, value in found.items()))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
