"""The size that a controller comes to by what connections can make use of, and what is set for it."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from forked import in_child
from resources.idle_connection import IDLE

from quantum_control import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.resources import socket_sysctl
from quantum_control.resources.buffer_need import COMFORT
from quantum_control.resources.socket_sysctl import LARGEST, SocketBuffers


class Site:
    """A /proc/sys/net of files, and connections that answer to what is set there."""

    def __init__(self, root, monkeypatch, maximum=6_000_000):
        self.root = root
        for name, text in {
            "ipv4/tcp_rmem": f"4096\t131072\t{maximum}\n",
            "ipv4/tcp_wmem": f"4096\t16384\t{maximum * 2 // 3}\n",
            "core/rmem_max": "212992\n",
            "core/wmem_max": "212992\n",
        }.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)
        self.time = 0.0
        self.used = 0
        self.low = 10**9
        self.bandwidth = 0.0
        self.queue = 0.0
        self.sent = 0
        self.granted = 0
        monkeypatch.setattr(socket_sysctl, "connections", self.connections)
        monkeypatch.setattr(socket_sysctl, "tcp_memory_used", lambda: self.used)
        monkeypatch.setattr(socket_sysctl, "tcp_memory_low", lambda: self.low)

    def numbers(self, name):
        return tuple(map(int, (self.root / name).read_text().split()))

    def connections(self):
        """One sender, as quick as its buffer or the line allows, a fifth of a second from its peer."""
        if not self.bandwidth:
            return []
        self.granted = max(self.granted, self.numbers("ipv4/tcp_wmem")[2])
        self.sent += int(min(self.bandwidth, self.granted / 2 / (0.2 + self.queue)))
        return [
            replace(
                IDLE,
                sent=self.sent,
                send_buffer=self.granted,
                send_held=self.granted,
                send_queued=self.granted // 2,
                round_trip=0.2 + self.queue,
            )
        ]

    def resource(self, **options):
        return SocketBuffers(root=self.root, clock=lambda: self.time, **options)

    def sizes(self, controller, steps):
        sizes = []
        for _ in range(steps):
            self.time += 1.0
            controller.optimize()
            sizes.append(controller.size)
        return sizes

    def controller(self, resource):
        return QuantumController(resource, clock=lambda: self.time)


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path, monkeypatch)


def test_a_limited_connection_gets_what_the_line_can_use_and_the_size_then_rests(site):
    site.bandwidth = 50e6  # 10 MB under way: 20 MB of buffer, and as much again for comfort
    with site.resource() as resource:
        sizes = site.sizes(site.controller(resource), 60)
        assert site.numbers("ipv4/tcp_wmem")[2] >= 20e6
        assert max(sizes[-20:]) / min(sizes[-20:]) < 1.01
        assert max(sizes) < 200e6


@pytest.mark.parametrize("bandwidth", [20e6, 50e6, 200e6])
def test_the_size_passes_what_is_of_use_once_at_most_and_then_comes_down_to_it(site, bandwidth):
    site.bandwidth = bandwidth
    with site.resource() as resource:
        sizes = site.sizes(site.controller(resource), 30)
    peak = sizes.index(max(sizes))
    assert sizes[:peak] == sorted(sizes[:peak])
    assert all(after < 1.02 * before for before, after in pairwise(sizes[peak:]))
    assert max(sizes) < 1.6 * sizes[-1]


def test_an_idle_namespace_is_left_as_it_was_found(site):
    with site.resource() as resource:
        sizes = site.sizes(site.controller(resource), 60)
        assert max(sizes) < 1.01 * 6_000_000
        assert min(sizes) > 0.99 * 6_000_000


def test_what_was_of_use_once_is_kept_while_it_costs_nothing(site):
    site.bandwidth = 50e6
    with site.resource() as resource:
        controller = site.controller(resource)
        grown = site.sizes(controller, 40)[-1]
        site.bandwidth = 0.0
        assert site.sizes(controller, 40)[-1] > 0.95 * grown


def test_a_buffer_that_fills_a_queue_is_taken_back_to_what_is_of_use(site):
    site.bandwidth, site.queue = 0.6e6, 3.0  # 0.12 MB under way, and 1.8 MB in a queue
    with site.resource() as resource:
        sizes = site.sizes(site.controller(resource), 60)
        of_use = COMFORT * 2 * 0.6e6 * 0.2 * 3 / 2
        assert sizes[-1] == pytest.approx(of_use, rel=0.05)
        assert max(sizes[-20:]) / min(sizes[-20:]) < 1.05


@pytest.mark.parametrize("bandwidth", [0.6e6, 3e6, 50e6])
def test_noise_around_every_threshold_does_not_make_the_size_swing(site, bandwidth):
    noise = random.Random(1)
    with site.resource() as resource:
        controller = site.controller(resource)
        sizes = []
        for _ in range(120):
            site.bandwidth = bandwidth * noise.uniform(0.95, 1.05)
            site.queue = 0.2 * noise.uniform(0.3, 0.7)  # the round trip is 1.3 to 1.7 times the least
            site.used = int(1e9 * noise.uniform(0.97, 1.03))
            sizes += site.sizes(controller, 1)
        assert max(sizes[-60:]) / min(sizes[-60:]) < 1.25


def test_memory_under_pressure_shrinks_in_proportion_and_does_not_swing_back(site):
    site.bandwidth = 50e6
    with site.resource() as resource:
        controller = site.controller(resource)
        grown = site.sizes(controller, 40)[-1]
        site.bandwidth, site.used = 0.0, 2 * 10**9
        pressed = site.sizes(controller, 60)
        assert pressed[-1] == pytest.approx(3_000_000, rel=0.05), "half of what was found: nobody holds more"
        site.used = 0
        assert max(site.sizes(controller, 60)) < 1.05 * pressed[-1] < grown


def test_pressure_by_connections_that_stay_does_not_wind_the_size_down_for_ever(site):
    site.bandwidth = 50e6
    with site.resource() as resource:
        controller = site.controller(resource)
        site.sizes(controller, 40)
        site.used = 1_100_000_000
        sizes = site.sizes(controller, 80)
        assert min(sizes[-20:]) > 1e6


def test_the_size_never_passes_the_limits_of_tcps_memory(site):
    resource = site.resource()
    assert resource.max_size == 10**9 * 3 // 5
    resource.apply_control(resource.max_size)
    assert site.numbers("ipv4/tcp_rmem")[2] + site.numbers("ipv4/tcp_wmem")[2] <= 10**9
    with pytest.raises(ConfigError, match="give 131072 to 600000000 bytes"):
        resource.apply_control(resource.max_size + 1)


def test_with_memory_without_end_a_buffer_still_fits_into_the_kernels_int(site, monkeypatch):
    monkeypatch.setattr(socket_sysctl, "tcp_memory_low", lambda: 2**45)
    assert site.resource().max_size == LARGEST


def test_a_limit_of_tcps_memory_that_is_changed_bounds_the_size_from_then_on(site):
    resource = site.resource()
    controller = site.controller(resource)
    site.bandwidth = 1e9
    assert max(site.sizes(controller, 60)) > 100_000_000
    site.low = 50_000_000  # 30 million and 20 million for the two directions
    site.sizes(controller, 60)
    assert controller.failures == 0
    assert resource.max_size == 30_000_000
    assert site.numbers("ipv4/tcp_rmem")[2] <= 30_000_000
    assert resource.get_metrics()["memory_share"] == 0.0
    site.low = 10**9
    site.sizes(controller, 60)
    assert site.numbers("ipv4/tcp_rmem")[2] > 30_000_000


def test_the_memory_share_is_of_the_limit_in_force(site):
    resource = site.resource()
    site.used = 5_000_000
    for low, share in ((10**9, 0.005), (10**8, 0.05), (10**5, 50.0)):
        site.low = low
        for _ in range(2):
            site.time += 1.0
            resource.measure_state()
        assert resource.get_metrics()["memory_share"] == pytest.approx(share)
    assert resource.max_size == resource.min_size


def test_bounds_can_only_be_drawn_closer(site):
    assert site.resource(min_bytes=1, max_bytes=2**40).min_size == 131_072
    assert site.resource(max_bytes=10_000_000).max_size == 10_000_000
    with pytest.raises(ConfigError, match="nothing is in between"):
        site.resource(min_bytes=2_000_000, max_bytes=1_000_000)


def test_the_proportion_is_kept_and_the_size_found_restores_every_number(site):
    resource = site.resource()
    resource.apply_control(7_000_001)
    assert site.numbers("ipv4/tcp_rmem") == (4096, 131072, 7_000_001)
    assert site.numbers("ipv4/tcp_wmem") == (4096, 16384, 4_666_667)
    resource.apply_control(6_000_000)
    assert site.numbers("ipv4/tcp_rmem") == (4096, 131072, 6_000_000)
    assert site.numbers("ipv4/tcp_wmem") == (4096, 16384, 4_000_000)


def test_caps_of_the_whole_machine_are_raised_never_lowered_and_said_to_be_so(site, caplog):
    resource = site.resource()
    assert "for every network namespace" in resource.scope
    assert resource.scope in caplog.text
    for less in (200_000, 3_000_000):
        resource.apply_control(less)
        assert site.numbers("core/rmem_max") == site.numbers("core/wmem_max") == (212_992,)
    resource.apply_control(7_500_000)
    assert site.numbers("core/rmem_max") == (7_500_000,)
    assert site.numbers("core/wmem_max") == (5_000_000,)
    resource.release()
    assert site.numbers("core/rmem_max") == site.numbers("core/wmem_max") == (212_992,)


def test_caps_that_cannot_be_set_from_here_stay_and_that_is_said(site):
    for name in ("rmem_max", "wmem_max"):
        (site.root / "core" / name).chmod(0o444)
    resource = site.resource()
    assert "stay as they are" in resource.scope
    resource.apply_control(7_500_000)
    assert site.numbers("core/rmem_max") == (212_992,)


def test_caps_that_cannot_be_set_from_here_may_be_changed_by_anybody(site, caplog):
    """Our own instance in the machine's namespace does, and every other namespace sees it."""
    for name in ("rmem_max", "wmem_max"):
        (site.root / "core" / name).chmod(0o444)
    resource = site.resource()
    (site.root / "core/rmem_max").write_text("7000000\n")
    resource.measure_state()
    assert resource.get_metrics()["set_by_hand"] == 0.0
    assert "somebody else" not in caplog.text
    resource.apply_control(7_500_000)
    assert site.numbers("ipv4/tcp_rmem")[2] == 7_500_000
    resource.release()
    assert site.numbers("core/rmem_max") == (7_000_000,)


def test_numbers_changed_by_somebody_else_are_left_alone_until_they_are_ours_again(site, caplog):
    resource = site.resource()
    resource.apply_control(7_000_000)
    (site.root / "ipv4/tcp_rmem").write_text("4096 131072 9000000")
    state = resource.measure_state()
    assert state.size == 9_000_000
    assert "somebody else" in caplog.text
    assert resource.get_metrics()["set_by_hand"] == 1.0
    with pytest.raises(SafetyError, match="tcp_rmem"):
        resource.apply_control(8_000_000)
    resource.release()
    assert site.numbers("ipv4/tcp_rmem") == (4096, 131072, 9_000_000), "theirs"
    assert site.numbers("ipv4/tcp_wmem") == (4096, 16384, 4_000_000), "ours: restored"


def test_numbers_changed_by_somebody_else_stay_when_a_snapshot_of_its_own_is_restored(site):
    resource = site.resource()
    kept = json.loads(json.dumps(resource.snapshot()))
    resource.apply_control(7_000_000)
    (site.root / "ipv4/tcp_rmem").write_text("4096 131072 9000000")
    for _ in range(2):
        resource.restore(kept)  # as the daemon does when it ends
        assert site.numbers("ipv4/tcp_rmem") == (4096, 131072, 9_000_000), "theirs"
        assert site.numbers("ipv4/tcp_wmem") == (4096, 16384, 4_000_000), "ours: restored"


def test_one_set_back_by_hand_is_steered_again(site):
    resource = site.resource()
    resource.apply_control(7_000_000)
    (site.root / "ipv4/tcp_rmem").write_text("4096 131072 9000000")
    resource.measure_state()
    (site.root / "ipv4/tcp_rmem").write_text("4096 131072 7000000")
    resource.measure_state()
    resource.apply_control(8_000_000)
    assert site.numbers("ipv4/tcp_rmem")[2] == 8_000_000


def test_a_number_that_is_not_taken_leaves_all_as_they_were(site):
    resource = site.resource()
    before = site.numbers("ipv4/tcp_rmem")
    wmem = site.root / "ipv4/tcp_wmem"
    text = wmem.read_text()
    original = type(wmem).write_text
    refusing = pytest.MonkeyPatch()

    def write_text(path, data):
        if path == wmem:
            raise OSError(22, "Invalid argument")
        return original(path, data)

    with refusing.context() as patch:
        patch.setattr(type(wmem), "write_text", write_text)
        with pytest.raises(ActuatorError, match="tcp_wmem to 4096 16384 4666666: Invalid argument"):
            resource.apply_control(7_000_000)
    assert site.numbers("ipv4/tcp_rmem") == before
    assert wmem.read_text() == text


def test_a_number_that_cannot_be_read_back_leaves_all_as_they_were(site, monkeypatch):
    resource = site.resource()
    wmem = site.root / "ipv4/tcp_wmem"
    read_text, write_text = type(wmem).read_text, type(wmem).write_text
    failures = ["Too many open files"]
    written = []

    def write(path, data):
        written.append(path)
        return write_text(path, data)

    def read(path):
        if failures and written[-1:] == [path] == [wmem]:
            raise OSError(24, failures.pop())
        return read_text(path)

    with monkeypatch.context() as patch:
        patch.setattr(type(wmem), "write_text", write)
        patch.setattr(type(wmem), "read_text", read)
        with pytest.raises(ActuatorError, match="Too many open files"):
            resource.apply_control(7_000_000)
    assert site.numbers("ipv4/tcp_rmem")[2] == 6_000_000
    assert site.numbers("ipv4/tcp_wmem")[2] == 4_000_000
    resource.apply_control(7_000_000)
    assert resource.get_metrics()["set_by_hand"] == 0.0


def test_a_snapshot_restores_from_another_process(site):
    first = site.resource()
    kept = json.loads(json.dumps(first.snapshot()))
    first.apply_control(50_000_000)
    del first  # killed: nothing was released
    second = site.resource()
    second.restore(kept)
    assert site.numbers("ipv4/tcp_rmem") == (4096, 131072, 6_000_000)
    assert site.numbers("ipv4/tcp_wmem") == (4096, 16384, 4_000_000)
    assert site.numbers("core/rmem_max") == (212_992,)
    second.apply_control(8_000_000)
    second.release()
    assert site.numbers("ipv4/tcp_rmem") == (4096, 131072, 6_000_000)


def test_what_is_no_snapshot_is_refused(site):
    resource = site.resource()
    with pytest.raises(ActuatorError, match="no snapshot"):
        resource.restore({"identity": resource.snapshot()["identity"]})


def test_a_file_that_is_no_tcp_buffer_is_told(site):
    (site.root / "ipv4/tcp_rmem").write_text("12")
    with pytest.raises(SensorError, match="not the three numbers"):
        site.resource()


def test_a_forked_child_puts_back_what_it_has_set_itself_alone(site):
    resource = site.resource()
    resource.apply_control(7_000_000)

    def child():
        resource.release()
        assert site.numbers("ipv4/tcp_rmem")[2] == 7_000_000
        resource.apply_control(8_000_000)
        resource.release()

    assert in_child(child) == 0
    assert site.numbers("ipv4/tcp_rmem")[2] == 6_000_000
