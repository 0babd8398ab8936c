"""Which balancer a URL means."""

from __future__ import annotations

import traceback

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.resources.balancer import open_balancer


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("haproxy+unix:///run/a.sock?backend=app", "HAProxy(backend 'app' at /run/a.sock)"),
        ("haproxy+tcp://127.0.0.1:9999?backend=app", "HAProxy(backend 'app' at 127.0.0.1:9999)"),
        ("haproxy+tcp://[::1]:9999?backend=app", "HAProxy(backend 'app' at [::1]:9999)"),
        (
            "envoy+http://127.0.0.1:9901?cluster=app&eds=/e.json",
            "Envoy(cluster 'app' at 127.0.0.1:9901, /e.json)",
        ),
        ("nginx+file:///etc/app.upstream?log=/l&pid=/p", "Nginx(/etc/app.upstream)"),
    ],
)
def test_each_form_opens_its_balancer(url, what):
    assert repr(open_balancer(url)) == what


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("haproxi+unix:///a?backend=app", "did you mean 'haproxy\\+unix'"),
        ("haproxy+unix:///a", "lacks backend="),
        ("haproxy+unix://a/b?backend=app", "three slashes"),
        ("haproxy+unix:///a?backend=app&backnd=x", "did you mean 'backend'"),
        ("haproxy+unix:///a?backend=app/s1", "name of a backend"),
        ("haproxy+tcp://127.0.0.1?backend=app", "host:port"),
        ("haproxy+tcp://127.0.0.1:x?backend=app", "[Pp]ort"),
        ("haproxy+tcp://[::1:9999?backend=app", "for IPv6"),
        ("envoy+http://127.0.0.1:9901?cluster=app", "lacks eds="),
        ("envoy+http://127.0.0.1:9901/clusters?cluster=app&eds=/e", "without a path"),
        ("nginx+file:///a?log=/l", "lacks pid="),
    ],
)
def test_a_wrong_url_is_told_with_what_it_should_be(url, message):
    with pytest.raises(ConfigError, match=message):
        open_balancer(url)


@pytest.mark.parametrize(
    "url",
    [
        "envoy+http://admin:hunter2@127.0.0.1:9901?cluster=app&eds=/e",
        "envoy+http://127.0.0.1:9901?cluster=app&eds=/e&authorization=admin:hunter2",
        "envoy+http://127.0.0.1:9901?cluster=app&authorization_file=hunter2",
        "envoy+http://127.0.0.1:9901/hunter2?cluster=app&eds=/e",
        "envoy+http://admin:hunter2?cluster=app&eds=/e",
        "haproxy+unix://hunter2/a?backend=app",
        "http://127.0.0.1:9901?authorization=hunter2",
        "nginx+file:///a?log=/l&password=hunter2",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated_wherever_it_stands(url):
    with pytest.raises(ConfigError) as told:
        open_balancer(url)
    assert "hunter2" not in "".join(traceback.format_exception(told.value))


def test_a_password_before_the_host_is_told_where_to_go():
    with pytest.raises(ConfigError, match="authorization_env"):
        open_balancer("envoy+http://admin:hunter2@127.0.0.1:9901?cluster=app&eds=/e")


def test_credentials_come_from_the_environment_and_are_not_shown(monkeypatch):
    url = "envoy+http://127.0.0.1:9901?cluster=app&eds=/e&authorization_env=ENVOY_ADMIN"
    with pytest.raises(ConfigError, match="ENVOY_ADMIN is not set"):
        open_balancer(url)
    monkeypatch.setenv("ENVOY_ADMIN", "admin:hunter2")
    assert "hunter2" not in repr(open_balancer(url))


def test_credentials_come_from_a_file_and_are_not_shown(tmp_path, monkeypatch):
    kept = tmp_path / "admin"
    url = f"envoy+http://127.0.0.1:9901?cluster=app&eds=/e&authorization_file={kept}"
    with pytest.raises(ConfigError, match=r"admin cannot be read .FileNotFoundError"):
        open_balancer(url)
    kept.write_bytes(b"admin:hunter2\xff")
    with pytest.raises(ConfigError, match="UnicodeDecodeError") as told:
        open_balancer(url)
    assert "hunter2" not in "".join(traceback.format_exception(told.value))
    kept.write_text("admin:hunter2\n")
    assert "hunter2" not in repr(open_balancer(url))
    monkeypatch.setenv("ENVOY_ADMIN", "admin:hunter2")
    with pytest.raises(ConfigError, match="and not both"):
        open_balancer(f"{url}&authorization_env=ENVOY_ADMIN")
