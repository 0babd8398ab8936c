"""The controller process from within: reloads that cannot be carried out, and signs of life."""

import json
import os
import sys
import threading
import time

import pytest
from faulty import FileResource

from quantum_control import config_problems
from quantum_control.config_file import read_config
from quantum_control.daemon import capabilities, service, steering
from quantum_control.daemon.service import Service


class Place:
    """A service that steers `web`, and whoever reads its signs of life."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "config.toml"
        self.size_file = folder / "web.size"
        self.size_file.write_text("10", encoding="ascii")
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.write()
        self.service = Service(self.path, read_config(self.path, {}), self.writing)

    def write(self, stop_timeout=0.2, watchdog=10.0, **budget):
        lines = [f"{name}_directory = {json.dumps(str(self.folder / name))}" for name in ("state", "runtime")]
        lines += [
            f"stop_timeout = {stop_timeout}",
            f"watchdog = {watchdog}",
            "[resources.web]",
            'kind = "file"',
            'mode = "active"',
            'budget = "all"',
        ]
        lines += [f"options = {{ path = {json.dumps(str(self.size_file))}, demand = 50 }}", "[budgets.all]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in ({"total": 100} | budget).items()]
        self.path.write_text("\n".join(lines), encoding="utf-8")

    def steps(self, count=3):
        for _ in range(count):
            self.service.steered["web"].steering.step()

    @property
    def size(self):
        return int(self.size_file.read_text(encoding="ascii"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    for module in (config_problems, capabilities, steering):
        monkeypatch.setattr(module, "resource_type", lambda kind: FileResource)
    monkeypatch.setattr(service, "set_up_logging", lambda level, style: None)
    place = Place(tmp_path)
    yield place
    place.service.end()
    for end in (place.reading, place.writing):
        os.close(end)


@pytest.mark.parametrize(
    "store", ["env:NOT_SET_ANYWHERE", "redis://localhost:6379/0", "redis://localhost:x/0"]
)
def test_a_reload_whose_budget_cannot_be_made_leaves_everything_as_it_was(place, monkeypatch, store, caplog):
    if not store.endswith("x/0"):
        monkeypatch.setitem(sys.modules, "redis", None)  # as where the extra is not installed
    place.steps()
    before, steered = place.service.config, place.service.steered["web"]
    assert place.size > 40
    place.write(store=store)
    place.service.reload()
    assert "the old one goes on" in caplog.text
    assert place.service.config is before
    assert place.service.steered["web"] is steered
    place.steps()
    assert place.size > 40


def test_a_reload_that_can_be_carried_out_is(place):
    place.steps()
    before = place.service.steered["web"]
    place.write(total=20)
    place.service.reload()
    assert place.size == 10
    assert place.service.steered["web"] is not before
    place.steps()
    assert place.size == 20


def test_what_the_supervisor_has_too_is_as_at_the_start_after_a_reload(place, monkeypatch, caplog):
    given = []
    monkeypatch.setattr(service, "end_all", lambda steerings, seconds, beat: given.append(seconds) or set())
    place.write(stop_timeout=60.0, watchdog=3600.0)
    place.service.reload()
    assert given == [0.2]
    for name in ("stop_timeout", "watchdog"):
        assert f"{name} has changed: that takes effect when the daemon is started anew" in caplog.text


def test_a_dispatcher_that_no_longer_turns_gives_no_sign_of_life_after_a_reload_either(place):
    place.write(watchdog=3600.0)
    place.service.reload()
    os.read(place.reading, 4096)
    place.service.scheduler.turned = time.monotonic() - 30.0
    place.service._beat()
    with pytest.raises(BlockingIOError):
        os.read(place.reading, 4096)
    place.service.scheduler.turned = time.monotonic()
    place.service._beat()
    assert os.read(place.reading, 4096) == b"beat\n"


def test_while_one_hangs_at_its_end_there_are_signs_of_life(place):
    hanging = threading.Event()
    place.service.steered["web"].steering.end = hanging.wait
    place.write(total=20)
    try:
        place.service.reload()
        assert os.read(place.reading, 4096).startswith(b"beat\n")
    finally:
        hanging.set()


def test_a_supervisor_that_is_gone_does_not_end_the_controller_amid_a_reload(place):
    place.steps()
    os.close(place.reading)
    place.reading = os.open(os.devnull, os.O_RDONLY)
    place.write(total=20)
    place.service.reload()
    place.service._tell("reloaded")
    assert place.size == 10
    assert list(place.service.steered) == ["web"]
    assert place.service.end() == 0
