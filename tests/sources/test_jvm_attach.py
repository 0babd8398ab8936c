"""The attach protocol, before processes that are no JVM and sockets that misbehave."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quantum_control.core.errors import ActuatorError, GoneError, SensorError
from quantum_control.sources.jvm_attach import JvmAttach, is_jvm


class FakeJvm:
    """Answers each request on a socket of its own by the next of `answers`; None is silence."""

    def __init__(self, folder, answers):
        self.path = folder / "java"
        self.requests = []
        self._answers = list(answers)
        self._held = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        for answer in self._answers:
            link, _ = self._socket.accept()
            self.requests.append(link.recv(4096).decode().split("\0")[:-1])
            if answer is None:
                self._held.append(link)
                continue
            link.sendall(answer.encode())
            link.close()

    def close(self):
        self._thread.join(10)
        for link in self._held:
            link.close()
        self._socket.close()


@pytest.fixture
def jvm(tmp_path, monkeypatch):
    """Make a client of a fake JVM that gives these answers."""
    made = []

    def make(*answers, timeout=5.0):
        fake = FakeJvm(tmp_path, answers)
        made.append(fake)
        monkeypatch.setattr(JvmAttach, "_socket_path", lambda _: fake.path)
        return JvmAttach(os.getpid(), timeout=timeout), fake

    yield make
    for fake in made:
        fake.close()


def test_a_request_has_three_arguments_and_its_answer_a_status(jvm):
    attach, fake = jvm("0\nheap\n")
    assert attach.jcmd("GC.heap_info") == "heap\n"
    assert fake.requests == [["1", "jcmd", "GC.heap_info", "", ""]]


def test_a_flag_is_set_as_a_plain_number_and_read_back(jvm):
    attach, fake = jvm("0\n-XX:Soft=5\n", "0\n", "0\n-XX:Soft=7\n")
    attach.set_flag("Soft", 7)
    assert fake.requests[1] == ["1", "setflag", "Soft", "7", ""]


def test_a_flag_that_was_silently_not_taken_is_put_back_and_told(jvm):
    attach, fake = jvm("0\n-XX:Soft=5\n", "0\n", "0\n-XX:Soft=300\n", "0\n")
    with pytest.raises(ActuatorError, match="did not take Soft=7: it was 5 and is 300"):
        attach.set_flag("Soft", 7)
    assert fake.requests[3] == ["1", "setflag", "Soft", "5", ""]


def test_a_refusal_says_what_the_jvm_said(jvm):
    attach, _ = jvm("0\n-XX:Soft=5\n", "1\nflag 'Soft' cannot be changed\n")
    with pytest.raises(ActuatorError, match="cannot be changed"):
        attach.set_flag("Soft", 7)


@pytest.mark.parametrize("answer", ["0\nno such flag 'Soft'\n", "0\n-XX:+Soft\n", "0\n-XX:Soft=\n", ""])
def test_a_flag_that_is_no_number_is_told(jvm, answer):
    attach, _ = jvm(answer)
    with pytest.raises(SensorError):
        attach.flag("Soft")


def test_silence_ends_in_a_message(jvm):
    attach, _ = jvm(None, timeout=0.05)
    with pytest.raises(SensorError, match=r"did not answer within 0\.05 s"):
        attach.jcmd("GC.heap_info")


def test_arguments_cannot_smuggle_in_another_request():
    with pytest.raises(SensorError, match="no request"):
        JvmAttach(os.getpid()).jcmd("GC.heap_info\0VM.exit")


def test_a_process_that_is_no_jvm_is_never_signalled():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(SensorError, match=r"no libjvm\.so"):
            JvmAttach(process.pid).jcmd("GC.heap_info")
        process.communicate(b"\n")
    assert process.returncode == 0


def test_a_process_that_is_gone_is_told():
    with pytest.raises(GoneError, match="there is no process"):
        JvmAttach(2**22 + 1).jcmd("GC.heap_info")


def note():
    return f".attach_pid{os.getpid()}"


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Be in a folder of our own, as if this process were the JVM."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (Path("/proc/self/root/tmp") / note()).exists()


def test_the_note_is_in_the_jvms_folder_and_is_taken_away(own_folder):
    with JvmAttach(os.getpid())._note(note()):
        assert [path.name for path in own_folder.iterdir()] == [note()]
    assert list(own_folder.iterdir()) == []


def test_a_link_in_the_place_of_the_note_is_not_followed(own_folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    target, there = elsewhere / "target", elsewhere / "there"
    there.touch(mode=0o644)
    for linked in (target, there):
        (own_folder / note()).symlink_to(linked)
        before = there.stat()
        with JvmAttach(os.getpid())._note(note()):
            assert (Path("/tmp") / note()).is_file()  # noqa: S108 - where a JVM looks next
        assert (own_folder / note()).is_symlink()
        assert not target.exists()
        assert there.stat() == before
        (own_folder / note()).unlink()


def test_a_note_that_cannot_be_given_away_is_not_left_behind(own_folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(os, "fchown", refuse)
    with (
        pytest.raises(SensorError, match=r"cannot be attached to \(.*not permitted\); run as its user"),
        JvmAttach(os.getpid())._note(note()),
    ):
        pytest.fail("there is no note")
    assert list(own_folder.iterdir()) == []


def test_whether_a_process_is_a_jvm_is_seen_from_what_it_has_loaded():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_jvm(process.pid)
        process.communicate(b"\n")
    with pytest.raises(GoneError, match="there is no process"):
        is_jvm(2**22 + 1)
