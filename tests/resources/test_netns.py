"""How network namespaces are told apart."""

import errno
import re
import socket

import pytest

from quantum_control.core.errors import GoneError, SensorError
from quantum_control.resources import netns
from quantum_control.resources.netns import OWN, enter_netns, netns_identity


class Refusing(socket.socket):
    """A socket whose kernel refuses the option."""

    number = errno.ENOPROTOOPT

    def getsockopt(self, *_):
        raise OSError(self.number, "refused")


def test_the_identity_of_the_own_namespace_stays():
    assert netns_identity() == netns_identity()
    assert re.fullmatch(r"(cookie|inode) \d+", netns_identity())


def test_a_kernel_without_cookies_tells_the_inode(monkeypatch):
    monkeypatch.setattr(netns.socket, "socket", Refusing)
    assert netns_identity() == f"inode {OWN.stat().st_ino}"


def test_a_kernel_that_cannot_be_asked_is_not_taken_for_one_without(monkeypatch):
    monkeypatch.setattr(Refusing, "number", errno.EMFILE)
    monkeypatch.setattr(netns.socket, "socket", Refusing)
    with pytest.raises(SensorError, match="identity of a network namespace: refused"):
        netns_identity()


def test_a_namespace_that_is_not_there_is_gone_and_one_that_is_none_is_not(tmp_path):
    with pytest.raises(GoneError, match="no-such-namespace"):
        enter_netns("no-such-namespace")
    (tmp_path / "file").touch()
    with pytest.raises(SensorError, match="entering network namespace") as told:
        enter_netns(tmp_path / "file")
    assert not isinstance(told.value, GoneError)
