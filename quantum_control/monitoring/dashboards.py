"""`quantum-control dashboards DIR`: files for Grafana and Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import click

from quantum_control.core.errors import ConfigError
from quantum_control.terminal import AS_JSON, examples, print_json

SERVER = "http://127.0.0.1:9090"

SOURCES = """\
# For Grafana's provisioning/datasources.
apiVersion: 1
datasources:
  - name: Prometheus of quantum_control
    uid: quantum-control-prometheus
    type: prometheus
    access: proxy
    url: {server}
    jsonData:
      httpMethod: POST
      timeInterval: {scraped}
"""

PROVIDERS = """\
# For Grafana's provisioning/dashboards.
apiVersion: 1
providers:
  - name: quantum_control
    folder: quantum_control
    type: file
    disableDeletion: false
    updateIntervalSeconds: 30
    options:
      path: {path}
"""


@click.command(
    "dashboards",
    epilog=examples(
        "dashboards /etc/grafana/quantum_control",
        "dashboards made --server http://prometheus:9090 --scraped 5s",
    ),
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--server", default=SERVER, show_default=True, help="URL of Prometheus, as Grafana sees it.")
@click.option("--scraped", default="15s", show_default=True, help="How often Prometheus scrapes.")
@click.option("--path", help="Where Grafana will find DIR/dashboards; by default that folder.")
@AS_JSON
def command(directory: Path, server: str, scraped: str, path: str | None, as_json: bool) -> None:
    """Write dashboards, their provisioning and alert rules to DIR."""
    written = [
        write(directory / name, text)
        for name, text in contents(server, scraped, path or str(directory.resolve() / "dashboards"))
    ]
    if as_json:
        print_json([str(each) for each in written])
        return
    for each in written:
        click.echo(f"wrote {each}")


def contents(server: str, scraped: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the files, and what is in them.

    Parameters
    ----------
    server
        URL of Prometheus.
    scraped
        Time between its scrapes, as Prometheus writes it.
    path
        Folder of the dashboards, as Grafana will see it.

    Raises
    ------
    ConfigError
        The `grafana` extra is missing.
    """
    from quantum_control.monitoring.grafana import PAGES, build

    for page in PAGES:
        yield f"dashboards/{page.uid}.json", build(page)
    # JSON strings are YAML's too, whatever is in them.
    source = SOURCES.format(server=json.dumps(server), scraped=json.dumps(scraped))
    yield "provisioning/datasources/quantum_control.yaml", source
    yield "provisioning/dashboards/quantum_control.yaml", PROVIDERS.format(path=json.dumps(path))
    yield "rules/quantum_control.yaml", rules()


def rules() -> str:
    """Alert rules for Prometheus, as YAML."""
    return files(__package__).joinpath("rules.yaml").read_text(encoding="utf-8")


def write(path: Path, text: str) -> Path:
    """Write a file, and the folders that it is in.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}; name another DIR") from error
    return path
