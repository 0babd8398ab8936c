"""Where a collector of OpenTelemetry may be; needs no SDK."""

from __future__ import annotations

from urllib.parse import urlsplit


def endpoint_fault(endpoint: str) -> str:
    """Say what is wrong with the URL of a collector; empty if nothing is.

    The URL is not repeated, as there may be a password in it.
    """
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        return "http://HOST:PORT or https://HOST:PORT is needed"
    if parts.username is not None or parts.password is not None:
        return "no user and password in it; give OTEL_EXPORTER_OTLP_HEADERS"
    return ""
