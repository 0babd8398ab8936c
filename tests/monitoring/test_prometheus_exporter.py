"""The exporter: what is told, to whom, and what is told no more."""

import base64
import dataclasses
import gc
import http.client
import logging
import ssl
import threading
from decimal import Decimal
from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest
from core.doubles import Clock, Pool
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from quantum_control import QuantumController
from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.core.watch import ObjectiveWatch
from quantum_control.monitoring.families import MOST_FIGURES
from quantum_control.monitoring.listener import Listener
from quantum_control.monitoring.prometheus import ControllerCollector, export


def stepped(resource=None, steps=3, **options):
    clock = Clock()
    controller = QuantumController(resource or Pool(10, 8.0, most=50), clock=clock, **options)
    for _ in range(steps):
        clock.tick()
        controller.optimize()
    return controller


@pytest.fixture
def collector():
    return ControllerCollector()


def values(text, name):
    """Of each series of a family, by its labels in the order of their names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == f"quantum_control_{name}"
    }


def get(exporter, path="/metrics", headers=None):
    host = exporter.url.split("/")[2]
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


class Held:
    """A link that lets nothing pass."""

    def allow(self, state, size, wanted, /):
        return size, f"not at {state.time}"


class TestPage:
    def test_it_tells_what_the_controller_knows(self, collector):
        controller = stepped()
        collector.add(controller, "workers")
        page = collector.exposition()
        assert values(page, "size") == {("workers",): controller.size}
        assert values(page, "demand") == {("workers",): pytest.approx(8.0)}
        assert values(page, "size_original") == {("workers",): 10.0}
        assert values(page, "size_maximum") == {("workers",): 50.0}
        assert values(page, "steps_total") == {("workers",): 3.0}
        assert values(page, "cost_at_original_total") == {("workers",): 30.0}
        assert values(page, "saving_ratio") == {("workers",): controller.tally.saving}
        assert values(page, "resource_info") == {
            ("optomechanical", "optomechanical", "workers", "Pool", ""): 1.0
        }
        assert 0.0 < values(page, "step_seconds_total")[("workers",)] < 60.0

    def test_decisions_are_told_by_outcome_from_the_start(self, collector):
        controller = stepped(Pool(10, 30.0, most=50), steps=5)
        collector.add(controller, "a")
        told = values(collector.exposition(), "decisions_total")
        assert told == {(outcome, "a"): n for outcome, n in controller.tally.outcomes.items()}
        assert {outcome for outcome, _ in told} == {"changed", "held", "failed", "suspended"}
        assert sum(told.values()) == 5.0

    def test_interventions_are_told_by_reason(self, collector):
        controller = stepped(Pool(10, 30.0, most=50), links=[Held()])
        collector.add(controller, "a")
        told = values(collector.exposition(), "interventions_total")
        assert {each for each in told.items() if each[1]} == {(("held", "a"), 3.0)}
        assert told[("maximum", "a")] == 0.0  # there before the first, so that a rate sees it

    def test_roll_backs_are_told_by_reason(self, collector):
        watch = ObjectiveWatch(Objective())
        pool = Pool(10, 30.0, most=50)
        controller = stepped(pool, links=[watch], max_failures=1)
        collector.add(controller, "a")
        assert set(values(collector.exposition(), "roll_backs_total").values()) == {0.0}
        controller.stop()
        watch.roll_backs = 2
        pool.broken_measuring = OSError("gone")
        controller._clock.tick()
        controller.optimize()
        told = values(collector.exposition(), "roll_backs_total")
        assert told == {("asked", "a"): 1.0, ("failures", "a"): 1.0, ("loss", "a"): 2.0}

    def test_the_law_in_use_is_told_beside_the_one_asked_for(self, collector):
        controller = stepped(physics_model="auto", steps=4)
        collector.add(controller, "a")

        def laws():
            return [labels[:2] for labels in values(collector.exposition(), "resource_info")]

        assert laws() == [("optomechanical", "auto")]
        controller.physics.selector.current += 1
        assert laws() == [("coherent", "auto")]

    def test_a_tuned_law_is_told_by_its_own_name(self, collector):
        collector.add(stepped(physics_model="parametric", auto_tune=True), "a")
        assert [each[0] for each in values(collector.exposition(), "resource_info")] == ["parametric"]

    def test_it_is_what_the_official_client_makes_of_it(self, collector):
        collector.add(stepped(), 'a "quoted\\ name"\nin two lines')
        collector.add(stepped(Pool(3, 9.0), steps=1), "b")
        registry = CollectorRegistry()
        registry.register(collector)
        assert collector.exposition() == generate_latest(registry)

    def test_one_that_sets_no_size_is_told_apart(self, collector):
        controllers = [stepped(), stepped()]
        collector.add(controllers[0], "a")
        collector.add(controllers[1], "b", active=False)
        assert values(collector.exposition(), "active") == {("a",): 1.0, ("b",): 0.0}

    def test_no_bound_is_infinite(self, collector):
        collector.add(stepped(Pool(10, 8.0)), "a")
        assert values(collector.exposition(), "size_maximum") == {("a",): inf}

    def test_what_is_not_known_is_left_out(self, collector):
        collector.add(stepped(), "a")
        page = collector.exposition()
        assert b"NaN" not in page
        assert not values(page, "wait_seconds")

    def test_an_adapters_own_figures_are_told_up_to_a_number(self, collector):
        controller = stepped()
        controller.metrics = {f"figure{i}": float(i) for i in range(MOST_FIGURES + 5)} | {"none": nan}
        collector.add(controller, "a")
        assert len(values(collector.exposition(), "figure")) == MOST_FIGURES

    @pytest.mark.parametrize(
        "metrics",
        [
            None,
            {"lag": None},
            {"state": "idle"},
            {"version": "16"},
            {"lag": 10**400},
            {"lag": 1j},
            {"lag": [1.0]},
            {7: "idle"},
            {"throughput": None},
            {"wait_seconds": "long"},
        ],
        ids=repr,
    )
    def test_what_is_no_number_keeps_nobody_else_from_being_told(self, collector, metrics):
        pool, sound = Pool(10, 8.0), stepped()
        sound.metrics = {"lag": 2.0}
        faulty = stepped(pool)
        pool.metrics = metrics
        faulty._clock.tick()
        faulty.optimize()
        collector.add(sound, "sound")
        collector.add(faulty, "faulty")
        registry = CollectorRegistry()
        registry.register(collector)
        page = collector.exposition()
        assert page == generate_latest(registry)
        assert values(page, "figure") == {("lag", "sound"): 2.0}
        for name in ("steps_total", "size"):
            assert set(values(page, name)) == {("sound",), ("faulty",)}
        assert values(page, "demand")[("sound",)] == pytest.approx(8.0)

    def test_figures_of_any_type_of_number_are_told(self, collector):
        controller = stepped()
        controller.metrics = {
            "lag": Decimal("0.5"),
            "full": np.bool_(True),
            "up": True,
            "share": Fraction(1, 4),
        }
        collector.add(controller, "a")
        told = {("lag", "a"): 0.5, ("full", "a"): 1.0, ("up", "a"): 1.0, ("share", "a"): 0.25}
        assert values(collector.exposition(), "figure") == told

    def test_numbers_of_numpy_are_numbers(self, collector):
        pool = Pool(10, 8.0)
        pool.metrics = {"lag": np.float32(0.5), "parts": np.int64(3), "throughput": np.float32(2.5)}
        controller = stepped(pool)
        collector.add(controller, "a")
        page = collector.exposition()
        assert values(page, "figure") == {("lag", "a"): 0.5, ("parts", "a"): 3.0}
        assert values(page, "throughput_per_second") == {("a",): 2.5}

    def test_a_law_that_says_no_setpoint_keeps_nobody_else_from_being_told(self, collector):
        sound, odd = stepped(), stepped()
        odd.decisions[-1] = dataclasses.replace(odd.decisions[-1], setpoint=None)
        collector.add(sound, "sound")
        collector.add(odd, "odd")
        page = collector.exposition()
        assert set(values(page, "setpoint")) == {("sound",)}
        assert set(values(page, "force_per_second")) == {("sound",), ("odd",)}

    def test_before_the_first_step_there_is_nothing_to_tell(self, collector):
        collector.add(stepped(steps=0), "a")
        assert not values(collector.exposition(), "size_minimum")

    def test_a_resource_that_cannot_be_measured_has_no_state(self, collector):
        pool = Pool(10, 8.0)
        controller = stepped(pool, steps=2)
        pool.broken_measuring = OSError("gone")
        controller._clock.tick()
        controller.optimize()
        collector.add(controller, "a")
        page = collector.exposition()
        assert values(page, "failures_total") == {("a",): 1.0}
        assert values(page, "size") == {("a",): controller.size}
        assert not values(page, "demand")


class TestLife:
    def test_series_vanish_with_their_controller(self, collector):
        controller, other = stepped(), stepped()
        collector.add(controller, "a")
        collector.add(other, "b")
        assert len(values(collector.exposition(), "size")) == 2
        del controller
        gc.collect()
        assert set(values(collector.exposition(), "size")) == {("b",)}

    def test_one_that_is_removed_is_told_no_more(self, collector):
        controller = stepped()
        collector.remove(collector.add(controller))
        assert not values(collector.exposition(), "size")

    def test_without_a_name_it_is_the_type_numbered(self, collector):
        controllers = [stepped() for _ in range(3)]
        assert [collector.add(each) for each in controllers] == ["Pool", "Pool-2", "Pool-3"]

    def test_a_name_is_given_once(self, collector):
        first, second = stepped(), stepped()
        collector.add(first, "a")
        with pytest.raises(ConfigError, match="'a' already"):
            collector.add(second, "a")

    def test_the_name_of_one_that_has_gone_is_free(self, collector):
        collector.add(stepped(), "a")
        gc.collect()
        controller = stepped()
        assert collector.add(controller, "a") == "a"


class TestServing:
    def test_one_call_serves_it_on_loopback(self):
        controller, other = stepped(), stepped(Pool(3, 3.0))
        with export(controller, named={"mine": other}, port=0) as exporter:
            assert exporter.url.startswith("http://127.0.0.1:")
            status, body = get(exporter)
            assert status == 200
            assert values(body, "size") == {("Pool",): controller.size, ("mine",): other.size}
            assert get(exporter, "/")[0] == 404
        with pytest.raises(ConnectionRefusedError):
            get(exporter)
        exporter.close()

    def test_a_port_that_is_taken_is_told(self):
        with export(port=0) as exporter, pytest.raises(ConfigError, match="nothing can be served at"):
            export(port=int(exporter.url.split(":")[2].split("/")[0]))

    @pytest.mark.parametrize("port", [-1, 70_000])
    def test_a_port_that_cannot_be_is_told(self, port):
        with pytest.raises(ConfigError, match="nothing can be served at"):
            export(port=port)

    def test_where_two_would_have_one_name_nothing_goes_on_listening(self):
        first, second = stepped(), stepped()
        with pytest.raises(ConfigError, match="'Pool' already"):
            export(first, named={"Pool": second}, port=0)
        assert not [each for each in threading.enumerate() if each.name == "quantum_control pages"]

    def test_without_a_thread_nothing_goes_on_listening(self, monkeypatch):
        def none_left(thread):
            raise RuntimeError("can't start new thread")

        listening = []
        bind = Listener.server_bind
        monkeypatch.setattr(Listener, "server_bind", lambda self: (listening.append(self), bind(self)))
        monkeypatch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="can't start"):
            export(port=0)
        assert [each.fileno() for each in listening] == [-1]

    def test_a_password_keeps_others_out(self, tmp_path):
        file = tmp_path / "password"
        file.write_text("open sesame\n")
        with export(port=0, user="ali", password=f"file:{file}") as exporter:
            right = {"Authorization": "Basic " + base64.b64encode(b"ali:open sesame").decode()}
            wrong = {"Authorization": "Basic " + base64.b64encode(b"ali:guess").decode()}
            assert [get(exporter, headers=each)[0] for each in (None, wrong, right)] == [401, 401, 200]
            file.unlink()
            assert get(exporter, headers=right)[0] == 401

    def test_a_slow_client_keeps_nobody_waiting(self, certificate):
        cert, key = certificate
        controller = stepped()
        with export(controller, port=0, certificate=cert, key=key) as exporter:
            host, port = exporter.url.split("/")[2].split(":")
            silent = http.client.HTTPConnection(host, int(port), timeout=10)
            silent.connect()  # and never shakes hands
            context = ssl.create_default_context(cafile=cert)
            connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200
            connection.close()
            silent.close()

    def test_a_page_that_fails_is_told_and_logged(self, caplog):
        with export(port=0) as exporter:
            exporter._controllers["broken"] = (lambda: object(), "kind", True)
            with caplog.at_level(logging.ERROR, "quantum_control"):
                assert get(exporter)[0] == 500
        assert "cannot be made" in caplog.text

    @pytest.mark.parametrize(
        ("wrong", "why"),
        [
            ({"user": "ali"}, "user and password, or neither"),
            ({"user": "ali", "password": "sesame"}, "must not be given itself"),
            ({"user": "ali", "password": "env:QC_NO_SUCH_VARIABLE"}, "not set or empty"),
            ({"certificate": "a.pem"}, "both certificate and key"),
            ({"certificate": "/nowhere.pem", "key": "/nowhere.key"}, "cannot be used"),
            ({"address": "192.0.2.1"}, "nothing can be served"),
        ],
    )
    def test_what_is_wrong_is_told_and_nothing_listens(self, wrong, why):
        with pytest.raises(ConfigError, match=why) as told:
            export(port=0, **wrong)
        assert "sesame" not in str(told.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    from integration.prometheus_server import make_certificate

    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder / "cert.pem", folder / "key.pem")
    return str(folder / "cert.pem"), str(folder / "key.pem")
