"""What is held of a resource is given away when its original is back and not before, within a budget too."""

import pytest
from steered import Queue, placed, steps

from quantum_control import ActuatorError
from quantum_control.config import Mode
from quantum_control.config_file import read_config
from quantum_control.core.budget import Budget
from quantum_control.core.errors import ConfigError, SafetyError
from quantum_control.core.journal import Original
from quantum_control.core.writer import Writer, boot_id
from quantum_control.daemon import service as service_module
from quantum_control.daemon import steering as module


@pytest.fixture
def place(tmp_path, monkeypatch):
    with placed(tmp_path, monkeypatch) as place:
        yield place


@pytest.fixture
def both(place):
    """Two members of a budget of 30."""
    place.file("db")
    return place.steer(budget="all"), place.steer(name="db", budget="all")


# ---- original and budget -------------------------------------------------------------------------


def test_what_a_budget_grants_and_cuts_is_taken_for_nobodys_hand_and_originals_come_back(place, both):
    Queue.demands = {"web": 14.0, "db": 5.0}
    steps(*both, count=10)  # orders are taken to the unit
    Queue.demands = {"web": 60.0, "db": 5.0}
    steps(*both, count=10)
    Queue.demands = {"web": 60.0, "db": 60.0}
    for _ in range(30):
        steps(*both)
        assert [each.explain()["set_by_hand"] for each in both] == [None, None]
    assert (place.size, place.size_of("db")) == (15, 15)
    for each in both:
        assert each.status()["granted"] == 15
        assert not [why for why in each.status()["why"] if "in force" in why]
        each.end()
    assert (place.size, place.size_of("db")) == (10, 10)
    assert place.journal.originals() == []


def test_a_paused_member_is_not_cut_for_the_others_sake(place, both):
    Queue.demands = {"web": 20.0, "db": 5.0}
    steps(*both, count=10)
    kept = place.size
    assert kept >= 20
    both[0].pause.why = "paused by hand"
    Queue.demands = {"web": 20.0, "db": 60.0}
    steps(*both, count=20)
    assert (place.size, place.size_of("db")) == (kept, 30 - kept)
    both[0].resume()
    steps(*both, count=20)
    assert place.size < kept


def test_a_begin_that_fails_leaves_the_budget_and_the_size_as_they_were(place, caplog):
    place.file("db")
    place.file("web", 25)
    other = place.steer(name="db", budget="all", max_size=10)
    steps(other, count=3)
    (place.folder / "web.json").write_text("no memory", encoding="ascii")
    failing = place.steer(budget="all", auto_tune=True)
    for _ in range(5):
        steps(failing, count=100)
        assert "cannot be read" in failing.status()["trouble"]
        assert (place.size, place.budgets["all"].held) == (25, 10)
        assert place.journal.originals() == []
    (place.folder / "web.json").unlink()
    steps(failing, count=100)
    assert "trouble" not in failing.status()


def test_a_begin_that_fails_and_cannot_be_undone_is_undone_later(place, monkeypatch, caplog):
    place.file("db")
    place.file("web", 25)
    other, failing = place.steer(name="db", budget="all", max_size=10), place.steer(budget="all")
    steps(other, count=3)
    controller = module.QuantumController

    def refuse(*arguments, **settings):
        Queue.broken = "locked"
        raise ConfigError("no controller")

    monkeypatch.setattr(module, "QuantumController", refuse)
    for _ in range(3):
        steps(failing, count=100)
        assert (place.size, place.budgets["all"].held) == (20, 30)
        assert "locked" in failing.status()["trouble"]
    monkeypatch.setattr(module, "QuantumController", controller)
    Queue.broken = ""
    steps(failing, count=100)
    assert "trouble" not in failing.status()
    assert [(each.name, each.size) for each in place.journal.originals()] == [("web", 25)]


# ---- tried until it comes off --------------------------------------------------------------------


def test_what_cannot_be_put_back_for_another_mode_is_tried_until_it_is(place):
    steering = place.steer(budget="all")
    steps(steering, count=5)
    Queue.broken = "locked"
    asked = steering.ask_mode(Mode.OBSERVE)
    steps(steering, count=3)
    with pytest.raises(ActuatorError, match="original size 10 of web could not be restored: locked"):
        asked.result(0)
    status = steering.status()
    assert (status["mode"], status["state"]) == ("observe", "not begun")
    assert "tried again at each step" in status["trouble"]
    assert place.size == place.budgets["all"].held == 30
    Queue.broken = ""
    steps(steering)
    assert (place.size, place.budgets["all"].held) == (10, 0)
    assert place.journal.originals() == []
    steps(steering, count=3)
    assert (place.size, steering.status()["state"]) == (10, "held")


def test_what_cannot_be_put_back_at_the_end_is_tried_by_each_further_call(place):
    steering = place.steer()
    steps(steering, count=3)
    Queue.broken = "locked"
    for _ in range(2):
        with pytest.raises(ActuatorError, match="locked"):
            steering.end()
    steps(steering)
    assert place.size > 10
    Queue.broken = ""
    steps(steering)
    assert (place.size, place.journal.originals()) == (10, [])
    steps(steering, count=3)
    assert place.size == 10


def test_a_roll_back_that_fails_is_tried_until_it_comes_off_or_resume(place):
    steering = place.steer()
    steps(steering, count=3)
    Queue.broken = "locked"
    asked = steering.ask_roll_back()
    steps(steering, count=2)
    with pytest.raises(ActuatorError, match="locked"):
        asked.result(0)
    assert "not rolled back, tried again at each step" in steering.status()["trouble"]
    Queue.broken = ""
    steps(steering)
    assert place.size == 10
    assert "trouble" not in steering.status()


def test_what_a_reload_cannot_put_back_is_shown_and_tried_again_and_begun_anew_by_a_later_one(
    place, monkeypatch
):
    monkeypatch.setattr(module, "resource_type", lambda kind: lambda dsn: Queue(place.path))
    monkeypatch.setattr(service_module, "set_up_logging", lambda level, style: None)
    config = place.folder / "config.toml"

    def write(most):
        folders = "\n".join(f'{name}_directory = "{place.folder / name}"' for name in ("state", "runtime"))
        section = f'[resources.web]\nkind = "connections"\nmode = "active"\nmax_size = {most}\n'
        config.write_text(f'{folders}\n{section}options = {{ dsn = "x" }}\n', encoding="ascii")

    def status():
        return service.answer({"do": "status", "resource": "web"})

    write(20)
    service = service_module.Service(config, read_config(config))
    try:
        service.steered["web"].steering.step()
        assert place.size == 20
        Queue.broken = "locked"
        write(40)
        service.reload()
        assert "locked" in status()["trouble"]
        service.steered["web"].steering.step()
        assert place.size == 20
        Queue.broken = ""
        service.steered["web"].steering.step()
        assert place.size == 10
        service.reload()
        service.steered["web"].steering.step()
        assert (status()["size"], place.size) == (40, 40)
    finally:
        assert service.end() == 0
    assert place.size == 10


# ---- whatever the budget does --------------------------------------------------------------------


class CutOff:
    """A part of a budget whose store is gone once it is told to be."""

    capacity = 30
    gone = False

    def claim(self, wanted, floor, held):
        if self.gone:
            raise SafetyError("cut off from the store")
        return self.capacity

    def close(self):
        """Nothing was taken."""


def test_a_store_that_is_cut_off_keeps_no_original_from_being_put_back(place, both, caplog):
    store = CutOff()
    place.budgets["all"] = Budget(store)
    steps(*both, count=5)
    assert place.size + place.size_of("db") == 30
    store.gone = True
    for each in both:
        each.end()
    assert (place.size, place.size_of("db")) == (10, 10)
    assert place.journal.originals() == []


def test_nor_does_a_budget_that_is_gone_from_the_configuration(place, both):
    steps(*both, count=5)
    del place.budgets["all"]
    for each in both:
        each.end()
    assert (place.size, place.size_of("db")) == (10, 10)


def test_a_roll_back_for_which_the_budget_has_no_room_says_so_and_is_tried_again(place, both):
    web, db = both
    Queue.demands = {"web": 2.0, "db": 60.0}
    steps(*both, count=30)
    assert place.size < 10
    db.pause.why = "as it is"
    answer = web.ask_roll_back()
    steps(*both, count=2)
    assert answer.result(0.0) == f"size {place.size}"
    assert "the budget has room for" in web.unreturned
    db.pause.why = ""
    Queue.demands = {"web": 2.0, "db": 3.0}
    steps(*both, count=60)
    assert (place.size, web.unreturned) == (10, "")


# ---- what has ended ------------------------------------------------------------------------------


def test_what_comes_under_the_name_of_what_has_ended_is_begun_anew_with_its_own_original(place):
    steering = place.steer()
    steps(steering, count=5)
    assert place.size > 10
    Queue.gone = True
    steps(steering, count=20)
    assert steering.controller is None
    assert "it is gone" in str(steering.status()["trouble"])
    assert place.journal.originals() == []
    Queue.gone = False
    place.file("web", 20)
    steps(steering, count=60)
    assert steering.controller is not None
    assert place.size > 20
    steering.end()
    assert place.size == 20


def test_what_could_not_be_put_back_at_the_start_is_put_back_before_it_is_begun(place):
    place.file("web", 40)
    gone = Writer(1, 999_999_999, boot_id())
    place.journal.keep(Original("web", "queue", {"path": str(place.path)}, 10, gone, ours=(30, 40)))
    Queue.blind = "not there yet"
    steering = place.steer()
    steps(steering, count=5)
    assert "cannot be put back: OSError: not there yet" in str(steering.status()["trouble"])
    assert place.size == 40
    Queue.blind = ""
    Queue.demands = {"web": 5.0}
    steps(steering, count=60)
    assert steering.controller.original == 10
    steering.end()
    assert place.size == 10
