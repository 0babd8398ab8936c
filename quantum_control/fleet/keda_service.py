"""The four calls of KEDA's contract, answered from what the fleet has worked out in the background."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

import grpc
from google.protobuf.message import Message

from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.fleet.keda_externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from quantum_control.fleet.keda_externalscaler_pb2_grpc import ExternalScalerServicer
from quantum_control.fleet.scaler_fleet import Fleet, FullError, Tracked
from quantum_control.fleet.scaler_history import QueryError
from quantum_control.fleet.scaler_steps import UnavailableError

WARMING_SECONDS = 2.0
"""For which a call waits for a new target's first answer; KEDA itself gives up after 3 s in places."""

CODES: dict[type[QuantumControlError], grpc.StatusCode] = {
    ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    QueryError: grpc.StatusCode.INVALID_ARGUMENT,
    FullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}

TARGET = 1
"""Average value aimed at by each pod: with the replicas wanted as the metric's value the Horizontal Pod
Autoscaler's ceil(value/target) is the replicas wanted."""

Context = grpc.aio.ServicerContext[Message, Message]

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5)
"""Upper bounds of the times of calls, in seconds."""


class Calls:
    """Counts of the calls by method and status, and of their times."""

    def __init__(self) -> None:
        self.by_status: dict[tuple[str, str], int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def add(self, method: str, status: str, seconds: float) -> None:
        """Count one."""
        key = (method, status)
        self.by_status[key] = self.by_status.get(key, 0) + 1
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class ExternalScaler(ExternalScalerServicer):
    """The contract's server, in an event loop; made inside it."""

    def __init__(self, fleet: Fleet) -> None:
        self.calls = Calls()
        self.stopping = False
        self._fleet = fleet
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[Tracked, set[asyncio.Event]] = {}
        fleet.advanced = self._advanced

    def stop(self) -> None:
        """Refuse calls from now on, and end the streams."""
        self.stopping = True
        self._wake(list(self._listeners))

    def _advanced(self, changed: Sequence[Tracked]) -> None:
        """From the fleet's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, changed)

    def _wake(self, changed: Sequence[Tracked]) -> None:
        """Let streams and calls that wait for these look again."""
        for each in changed:
            for news in self._listeners.get(each, ()):
                news.set()

    @contextmanager
    def _listening(self, tracked: Tracked) -> Iterator[asyncio.Event]:
        """Hear of news of one target."""
        news = asyncio.Event()
        listeners = self._listeners.setdefault(tracked, set())
        listeners.add(news)
        try:
            yield news
        finally:
            listeners.discard(news)
            if not listeners:
                self._listeners.pop(tracked, None)

    async def IsActive(self, request: ScaledObjectRef, context: Context) -> IsActiveResponse:  # noqa: N802
        """Whether there is work, so that there has to be a pod."""
        began = time.perf_counter()
        try:
            tracked = await self._ready(request)
            active = self._fleet.active(tracked)
        except QuantumControlError as error:
            await self._refuse("IsActive", error, context, began)
        self.calls.add("IsActive", "OK", time.perf_counter() - began)
        return IsActiveResponse(result=active)

    async def StreamIsActive(  # noqa: N802
        self, request: ScaledObjectRef, context: Context
    ) -> AsyncIterator[IsActiveResponse]:
        """Say so at once, and whenever it changes, until the caller leaves or the server stops."""
        began = time.perf_counter()
        try:
            tracked = self._tracked(request)
        except QuantumControlError as error:
            await self._refuse("StreamIsActive", error, context, began)
        tracked.streams += 1
        told: bool | None = None
        try:
            with self._listening(tracked) as news:
                while not self.stopping:
                    news.clear()
                    try:
                        active: bool | None = self._fleet.active(tracked)
                    except UnavailableError:
                        active = told  # there is nothing new to say; what was said holds
                    except QueryError as error:
                        await self._refuse("StreamIsActive", error, context, began)
                    if active is not None and active is not told:
                        told = active
                        yield IsActiveResponse(result=active)
                    await news.wait()
        finally:  # also when the caller has gone: its ScaledObject was deleted
            tracked.streams -= 1
            self._fleet.touch(tracked)

    async def GetMetricSpec(self, request: ScaledObjectRef, context: Context) -> GetMetricSpecResponse:  # noqa: N802
        """Name of the metric, and the value of it that makes one pod."""
        began = time.perf_counter()
        try:
            metric = self._tracked(request).target.metric
        except QuantumControlError as error:
            await self._refuse("GetMetricSpec", error, context, began)
        self.calls.add("GetMetricSpec", "OK", time.perf_counter() - began)
        spec = MetricSpec(metricName=metric, targetSize=TARGET, targetSizeFloat=float(TARGET))
        return GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: GetMetricsRequest, context: Context) -> GetMetricsResponse:  # noqa: N802
        """Replicas wanted."""
        began = time.perf_counter()
        try:
            tracked = await self._ready(request.scaledObjectRef)
            metric = tracked.target.metric
            if request.metricName != metric:
                await self._end(
                    "GetMetrics",
                    grpc.StatusCode.NOT_FOUND,
                    f"no metric {request.metricName!r}; that of this trigger is {metric!r}",
                    context,
                    began,
                )
            wanted = self._fleet.replicas(tracked)
        except QuantumControlError as error:
            await self._refuse("GetMetrics", error, context, began)
        self.calls.add("GetMetrics", "OK", time.perf_counter() - began)
        value = MetricValue(metricName=metric, metricValue=wanted, metricValueFloat=float(wanted))
        return GetMetricsResponse(metricValues=[value])

    def _tracked(self, request: ScaledObjectRef) -> Tracked:
        if self.stopping:
            raise UnavailableError("this scaler is being stopped; ask another one")
        return self._fleet.track(request.namespace, request.name, request.scalerMetadata)

    async def _ready(self, request: ScaledObjectRef) -> Tracked:
        """Return the target, after a moment's wait if it is new."""
        tracked = self._tracked(request)
        if not tracked.known:
            with self._listening(tracked) as news, suppress(TimeoutError):
                async with asyncio.timeout(WARMING_SECONDS):
                    while not tracked.known:
                        news.clear()
                        await news.wait()
        return tracked

    async def _refuse(
        self, method: str, error: QuantumControlError, context: Context, began: float
    ) -> NoReturn:
        code = next((code for kind, code in CODES.items() if isinstance(error, kind)), None)
        await self._end(method, code or grpc.StatusCode.INTERNAL, str(error), context, began)

    async def _end(
        self, method: str, code: grpc.StatusCode, why: str, context: Context, began: float
    ) -> NoReturn:
        self.calls.add(method, code.name, time.perf_counter() - began)
        await context.abort(code, why)
