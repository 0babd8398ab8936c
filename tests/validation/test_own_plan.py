"""What is run on a resource of one's own, and what is refused before anything is touched."""

import json
from importlib.resources import files
from math import inf, nan

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.validation.experiment import mode
from quantum_control.validation.own_plan import keep, kept, merged, only, prepare
from quantum_control.validation.switchback import REPORTED

HEAD = """
[resources.web]
kind = "connections"
mode = "active"
options = { dsn = "host=/nowhere user=pgbouncer password=secret" }
interval = 2.0
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"

    def write(text=HEAD):
        path.write_text(text, encoding="ascii")
        return path

    return write


def test_blocks_are_thirty_intervals_after_a_wash_in_of_ten(config, tmp_path):
    own = prepare(config(), None, tmp_path)
    assert own.name == "web"
    assert (own.of.bed["seconds"], own.of.bed["wash_in"]) == (60.0, 20.0)
    assert own.pairs == 1000
    assert own.folder == tmp_path / "web"


def test_a_hold_off_makes_blocks_longer(config, tmp_path):
    own = prepare(config(HEAD + "hold_off = 60.0\n"), None, tmp_path)
    assert (own.of.bed["seconds"], own.of.bed["wash_in"]) == (300.0, 100.0)


def test_length_and_number_can_be_given(config, tmp_path):
    own = prepare(config(), "web", tmp_path, pairs=7, block=30.0, aa=True)
    assert (own.of.bed["seconds"], own.of.bed["wash_in"], own.pairs) == (30.0, 20.0, 7)
    assert own.folder == tmp_path / "web-aa"
    assert mode(own.of, aa=True).all == ["held", "held again"]


def test_the_plan_has_the_arms_of_the_configuration_and_none_of_its_secrets(config, tmp_path):
    text = HEAD + 'physics_model = "coherent"\nauto_tune = true\n'
    own = prepare(config(text), None, tmp_path)
    assert own.of.arms["steered"] == "coherent, tuned online"
    assert mode(own.of).all == ["held", "steered"]
    assert "secret" not in json.dumps(own.plan.model_dump())
    assert own.plan.family == 4


def test_where_size_has_no_price_cost_is_compared_by_its_difference(config, tmp_path):
    own = prepare(config(HEAD + "objective = { size = 0.0 }\n"), None, tmp_path)
    assert own.of.primary.scale == "difference"
    assert prepare(config(), None, tmp_path).of.primary.scale == "ratio"


def test_drops_are_a_safety_metric_but_of_a_queue_which_is_to_drop(config, tmp_path):
    def role(text):
        of = prepare(config(text), None, tmp_path).of
        return next(metric.role for metric in of.metrics if metric.name == "drops")

    assert role(HEAD) == "safety"
    queue = HEAD.replace('"connections"', '"buffer"').replace(
        HEAD.splitlines()[4], 'options = { interface = "lo" }'
    )
    assert role(queue) == "other"


def test_metrics_that_are_not_reported_are_left_out(config, tmp_path):
    plan = only(prepare(config(), None, tmp_path).plan, "web", {"throughput"})
    names = {metric.name for metric in plan.of("web").metrics}
    assert names & set(REPORTED) == {"throughput"}
    assert {"cost", "size", "backlog", "failures"} < names


def test_a_plan_is_kept_beside_its_data_and_read_again(config, tmp_path):
    own = prepare(config(), None, tmp_path)
    assert kept(tmp_path) is None
    keep(own.plan, tmp_path)
    assert kept(tmp_path).fingerprint("web") == own.plan.fingerprint("web")
    (tmp_path / "plan.json").write_text("{}", encoding="ascii")
    with pytest.raises(ConfigError, match="is no plan"):
        kept(tmp_path)


def test_what_the_configuration_changes_is_another_experiment(config, tmp_path):
    def fingerprint(text):
        return prepare(config(text), None, tmp_path).plan.fingerprint("web")

    one = fingerprint(HEAD)
    assert fingerprint(HEAD) == one
    assert fingerprint(HEAD + 'physics_model = "coherent"\n') != one
    assert fingerprint(HEAD.replace("nowhere", "elsewhere")) != one


def test_resources_of_one_folder_are_one_family_of_tests(config, tmp_path):
    two = HEAD + HEAD.replace("web", "db").replace("nowhere", "elsewhere")
    web, db = (prepare(config(two), name, tmp_path) for name in ("web", "db"))
    for own in (web, db):
        own.folder.mkdir()
        keep(own.plan, own.folder)
        (own.folder / "settings.json").write_text(f'{{"resource": "{own.name}", "mode": "run", "plan": ""}}')
        (own.folder / "blocks.csv").write_text("pair\n0\n")
    for name, text in (("strange", "[]"), ("empty", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text(text)
    (tmp_path / "strange" / "settings.json").write_text('{"resource": "x", "mode": "run", "plan": ""}')
    (tmp_path / "strange" / "blocks.csv").write_text("pair\n0\n")
    assert set(merged(tmp_path, web).resources) == {"web", "db"}
    assert merged(tmp_path, web).family == 8


@pytest.mark.parametrize(
    ("text", "resource", "told"),
    [
        pytest.param(
            HEAD.replace('"active"', '"shadow"'),
            "web",
            r'mode: is "shadow".*set mode = "active"',
            id="shadow",
        ),
        pytest.param(HEAD.replace('"active"', '"observe"'), "web", 'mode: is "observe"', id="observe"),
        pytest.param(HEAD.replace('"active"', '"shadow"'), None, "none is in mode", id="none active"),
        pytest.param(HEAD, "wub", "did you mean 'web'", id="unknown"),
        pytest.param(
            HEAD + HEAD.replace("web", "db"), None, "give one of web, db", id="several and none chosen"
        ),
        pytest.param(
            HEAD
            + 'budget = "all"\n'
            + HEAD.replace("web", "db")
            + 'budget = "all"\n[budgets.all]\ntotal = 10\n',
            "web",
            "'all' is shared with db",
            id="a budget with others",
        ),
        pytest.param(
            HEAD + 'budget = "all"\n[budgets.all]\ntotal = 10\nstore = "redis://:hunter2@db"\n',
            "web",
            "^(?!.*hunter2).*'all' is shared with other processes by its store",
            id="a budget with other processes",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(config, tmp_path, text, resource, told):
    with pytest.raises(ConfigError, match=told):
        prepare(config(text), resource, tmp_path)


def test_all_errors_of_the_configuration_are_named_at_once(config, tmp_path):
    text = HEAD.replace("active", "activ").replace(
        "interval = 2.0", 'interval = 0\nphysics_model = "optical"'
    )
    with pytest.raises(ConfigError) as found:
        prepare(config(text), None, tmp_path)
    assert all(word in str(found.value) for word in ("mode", "interval", "physics_model"))
    assert len(str(found.value).splitlines()) == 3


@pytest.mark.parametrize("block", [5.0, nan, inf])
def test_a_block_shorter_than_ten_intervals_or_without_a_length_is_refused(config, tmp_path, block):
    with pytest.raises(ConfigError, match="at least 10 intervals of the resource, 20 s"):
        prepare(config(), None, tmp_path, block=block)


def test_a_plan_of_ones_own_that_lacks_what_ends_the_experiment_is_refused(config, tmp_path):
    text = (files("quantum_control.validation") / "own.toml").read_text(encoding="utf-8")
    plan = tmp_path / "plan.toml"
    plan.write_text(text.replace("harm = 0.05", "harmful = 0.05"), encoding="utf-8")
    with pytest.raises(ConfigError) as found:
        prepare(config(), None, tmp_path, plan=plan)
    assert "resources.own.bed: harm is missing" in str(found.value)
    assert "unknown setting 'harmful'; did you mean 'harm'?" in str(found.value)
