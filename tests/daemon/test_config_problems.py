"""Configuration: what `run` would refuse is refused by `check`, and what may be a password is not shown."""

import pytest

from quantum_control import ConfigError
from quantum_control.config import BudgetSection, Config, MetricsSection, ResourceSection
from quantum_control.config_file import read_config


@pytest.fixture
def read(tmp_path):
    def read(text, environment=()):
        path = tmp_path / "c.toml"
        path.write_text(text, encoding="utf-8")
        return read_config(path, dict(environment))

    return read


def errors(read, *args):
    with pytest.raises(ConfigError) as caught:
        read(*args)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[metrics]\nuser = "a"\n', ":2: metrics.user: needs 'password' as well"),
        ('[metrics]\npassword = "env:P"\n', ":2: metrics.password: needs 'user' as well"),
        ('[metrics]\ncertificate = "x"\n', ":2: metrics.certificate: needs 'key' as well"),
        ('[metrics]\nkey = "x"\n', ":2: metrics.key: needs 'certificate' as well"),
        (
            '[metrics]\nuser = "a"\npassword = "hunter2"\n',
            ":3: metrics.password: password must not be given itself; ",
        ),
        ('[opentelemetry]\nendpoint = "nonsense"\n', ":2: opentelemetry.endpoint: http://HOST:PORT or "),
        (
            '[opentelemetry]\nendpoint = "http://u:hunter2@h:4318"\n',
            ":2: opentelemetry.endpoint: no user and password in it",
        ),
        ('[opentelemetry]\nendpoint = "http://h:x"\n', ":2: opentelemetry.endpoint: http://HOST:PORT or "),
    ],
)
def test_metrics_that_could_not_be_told_are_refused_before_the_start(read, text, told):
    (line,) = errors(read, text)
    assert told in line
    assert "hunter2" not in line


def test_metrics_that_can_be_told_are_not_refused(read):
    config = read(
        '[metrics]\nuser = "a"\npassword = "env:NOT_SET_HERE"\ncertificate = "c"\nkey = "k"\n'
        '[opentelemetry]\nendpoint = "https://collector"\n'
    )
    assert config.metrics.user == "a"


def test_a_password_in_the_options_is_not_repeated(read):
    told = errors(
        read, '[resources.w]\nkind = "threads"\noptions = { pool_name = 1979-05-27, secret = "hunter2" }\n'
    )
    assert told
    assert not any("hunter2" in line for line in told)


@pytest.mark.parametrize(
    "text",
    [
        "[metrics]\npassword = 87654321\n",
        "[budgets.db]\ntotal = 9\nstore = 87654321\n",
        'budgets = "redis://:87654321@db"\n',
        '[budgets]\ndb = "redis://:87654321@db"\n',
        '[resources.w]\nkind = "threads"\nbudget = { total = 9, store = "redis://:87654321@db" }\n',
        '[resources.w]\nkind = "threads"\nmode = ["87654321"]\n',
    ],
)
def test_nor_is_any_other_or_what_stands_in_a_wrong_place(read, text):
    told = errors(read, text)
    assert told
    assert not any("87654321" in line for line in told)


def test_nor_is_one_that_the_environment_has_itself(read):
    (told,) = errors(read, '[metrics]\nuser = "a"\n', {"QUANTUM_CONTROL_METRICS__PASSWORD": "87654321"})
    assert told.startswith("$QUANTUM_CONTROL_METRICS__PASSWORD: metrics.password: ")
    assert "87654321" not in told


def test_what_may_hold_a_password_is_in_no_repr():
    options = {"dsn": "host=db password=not-to-be-seen"}
    section = ResourceSection(kind="connections", options=options)
    config = Config(
        resources={"db": section},
        defaults={"options": options},
        budgets={"db": BudgetSection(total=9, store="postgresql://u:not-to-be-seen@db/x")},
        metrics=MetricsSection(user="a", password="not-to-be-seen"),  # noqa: S106 - is not to be seen
    )
    assert "not-to-be-seen" not in f"{section!r} {section} {config!r} {config}"
