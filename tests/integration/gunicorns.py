"""A real gunicorn with an application whose requests take as long as they say, and clients of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from integration.requirements import require

APPLICATION = """
import os, time

time.sleep(float(os.environ.get("LOADING", 0)))


def app(environ, start_response):
    how, _, seconds = environ["QUERY_STRING"].partition("=")
    if how == "sleep":
        time.sleep(float(seconds))
    elif how == "spin":
        until = time.thread_time() + float(seconds)
        while time.thread_time() < until:
            pass
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

SETTINGS = """
import os
from pathlib import Path

here = Path(__file__).parent
control_socket_disable = True  # it is one for all gunicorns of a user


def nworkers_changed(server, new, old):
    beside = here / f"number.{os.getpid()}"
    beside.write_text(str(new))
    beside.replace(here / "number")
"""

PATIENCE = 30.0


def until(what, patience=PATIENCE):
    """Wait until `what()` is true, and return it."""
    end = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
    return found


class Gunicorn:
    """A gunicorn in `folder`; its own words on how many workers it is set to."""

    def __init__(self, folder, *arguments, workers=2, loading=0.0, unix=False):
        require(_installed(), "gunicorn is not installed; pip install 'quantum-control[dev]' brings it")
        self.folder = Path(folder)
        self.arguments = arguments
        self.workers = workers
        self.begun = []
        self.pidfile = self.folder / "gunicorn.pid"
        self.path = self.folder / "socket" if unix else None
        self.environment = {**os.environ, "LOADING": str(loading)}
        (self.folder / "application.py").write_text(APPLICATION, "utf-8")
        (self.folder / "settings.py").write_text(SETTINGS, "utf-8")
        self.set_workers(workers)

    def set_workers(self, workers):
        """Number in the configuration file, which a reload reads."""
        (self.folder / "settings.py").write_text(f"{SETTINGS}\n\nworkers = {workers}\n", "utf-8")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.log = self.folder / "log"
        where = f"unix:{self.path}" if self.path else "127.0.0.1:0"
        command = (
            *(sys.executable, "-m", "gunicorn", "-c", "settings.py"),
            *("-b", where, "-p", "gunicorn.pid", *self.arguments, "application:app"),
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command, cwd=self.folder, env=self.environment, stderr=log
            )
        self.pid = self.process.pid
        until(lambda: self.pidfile.exists() and "Listening at" in self.said())
        if not self.path:
            self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)", self.said())[1])
        self.ask()
        until(lambda: len(self.children()) == self.workers)

    def stop(self):
        """End it and all that came of it."""
        for client in self.begun:
            client.close()
        for pid in (int(self.pidfile.read_text()) if self.pidfile.exists() else 0, self.pid):
            if pid:
                _end(pid)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # a master that has been stopped and goes on may miss its signal
            for pid in (*self.children(), self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def said(self):
        return self.log.read_text("utf-8")

    def number(self):
        """Number of workers that it is set to, as its own hook has told."""
        return int((self.folder / "number").read_text())

    def comes_to(self, number):
        """Wait until it is set to that, which may be some milliseconds after it has got the signal."""
        until(lambda: self.number() == number)

    def children(self, pid=0):
        task = Path(f"/proc/{pid or self.pid}/task")
        return [
            int(child)
            for each in (task.iterdir() if task.exists() else ())
            for child in (each / "children").read_text().split()
        ]

    def connect(self):
        if self.path:
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(self.path))
            return client
        return socket.create_connection(("127.0.0.1", self.port))

    def begin(self, query):
        """A connection with a request on it, whose answer is not waited for; closed in the end."""
        client = self.connect()
        self.begun.append(client)
        client.sendall(f"GET /?{query} HTTP/1.0\r\n\r\n".encode())
        return client

    def occupy(self, number, query):
        """So many of those."""
        return [self.begin(query) for _ in range(number)]

    def ask(self, query=""):
        """The answer to a request."""
        with self.connect() as client:
            client.sendall(f"GET /?{query} HTTP/1.0\r\n\r\n".encode())
            return answer(client)


def answer(client):
    """The body of the answer on this connection."""
    client.settimeout(PATIENCE)
    read = b""
    while piece := client.recv(4096):
        read += piece
    return read.rpartition(b"\r\n\r\n")[2]


class Clients:
    """So many clients, each of which asks again once it has its answer."""

    def __init__(self, server, number, query):
        self._stop = threading.Event()
        self._server, self._query = server, query
        self.answers = []
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]

    def _run(self):
        while not self._stop.is_set():
            try:
                self.answers.append(self._server.ask(self._query))
            except OSError as error:
                self.answers.append(error)

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for each in self._threads:
            each.join()


def _installed():
    return not subprocess.run(
        [sys.executable, "-c", "import gunicorn"], capture_output=True, check=False
    ).returncode


def _end(pid):
    for number in (signal.SIGCONT, signal.SIGQUIT):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
