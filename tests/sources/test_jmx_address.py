"""Addresses of JMX: what they may say, and that no password is repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.errors import ConfigError
from quantum_control.sources.jmx import JmxAddress


def test_host_and_port_suffice():
    address = JmxAddress("jmx://localhost:9999")
    assert (address.place, address.tls, address.credentials()) == ("localhost:9999", False, None)
    assert JmxAddress("jmx://[::1]:9999").place == "[::1]:9999"


def test_user_and_password_are_read_where_they_are_kept(monkeypatch, tmp_path):
    (tmp_path / "user").write_text("monitor\n")
    monkeypatch.setenv("JMX_PASSWORD", "first")
    address = JmxAddress(f"jmx://db:1?user=file:{tmp_path / 'user'}&password=env:JMX_PASSWORD&tls=true")
    assert address.credentials() == ("monitor", "first")
    monkeypatch.setenv("JMX_PASSWORD", "second")
    assert address.credentials() == ("monitor", "second")
    assert address.tls
    assert "second" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:9999",
        "jmx://localhost",
        "jmx://localhost:port",
        "jmx://localhost:99999",
        "jmx://:9999",
        "jmx://localhost:1/path",
        "jmx://localhost:1?tls=maybe",
        "jmx://localhost:1?user=me",
        "jmx://localhost:1?password=env:X",
        "jmx://localhost:1?pasword=env:X&user=me",
        "jmx://localhost:1?nonsense",
        "jmx://me:hunter2@localhost:1",
        "jmx://localhost:1?user=me&password=hunter2",
    ],
)
def test_anything_else_is_refused_without_repeating_a_password(url):
    with pytest.raises(ConfigError) as refusal:
        JmxAddress(url)
    assert "hunter2" not in str(refusal.value)


@given(url=st.text(max_size=60).map(lambda rest: "jmx://" + rest))
def test_no_text_raises_anything_but_a_config_error(url):
    try:
        address = JmxAddress(url)
    except ConfigError:
        return
    assert ":" in address.place
