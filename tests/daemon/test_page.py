"""What the page is told, and by whom it may be read."""

import http.client
import json
from math import nan

import pytest

from quantum_control.core.decision import Decision, Outcome
from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.core.resource import ResourceState
from quantum_control.core.secret import Secret
from quantum_control.daemon.page.course import STEPS, TOLD, Course
from quantum_control.daemon.page.live import ROWS, STATIC, LivePage
from quantum_control.daemon.standing import ordered, picked, why
from quantum_control.monitoring.serving import HEADERS, PageServer


def decided(size=10, demand=8.0, outcome=Outcome.HELD, why=(), state=True):
    seen = ResourceState.from_demand(demand, size=size) if state else None
    return Decision(0.0, outcome, seen, 0.1, 0.0, float(size), size, why)


def status(name="web", **more):
    return {
        "resource": name,
        "kind": "threads",
        "mode": "active",
        "state": "held",
        "size": 10,
        "original": 8,
        "changes": 3,
        "failures": 0,
        "paused": "",
        "force": 0.125,
        "why": [],
        "busy_seconds": 0.0,
        "late_seconds": 0.001,
    } | more


class TestCourse:
    def test_it_keeps_the_last_steps_only(self):
        course = Course()
        for step in range(3 * STEPS):
            course.add(float(step), decided(), None, twin=False)
        figures = course.figures()
        assert course.times() == [float(step) for step in range(2 * STEPS, 3 * STEPS)]
        assert {len(column) for column in figures.values()} == {STEPS}
        assert len(course.figures(["size"], 5)["size"]) == 5

    def test_a_twin_is_told_beside_the_real_thing(self):
        course = Course()
        real = ResourceState.from_demand(20.0, size=30)
        course.add(1.0, decided(size=10, demand=8.0), real, twin=True)
        figures = course.figures()
        assert (figures["size"], figures["demand"]) == ([30.0], [20.0])
        assert (figures["as_if_size"], figures["as_if_demand"]) == ([10.0], [8.0])

    def test_what_could_not_be_measured_is_a_gap_and_the_last_measurement_stays(self):
        course = Course()
        course.add(1.0, decided(), None, twin=False)
        course.add(2.0, decided(outcome=Outcome.FAILED, state=False), None, twin=False)
        assert course.figures()["size"] == [10.0, None]
        assert course.latest == (10, 8.0)

    def test_equal_decisions_in_a_row_are_told_once(self):
        course = Course()
        for step in range(5):
            course.add(float(step), decided(why=("dead band",)), None, twin=False)
        course.add(5.0, decided(size=12, outcome=Outcome.CHANGED), None, twin=False)
        changed, held = course.told()
        assert (changed.outcome, changed.times) == (Outcome.CHANGED, 1)
        assert (held.times, held.when, held.reasons) == (5, 4.0, ("dead band",))

    def test_decisions_are_bounded(self):
        course = Course()
        for step in range(3 * TOLD):
            course.add(float(step), decided(size=step + 1, outcome=Outcome.CHANGED), None, twin=False)
        assert len(course.told()) == TOLD
        assert course.told()[0].allowed == 3 * TOLD


class TestStanding:
    def test_those_in_trouble_come_first(self):
        found = [status("a"), status("c", state="failed"), status("b", busy_seconds=60.0), status("d")]
        assert [each["resource"] for each in ordered(found)] == ["b", "c", "a", "d"]

    def test_a_field_sorts_and_what_has_none_is_last_either_way(self):
        found = [status("a", size=3), status("b", size=None), status("c", size=20), status("d", size=nan)]
        assert [each["resource"] for each in ordered(found, "size")] == ["a", "c", "b", "d"]
        assert [each["resource"] for each in ordered(found, "size", falling=True)] == ["c", "a", "b", "d"]

    def test_text_mode_and_state_pick(self):
        found = [
            status("web", why=["dead band"]),
            status("db", mode="shadow", state="failed"),
            status("x", kind="Memory"),
        ]
        assert [each["resource"] for each in picked(found, "BAND")] == ["web"]
        assert [each["resource"] for each in picked(found, "mem")] == ["x"]
        assert [each["resource"] for each in picked(found, mode="shadow")] == ["db"]
        assert [each["resource"] for each in picked(found, state="trouble")] == ["db"]
        assert [each["resource"] for each in picked(found, state="held")] == ["web", "x"]

    def test_a_step_that_hangs_is_why(self):
        assert why(status(busy_seconds=12.3, paused="by hand")) == "a step has been under way for 12 s"


@pytest.fixture
def server():
    server = PageServer("127.0.0.1", 0)
    yield server
    server.close()


@pytest.fixture
def found():
    return [status()]


@pytest.fixture
def page(server, found):
    def answer(question):
        if question["do"] == "status":
            return found
        assert question["do"] == "explain"
        by_name = {each["resource"]: each for each in found}
        if question["resource"] not in by_name:
            raise ConfigError("unknown resource")
        return by_name[question["resource"]]

    page = LivePage(server, answer, lambda name: Objective(), lambda: 0)
    server.start()
    return page


def get(server, path="/", method="GET", **headers):
    host = server.url.split("/")[2]
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def told(server, path):
    answer, body = get(server, path)
    assert answer.status == 200, body
    return json.loads(body)


class TestPage:
    def test_every_part_of_it_is_served_and_none_comes_from_elsewhere(self, server, page):
        for path, (_, kind) in STATIC.items():
            answer, body = get(server, path)
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
            text = body.decode().replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text
            assert "innerHTML" not in text
            assert "style=" not in text

    def test_a_list_is_sorted_picked_and_parted(self, server, page, found):
        found[:] = [status(f"r{number:03}", force=float(number % 7)) for number in range(2 * ROWS + 1)]
        first = told(server, "/resources.json")
        assert (first["total"], first["found"], len(first["rows"])) == (101, 101, ROWS)
        last = told(server, f"/resources.json?first={2 * ROWS}")
        assert [each["resource"] for each in last["rows"]] == ["r100"]
        assert told(server, "/resources.json?first=9999")["first"] == 2 * ROWS
        falling = told(server, "/resources.json?sort=force&order=falling")
        assert {each["force"] for each in falling["rows"][:14]} == {6.0}
        assert told(server, "/resources.json?text=r007")["found"] == 1

    @pytest.mark.parametrize("query", ["sort=secret", "first=-1", "first=x", "&".join(["a=b"] * 50)])
    def test_a_query_that_makes_no_sense_is_refused(self, server, page, query):
        assert get(server, f"/resources.json?{query}")[0].status == 400

    def test_shadow_is_told_beside_what_is_and_compared(self, server, page, found):
        found[:] = [status(mode="shadow", size=12)]
        for step in range(120):
            real = ResourceState.from_demand(8.0, size=30)
            page.record("web", "shadow", 1.8e9 + step, decided(size=12, demand=8.0), real)
        (row,) = told(server, "/resources.json")["rows"]
        assert (row["size"], row["decided"], row["demand"]) == (30.0, 12, 8.0)
        worth = told(server, "/resource.json?name=web")["worth"]
        assert (worth["against"], worth["mean_size"], worth["other_size"]) == ("shadow", 30.0, 12.0)
        assert worth["saving"] == pytest.approx(1.0 - 12.0 / 30.0)

    def test_what_is_steered_is_compared_with_the_size_that_was_found(self, server, page, found):
        found[:] = [status(original=20)]
        for step in range(120):
            page.record("web", "active", 1.8e9 + step, decided(size=10, demand=8.0), None)
        worth = told(server, "/resource.json?name=web")["worth"]
        assert (worth["against"], worth["saving"]) == ("original", pytest.approx(0.5))

    def test_a_resource_that_is_gone_is_not_found_and_forgotten(self, server, page, found):
        page.record("web", "active", 1.0, decided(), None)
        found.clear()
        assert told(server, "/resources.json")["rows"] == []
        assert get(server, "/resource.json?name=web")[0].status == 404
        found[:] = [status()]
        assert told(server, "/resource.json?name=web")["course"]["size"] == []

    def test_what_is_no_number_is_null(self, server, page, found):
        found[:] = [status(force=nan, size=None)]
        (row,) = told(server, "/resources.json")["rows"]
        assert row["force"] is row["size"] is row["decided"] is None


class TestReading:
    @pytest.mark.parametrize("path", ["/", "/resources.json", "/nothing"])
    def test_every_answer_says_what_a_browser_may_do(self, server, page, path):
        answer, _ = get(server, path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
    def test_nothing_can_be_written(self, server, page, method):
        answer, _ = get(server, "/resources.json", method)
        assert answer.status == 501
        assert "Content-Security-Policy" in answer.headers

    def test_head_has_no_body(self, server, page):
        answer, body = get(server, "/", "HEAD")
        assert (answer.status, body) == (200, b"")

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""]
    )
    def test_another_name_on_loopback_is_refused(self, server, page, host):
        assert get(server, "/resources.json", Host=host)[0].status == 421

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9464", "127.0.0.1", "[::1]:80", "10.1.2.3"])
    def test_addresses_and_localhost_are_not(self, server, page, host):
        assert get(server, "/resources.json", Host=host)[0].status == 200

    def test_beyond_loopback_any_name_may_be_ours(self):
        server = PageServer("0.0.0.0", 0)  # noqa: S104 - it answers only this test
        LivePage(server, lambda question: [], lambda name: Objective(), lambda: 0)
        server.start()
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert get(server, "/resources.json", Host="box.example")[0].status == 200
        server.close()

    def test_the_password_covers_the_page(self, monkeypatch):
        monkeypatch.setenv("PAGE_PASSWORD", "open sesame")
        server = PageServer("127.0.0.1", 0, user="ali", password=Secret("password", "env:PAGE_PASSWORD"))
        LivePage(server, lambda question: [], lambda name: Objective(), lambda: 0)
        server.start()
        for path in (*STATIC, "/resources.json", "/resource.json?name=web"):
            assert get(server, path)[0].status == 401
        assert get(server, "/", Authorization="Basic YWxpOm9wZW4gc2VzYW1l")[0].status == 200
        server.close()
