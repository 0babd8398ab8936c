"""`quantum-control validate --config` in processes of its own: killed, interrupted, harmful, refused."""

import json
import os
import signal
from pathlib import Path

import pytest
from validation.own_place import OwnPlace, children, controller, wait_for

from quantum_control.terminal import EXIT_ENDED_EARLY, EXIT_INTERRUPTED, EXIT_REFUSED

pytestmark = pytest.mark.timeout(300)

QUICK = ("--block", 0.2)


def size(path):
    return path.read_text(encoding="ascii")


@pytest.fixture
def place(tmp_path):
    return OwnPlace(tmp_path)


@pytest.fixture
def web(place):
    """A resource with ever other demand, whose size is in a file."""
    path = place.lively("web", interval=0.01)
    place.write()
    return path


def steered(process, path):
    wait_for(lambda: process.poll() is not None or size(path) != "10")
    assert process.poll() is None


def test_it_leaves_data_plan_audit_log_and_report_and_the_original_size(place, web):
    done = place.validate(*QUICK, "--pairs", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert size(web) == "10"
    (found,) = json.loads(done.stdout)
    assert found["pairs"] == 3
    assert set(found["means"]) == {"held", "steered"}
    assert found["means"]["held"]["size"] == 10.0
    assert found["means"]["steered"]["size"] > 10.0
    control = found["control"]["steered"]
    assert control["cpu_seconds_per_hour"] > 0.0
    assert control["memory_bytes"] > 1000.0
    folder = place.out / "web"
    assert {path.name for path in folder.iterdir()} >= {
        "blocks.csv",
        "courses.csv",
        "plan.json",
        "audit.jsonl",
    }
    assert "held at its original size" in (folder / "audit.jsonl").read_text()
    text = (place.out / "report.md").read_text()
    assert "| steered | held | cost (primary)" in text
    assert "KiB of memory" in text
    assert "<svg" in (place.out / "report.html").read_text()
    assert "1 of 3" in done.stderr
    assert "min left" in done.stderr


def test_the_original_compared_with_itself_touches_nothing(place, web):
    done = place.validate(*QUICK, "--pairs", 2, "--aa", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert set(found["means"]) == {"held", "held again"}
    assert {each["size"] for each in found["means"].values()} == {10.0}
    assert "changed" not in (place.out / "web-aa" / "audit.jsonl").read_text()


def test_killed_amid_a_steered_block_the_supervisor_puts_the_original_back(place, web):
    with place.validating("--block", 2, "--pairs", 5) as process:
        steered(process, web)
        os.kill(controller(process), signal.SIGKILL)
        assert process.wait(60) == 1
    assert size(web) == "10"
    assert "nothing to restore" in place.command("restore", place.config).stdout


@pytest.mark.parametrize("how", ["restore", "validate"])
def test_with_both_killed_a_hand_or_the_next_start_puts_it_back(place, web, how):
    with place.validating("--block", 2, "--pairs", 5) as process:
        steered(process, web)
        child = controller(process)
        os.kill(process.pid, signal.SIGSTOP)  # so that it does not see the other die
        os.kill(child, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not Path(f"/proc/{child}/exe").exists())
    assert size(web) != "10"
    if how == "restore":
        assert "web: restored" in place.command("restore", place.config).stdout
    else:
        assert place.validate("--block", 2, "--aa", "--pairs", 1).returncode == 0
    assert size(web) == "10"


def test_with_the_supervisor_killed_the_other_puts_it_back_itself(place, web):
    with place.validating("--block", 2, "--pairs", 5) as process:
        steered(process, web)
        child = controller(process)
        process.kill()
        wait_for(lambda: not Path(f"/proc/{child}/exe").exists())
    assert size(web) == "10"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_puts_it_back_and_the_same_command_goes_on(place, web, number):
    with place.validating(*QUICK, "--pairs", 4) as process:
        wait_for(lambda: process.poll() is not None or len(place.rows()) >= 4)
        steered(process, web)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(60) == EXIT_INTERRUPTED, place.log()
    assert size(web) == "10"
    assert place.log().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in place.log()
    kept = place.rows()
    assert len(kept) >= 4
    done = place.validate(*QUICK, "--pairs", 4, "--json")
    assert json.loads(done.stdout)[0]["pairs"] == 4
    assert place.rows()[: len(kept)] == kept
    assert len(place.rows()) == 8
    assert size(web) == "10"


def test_steering_that_does_harm_is_ended_and_told(place):
    path = place.lively("web", kind="runaway", interval=0.01)
    place.resources["web"]["max_size"] = 60
    place.write()
    done = place.validate("--block", 0.1, "--pairs", 200)
    assert done.returncode == EXIT_ENDED_EARLY, done.stderr
    assert size(path) == "10"
    assert "steering does harm: cost is" in done.stderr
    assert "Ended early after" in (place.out / "report.md").read_text()
    rows = len(place.rows())
    assert 40 <= rows < 200
    again = place.validate("--block", 0.1, "--pairs", 200)  # what is known already is not tried again
    assert again.returncode == EXIT_ENDED_EARLY
    assert len(place.rows()) == rows


def test_a_resource_that_fails_again_and_again_is_ended_and_told(place):
    path = place.lively("web", kind="vanishing", interval=0.01)
    place.write()
    done = place.validate(*QUICK, "--pairs", 5)
    assert done.returncode == EXIT_ENDED_EARLY, done.stderr
    assert "the circuit opened: 5 failures in a row" in done.stderr
    assert "it has gone away" in done.stderr
    assert size(path) == "10"


def test_a_resource_that_hangs_is_ended_and_put_back(place):
    place.settings["watchdog"] = 1.0
    path = place.lively("web", kind="hanging", interval=0.01, answers=2, in_apply=True)
    place.resources["web"]["frozen_after"] = 100_000
    place.write()
    done = place.validate("--block", 1, "--pairs", 5)
    assert done.returncode == 1
    assert "no sign of life" in done.stderr
    assert size(path) == "10"


def test_while_a_daemon_steers_it_is_refused(place, web):
    with place.daemon():
        wait_for(lambda: size(web) != "10")
        done = place.validate(*QUICK)
        assert done.returncode == EXIT_REFUSED
        assert "steers this resource already" in done.stderr
        assert place.ask(do="status")[0]["state"] != "not begun"
    assert place.rows() == []


def test_a_daemon_is_kept_off_while_it_runs(place, web):
    with place.validating("--block", 2, "--pairs", 5) as process:
        steered(process, web)
        with place.daemon():
            wait_for(lambda: "steers this resource already" in str(place.ask(do="status")))
        assert process.poll() is None


def test_what_is_wrong_is_told_whole_and_nothing_is_touched(place, web):
    place.resources["web"] |= {"mode": "activ", "interval": 0.0, "physics_model": "optical"}
    place.write()
    done = place.validate()
    assert done.returncode == EXIT_REFUSED
    assert all(word in done.stderr for word in ("web.mode", "web.interval", "web.physics_model"))
    place.resources["web"] |= {"mode": "shadow", "interval": 1.0, "physics_model": "coherent"}
    place.write()
    done = place.validate("--resource", "web")
    assert done.returncode == EXIT_REFUSED
    assert 'set mode = "active"' in done.stderr
    assert not place.out.exists()
    assert size(web) == "10"


def test_the_data_of_another_configuration_are_not_added_to(place, web):
    assert place.validate(*QUICK, "--pairs", 1).returncode == 0
    place.resources["web"]["physics_model"] = "coherent"
    place.write()
    done = place.validate(*QUICK, "--pairs", 2)
    assert done.returncode == EXIT_REFUSED
    assert "another experiment" in done.stderr
    assert len(place.rows()) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["validate", "--out", "x"], "give either --config"),
        (["validate", "threads", "--config", "c.toml", "--out", "x"], "give either --config"),
        (["validate", "threads", "--block", "3", "--out", "x"], "--config too"),
        (["validate", "--config", "c.toml", "--overhead", "--out", "x"], "not for --config"),
    ],
)
def test_options_that_do_not_go_together_are_refused(place, arguments, told):
    done = place.command(*arguments)
    assert done.returncode == EXIT_REFUSED
    assert told in done.stderr


def test_nothing_of_it_is_left_running(place, web):
    with place.validating(*QUICK, "--pairs", 1) as process:
        assert process.wait(60) == 0
        assert children(process.pid) == []
