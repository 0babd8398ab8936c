"""A Prometheus of our own on loopback, scraping every quarter of a second what a test exposes."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

from integration.requirements import require

from quantum_control.bench.server_process import ServerProcess, accepts, find_program
from quantum_control.core.errors import ConfigError

USER, PASSWORD = "ali", "open sesame"
_BCRYPT = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"  # of PASSWORD


def require_prometheus(program: str = "prometheus") -> None:
    try:
        find_program(program)
    except ConfigError as missing:
        require(False, str(missing))


class Target:
    """What is scraped: the text in `text`."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = target.text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class LocalPrometheus(ServerProcess):
    """Scrapes the ports given; with TLS and basic authentication if `locked`."""

    program = "prometheus"
    account = "prometheus"

    def __init__(self, ports: list[int], *, locked: bool = False) -> None:
        super().__init__()
        self.locked = locked
        targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
        self.write(
            "prometheus.yml",
            "global: {scrape_interval: 250ms, scrape_timeout: 250ms}\n"
            f"scrape_configs: [{{job_name: test, static_configs: [{{targets: [{targets}]}}]}}]\n",
        )
        if locked:
            make_certificate(self.folder / "cert.pem", self.folder / "key.pem")
            (self.folder / "key.pem").chmod(0o644)  # for the server's account
            self.write(
                "web.yml",
                "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
                f'basic_auth_users: {{{USER}: "{_BCRYPT}"}}\n',
            )

    @property
    def ca_file(self) -> str:
        return str(self.folder / "cert.pem")

    @property
    def url(self) -> str:
        return f"prometheus{'+https' if self.locked else ''}://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        web = [f"--web.config.file={self.folder / 'web.yml'}"] if self.locked else []
        return [
            self.binary,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *web,
        ]

    def ready(self) -> bool:
        if self.locked:
            return accepts(self.port)
        try:  # it takes connections before it answers queries
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def make_certificate(cert: Path, key: Path) -> None:
    """Make a certificate for 127.0.0.1, good for a day, that signs itself."""
    options = f"-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout {key} -out {cert}"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", *options.split(), *names], check=True, capture_output=True)  # noqa: S603, S607 - fixed
