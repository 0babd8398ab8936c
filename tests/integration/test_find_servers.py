"""Real servers, found from /proc."""

from __future__ import annotations

import pytest
from integration.pool_load import pgbouncer, redis_server

from quantum_control.resources import find_connections, find_loadbalancer
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration


def found(module):
    return {each.name: each for each in module.find()}


def test_postgresql_and_a_pgbouncer_that_can_be_steered_as_found(server):
    with pgbouncer(server) as bouncer:
        there = found(find_connections)
        one = there[f"pgbouncer-{bouncer.port}"]
        assert one.options == {"dsn": f"host=127.0.0.1 port={bouncer.port} dbname=pgbouncer"}
        assert str(bouncer.folder / "pgbouncer.ini") in one.note
        with ConnectionPoolResource(dsn=one.options["dsn"] + " user=admin") as resource:
            assert resource.measure_state().size == 20
        assert there[f"postgresql-{server.port}"].options["server"] == f"host=127.0.0.1 port={server.port}"
    assert f"pgbouncer-{bouncer.port}" not in found(find_connections)


def test_a_redis():
    with redis_server() as server:
        assert "give one as pool=" in found(find_connections)[f"redis-{server.port}"].note


def steered_by(url):
    """What is found with this address; there may be others of its kind."""
    return next(each for each in find_loadbalancer.find() if each.options.get("url") == url)


def test_a_haproxy_that_can_be_steered_as_found(haproxy):
    one = steered_by(haproxy.url)
    assert one.name.startswith("haproxy-app")
    assert one.note == ""
    assert LoadBalancerResource(one.options["url"]).measure_state().size == 6


def test_an_envoy_that_can_be_steered_as_found(envoy):
    one = steered_by(envoy.url)
    assert one.name.startswith("envoy-app")
    assert LoadBalancerResource(one.options["url"]).measure_state().size == 6
