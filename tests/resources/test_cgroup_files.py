"""CgroupMemory on files of our own making: version 2, whose kernel is not everywhere, and faults."""

import logging

import pytest
from core.doubles import Clock
from forked import in_child

from quantum_control import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError, SensorError
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled
from quantum_control.resources.cgroup_memory import CgroupMemory
from quantum_control.sources.cgroups import MemoryGroup

MIB = 1 << 20


class Files:
    """A group of version 2 that does nothing by itself."""

    def __init__(self, folder, high="max"):
        self.folder = folder
        self.write("memory.high", high)
        self.write("memory.current", 200 * MIB)
        self.write("memory.stat", f"anon {20 * MIB}\nfile {180 * MIB}\nworkingset_refault_file 0\n")
        self.pressure(0.0)

    def write(self, name, value):
        (self.folder / name).write_text(f"{value}\n")

    def pressure(self, seconds):
        total = round(seconds * 1e6)
        self.write("memory.pressure", f"some avg10=0 avg60=0 avg300=0 total={total}")

    @property
    def high(self):
        return (self.folder / "memory.high").read_text().strip()

    @property
    def used(self):
        return int((self.folder / "memory.current").read_text())

    def group(self):
        return MemoryGroup(2, self.folder, self.folder / "memory.pressure")


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def steered(files, **options):
    clock = Clock()
    resource = CgroupMemory(group=files.group(), clock=clock, **options)
    controller = QuantumController(resource, clock=clock)

    def steps(count):
        for _ in range(count):
            clock.tick()
            controller.optimize()

    return resource, controller, steps


def test_memory_high_comes_down_while_nothing_stalls_and_is_put_back(files):
    _, controller, steps = steered(files)
    steps(40)
    assert int(files.high) < 200 * MIB
    assert int(files.high) >= 36 * MIB  # what is not file, and the reserve
    controller.stop()
    assert files.high == "max"


def test_a_limit_that_was_there_is_put_back_to_the_byte(tmp_path):
    files = Files(tmp_path, high=str(300 * MIB))
    _, controller, steps = steered(files)
    steps(40)
    assert int(files.high) < 200 * MIB
    controller.stop()
    assert files.high == str(300 * MIB)


def test_at_the_first_stall_it_is_raised_within_one_step(files):
    _, _, steps = steered(files)
    steps(40)
    files.pressure(0.05)
    steps(1)
    assert int(files.high) > 200 * MIB


@pytest.mark.parametrize(
    ("high", "options"), [("max", {"max_bytes": 100 * MIB}), (str(150 * MIB), {}), ("max", {})]
)
def test_measuring_sets_nothing_before_an_order(tmp_path, monkeypatch, high, options):
    files = Files(tmp_path, high=high)
    resource = CgroupMemory(group=files.group(), clock=Clock(), **options)
    sets = []
    monkeypatch.setattr(resource._files, "set", sets.append)
    for _ in range(20):
        resource._clock.tick()
        resource.measure_state()
    assert sets == []
    resource.apply_control(120 * MIB)
    assert len(sets) == 1


def test_a_largest_size_is_steered_to_and_no_further_than_can_be_taken(files):
    resource, controller, steps = steered(files, max_bytes=20 * MIB)
    assert resource.max_size == 20 * MIB
    for _ in range(1500):
        steps(1)
        if files.high != "max" and int(files.high) < 200 * MIB:
            files.write("memory.current", files.high)  # the kernel has taken the rest
    assert controller.size == 20 * MIB
    assert int(files.high) == 36 * MIB  # what is no file, and the reserve
    controller.stop()
    assert files.high == "max"


def test_no_more_is_taken_at_once_than_is_allowed_just_now_however_low_the_size(files):
    resource, _, steps = steered(files)
    steps(1)  # in which nothing is to be taken
    resource.apply_control(50 * MIB)
    assert int(files.high) == 200 * MIB


def test_what_is_no_file_is_left_however_low_the_size(files):
    resource, _, steps = steered(files)
    steps(40)
    resource._taken = 0
    resource.apply_control(1 << 20)
    assert int(files.high) >= 36 * MIB


def test_a_change_by_somebody_else_is_told_and_becomes_the_original(files, caplog):
    _, controller, steps = steered(files)
    steps(40)
    files.write("memory.high", 250 * MIB)
    with caplog.at_level(logging.WARNING, "quantum_control"):
        steps(1)
    assert "somebody else" in caplog.text
    controller.stop()
    assert files.high == str(250 * MIB)


def test_a_limit_set_by_somebody_else_is_left_alone_and_then_steered_below(files, caplog):
    resource, controller, steps = steered(files, hands_off=60.0)
    steps(40)
    files.write("memory.high", 150 * MIB)  # below what is used: it is not to be bounded anew either
    for _ in range(50):
        steps(1)
        assert files.high == str(150 * MIB)
        assert resource.get_metrics()["set_by_hand"] == 1.0
    with pytest.raises(SafetyError, match="by somebody else and is left alone for another"):
        resource.apply_control(100 * MIB)
    assert len([each for each in caplog.records if "by somebody else; left alone" in each.message]) == 1
    files.write("memory.current", 145 * MIB)  # the kernel has taken the rest
    steps(60)
    assert resource.get_metrics()["set_by_hand"] == 0.0
    assert int(files.high) < 150 * MIB
    controller.stop()
    assert files.high == str(150 * MIB)


def test_no_limit_is_set_above_that_of_somebody_else_however_much_is_used(files):
    _, _, steps = steered(files, hands_off=10.0)
    files.write("memory.high", 190 * MIB)
    for _ in range(60):
        steps(1)
        assert int(files.high) <= 190 * MIB < files.used


def test_a_higher_limit_set_by_somebody_else_is_what_stays_in_the_end(tmp_path):
    files = Files(tmp_path, high=str(300 * MIB))
    resource, controller, steps = steered(files, hands_off=10.0)
    steps(40)
    files.write("memory.high", 500 * MIB)
    steps(1)
    controller.stop()
    assert files.high == str(500 * MIB)
    steps(60)
    assert int(files.high) < 300 * MIB
    assert resource.snapshot()["setting"] == str(500 * MIB)
    controller.stop()
    assert files.high == str(500 * MIB)


def test_what_is_set_a_second_time_and_was_not_measured_yet_stays_at_the_end_too(files):
    _, controller, steps = steered(files, hands_off=10.0)
    files.write("memory.high", 190 * MIB)
    files.write("memory.current", 180 * MIB)  # the kernel has taken the rest
    steps(60)
    assert int(files.high) < 190 * MIB
    files.write("memory.high", 250 * MIB)
    controller.stop()
    assert files.high == str(250 * MIB)


def test_the_journal_has_what_somebody_set_and_not_what_was_before(files, tmp_path_factory):
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.sqlite")
    clock = Clock()
    resource = CgroupMemory(group=files.group(), clock=clock, hands_off=10.0)
    steered = Journalled(resource, journal, "group", "memory", {})

    def step(size):
        clock.tick()
        steered.measure_state()
        steered.apply_control(size)

    step(100 * MIB)
    assert [kept.snapshot["setting"] for kept in journal.originals()] == ["max"]
    files.write("memory.high", 250 * MIB)
    steered.measure_state()
    assert journal.originals() == []
    clock.tick(11.0)
    step(100 * MIB)
    assert [kept.snapshot["setting"] for kept in journal.originals()] == [str(250 * MIB)]
    files.write("memory.high", 240 * MIB)
    steered.put_back()
    assert files.high == str(240 * MIB)
    assert journal.originals() == []
    journal.close()


def test_one_set_between_two_measurements_is_noticed_before_it_is_overwritten(files):
    resource, _, steps = steered(files)
    steps(40)
    files.write("memory.high", 190 * MIB)
    with pytest.raises(SafetyError, match="by somebody else"):
        resource.apply_control(100 * MIB)
    resource.apply_control(resource.max_size)  # what is found there is no size of ours
    files.write("memory.high", 180 * MIB)
    resource.release()
    assert files.high == str(180 * MIB)


def test_what_was_set_just_now_stays_at_the_end_however_short_it_is_left_alone(files):
    resource, controller, steps = steered(files, hands_off=0.0)
    kept = resource.snapshot()
    steps(40)
    files.write("memory.high", 190 * MIB)
    controller.stop()
    assert files.high == str(190 * MIB)
    files.write("memory.high", 180 * MIB)
    resource.restore(kept)
    assert files.high == str(180 * MIB)


def test_a_snapshot_is_put_back_by_a_fresh_instance(files):
    resource, _, steps = steered(files)
    snapshot = resource.snapshot()
    steps(40)
    assert files.high != "max"
    CgroupMemory(group=files.group()).restore(snapshot)
    assert files.high == "max"


def test_a_snapshot_of_another_group_is_refused(files, tmp_path_factory):
    other = Files(tmp_path_factory.mktemp("other"))
    snapshot = CgroupMemory(group=other.group()).snapshot()
    with pytest.raises(ActuatorError, match="this was taken of"):
        CgroupMemory(group=files.group()).restore(snapshot)


def test_release_puts_it_back(files):
    resource, _, steps = steered(files)
    with resource:
        steps(40)
        assert files.high != "max"
    assert files.high == "max"
    resource.release()


def test_a_group_that_goes_away_is_told(files):
    resource, controller, steps = steered(files)
    steps(20)
    for file in list(files.folder.iterdir()):
        file.unlink()
    with pytest.raises(SensorError, match=r"cannot be read .* is it a group's\?"):
        resource.measure_state()
    files.folder.rmdir()
    with pytest.raises(GoneError, match="there is no control group"):
        resource.measure_state()
    steps(1)
    assert "there is no control group" in controller.decisions[-1].reasons[0]
    resource.release()


def test_a_kernel_without_pressure_is_told_before_anything_is_done(files):
    (files.folder / "memory.pressure").unlink()
    with pytest.raises(SensorError, match="pressure"):
        CgroupMemory(group=files.group())
    assert files.high == "max"


def test_hands_off_is_seconds(files):
    with pytest.raises(ConfigError, match="hands_off"):
        CgroupMemory(group=files.group(), hands_off=-1.0)


def test_without_a_process_there_is_no_group():
    with pytest.raises(ConfigError, match="process_id"):
        CgroupMemory()


def test_its_figures_are_told(files):
    resource, _, steps = steered(files)
    assert resource.get_metrics() == {"set_by_hand": 0.0}
    steps(2)
    assert resource.get_metrics()["usage_bytes"] == 200 * MIB
    assert resource.get_metrics()["stalled_ratio"] == 0.0


def test_a_forked_child_puts_back_what_it_has_set_itself_alone(files):
    resource, _, steps = steered(files)
    steps(40)
    high = files.high

    def child():
        resource.release()
        assert files.high == high
        resource.measure_state()
        resource.apply_control(int(high) - MIB)
        resource.release()

    assert in_child(child) == 0
    assert files.high == "max" != high
