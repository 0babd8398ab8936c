"""Every query of every dashboard, and every alert, before a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from core.doubles import Clock, Pool
from integration.prometheus_server import LocalPrometheus, require_prometheus
from integration.requirements import require

from quantum_control import QuantumController, ThreadPoolResource
from quantum_control.bench.server_process import find_program, wait_until
from quantum_control.monitoring.dashboards import contents, rules
from quantum_control.monitoring.kinds import KINDS
from quantum_control.monitoring.prometheus import export
from quantum_control.simulation.loads import LOADS
from quantum_control.simulation.plants import DropTailBuffer, FluidQueue, Heap, PlantResource, UslPool

pytestmark = pytest.mark.integration

MINUTE = 60.0
"""What annotations look back; Prometheus is asked for a time so much ahead, so that nobody has to wait."""

PLANTS = {
    "connections": UslPool(),
    "loadbalancer": FluidQueue(),
    "buffer": DropTailBuffer(),
    "memory": Heap(),
}
"""What stands in for the servers of the other types."""


class Simulated(PlantResource):
    """A plant that reports all that an adapter of its type may."""

    figures: tuple[str, ...] = ()

    def get_metrics(self):
        told = dict.fromkeys((*self.figures, "throughput", "wait_seconds", "service_seconds"), 1.0)
        return told | {"errors": 0.0, "drops": 0.0} | super().get_metrics()


def simulated(kind):
    """Give a controller of a plant that is told to be of the type of `kind`."""
    asked = [query.expression for _, row in KINDS[kind].rows for panel in row for query in panel.queries]
    figures = [
        name for each in asked for group in re.findall(r'figure=~"([^"]+)', each) for name in group.split("|")
    ]
    plain = tuple(re.sub(r"\(?\\\\.*", ".backend", name) for name in figures)
    front = type(KINDS[kind].types[0], (Simulated,), {"figures": plain})
    plant = PLANTS[kind]
    plant.reset()
    resource = front(plant, LOADS["bursts"].arrivals(1, seed=1)[:, 0], size=40)
    return QuantumController(resource, clock=plant.clock)


def suspended():
    """Give a controller that has handed its resource back."""
    clock, pool = Clock(), Pool(10, 8.0, most=50)
    controller = QuantumController(pool, clock=clock, max_failures=1)
    for _ in range(2):
        clock.tick()
        controller.optimize()
        pool.broken_measuring = OSError("gone")
    assert controller.suspended
    return controller


def get(server, path, **parameters):
    url = f"http://127.0.0.1:{server.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]


def ready(server):
    """Whether it answers queries, which is later than that it accepts connections."""
    try:
        get(server, "query", query="vector(1)")
    except OSError:
        return False
    return True


def values(server, query, picked):
    """What Grafana would offer for a variable."""
    selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
    return sorted({each[label] for each in get(server, "series", **{"match[]": filled(selector, picked)})})


def filled(expression, picked):
    for name, chosen in picked.items():
        expression = expression.replace(
            f"${name}", "|".join(re.escape(each) for each in chosen).replace("\\", r"\\")
        )
    return expression.replace("$__rate_interval", "5s")


@pytest.fixture(scope="module")
def boards():
    missing = find_spec("grafana_foundation_sdk") is None
    require(not missing, "grafana-foundation-sdk is missing: pip install 'quantum-control[grafana]'")
    made = contents("http://127.0.0.1:9090", "15s", "/srv/dashboards")
    return {Path(name).stem: json.loads(text) for name, text in made if name.endswith(".json")}


@pytest.fixture(scope="module")
def fleet():
    """A real Prometheus that scrapes a real exporter of controllers at work."""
    require_prometheus()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4))
        real = ThreadPoolResource(pool=pool)
        stack.callback(real.release)
        threads = QuantumController(real, interval=0.1)
        stack.callback(threads.stop)
        threads.start()
        others = {kind: simulated(kind) for kind in PLANTS}
        gone, before, after = suspended(), simulated_law("optomechanical"), simulated_law("parametric")
        named = {"pool": threads, "gone": gone, "switched": before, **others}
        exporter = stack.enter_context(export(named=named, port=0))
        server = stack.enter_context(LocalPrometheus([int(exporter.url.split(":")[2].split("/")[0])]))

        assert wait_until(lambda: ready(server))

        def work():
            """A little of it everywhere; not all of it at once."""
            pool.map(time.sleep, [0.005] * 20)
            for controller in others.values():
                controller.optimize()
            return True

        def seen(expression):
            work()
            return get(server, "query", query=expression)["result"]

        assert wait_until(lambda: seen('quantum_control_resource_info{resource="switched"}'))
        early = time.time()  # before the switch, and with all resources in sight
        exporter.remove("switched")
        exporter.add(after, "switched")
        assert wait_until(lambda: seen('quantum_control_resource_info{model="parametric"}'))
        yield server, seen, early


def simulated_law(law):
    clock = Clock()
    controller = QuantumController(Pool(10, 8.0), law, clock=clock)
    clock.tick()
    controller.optimize()
    return controller


def picked(server, board):
    chosen = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            chosen[variable["name"]] = values(server, variable["query"], chosen)
    return chosen


@pytest.mark.parametrize("name", ["fleet", *KINDS])
def test_every_panel_has_data(fleet, boards, name):
    server, seen, _ = fleet
    board = boards[f"quantum-control-{name}"]
    chosen = picked(server, board)
    if name == "fleet":
        assert set(chosen["resource"]) == {"pool", "gone", "switched", *PLANTS}
    else:
        assert chosen["resource"] == ["pool" if name == "threads" else name]
    asked = [
        (panel["title"], filled(target["expr"], chosen))
        for panel in board["panels"]
        if panel["type"] != "row"
        for target in panel["targets"]
    ]
    assert len(asked) > 10
    empty = {each for each in asked if not wait_until(lambda each=each: seen(each[1]), 10.0)}
    assert empty == set()


def test_a_query_without_data_would_be_found(fleet):
    _, seen, _ = fleet
    assert not seen('quantum_control_size{resource="none"}')


def test_a_table_has_one_line_for_each_resource(fleet, boards):
    server, seen, _ = fleet
    board = boards["quantum-control-fleet"]
    table = next(panel for panel in board["panels"] if panel["type"] == "table")
    chosen = picked(server, board)
    for target in table["targets"]:
        found = [each["metric"] for each in seen(filled(target["expr"], chosen))]
        assert len({each["resource"] for each in found}) == len(found)
        assert all("__name__" not in each for each in found)


def test_changes_roll_backs_and_switches_are_marked(fleet, boards):
    server, seen, early = fleet
    board = boards["quantum-control-fleet"]
    chosen = picked(server, board)
    changes, roll_backs, switches = (filled(each["expr"], chosen) for each in board["annotations"]["list"])

    def marked(expression, at):
        seen("vector(1)")
        found = get(server, "query", query=expression, time=at)["result"]
        return {each["metric"]["resource"] for each in found}

    assert wait_until(lambda: marked(changes, time.time()) >= {"connections"})
    assert "switched" not in marked(changes, time.time())
    assert marked(roll_backs, early) == {"gone"}
    assert marked(roll_backs, early + MINUTE) == set()  # marked once
    assert marked(switches, early) == set()
    assert marked(switches, early + MINUTE) == {"switched"}


def promtool(*arguments):
    return subprocess.run([find_program("promtool"), *arguments], capture_output=True, text=True, check=False)  # noqa: S603


def test_promtool_finds_nothing_wrong_with_the_rules(tmp_path):
    require_prometheus("promtool")
    path = tmp_path / "rules.yaml"
    path.write_text(rules(), encoding="utf-8")
    checked = promtool("check", "rules", str(path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    path.write_text(rules().replace("absent(", "abscent("), encoding="utf-8")
    assert promtool("check", "rules", str(path)).returncode != 0


def test_alerts_come_when_they_should_and_only_then(tmp_path):
    require_prometheus("promtool")
    cases = Path(__file__).parents[1] / "monitoring" / "rules_test.yaml"
    path, tests = tmp_path / "rules.yaml", tmp_path / "tests.yaml"
    tests.write_text(cases.read_text(encoding="utf-8").replace("{rules}", str(path)), encoding="utf-8")
    path.write_text(rules(), encoding="utf-8")
    tested = promtool("test", "rules", str(tests))
    assert tested.returncode == 0, tested.stdout + tested.stderr
    broken = rules().replace("== 1", "== 0").replace("0.05", "0.5").replace("1.1", "1.3")
    path.write_text(broken, encoding="utf-8")
    tested = promtool("test", "rules", str(tests))
    assert tested.returncode != 0
    told = set(re.findall(r"alertname: *(\w+)", tested.stdout + tested.stderr))
    assert told == {"QuantumControlHandedBack", "QuantumControlFails", "QuantumControlCostsMore"}
