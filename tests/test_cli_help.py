"""The help of every command: an example that works, and JSON for programs."""

import json
import shlex

import click
import pytest

from quantum_control import cli
from quantum_control.terminal import Progress, print_json


def leaves(command, path=()):
    """Every command with its name as typed."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command, info_name="quantum-control")
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


COMMANDS = dict(leaves(cli.main))

WITHOUT_JSON = {("run",), ("keda",)}
"""They serve until they are told to end; `run` logs JSON where the configuration says so."""


def takes_json(path):
    group = cli.main
    context = click.Context(group)
    options = []
    for name in path:
        group = group.get_command(context, name)
        options += [each for parameter in group.params for each in parameter.opts]
    return "--json" in options


def parse(words):
    """Parse as `quantum-control` would, down to the last command, and run nothing."""
    command, context = cli.main, None
    while isinstance(command, click.Group):
        context = command.make_context(command.name, list(words), parent=context)
        rest = [*context._protected_args, *context.args]
        _, command, words = command.resolve_command(context, rest)
    command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_example_of_the_help_is_one_that_the_command_takes(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in (COMMANDS[path].epilog or "").splitlines()[2:]:
        words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
        assert words[: 1 + len(path)] == ["quantum-control", *path] or "--json" in words
        parse(words[1:])
        break
    else:
        pytest.fail(f"quantum-control {' '.join(path)} has no example in its help")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_prints_json_when_asked(path):
    assert takes_json(path) is (path not in WITHOUT_JSON)


def test_json_has_no_nan_in_it(capsys):
    print_json({"a": float("nan"), "b": [1.0, float("inf")]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.0, None]}


class Stream:
    def __init__(self, terminal):
        self.terminal = terminal
        self.text = ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def played(terminal, seconds, steps=80):
    stream, now = Stream(terminal), [0.0]
    with Progress("pieces", steps, stream=stream, clock=lambda: now[0]) as progress:
        for _ in range(steps):
            now[0] += seconds / steps
            progress.advance()
    return stream.text


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_quick_says_nothing_of_how_far_it_is(terminal):
    assert played(terminal, 1.9) == ""


def test_what_takes_long_tells_how_far_it_is_in_plain_lines():
    assert played(False, 20.0).splitlines() == [
        "pieces: 8 of 80, about 18 s left",
        "pieces: 48 of 80, about 8 s left",
    ]


def test_on_a_terminal_it_is_one_line_which_goes_away():
    text = played(True, 20.0)
    assert "\n" not in text
    assert text.startswith("\rpieces: 8 of 80")
    assert text.endswith("\r")
    assert text.rpartition("\r")[0].endswith(" ")
