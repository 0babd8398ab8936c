"""The terminal view of a daemon."""

import io
import json

import pytest
from click.testing import CliRunner
from daemons import Place, wait_for
from rich.console import Console

from quantum_control.core.errors import ConfigError, LifecycleError
from quantum_control.daemon import top
from quantum_control.daemon.control import ControlSocket


def status(name="web", state="held", **more):
    return {
        "resource": name,
        "kind": "threads",
        "mode": "active",
        "state": state,
        "size": 10,
        "original": 8,
        "changes": 3,
        "failures": 0,
        "paused": "",
        "demand": 8.25,
        "wanted": 10.4,
        "force": 0.125,
        "why": ["dead band"],
    } | more


@pytest.fixture
def served(tmp_path):
    """Give a daemon that answers what is in the list."""
    answers = []
    socket = ControlSocket(tmp_path, 0o600, lambda question: list(answers))
    yield socket.path, answers
    socket.close()


def run(socket, *arguments):
    return CliRunner().invoke(top.command, ["--socket", str(socket), *arguments])


def drawn(found, width=160, **options):
    console = Console(file=io.StringIO(), width=width)
    console.print(top.table(found, **options))
    return console.file.getvalue()


class TestLines:
    def test_elsewhere_than_in_a_terminal_it_prints_lines_once(self, served):
        socket, answers = served
        answers += [status(), status("db", size=None, demand=None, wanted=float("nan"), force=None)]
        done = run(socket)
        assert done.exit_code == 0, done.output
        head, db, web = done.output.splitlines()
        assert head.split() == ["resource", "mode", "state", *top.NUMBERS, *top.MORE, "why"]
        assert web.split() == [
            *("web", "active", "held", "10", "10.4", "8.25", "+0.125", "8", "3", "0", "dead", "band")
        ]
        assert db.split()[3:9] == ["-", "-", "-", "-", "8", "3"]

    def test_those_in_trouble_come_first(self):
        found = [status("a"), status("c", "failed"), status("b", "suspended"), status("d", "changed")]
        assert [each["resource"] for each in top.ordered(found)] == ["b", "c", "a", "d"]

    def test_why_is_what_holds_it_most(self):
        (_, line) = top.lines([status(trouble="OSError:\nno such\tpool", paused="paused by hand")])
        assert line.endswith("OSError: no such pool")
        (_, line) = top.lines([status(paused="paused by hand")])
        assert line.endswith("paused by hand")

    def test_no_resource_is_no_error(self, served):
        assert run(served[0]).exit_code == 0

    def test_json_is_what_the_daemon_said(self, served):
        socket, answers = served
        answers.append(status())
        done = run(socket, "--json", "--count", "2", "--every", "0.1")
        assert [json.loads(line) for line in done.output.splitlines()] == [[status()]] * 2

    def test_json_has_null_where_a_figure_is_no_number(self, served):
        socket, answers = served
        answers.append(status(wanted=float("nan"), demand=float("inf")))
        line = run(socket, "--json").output
        (told,) = json.loads(line, parse_constant=pytest.fail)
        assert (told["wanted"], told["demand"], told["size"]) == (None, None, 10)

    @pytest.mark.parametrize("every", ["nan", "inf", "0", "1e9"])
    def test_a_time_that_cannot_be_waited_is_refused(self, served, every):
        done = run(served[0], "--count", "2", "--every", every)
        told = done.output if isinstance(done.exception, SystemExit) else str(done.exception)
        assert done.exit_code
        assert isinstance(done.exception, SystemExit | ConfigError)
        assert "--every" in told

    def test_where_no_daemon_answers_it_is_told(self, tmp_path):
        with pytest.raises(LifecycleError, match="Is the daemon running"):
            top.command.main(["--socket", str(tmp_path / "none")], standalone_mode=False)


class TestTable:
    def test_it_shows_what_was_seen_and_decided(self):
        shown = drawn([status()])
        assert "1 resources, 0 of them in trouble" in shown
        for part in ("web", "active", "held", "10.4", "8.25", "+0.125", "dead band"):
            assert part in shown

    def test_large_sizes_are_short_and_small_terminals_are_enough(self):
        shown = drawn([status("heap-of-search", size=1_234_567_890, demand=-2.5e6)], width=80)
        for part in ("heap-of-search", "active", "1.235G", "-2.5M", "dead band"):
            assert part in shown
        assert max(map(len, shown.splitlines())) <= 80

    def test_what_does_not_fit_is_counted(self):
        shown = drawn([status(f"r{i:04}") for i in range(1000)], rows=20)
        assert "r0019" in shown
        assert "r0020" not in shown
        assert "and 980 more" in shown

    def test_names_and_reasons_are_no_markup(self):
        shown = drawn([status("[red]x[/red]", why=["[bold]"])])
        assert "[red]x[/red]" in shown
        assert "[bold]" in shown


class TestWatching:
    @pytest.fixture
    def terminal(self, monkeypatch):
        """Make every console a terminal that is remembered."""
        file = io.StringIO()
        monkeypatch.setattr(
            top, "Console", lambda: Console(file=file, force_terminal=True, width=160, height=12)
        )
        return file

    def test_a_terminal_is_drawn_anew(self, served, terminal):
        socket, answers = served
        answers.append(status())
        done = run(socket, "--count", "3", "--every", "0.1")
        assert done.exit_code == 0, done.output
        assert terminal.getvalue().count("web") == 3

    def test_a_daemon_that_goes_away_is_waited_for(self, served, terminal, monkeypatch):
        socket, answers = served
        answers.append(status())
        asked = iter([None, LifecycleError("no daemon answers there"), None])

        def ask(path, **question):
            if (error := next(asked)) is not None:
                raise error
            return list(answers)

        monkeypatch.setattr(top, "ask", ask)
        done = run(socket, "--count", "3", "--every", "0.1")
        assert done.exit_code == 0, done.output
        assert terminal.getvalue().count("as it was; now: no daemon answers") == 1
        assert terminal.getvalue().count("web") == 3

    def test_ctrl_c_is_how_it_ends(self, served, terminal, monkeypatch):
        def interrupted(seconds):
            raise KeyboardInterrupt

        monkeypatch.setattr(top.time, "sleep", interrupted)
        assert run(served[0]).exit_code == 0


def test_it_watches_a_real_daemon(tmp_path):
    place = Place(tmp_path)
    place.lively("web")
    place.lively("looked-at", mode="shadow")
    place.write()
    with place.daemon():
        wait_for(lambda: all(each["size"] for each in place.ask(do="status")))
        done = run(place.socket, "--json")
        found = {each["resource"]: each for each in json.loads(done.output)}
        assert {name: each["mode"] for name, each in found.items()} == {
            "web": "active",
            "looked-at": "shadow",
        }
        done = run(place.socket)
        assert [line.split()[0] for line in done.output.splitlines()] == ["resource", "looked-at", "web"]
