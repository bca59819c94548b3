"""The built front end, and the pages that work without it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from penstock import __version__
from penstock.settings import Settings

OWN_UI = Path(__file__).parent / "ui"
_RESERVED = ("/api", "/health", "/metrics", "/docs", "/openapi.json", "/session")
_STYLE = """body{font:16px/1.55 system-ui,sans-serif;max-width:56rem;margin:3rem auto;
padding:0 1rem;color:#1b1f24}
code{background:#f2f4f6;padding:.1em .35em;border-radius:4px}h2{margin-top:2.2em;text-transform:capitalize}
table{border-collapse:collapse;width:100%}td{padding:.35em .6em .35em 0;vertical-align:top;
border-top:1px solid #e3e6e9}td:first-child{white-space:nowrap;font-weight:600;width:5rem}a{color:#0b62c4}
@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}code{background:#23282d}
td{border-color:#2c3238}a{color:#6cb0ff}}"""


class Pages:
    """Answers requests without a route: files of the front end, its deep links, or a 404."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or raise a 404."""
        if scope["type"] != "http":
            return
        response = self._find(scope)
        if response is None:
            raise HTTPException(404)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if scope["method"] not in {"GET", "HEAD"} or path.startswith(_RESERVED) or "\x00" in path:
            return None
        index = self._folder / "index.html"
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT) if path == "/" or _wants_page(scope) else None
        file = (self._folder / path.lstrip("/")).resolve()
        if file.is_relative_to(self._folder) and file.is_file() and file != index:
            has_hash = "assets" in file.relative_to(self._folder).parts[:1]  # in its name: it never changes
            age = "public, max-age=31536000, immutable" if has_hash else "no-cache"
            return FileResponse(file, headers={"cache-control": age})
        if file == index or path == "/" or "." not in path.rpartition("/")[2]:
            return FileResponse(index, headers={"cache-control": "no-cache"})
        return None


def _wants_page(scope: Scope) -> bool:
    return "text/html" in Headers(scope=scope).get("accept", "")


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Serve the front end at ``/`` (A228, D17) and the description of the routes at ``/docs``."""
    app.router.default = Pages(settings.ui_folder or OWN_UI)
    app.router.redirect_slashes = False

    async def show_docs(request: Request) -> Response:
        return HTMLResponse(_describe(app.openapi()))

    app.add_route("/docs", show_docs, ["GET"], include_in_schema=False)


def _describe(openapi: dict[str, Any]) -> str:
    """All routes on one page without scripts, which works offline."""
    groups: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            text = (
                f"{escape(route.get('summary', ''))}<br><small>{escape(route.get('description', ''))}</small>"
            )
            row = f"<tr><td>{method.upper()}<td><code>{escape(path)}</code><td>{text}"
            groups.setdefault((route.get("tags") or ["other"])[0], []).append(row)
    tables = "".join(f"<h2>{escape(tag)}</h2><table>{''.join(rows)}</table>" for tag, rows in groups.items())
    return _page(
        "penstock: the HTTP API",
        f"<h1>penstock {__version__}: the HTTP API</h1><p>The full description is "
        '<a href="/openapi.json">openapi.json</a>, from which clients can be generated. Every error is '
        f"<code>{{&quot;error&quot;: …, &quot;detail&quot;: {{…}}}}</code>.</p>{tables}",
    )


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style>{body}</html>"
    )


_NOT_BUILT = _page(
    "penstock",
    "<h1>penstock</h1><p>The service is running. This version of penstock contains no web page of its own, "
    "so use its API or the command <code>penstock</code>:</p>"
    '<ul><li><a href="/docs">the routes of the API</a></li>'
    '<li><a href="/openapi.json">openapi.json</a>, from which clients can be generated</li>'
    '<li><a href="/health">health</a></li></ul>'
    "<p>If you have a front end, build it (usually <code>npm run build</code>), and start the service with "
    "<code>UI_FOLDER</code> set to the folder of the build, the one with <code>index.html</code>.</p>",
)
