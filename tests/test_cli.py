"""The command line: what it lists, how it refuses, how errors read."""

import sys
from importlib import import_module

import pytest
from click.testing import CliRunner

from quantum_control import __version__, cli
from quantum_control.core.errors import ConfigError


def invoke(*args: str):
    return CliRunner().invoke(cli.main, args)


def test_help_names_every_command_with_a_line_of_its_own():
    listed = invoke("--help").output.partition("Commands:")[2].partition("Examples:")[0]
    lines = [line.split(maxsplit=1) for line in listed.splitlines()]
    commands = {line[0]: line[1] for line in lines if line}
    daemon = ["discover", "init", "check", "run", "ctl", "top", "report", "log", "replay", "restore"]
    assert list(commands) == ["demo", *daemon, "plot", "dashboards", "tune", "keda", "validate", "bench"]
    assert all(len(text) > 20 for text in commands.values())


def test_the_version_is_the_packages():
    assert __version__ in invoke("--version").output


@pytest.mark.parametrize(("typed", "meant"), [("dmeo", "demo"), ("bnch", "bench"), ("tun", "tune")])
def test_an_unknown_command_suggests_the_nearest(typed, meant):
    result = invoke(typed)
    assert result.exit_code == 2
    assert repr(meant) in result.output


def test_an_unknown_benchmark_suggests_the_nearest():
    result = invoke("bench", "law")
    assert result.exit_code == 2
    assert "'laws'" in result.output


def test_a_benchmark_whose_library_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "quantum_control.bench.connections", raising=False)
    with pytest.raises(ConfigError, match=r"psycopg is missing; install it with: pip install .*\[postgres\]"):
        import_module("quantum_control.bench.connections")


def test_an_error_of_ours_is_one_line_without_a_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["quantum-control", "bench", "laws", "--laws", "ewmaa"])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert ended.value.code == cli.EXIT_REFUSED
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ewma" in told
    assert "Traceback" not in told
