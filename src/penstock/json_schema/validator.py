"""Compiling schemas and validating values, at once when that is little work and else in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any

import orjson

from penstock.json_schema.errors import SchemaError, TooMuchWorkError, Violation
from penstock.json_schema.structure import check_dialect, measure

MASK = "\0"
"""Stands for the value in messages."""
_MOST_AT_ONCE = 100_000
"""Applications of a subschema to a value in this process: some 10 ms of work."""
_MOST_LISTED = 3_000
"""Applications of which all violations are listed in this process; making one takes some 5 µs."""
_BACKTRACKS = 100_000
"""Steps back of a pattern in one text: some 5 ms."""
_SHORT_TEXT = 1_000
_SMALL_SCHEMA = 20
_MOST_VALUES = 200_000
_MOST_BYTES = 2_000_000


class SchemaValidator:
    """A compiled schema; raises SchemaError when it cannot be used."""

    def __init__(self, schema: Any) -> None:
        import jsonschema_rs

        self.schema = schema
        check_dialect(schema)
        self.structure = structure = measure(schema)
        self._is_bounded = not (structure.is_recursive or structure.is_unclear)
        """Whether ``_estimate`` is a limit on the work, for every value."""
        try:
            self._validator = jsonschema_rs.validator_for(
                schema,
                mask=MASK,
                offline=True,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            )
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
            reason = (getattr(error, "message", "") or str(error)).partition("\n")[0]
            raise SchemaError(f"is not a usable JSON Schema: {reason.replace(MASK, 'a value')}") from error

    def find_at_once(self, value: Any, most: int) -> list[Violation] | None:
        """The first violations in ``value``, or None when finding them is too much work for the event loop.

        Raises ValueError or TypeError for a value that is no JSON, or that is nested too deep.
        """
        if not self._is_bounded:
            return None
        work = self._estimate(value)
        if work > _MOST_AT_ONCE:
            return None
        if self._validator.is_valid(value):
            return []
        return self._list_violations(value, most) if work <= _MOST_LISTED else None

    def find_in_child(self, value: Any, most: int) -> list[Violation]:
        """The first violations; only the first one where listing all would be a lot of work.

        Raises TooMuchWorkError when they are not known after some seconds, and what ``find_at_once`` raises.
        """
        from penstock.json_schema.in_child import find_violations

        return find_violations(self.schema, value, most)

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` follows the schema; False when that is too much work for the event loop."""
        structure = self.structure
        if not self._is_bounded or self._estimate(value) > _MOST_AT_ONCE:
            is_short = isinstance(value, str) and len(value) <= _SHORT_TEXT
            if not is_short or structure.is_recursive or structure.unfolded > _SMALL_SCHEMA:
                return False
        return bool(self._validator.is_valid(value))

    def find_in_any_time(self, value: Any, most: int) -> list[Violation]:
        """What ``find_in_child`` returns, however long it takes: for the child process."""
        if self._validator.is_valid(value):
            return []
        if self._estimate(value) <= _MOST_AT_ONCE:
            return self._list_violations(value, most)
        import jsonschema_rs

        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [_to_violation(error)]
        return []

    def _estimate(self, value: Any) -> int:
        """About how often a subschema is applied to a value in ``value``, at most."""
        structure = self.structure
        if not structure.compares_items:
            try:
                work = structure.unfolded * len(orjson.dumps(value))
            except (TypeError, ValueError):
                work = _MOST_AT_ONCE + 1
            if work <= _MOST_LISTED:  # usual, and cheap to find out
                return work
        return structure.unfolded * _weigh(
            value, _MOST_AT_ONCE, reads_text=structure.reads_text, compares_items=structure.compares_items
        )

    def _list_violations(self, value: Any, most: int) -> list[Violation]:
        # iter_errors makes every error before it returns the first one
        return [_to_violation(error) for error in islice(self._validator.iter_errors(value), most)]


def compile_schema(schema: Any) -> SchemaValidator:
    """The validator for ``schema``, from a cache; raises SchemaError."""
    if _weigh(schema, _MOST_VALUES, reads_text=False, compares_items=False) > _MOST_VALUES:
        raise SchemaError(f"has more than {_MOST_VALUES:,} values; write a smaller one")
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        if "recursion" in str(error).lower():
            raise SchemaError("is not a usable JSON Schema: it is nested too deeply") from error
        return SchemaValidator(schema)  # integers of more than 64 bits
    if len(text) > _MOST_BYTES:
        raise SchemaError(f"is larger than {_MOST_BYTES:,} bytes; write a smaller one")
    return _compile(text)


@lru_cache(maxsize=128)
def _compile(text: bytes) -> SchemaValidator:
    return SchemaValidator(orjson.loads(text))


def find_meta_violation(schema: Mapping[str, Any]) -> Violation | None:
    """Where a schema is not valid by its own draft; raises SchemaError when its draft is unknown."""
    import jsonschema_rs

    check_dialect(schema)
    try:
        jsonschema_rs.meta.validate(dict(schema), registry=_get_offline_registry())
    except jsonschema_rs.ValidationError as error:
        return _to_violation(error)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(f"is not a usable JSON Schema: {str(error).partition(chr(10))[0]}") from error
    return None


@cache
def _get_offline_registry() -> Any:
    import jsonschema_rs

    return jsonschema_rs.Registry([], retriever=_refuse_to_fetch)


def _refuse_to_fetch(address: str) -> Any:
    raise ValueError(f"'{address}' is outside of the schema")


def _to_violation(error: Any) -> Violation:
    kind: Any = error.kind  # one class for each keyword, with different attributes
    name = str(kind.name)
    if type(kind).__name__.endswith(("BacktrackLimitExceeded", "RegexEngineFailure")):
        raise TooMuchWorkError("a pattern takes too long on this text")
    names: tuple[str, ...] = ()
    if name == "required":
        names = (str(kind.property),)
    elif name == "additionalProperties":
        names = tuple(islice(map(str, kind.unexpected), 5))
    return Violation(tuple(error.instance_path), name, str(error.message), names)


def _weigh(value: Any, most: int, *, reads_text: bool, compares_items: bool) -> int:
    """The size of a value: 1 for each value in it, and its texts; more than ``most`` when it is larger."""
    size = large_numbers = 0
    waiting: list[Any] = [value]
    while waiting and size <= most:
        item = waiting.pop()
        size += 1
        if isinstance(item, str):
            size += len(item) if reads_text else len(item) >> 6
        elif isinstance(item, dict):
            waiting.extend(item.values())
            if reads_text:
                size += sum(len(name) for name in item if isinstance(name, str))
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, int | float) and not -(2**63) <= item <= 2**63:
            size += 100
            large_numbers += 1
    if compares_items:  # large numbers are compared in pairs, all else by its hash
        size = size * 4 + 100 * large_numbers**2
    return size
