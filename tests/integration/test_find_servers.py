"""Real servers, found from /proc."""

from __future__ import annotations

import pytest
from integration.pool_load import pgbouncer, redis_server

from quantum_control.config_file import read_config
from quantum_control.core.plugins import load
from quantum_control.daemon.commands import configuration
from quantum_control.resources import find_buffer, find_connections, find_loadbalancer
from quantum_control.resources.connections import ConnectionPoolResource
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration


def found(module):
    return {each.name: each for each in module.find()}


def test_postgresql_and_a_pgbouncer_that_can_be_steered_as_found(server):
    with pgbouncer(server) as bouncer:
        there = found(find_connections)
        one = there[f"pgbouncer-{bouncer.port}"]
        assert one.options == {"dsn": f"host=127.0.0.1 port={bouncer.port} dbname=pgbouncer user=admin"}
        assert str(bouncer.folder / "pgbouncer.ini") in one.note
        with ConnectionPoolResource(dsn=one.options["dsn"]) as resource:
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


def test_every_live_section_that_is_written_can_be_made(server, haproxy, tmp_path):
    with pgbouncer(server) as bouncer, redis_server() as redis:
        ours = {str(each.port) for each in (server, bouncer, redis)}
        there = [each for each in found(find_connections).values() if each.name.rpartition("-")[2] in ours]
        there += [each for each in find_loadbalancer.find() if each.options.get("url") == haproxy.url]
        there += found(find_buffer).values()
        assert len(there) >= 4
        path = tmp_path / "config.toml"
        path.write_text("".join(configuration(there)))
        live = read_config(path, {}).resources
        assert f"pgbouncer-{bouncer.port}" in live
        assert not {f"postgresql-{server.port}", f"redis-{redis.port}"} & live.keys()
        assert {section.kind for section in live.values()} >= {"connections", "loadbalancer"}
        for section in live.values():
            resource = load("resources", section.kind)(**section.options)
            assert resource.measure_state().size >= 1
            if hasattr(resource, "release"):
                resource.release()
