"""``penstock serve``."""

from __future__ import annotations

import click

from penstock.settings import get_settings

_EXAMPLES = """\b
Examples:
  penstock serve
  penstock serve --port 8080
  API_TOKEN=$(openssl rand -hex 32) penstock serve --host 0.0.0.0
"""


@click.command(epilog=_EXAMPLES)
@click.option("--host", help="The address to listen on [HOST, else 127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 takes a free one [PORT, else 8000].")
def serve(host: str | None, port: int | None) -> None:
    """Start the HTTP service: the API under /api, its description at /docs, the web page at /."""
    from penstock import app

    given = {"host": host, "port": port}
    chosen = {name: value for name, value in given.items() if value is not None}
    app.serve(get_settings().model_copy(update=chosen))
