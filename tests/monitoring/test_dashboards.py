"""The dashboards: what they ask for is what the exporter tells, and Grafana can lay them out."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import quantum_control.resources
from quantum_control.core.errors import ConfigError
from quantum_control.core.plugins import load, names
from quantum_control.monitoring.dashboards import command, contents, rules, write
from quantum_control.monitoring.families import FAMILIES
from quantum_control.monitoring.kinds import KINDS

pytest.importorskip("grafana_foundation_sdk", reason="pip install 'quantum-control[grafana]'")

EXPORTED = {family.sample_name for family in FAMILIES}
METRIC = re.compile(r"\bquantum_control_\w+")


@pytest.fixture(scope="module")
def written():
    return dict(contents("http://127.0.0.1:9090", "15s", "/srv/dashboards"))


@pytest.fixture(scope="module")
def boards(written):
    return {name: json.loads(text) for name, text in written.items() if name.endswith(".json")}


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def strings(board):
    """All expressions: of panels, annotations and variables."""
    yield from (target["expr"] for panel in panels(board) for target in panel["targets"])
    yield from (each["expr"] for each in board["annotations"]["list"])
    yield from (each["query"] for each in board["templating"]["list"])


def unknown(text):
    return set(METRIC.findall(text)) - EXPORTED


class TestNames:
    def test_dashboards_ask_for_nothing_that_is_not_exported(self, boards):
        assert boards
        for name, board in boards.items():
            assert {each: unknown(each) for each in strings(board) if unknown(each)} == {}, name

    def test_alerts_ask_for_nothing_that_is_not_exported(self):
        found = [rule["expr"] for group in yaml.safe_load(rules())["groups"] for rule in group["rules"]]
        assert found
        assert {each: unknown(each) for each in found if unknown(each)} == {}

    def test_a_typo_would_be_found(self):
        assert unknown("rate(quantum_control_chnages_total[1m])") == {"quantum_control_chnages_total"}

    def test_every_family_of_a_state_is_on_some_dashboard(self, boards):
        asked = {
            name for board in boards.values() for each in strings(board) for name in METRIC.findall(each)
        }
        left = {
            "size_minimum",
            "acceleration_per_second_squared",
            "interval_seconds",
            "running",
        }
        assert {name.removeprefix("quantum_control_") for name in EXPORTED - asked} == left

    def test_figures_are_those_that_adapters_have(self, boards):
        folder = Path(quantum_control.resources.__file__).parent
        told = {
            node.value
            for path in folder.glob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        asked = {
            figure.removesuffix(r"(\\..+)?").removesuffix(r"\\..+")
            for board in boards.values()
            for each in strings(board)
            for group in re.findall(r'figure=~"([^"]+)"', each)
            for figure in re.split(r"\|", group)
        }
        assert len(asked) > 10
        assert asked - told - {"weight"} == set()  # "weight" is put together with a back end's name

    def test_each_type_of_resource_is_on_one(self):
        found = {name: load("resources", name) for name in names("resources")}
        ours = {name: each for name, each in found.items() if each.__module__.startswith("quantum_control.")}
        shown = [each for page in KINDS.values() for each in page.types]
        assert sorted(shown) == sorted([*ours, *(each.__name__ for each in ours.values())])

    def test_what_is_drawn_in_bytes_is_bytes(self, boards):
        for board in boards.values():
            for panel in panels(board):
                if panel["fieldConfig"]["defaults"]["unit"] != "bytes":
                    continue
                asked = " ".join(target["expr"] for target in panel["targets"])
                (figures,) = re.findall(r'figure=~"([^"]+)"', asked)
                assert all(each.endswith("_bytes") for each in figures.split("|")), panel["title"]


class TestLayout:
    def test_no_panel_lies_on_another_or_beside_the_page(self, boards):
        for board in boards.values():
            taken = set()
            for panel in board["panels"]:
                at = panel["gridPos"]
                assert at["x"] + at["w"] <= 24
                cells = {
                    (x, y)
                    for x in range(at["x"], at["x"] + at["w"])
                    for y in range(at["y"], at["y"] + at["h"])
                }
                assert not cells & taken, (board["title"], panel["title"])
                taken |= cells

    def test_titles_are_told_apart_and_explained(self, boards):
        for board in boards.values():
            titles = [panel["title"] for panel in panels(board)]
            assert len(titles) == len(set(titles))
            assert all(panel["description"] for panel in panels(board))

    def test_the_queries_of_a_panel_have_letters_of_their_own(self, boards):
        for board in boards.values():
            for panel in panels(board):
                letters = [target["refId"] for target in panel["targets"]]
                assert len(letters) == len(set(letters)) > 0

    def test_the_data_source_is_picked_at_the_top(self, boards):
        for board in boards.values():
            assert {panel["datasource"]["uid"] for panel in panels(board)} == {"${datasource}"}
            assert [each["name"] for each in board["templating"]["list"]] == [
                "datasource",
                "instance",
                "resource",
            ]

    def test_changes_roll_backs_and_switches_are_marked(self, boards):
        for board in boards.values():
            assert [each["name"] for each in board["annotations"]["list"]] == [
                "Changes of size",
                "Roll-backs to the original",
                "Switches of model",
            ]


class TestCommand:
    def test_it_writes_what_grafana_and_prometheus_read(self, tmp_path):
        done = CliRunner().invoke(command, [str(tmp_path), "--server", "https://p:9/'\"", "--json"])
        assert done.exit_code == 0, done.output
        paths = [Path(each) for each in json.loads(done.output)]
        assert {str(path.relative_to(tmp_path)) for path in paths} >= {
            "dashboards/quantum-control-fleet.json",
            "provisioning/datasources/quantum_control.yaml",
            "provisioning/dashboards/quantum_control.yaml",
            "rules/quantum_control.yaml",
        }
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)
        sources = yaml.safe_load((tmp_path / "provisioning/datasources/quantum_control.yaml").read_text())
        assert sources["datasources"][0]["url"] == "https://p:9/'\""
        providers = yaml.safe_load((tmp_path / "provisioning/dashboards/quantum_control.yaml").read_text())
        folder = Path(providers["providers"][0]["options"]["path"])
        assert list(folder.glob("*.json"))

    def test_twice_gives_the_same_files(self, written):
        assert dict(contents("http://127.0.0.1:9090", "15s", "/srv/dashboards")) == written

    def test_a_folder_that_cannot_be_written_is_told(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="name another DIR"):
            write(tmp_path / "file" / "a.json", "{}")
