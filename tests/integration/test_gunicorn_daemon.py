"""The daemon finds a gunicorn, steers it, and puts its number of workers back whatever ends the daemon."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from integration.gunicorns import Clients, Gunicorn, until

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, controller

from quantum_control.resources.find_gunicorn import find

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    with Gunicorn(folder) as server:
        yield server


@pytest.fixture
def place(tmp_path, server):
    folder = tmp_path / "daemon"
    folder.mkdir()
    place = Place(folder)
    place.resources["app"] = {
        "kind": "gunicorn",
        "mode": "active",
        "interval": 0.2,
        "options": {"pidfile": str(server.pidfile), "max_workers": 8},
    }
    place.write()
    return place


def test_it_is_found_as_it_can_be_steered(server, place):
    done = place.command("discover", "--json")
    assert done.returncode == 0, done.stderr
    (one,) = [
        each for each in json.loads(done.stdout) if each["options"].get("pidfile") == str(server.pidfile)
    ]
    assert one["kind"] == "gunicorn"
    assert one["name"].startswith("gunicorn-gunicorn")  # there may be others
    assert one["note"] == f"gunicorn, process {server.pid}, 2 workers"


def test_the_threads_of_its_command_line_are_found(tmp_path):
    with Gunicorn(tmp_path, "--threads", "4", "-k", "gthread") as server:
        (one,) = [each for each in find() if each.options.get("pidfile") == str(server.pidfile)]
        assert one.options["threads"] == 4


def test_it_is_steered_and_put_back_when_the_daemon_is_told_to_end(server, place):
    with Clients(server, 12, "sleep=0.05") as clients, place.daemon() as daemon:
        until(lambda: server.number() > 4, 60)
        daemon.terminate()
        assert daemon.wait(60) == 0
        server.comes_to(2)
    assert set(clients.answers) == {b"ok"}


def test_its_number_is_put_back_after_kill_9_of_the_controller(server, place):
    with Clients(server, 12, "sleep=0.05"), place.daemon() as daemon:
        until(lambda: server.number() > 4, 60)
        os.kill(controller(daemon), signal.SIGKILL)
        daemon.wait(60)
        server.comes_to(2)
        assert "app: restored" in place.log()


def test_and_by_restore_after_kill_9_of_all(server, place):
    with Clients(server, 12, "sleep=0.05"), place.daemon() as daemon:
        until(lambda: server.number() > 4, 60)
        steering = controller(daemon)
        os.kill(daemon.pid, signal.SIGKILL)
        os.kill(steering, signal.SIGKILL)
        daemon.wait(60)
        assert server.number() > 2
        done = place.command("restore", place.config)
        assert done.returncode == 0, done.stderr
        server.comes_to(2)


def test_of_a_gunicorn_that_has_ended_as_well_nothing_is_left_to_restore(server, place):
    place.resources["app"]["options"] = {"process_id": server.pid, "max_workers": 8}
    place.write()
    with Clients(server, 12, "sleep=0.05"), place.daemon() as daemon:
        until(lambda: server.number() > 4, 60)
        steering = controller(daemon)
        os.kill(daemon.pid, signal.SIGKILL)
        os.kill(steering, signal.SIGKILL)
        daemon.wait(60)
    server.stop()
    done = place.command("restore", place.config)
    assert done.returncode == 0, done.stderr
    assert f"app: gone: there is no process {server.pid}" in done.stdout
    assert place.command("restore", place.config).stdout == "nothing to restore\n"
