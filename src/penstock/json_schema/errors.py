"""What can be wrong with a schema, and with a value that should follow it."""

from __future__ import annotations

from dataclasses import dataclass


class SchemaError(ValueError):
    """A schema cannot be used; the message continues a sentence that begins with the schema."""


class TooMuchWorkError(Exception):
    """Whether a value follows a schema is not known, because it takes too long to find out."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing in a value that its schema does not allow."""

    path: tuple[str | int, ...]
    """Where it is in the value."""
    keyword: str
    """The keyword of the schema that does not allow it."""
    message: str
    """In the message ``\\0`` stands for the value, which may be very long."""
    names: tuple[str, ...] = ()
    """The property that is missing, or those that must not be there."""
