"""Every query of every dashboard, and every alert, before a real Prometheus.

It scrapes a real daemon that steers a PgBouncer, an HAProxy, the queue of a network namespace and a JVM's
heap, and this process, in which a thread pool is steered: a pool of threads cannot be steered from outside.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from integration.balanced import SPEEDS
from integration.flood import Flood
from integration.host_network import require_namespaces
from integration.local_jvm import allocating
from integration.pool_load import Clients, pgbouncer
from integration.prometheus_server import LocalPrometheus, require_prometheus
from integration.requirements import require

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, wait_for

from quantum_control import QuantumController, ThreadPoolResource
from quantum_control.bench.balancers import LocalHAProxy, free_port
from quantum_control.bench.network_bed import BOTTLENECK, NetworkBed
from quantum_control.bench.server_process import find_program, wait_until
from quantum_control.bench.unequal import UnequalServers
from quantum_control.monitoring.dashboards import contents, rules
from quantum_control.monitoring.families import FAMILIES, MOST_FIGURES
from quantum_control.monitoring.kinds import KINDS
from quantum_control.monitoring.prometheus import export

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.xdist_group("kernel")]

MINUTE = 60.0
"""What annotations look back; Prometheus is asked for a time so much ahead, so that nobody has to wait."""

STEERED = {"connections": "sessions", "loadbalancer": "web", "buffer": "uplink", "memory": "heap"}
"""What the daemon steers, by its type."""

NOT_HERE = {"buffer": {"Bytes"}}
"""Panels without data here: of socket buffers, where a queue is steered."""

HANDED_BACK = "faulty"
"""A plug-in's resource that fails while the test watches."""


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
def place(tmp_path_factory, server):
    """A daemon's folder, with real servers at work that its configuration names."""
    psycopg = pytest.importorskip("psycopg", reason="pip install 'quantum-control[postgres]'")
    require(LocalHAProxy.executable(), "haproxy is not installed; scripts/install-servers installs it")
    require_namespaces()
    place = Place(tmp_path_factory.mktemp("daemon"))
    with ExitStack() as stack:
        bouncer = stack.enter_context(pgbouncer(server, default_pool_size=4))
        servers = stack.enter_context(UnequalServers(SPEEDS))
        haproxy = stack.enter_context(LocalHAProxy(servers.addresses, "leastconn"))
        bed = stack.enter_context(NetworkBed(10e6))
        program = stack.enter_context(allocating((300.0, 60.0, 150.0)))

        def query():
            seconds = 0.01 if time.monotonic() % 6.0 < 3.0 else 0.1  # so that the size goes on changing
            with psycopg.connect(bouncer.dsn, autocommit=True, prepare_threshold=None) as connection:
                connection.execute("SELECT pg_sleep(%s)", [seconds])

        def request():
            urllib.request.urlopen(f"http://127.0.0.1:{haproxy.port}/0.5", timeout=30).close()

        stack.enter_context(Clients(query, 8, pause=0.02))
        stack.enter_context(Clients(request, 4, pause=0.02))
        stack.enter_context(Flood(bed))
        for kind, options in {
            "connections": {"dsn": bouncer.admin_dsn, "database": "postgres", "max_connections": 30},
            "loadbalancer": {"url": haproxy.url},
            "buffer": {"interface": BOTTLENECK, "netns": bed.netns, "target_seconds": 0.05},
            "memory": {"process_id": program.pid},
        }.items():
            place.resources[STEERED[kind]] = {
                "kind": kind,
                "mode": "active",
                "interval": 0.25,
                "deadline": 5.0,
                "options": options,
            }
        yield place


@pytest.fixture(scope="module")
def fleet(place):
    """A real Prometheus that scrapes the daemon and a process with a thread pool; and what went on."""
    require_prometheus()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4))
        threads = ThreadPoolResource(
            pool=pool, max_threads=6
        )  # fewer than it needs, so that a bound intervenes
        stack.callback(threads.release)
        stack.enter_context(Clients(lambda: list(pool.map(time.sleep, [0.005] * 20)), 1))
        exporter = stack.enter_context(export(port=0))
        controller = stack.enter_context(QuantumController(threads, interval=0.1))
        exporter.add(controller, "pool")

        for name in ("switched", "faulty", "leaves"):
            place.lively(name, interval=0.1)
        page = free_port()
        metrics = f"[metrics]\nport = {page}\n"
        place.write(metrics)
        process = stack.enter_context(place.daemon())
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        own = int(exporter.url.split(":")[2].split("/")[0])
        prometheus = stack.enter_context(LocalPrometheus([own, page]))

        def seen(expression, at=None):
            when = {} if at is None else {"time": at}
            return get(prometheus, "query", query=expression, **when)["result"]

        info = "quantum_control_resource_info"
        names = {*STEERED.values(), "switched", HANDED_BACK, "leaves", "pool"}
        wait_for(lambda: {each["metric"]["resource"] for each in seen(info)} == names)
        early = time.time()  # all are in sight, and nothing has happened yet
        broken = place.folder / f"{HANDED_BACK}.size"
        broken.write_text("no number", encoding="ascii")
        place.resources["switched"]["physics_model"] = "parametric"
        del place.resources["leaves"]
        place.write(metrics)
        os.kill(process.pid, signal.SIGHUP)
        wait_for(lambda: seen(f'{info}{{model="parametric"}}'))
        wait_for(lambda: seen('quantum_control_roll_backs_total{reason="failures"} > 0'))
        yield prometheus, seen, early, f"http://127.0.0.1:{page}/metrics"


def picked(server, board):
    chosen = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            chosen[variable["name"]] = values(server, variable["query"], chosen)
    return chosen


@pytest.mark.parametrize("name", ["fleet", *KINDS])
def test_every_panel_has_data(fleet, boards, name):
    server, seen, *_ = fleet
    board = boards[f"quantum-control-{name}"]
    chosen = picked(server, board)
    if name == "fleet":
        assert set(chosen["resource"]) >= {"pool", "switched", HANDED_BACK, *STEERED.values()}
    else:
        assert chosen["resource"] == ["pool" if name == "threads" else STEERED[name]]
    asked = [
        (panel["title"], filled(target["expr"], chosen))
        for panel in board["panels"]
        if panel["type"] != "row" and panel["title"] not in NOT_HERE.get(name, ())
        for target in panel["targets"]
    ]
    assert len(asked) > 10
    empty = {each for each in asked if not wait_until(lambda each=each: seen(each[1]), 60.0)}
    assert empty == set()


def test_a_query_without_data_would_be_found(fleet):
    _, seen, *_ = fleet
    assert not seen('quantum_control_size{resource="none"}')


def test_a_table_has_one_line_for_each_resource(fleet, boards):
    server, seen, *_ = fleet
    board = boards["quantum-control-fleet"]
    table = next(panel for panel in board["panels"] if panel["type"] == "table")
    chosen = picked(server, board)
    for target in table["targets"]:
        found = [each["metric"] for each in seen(filled(target["expr"], chosen))]
        assert len({each["resource"] for each in found}) == len(found)
        assert all("__name__" not in each for each in found)


def test_changes_roll_backs_and_switches_are_marked(fleet, boards):
    server, seen, early, _ = fleet
    board = boards["quantum-control-fleet"]
    chosen = picked(server, board)
    changes, roll_backs, switches = (filled(each["expr"], chosen) for each in board["annotations"]["list"])

    def marked(expression, at):
        return {each["metric"]["resource"] for each in seen(expression, at)}

    assert wait_until(lambda: marked(changes, time.time()) >= {"sessions"})
    assert marked(roll_backs, early) == set()
    assert HANDED_BACK in marked(roll_backs, time.time())
    assert marked(switches, early) == set()
    assert marked(switches, early + MINUTE) == {"switched"}


def test_series_vanish_with_their_resource(fleet):
    _, seen, early, _ = fleet
    assert seen('quantum_control_size{resource="leaves"}', early)
    assert wait_until(lambda: not seen('{__name__=~"quantum_control_.+",resource="leaves"}'))


def test_promtool_has_nothing_to_say_about_the_daemons_page(fleet):
    *_, url = fleet
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
        page = answer.read()
    checked = subprocess.run(  # noqa: S603 - fixed
        [find_program("promtool"), "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_number_of_series_and_labels_is_bounded(fleet):
    _, seen, *_ = fleet
    every = '{__name__=~"quantum_control_.+"}'
    most = len(FAMILIES) + MOST_FIGURES + 20  # outcomes, reasons of interventions and of roll-backs
    counted = seen(f"count by (instance, resource) ({every})")
    assert counted
    assert all(0 < float(each["value"][1]) <= most for each in counted)
    known = {
        "__name__",
        "instance",
        "job",
        "resource",
        *(each for family in FAMILIES for each in family.labels),
    }
    assert {label for each in seen(every) for label in each["metric"]} <= known


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

    def missed(wrong):
        path.write_text(wrong, encoding="utf-8")
        tested = promtool("test", "rules", str(tests))
        assert tested.returncode != 0
        return set(re.findall(r"alertname: *(\w+)", tested.stdout + tested.stderr))

    broken = rules().replace("== 1", "== 0").replace("0.05", "0.5").replace("1.1", "1.3")
    assert missed(broken) == {"QuantumControlHandedBack", "QuantumControlFails", "QuantumControlCostsMore"}
    for_twins_too = rules().replace("unless on (job, instance, resource) quantum_control_active == 0", "")
    assert missed(for_twins_too) == {
        "QuantumControlHandedBack",
        "QuantumControlShortOfRoom",
        "QuantumControlCostsMore",
    }
