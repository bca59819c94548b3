"""JSON Schemas: whether one can be used, and whether a value follows it.

The only package that knows jsonschema_rs. Nothing is fetched or opened because a schema names it. Schemas
that unfold to something huge are refused, and work that may take long is done in a child process, which is
stopped after some seconds.
"""

from __future__ import annotations

from penstock.json_schema.errors import SchemaError, TooMuchWorkError, Violation
from penstock.json_schema.validator import MASK, SchemaValidator, compile_schema, find_meta_violation

__all__ = [
    "MASK",
    "SchemaError",
    "SchemaValidator",
    "TooMuchWorkError",
    "Violation",
    "compile_schema",
    "find_meta_violation",
]
