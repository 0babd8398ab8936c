"""The daemon's commands that touch nothing, and what it tells systemd."""

import json
import logging
import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from quantum_control import ConfigError
from quantum_control.cli import main
from quantum_control.config import (
    AuditSection,
    BudgetSection,
    Config,
    LogSection,
    MetricsSection,
    OpenTelemetrySection,
    ResourceSection,
)
from quantum_control.config_file import read_config
from quantum_control.core.discovery import Found
from quantum_control.daemon import commands
from quantum_control.daemon.commands import _toml, configuration
from quantum_control.daemon.logs import JsonFormatter
from quantum_control.daemon.notify import notify, reloading


def invoke(*args):
    return CliRunner().invoke(main, [str(each) for each in args])


def test_what_init_writes_is_right_and_is_not_overwritten(tmp_path):
    path = tmp_path / "c.toml"
    assert invoke("init", path).exit_code == 0
    assert invoke("check", path).exit_code == 0
    again = invoke("init", path)
    assert isinstance(again.exception, ConfigError)
    assert "exists already" in str(again.exception)


def test_the_commented_sections_are_right_too_once_the_comments_are_taken_off(tmp_path):
    path = tmp_path / "c.toml"
    invoke("init", path)
    text = path.read_text(encoding="utf-8")
    path.write_text(
        re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.M).replace("KIND", "threads"), encoding="utf-8"
    )
    config = read_config(path, {})
    assert config.resources["web"].budget == "database"
    for section in (config.metrics, config.opentelemetry):
        assert section.model_fields_set == set(type(section).model_fields), "a key is not in the template"


def test_the_schema_is_printed_for_editors():
    schema = json.loads(invoke("check", "--schema", "x.toml").output)
    assert "resources" in schema["properties"]


FOUND = [
    Found("threads", "pool one", {"pool_name": "a\"b\\c\n'", "min_threads": 2, "adopt": None}, "two\nlines"),
    Found("threads", "plain", {}, ""),
]


@pytest.fixture
def discovered(tmp_path, monkeypatch):
    """What is read of the configuration that `discover --write` makes of what one finder finds."""

    def discovered(*found):
        monkeypatch.setattr(commands, "names", lambda group: ["good"])
        monkeypatch.setattr(commands, "load", lambda group, name: lambda: iter(found))
        path = tmp_path / "c.toml"
        assert invoke("discover", "--write", path).exit_code == 0
        return read_config(path, {}).resources

    return discovered


def test_what_discovery_finds_becomes_a_configuration_in_shadow_mode(discovered):
    resources = discovered(*FOUND)
    assert {each.mode.value for each in resources.values()} == {"shadow"}
    assert resources["pool-one"].options == {"pool_name": "a\"b\\c\n'", "min_threads": 2}


def test_names_that_others_have_given_are_made_such_as_a_configuration_takes(discovered):
    container = f"cgroup-docker-{'0f' * 32}.scope"
    strange = {
        "cgroup-getty@tty1.service-812": "cgroup-getty-tty1.service-812",
        f"{container}-99": container[:58],
        f"{container}-1234": f"{container[:58]}-2",
        "queue-eth0-1-2": "queue-eth0-1-2",
        "queue-eth0-1:2": "queue-eth0-1-2-2",
        "haproxy-shop:8080": "haproxy-shop-8080",
        ".hidden": "hidden",
        "überall": "berall",
        "::": "found",
        "": "found-2",
    }
    there = discovered(*(Found("threads", name, {"pool_name": name}) for name in strange))
    assert {each.options["pool_name"]: name for name, each in there.items()} == strange


def test_what_cannot_be_begun_is_in_comments_with_the_reason(tmp_path, monkeypatch):
    lacking = Found("connections", "redis-1", {"user": "x"}, "give one as pool=", possible=False)
    monkeypatch.setattr(commands, "names", lambda group: ["good"])
    monkeypatch.setattr(commands, "load", lambda group, name: lambda: iter([FOUND[1], lacking]))
    path = tmp_path / "c.toml"
    done = invoke("discover", "--write", path)
    assert "1 resources in shadow mode; next: " in done.output
    assert "1 more in comments" in done.output
    assert list(read_config(path, {}).resources) == ["plain"]
    text = path.read_text(encoding="utf-8")
    assert '# give one as pool=\n# [resources."redis-1"]\n# kind = "connections"\n# options = ' in text
    listed = json.loads(invoke("discover", "--json").stdout)
    assert [each["possible"] for each in listed] == [True, False]


def test_a_finder_that_fails_is_told_and_the_others_go_on(monkeypatch):
    def broken():
        raise OSError("no permission")
        yield

    finders = {"broken": broken, "good": lambda: iter([FOUND[1], FOUND[1]])}
    monkeypatch.setattr(commands, "names", lambda group: list(finders))
    monkeypatch.setattr(commands, "load", lambda group, name: finders[name])
    done = invoke("discover", "--json")
    assert "looking for broken: OSError: no permission" in done.stderr
    assert [each["name"] for each in json.loads(done.stdout)] == ["plain", "plain-2"]


def test_with_nothing_found_the_configuration_says_so(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("".join(configuration([])), encoding="utf-8")
    assert "Nothing was found" in path.read_text(encoding="utf-8")
    assert read_config(path, {}).resources == {}


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_where_it_asked_to_be(tmp_path, monkeypatch, abstract):
    address = f"\0quantum-control-{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        notify("READY=1", "STATUS=steering")
        assert end.recv(100) == b"READY=1\nSTATUS=steering"
        reloading()
        assert end.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_nobody_is_told_where_nobody_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_a_line_for_machines_has_what_was_given_with_it():
    record = logging.makeLogRecord(
        {"msg": "%s grew", "args": ("web",), "levelname": "INFO", "resource": "web", "size": 9}
    )
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["level"], line["resource"], line["size"]) == ("web grew", "info", "web", 9)


PAGE = (Path(__file__).parents[2] / "docs" / "daemon.md").read_text(encoding="utf-8")


def test_the_example_of_the_documentation_is_right(tmp_path):
    example = PAGE.partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "c.toml"
    path.write_text(example, encoding="utf-8")
    assert read_config(path, {}).resources["web"].budget == "database"


def test_the_documentation_has_every_key_of_a_resource_with_its_default():
    def default(field):
        if field.is_required():
            return "needed"
        if isinstance(field.default, BaseModel):
            return f"{{ {', '.join(f'{key} = {value}' for key, value in field.default)} }}"
        return "none" if field.default in (None, {}, []) else _toml(field.default)

    table = PAGE.partition("### Keys of a resource\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `?([^`]+?)`? \| ", table, re.M)
    assert rows == [(key, default(field)) for key, field in ResourceSection.model_fields.items()]


@pytest.mark.parametrize(
    "section", [Config, BudgetSection, AuditSection, LogSection, MetricsSection, OpenTelemetrySection]
)
def test_the_documentation_names_every_key_of_the_other_sections(section):
    code = re.findall(r"^```.*?^```$|`[^`\n]*`", PAGE, re.M | re.S)
    assert not section.model_fields.keys() - set(re.findall(r"\w+", " ".join(code)))


def test_every_test_that_the_documentation_names_is_there():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "safety.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:core|daemon|integration)/test_\w+\.py)(?:::(\w+))?`", page))
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}" in (root / "tests" / file).read_text(encoding="utf-8"), (file, test)
