"""Configuration: all errors at once, each with its place, what is allowed and what is near."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control import ConfigError
from quantum_control.config import Config, Mode
from quantum_control.config_file import read_config
from quantum_control.config_lines import of_toml, of_yaml

WRONG = """\
watchdgo = 3
[log]
level = "loud"
[defaults]
interval = -1
[resources.web]
kind = "threds"
mode = "activ"
[resources.db]
kind = "threads"
physics_model = "parametrik"
options = { pool_nam = "x" }
quiet = ["25:00-26:00"]
budget = "data"
min_size = 9
max_size = 3
guard.slew_up = "fast"
[resources."a b"]
kind = 3
[budgets.database]
total = 0
[budgets.spent]
total = 5
reserve = 5
"""


@pytest.fixture
def read(tmp_path):
    def read(text, name="c.toml", **environment):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_config(path, environment)

    return read


def errors(read, *args, **environment):
    with pytest.raises(ConfigError) as caught:
        read(*args, **environment)
    return str(caught.value).splitlines()


def test_every_error_is_told_with_its_line_in_the_order_of_the_file(read, tmp_path):
    told = errors(read, WRONG)
    lines = [line.removeprefix(str(tmp_path / "c.toml:")).split(": ", 2) for line in told]
    assert [(int(line), key) for line, key, _ in lines] == [
        (1, "watchdgo"),
        (3, "log.level"),
        (5, "defaults.interval"),
        (7, "resources.web.kind"),
        (8, "resources.web.mode"),
        (11, "resources.db.physics_model"),
        (12, "resources.db.options.pool_nam"),
        (13, "resources.db.quiet"),
        (14, "resources.db.budget"),
        (15, "resources.db.min_size"),
        (17, "resources.db.guard.slew_up"),
        (18, "resources.a b"),
        (19, "resources.a b.kind"),
        (21, "budgets.database.total"),
        (24, "budgets.spent.reserve"),
    ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("watchdgo", "did you mean 'watchdog'?"),
        ("log.level", "allowed: debug, info, warning, error"),
        ("resources.web.kind", "did you mean 'threads'?"),
        ("resources.web.mode", "did you mean 'active'?; allowed: observe, shadow, active"),
        ("resources.db.physics_model", "did you mean 'parametric'?"),
        ("resources.db.options.pool_nam", "did you mean 'pool_name'?"),
        ("resources.db.budget", "did you mean 'database'?"),
        ("resources.db.min_size", "9 is above max_size = 3"),
        ("budgets.database.total", "greater than or equal to 1"),
        ("budgets.spent.reserve", "5 leaves nothing of total = 5"),
    ],
)
def test_an_error_says_what_is_allowed_and_what_is_near(read, key, hint):
    assert any(f"{key}: " in line and hint in line for line in errors(read, WRONG))


def test_toml_and_yaml_say_the_same(read):
    toml = read('[resources.w]\nkind = "threads"\nmode = "active"\noptions = { pool_name = "x" }\n')
    yaml = read(
        "resources:\n  w:\n    kind: threads\n    mode: active\n    options: {pool_name: x}\n", "c.yaml"
    )
    assert toml == yaml
    assert toml.resources["w"].mode is Mode.ACTIVE


def test_lines_of_yaml_are_told(read):
    (told,) = errors(read, "log:\n  level: loud\n", "c.yml")
    assert ".yml:2: log.level: " in told


def test_shadow_is_what_nobody_has_to_ask_for(read):
    assert read('[resources.w]\nkind = "threads"\n').resources["w"].mode is Mode.SHADOW


def test_defaults_are_what_a_resource_does_not_say_itself(read):
    config = read(
        "[defaults]\ninterval = 5\nguard = { slew_up = 3, dead_band = 0.1 }\n"
        '[resources.a]\nkind = "threads"\n[resources.b]\nkind = "threads"\ninterval = 2\nguard.slew_up = 4\n'
    )
    a, b = config.resources["a"], config.resources["b"]
    assert (a.interval, a.guard.slew_up, b.interval) == (5.0, 3.0, 2.0)
    assert (b.guard.slew_up, b.guard.dead_band) == (4.0, 0.1)


def test_the_environment_overrides_the_file(read):
    text = '[resources.queue-eth0]\nkind = "threads"\n'
    config = read(
        text,
        QUANTUM_CONTROL_RESOURCES__QUEUE_ETH0__MODE="active",
        QUANTUM_CONTROL_LOG__LEVEL="warning",
        HOME="x",
    )
    assert config.resources["queue-eth0"].mode is Mode.ACTIVE
    assert config.log.level == "warning"


def test_a_wrong_variable_is_told_by_its_name(read):
    told = errors(read, "", QUANTUM_CONTROL_LOG__LEVELL="x", QUANTUM_CONTROL_WATCHDOG="soon")
    assert "$QUANTUM_CONTROL_LOG__LEVELL: unknown key 'levell'; did you mean 'level'?" in told[0]
    assert told[1].startswith("$QUANTUM_CONTROL_WATCHDOG: watchdog: 'soon' is not allowed")


def test_the_variable_that_says_where_the_socket_is_is_no_key(read):
    assert read("", QUANTUM_CONTROL_SOCKET="/run/x/control.sock") == Config()


def test_the_keys_of_a_section_that_may_be_left_out_are_known_too(read):
    (told,) = errors(read, "[metrics]\nprot = 9464\n")
    assert told.endswith(":2: metrics.prot: unknown key 'prot'; did you mean 'port'?")
    assert read("", QUANTUM_CONTROL_METRICS__PORT="9000").metrics.port == 9000


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("a = [", "c.toml", "c.toml: "),
        ("a: [", "c.yaml", "line 1"),
        ("a: 1\na: 2\n", "c.yaml", "line 2: a stands on line 1 already"),
        ("- 1\n", "c.yaml", "a mapping is needed"),
        ("", "c.json", "name it .toml, .yaml or .yml"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_refused_in_words(read, text, name, told):
    assert told in errors(read, text, name)[0]


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.toml"):
        read_config(tmp_path / "no.toml", {})


def test_an_empty_file_is_a_configuration(read):
    assert read("") == read("", "c.yaml") == Config()


def test_the_schema_describes_every_key():
    schema = json.dumps(Config.model_json_schema())
    assert "Permissions of the control socket" in schema
    assert "Largest factor of growth per interval." in schema


def test_lines_of_keys_are_found_among_strings_and_brackets():
    text = (
        'a = """\n[b]\nc = 1\n"""\nd = [\n  "]",  # e = 1\n]\n["f".g]\nh = "x # y"\ni.j = 1\n[[k]]\nl = 1\n'
    )
    lines = of_toml(text)
    assert lines == {
        ("a",): 1,
        ("d",): 5,
        ("f", "g"): 8,
        ("f", "g", "h"): 9,
        ("f", "g", "i", "j"): 10,
        ("k",): 11,
        ("k", "l"): 12,
    }


def test_lines_of_yaml_keys_are_found():
    assert of_yaml("a:\n  b: 1\n  c:\n    d: 2\n")[1] == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", "d"): 4,
    }


KEYS = st.sampled_from(
    [
        *Config.model_fields,
        "web",
        "kind",
        "mode",
        "options",
        "interval",
        "quiet",
        "guard",
        "min_size",
        "total",
        "",
    ]
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50)
@given(content=st.dictionaries(KEYS, VALUES, max_size=6))
def test_whatever_is_in_a_file_it_is_read_or_refused_in_words(tmp_path_factory, content):
    """JSON is YAML, but for what is no JSON."""
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    with suppress(ConfigError):
        read_config(path, {})


@given(text=st.text(max_size=200), kind=st.sampled_from(["toml", "yaml"]))
def test_whatever_text_is_in_a_file_it_is_read_or_refused_in_words(tmp_path_factory, text, kind):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind}"
    path.write_text(text, encoding="utf-8")
    with suppress(ConfigError):
        read_config(path, {})
