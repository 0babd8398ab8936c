"""Which addresses are this machine's own."""

import pytest

from quantum_control.core.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_is_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "127.0.0.1.example.org", "127.1", "localhost.example.org", "10.0.0.1"])
def test_a_name_that_begins_like_it_is_not(host):
    assert not is_loopback(host)
