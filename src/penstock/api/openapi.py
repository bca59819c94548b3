"""The OpenAPI description: what FastAPI makes of the routes, completed for validators and generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from penstock.api.security import COOKIE

DESCRIPTION: Final = (
    "Pipelines of blocks that ask models, jobs that run them over seeds, and the records that they make. "
    "Every error has one shape: `{error, detail}`."
)
CONTACT: Final = {"name": "The penstock project"}
LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
SERVERS: Final = [{"url": "/", "description": "The service that this description comes from."}]
TAGS: Final = [
    {"name": "service", "description": "Health, version, metrics, and signing in."},
    {"name": "blocks", "description": "Blocks and gates: what pipelines consist of."},
    {"name": "templates", "description": "Ready-made pipelines with example seeds."},
    {"name": "pipelines", "description": "Create, change, check and run pipelines."},
    {"name": "jobs", "description": "Run a pipeline over a file of seeds."},
    {"name": "records", "description": "Review, edit and delete what jobs made."},
    {"name": "exports", "description": "Records as files, also as training examples."},
]
"""The tags of the routers, in the order of the pages that describe them."""

_TOKENS: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer API_TOKEN`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Token"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "`POST /api/session` sets it.",
    },
}
_BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_INT32_MAX: Final = 2**31 - 1


class Application(FastAPI):
    """Completes the OpenAPI description; the middleware checks the token, so no route declares it."""

    def openapi(self) -> dict[str, Any]:
        """The description, which is made once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete_description(super().openapi())
        return self.openapi_schema


def complete_description(description: dict[str, Any]) -> dict[str, Any]:
    """Add the token to ``description``, and what FastAPI loses when it writes its schemas.

    FastAPI turns all bounds into floats, drops each null, also in examples, and describes files in a way that
    only some client generators know.
    """
    description["components"].setdefault("securitySchemes", _TOKENS)
    description.setdefault("security", [{}, *({name: []} for name in _TOKENS)])
    schemas = description["components"]["schemas"]
    for schema in _iter_dicts(description):
        if schema.get("type") == "integer":
            _write_integer_bounds(schema)
        if schema.get("contentMediaType") == "application/octet-stream":
            schema["format"] = "binary"
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            _add_nulls(example, schema, schemas)
    return description


def _iter_dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _iter_dicts(child)


def _write_integer_bounds(schema: dict[str, Any]) -> None:
    """Write the bounds of an integer as integers that fit into its type."""
    for name in _BOUNDS:
        if isinstance(schema.get(name), float):
            schema[name] = int(schema[name])
    if schema.get("exclusiveMaximum") == 2**63:  # no 64-bit integer itself
        schema["maximum"] = schema.pop("exclusiveMaximum") - 1
    if schema.get("maximum", 0) > _INT32_MAX:
        schema["format"] = "int64"


def _add_nulls(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add the keys to ``example`` that ``schema`` requires and that may be null."""
    for variant in (schema, *schema.get("anyOf", ())):
        target = schemas[variant["$ref"].rpartition("/")[2]] if "$ref" in variant else variant
        if isinstance(example, list):
            for item in example:
                _add_nulls(item, target.get("items", {}), schemas)
        elif isinstance(example, dict):
            for name, field in target.get("properties", {}).items():
                if name in example:
                    _add_nulls(example[name], field, schemas)
                elif name in target.get("required", ()) and {"type": "null"} in field.get("anyOf", ()):
                    example[name] = None
