"""The scaler's background in a process of its own, which may not come up again at once."""

import multiprocessing
import os
import queue
import threading
from multiprocessing.connection import Connection
from types import SimpleNamespace

from quantum_control.fleet import scaler_process
from quantum_control.fleet.scaler_process import SteppingProcess
from quantum_control.fleet.scaler_report import Counts

LONG = 30.0


class Context:
    """Begins processes that are ends of pipes; those for which there is an error cannot be started."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.begun = queue.SimpleQueue()
        self.Pipe = multiprocessing.Pipe

    def Process(self, target, args, **settings):  # noqa: N802 - as multiprocessing has it
        return Process(self, args[0])


class Process:
    exitcode = -9

    def __init__(self, context, pipe):
        self.context, self.pipe = context, pipe
        self.lock = threading.Lock()  # whoever stops it and whoever listens both wait for its end

    def start(self):
        error = self.context.errors.pop(0)
        if error is not None:
            raise error
        self.pipe = Connection(os.dup(self.pipe.fileno()))  # whoever starts it closes its own
        self.context.begun.put(self.pipe)

    def join(self, timeout=None):
        with self.lock:
            self.pipe.close()

    def is_alive(self):
        return False


def test_one_that_cannot_be_started_again_is_tried_until_it_can(monkeypatch, caplog):
    context = Context(None, OSError("no more processes"), MemoryError(), None)
    monkeypatch.setattr(scaler_process, "get_context", lambda way: context)
    monkeypatch.setattr(scaler_process, "AGAIN", 0.0)
    told = queue.SimpleQueue()
    stepping = SteppingProcess([], 0.0)
    stepping.start(SimpleNamespace(targets={}, worked=told.put, heard=told.put))
    try:
        context.begun.get(timeout=LONG).close()
        second = context.begun.get(timeout=LONG)
        assert second.recv() == {}
        second.send(Counts(steps=7))
        assert told.get(timeout=LONG).steps == 7
    finally:
        stepping.stop()
    assert caplog.text.count("cannot be started") == 2
