"""Time of GetMetrics over real gRPC, with ten thousand targets that are stepped all the while.

    python benchmarks/keda_calls.py [--targets 10000] [--rate 2000] [--seconds 60]

The scaler is a process of its own; this one stands in for KEDA, calling at the given rate whether answers
come or not (open loop: a late answer does not make the next call late), and a third for Prometheus, which
answers every expression with a sine. All three share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
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
    stub: ExternalScalerStub, requests: list[GetMetricsRequest], rate: float, seconds: float
) -> tuple[list[float], int]:
    """Seconds of each call, from when it was due; and how many failed."""
    taken: list[float] = []
    failed = 0

    async def one(request: GetMetricsRequest, due: float) -> None:
        nonlocal failed
        try:
            await stub.GetMetrics(request, timeout=10.0)
        except grpc.aio.AioRpcError:
            failed += 1
        taken.append(time.perf_counter() - due)

    begun = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()
    for i in range(int(rate * seconds)):
        due = begun + i / rate
        if (left := due - time.perf_counter()) > 0.0:
            await asyncio.sleep(left)
        task = asyncio.create_task(one(requests[i * 7919 % len(requests)], max(due, time.perf_counter())))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return taken, failed


async def measure(port: int, options: argparse.Namespace) -> None:
    """Make the targets known, call, and print."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = ExternalScalerStub(channel)
        begun = time.perf_counter()
        requests = await made_known(stub, references(options.targets, options.model))
        print(f"{options.targets} targets warmed up in {time.perf_counter() - begun:.0f} s", flush=True)
        taken, failed = await called(stub, requests, options.rate, options.seconds)
    taken.sort()
    shown = "  ".join(f"p{q:g} {1e3 * taken[min(int(len(taken) * q / 100), len(taken) - 1)]:.2f} ms"
                      for q in (50, 90, 99, 99.9))  # fmt: skip
    print(
        f"{len(taken)} calls at {options.rate:g}/s, {failed} failed:  {shown}  most {1e3 * taken[-1]:.1f} ms"
    )


def main() -> None:
    """Start the stand-in and the scaler, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="coherent")
    options = parser.parse_args()
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
                found = re.search(r"at port (\d+)", log.read_text())
                if found is None:
                    sys.exit(log.read_text())
                asyncio.run(measure(int(found[1]), options))
            finally:
                scaler.send_signal(signal.SIGTERM)
                scaler.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"the scaler used {used.ru_utime + used.ru_stime:.0f} s of CPU,"
            f" {used.ru_maxrss / 1024:.0f} MiB at most"
        )
    finally:
        os.kill(stand_in, signal.SIGTERM)
        os.waitpid(stand_in, 0)


if __name__ == "__main__":
    main()
