"""PrometheusSource before answers that are late, wrong, partial, ambiguous or refused."""

import threading

import pytest
from sources.fake_prometheus import FakePrometheus, vector

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.sources.prometheus import PrometheusSource

MARK = "quantum_control_read"


@pytest.fixture
def served():
    """Start a server that answers as told, and give a source for it."""
    fakes = []

    def serve(answer, **options):
        fake = FakePrometheus(answer if callable(answer) else lambda query: answer)
        fakes.append(fake)
        source = PrometheusSource(fake.url, **{"sleep": lambda seconds: None, **options})
        fakes.append(source)
        return source, fake

    yield serve
    for each in reversed(fakes):
        each.close()


def test_the_value_is_returned(served):
    source, _ = served((200, vector(({MARK: "0"}, 7.5))))
    assert source.query("sum(x)") == 7.5


def test_several_expressions_take_one_round_trip(served):
    source, fake = served((200, vector(({MARK: "0"}, 1), ({MARK: "1"}, 2))))
    assert source.read({"a": "sum(x)", "b": "sum(y)"}) == {"a": 1.0, "b": 2.0}
    assert len(fake.asked) == 1


def test_a_missing_series_is_named(served):
    source, _ = served((200, vector()))
    with pytest.raises(SensorError, match=r"no series for 'node_nothing'.*target is up"):
        source.query("node_nothing")


def test_several_series_are_told_with_their_labels(served):
    source, _ = served((200, vector(*(({MARK: "0", "__name__": "x", "pod": f"p{i}"}, i) for i in range(5)))))
    with pytest.raises(SensorError, match=r'5 series for \'x\'.*x\{pod="p0"\}; .*; \.\.\..*sum\('):
        source.query("x")


def test_an_old_sample_is_refused(served):
    source, _ = served((200, vector(({MARK: "0"}, 5), ({MARK: "0@"}, 880), now=1000)))
    with pytest.raises(SensorError, match="sampled 120 s ago, more than max_age=60"):
        source.query('x{path="/{id}"}')


def test_an_old_sample_is_taken_where_it_may_be_that_old(served):
    source, _ = served((200, vector(({MARK: "0"}, 5), ({MARK: "0@"}, 880), now=1000)), max_age=130.0)
    assert source.query("x") == 5.0


@pytest.mark.parametrize("expression", ["sum(x)", "x + y", 'rate(x{a="b"}[1m])', "x offset 5m"])
def test_the_age_of_what_is_computed_is_not_asked_for(served, expression):
    source, fake = served((200, vector(({MARK: "0"}, 5))))
    source.query(expression)
    assert "timestamp(" not in fake.asked[0][1]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_what_is_not_finite_is_no_measurement(served, value):
    source, _ = served((200, vector(({MARK: "0"}, value))))
    with pytest.raises(SensorError, match="no measurement"):
        source.query("x")


def test_a_partial_answer_is_refused(served):
    source, _ = served((200, vector(({MARK: "0"}, 5), warnings=["store b unreachable"])))
    with pytest.raises(SensorError, match="in part: store b unreachable"):
        source.query("sum(x)")


def test_what_prometheus_refuses_is_told_in_its_words(served):
    source, fake = served((400, b'{"status":"error","errorType":"bad_data","error":"parse error: unclosed"}'))
    with pytest.raises(SensorError, match=r"refused .*parse error: unclosed"):
        source.query("sum(x")
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>not found</html>",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}',
        b'{"status":"success","data":{"result":[{"metric":{},"value":[1,"many"]}]}}',
        b'{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}',
    ],
)
def test_an_answer_of_something_else_is_recognised(served, body):
    source, _ = served((200, body))
    with pytest.raises(SensorError, match="no answer of Prometheus"):
        source.query("x")


def test_a_busy_server_is_asked_again_with_growing_pauses(served):
    answers = iter([(503, b"starting"), None, (200, vector(({MARK: "0"}, 3)))])
    pauses = []
    source, fake = served(lambda query: next(answers), sleep=pauses.append)
    assert source.query("x") == 3.0
    assert pauses == [0.1, 0.2]
    assert len(fake.asked) == 3


def test_after_the_last_try_the_cause_is_told(served):
    source, fake = served(lambda query: None)
    with pytest.raises(SensorError, match=r"no answer in 3 tries; last: ProtocolError"):
        source.query("x")
    assert len(fake.asked) == 3


def test_a_server_that_does_not_answer_is_given_up(served):
    done = threading.Event()

    def hang(query):
        done.wait(30.0)

    source, _ = served(hang, timeout=0.05, retries=1)
    try:
        with pytest.raises(SensorError, match=r"no answer in 2 tries; last: ReadTimeoutError"):
            source.query("x")
    finally:
        done.set()


def test_a_port_at_which_nobody_listens_is_told():
    with pytest.raises(SensorError, match=r"127\.0\.0\.1:1 gave no answer"):
        PrometheusSource("prometheus://127.0.0.1:1", sleep=lambda seconds: None).query("x")


def test_an_endless_answer_is_cut_off(served):
    source, _ = served((200, b"x" * (2 << 20)))
    with pytest.raises(SensorError, match="far too many series"):
        source.query("x")


def test_a_redirection_is_not_followed_with_the_password(served):
    source, fake = served((302, b"elsewhere"))
    with pytest.raises(SensorError, match="answered 302"):
        source.query("x")
    assert len(fake.asked) == 1


class TestSecrets:
    def test_the_password_is_sent_and_nowhere_shown(self, served, monkeypatch):
        monkeypatch.setenv("QC_TEST_PASSWORD", "open sesame")
        source, fake = served((401, b""), user="ali", password="env:QC_TEST_PASSWORD")  # noqa: S106 - a place
        with pytest.raises(
            SensorError, match="401: <password in env:QC_TEST_PASSWORD> is not accepted"
        ) as told:
            source.query("x")
        assert fake.asked[0][0]["Authorization"] == "Basic YWxpOm9wZW4gc2VzYW1l"
        assert "sesame" not in f"{told.value} {source!r} {vars(source)}"

    def test_a_token_is_read_anew_each_time(self, served, tmp_path):
        file = tmp_path / "token"
        file.write_text("first\n")
        source, fake = served((200, vector(({MARK: "0"}, 1))), token=f"file:{file}")
        source.query("x")
        file.write_text("second\n")
        source.query("x")
        assert [headers["Authorization"] for headers, _ in fake.asked] == ["Bearer first", "Bearer second"]

    def test_they_may_stand_in_the_url(self, served, tmp_path):
        file = tmp_path / "token"
        file.write_text("abc")
        _, fake = served((200, vector(({MARK: "0"}, 1))))
        source = PrometheusSource(f"{fake.url}/?token=file:{file}&timeout=9&retries=0&max_age=5")
        source.query("x")
        source.close()
        assert fake.asked[0][0]["Authorization"] == "Bearer abc"
        assert source.max_age == 5.0

    @pytest.mark.parametrize(
        "given",
        [
            {"url": "prometheus://ali:sesame@127.0.0.1:9090"},
            {"url": "prometheus://127.0.0.1:9090", "user": "ali", "password": "sesame"},
            {"url": "prometheus://127.0.0.1:9090", "token": "sesame"},
            {"url": "prometheus://127.0.0.1:9090?token=sesame"},
        ],
    )
    def test_one_that_was_given_itself_is_refused_and_not_repeated(self, given):
        with pytest.raises(ConfigError, match="file:") as told:
            PrometheusSource(**given)
        assert "sesame" not in str(told.value)

    @pytest.mark.parametrize("content", ["", "two\nlines", "näive"])
    def test_one_that_cannot_be_a_token_is_refused_and_not_repeated(self, tmp_path, content):
        file = tmp_path / "token"
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match="token in file:") as told:
            PrometheusSource("prometheus://127.0.0.1", token=f"file:{file}")
        assert "lines" not in str(told.value).replace("line ends", "")
        assert "ive" not in str(told.value)

    @pytest.mark.parametrize(
        "host", ["monitor.example", "127.0.0.1.example.org", "127.example.org", "10.0.0.127", "[fe80::1]"]
    )
    def test_one_is_not_sent_over_the_network_in_the_clear(self, monkeypatch, host):
        monkeypatch.setenv("QC_TEST_TOKEN", "abc")
        with pytest.raises(ConfigError, match=r"prometheus\+https"):
            PrometheusSource(f"prometheus://{host}:9090?token=env:QC_TEST_TOKEN")

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]"])
    def test_one_may_be_sent_to_this_machine_in_the_clear(self, monkeypatch, host):
        monkeypatch.setenv("QC_TEST_TOKEN", "abc")
        assert PrometheusSource(f"prometheus://{host}:9090?token=env:QC_TEST_TOKEN").address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9090", "prometheus://HOST:PORT"),
        ("prometheus://", "prometheus://HOST:PORT"),
        ("prometheus://host:port", "no URL"),
        ("prometheus://host?colour=red", "unknown parameter colour"),
        ("prometheus://host?timeout=soon", "timeout='soon'"),
        ("prometheus://host?timeout=0", "seconds above 0"),
        ("prometheus://host?retries=-1", "retries is 0 or more"),
        ("prometheus://host?user=ali", "give user and password"),
        ("prometheus+https://host?ca_file=/nowhere.pem", "cannot be used"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_needed(url, why):
    with pytest.raises(ConfigError, match=why.replace("+", r"\+")):
        PrometheusSource(url)


def test_without_a_port_it_is_the_usual_one():
    assert PrometheusSource("prometheus://[::1]/prom/").address == "http://[::1]:9090/prom"
