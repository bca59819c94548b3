"""JSON Schemas in settings: whether they are valid and complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.json_schema import SchemaError, compile_schema, find_meta_violation
from penstock.workflow.validation.issues import IssueList, Path, StepPlace, show_path
from penstock.workflow.validation.messages import first_line, sentence, suggest
from penstock.workflow.validation.unchecked_keywords import check_unchecked_keywords

_DATA_KEYWORDS = {"enum", "const", "default", "examples"}
"""Keywords of a schema that hold data and no schemas."""
_ADVICE = "Write a schema as in https://json-schema.org."


def check_schema(schema: Mapping[str, Any], issues: IssueList, step: StepPlace, path: Path) -> None:
    """Check a JSON Schema, its references and the properties that it requires."""
    count = len(issues.found)
    try:
        violation = find_meta_violation(schema)
        if violation is not None:
            at: Path = violation.path
            where = f" at {show_path(at)}" if at else ""
            message = f"This is not a valid JSON Schema{where}: {first_line(violation.message)}."
            issues.add(message, _ADVICE, step=step, path=(*path, *at))
            return
        for at, part in _walk(schema):
            _check_reference(schema, part, issues, step, (*path, *at))
            _check_required(part, issues, step, (*path, *at))
        if len(issues.found) == count:
            compile_schema(schema)
        for at, part in _walk(schema):
            check_unchecked_keywords(schema, part, issues, step, (*path, *at))
    except SchemaError as error:
        reason, _, advice = str(error).partition("; ")
        message, fix = sentence(f"The JSON Schema {reason}"), sentence(advice or _ADVICE)
        issues.add(message, fix, step=step, path=path)


def _check_reference(
    schema: Mapping[str, Any], part: Mapping[str, Any], issues: IssueList, step: StepPlace, path: Path
) -> None:
    target = part.get("$ref")
    if not isinstance(target, str) or path[-1] == "properties":
        return
    if not target.startswith("#"):
        message = f"The JSON Schema refers to another document, '{target}'."
        fix = "Copy what is needed under '$defs' and refer to '#/$defs/…'."
    elif target.startswith("#/") and not _resolves(schema, target):
        message, fix = f"The JSON Schema refers to '{target}', which is not in it.", "Correct the reference."
    else:
        return
    issues.add(message, fix, step=step, path=(*path, "$ref"))


def _check_required(part: Mapping[str, Any], issues: IssueList, step: StepPlace, path: Path) -> None:
    properties, required = part.get("properties"), part.get("required")
    if not (isinstance(properties, Mapping) and isinstance(required, list | tuple) and properties):
        return
    for name in required:
        if isinstance(name, str) and name not in properties:
            issues.add(
                f"The JSON Schema requires '{name}' and does not describe it.",
                suggest(name, list(properties), "It describes"),
                step=step,
                path=(*path, "required"),
            )


def _walk(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every mapping inside a schema, with its path."""
    if isinstance(schema, Mapping):
        yield path, schema
        for key, item in schema.items():
            if key not in _DATA_KEYWORDS:
                yield from _walk(item, (*path, key))
    elif isinstance(schema, list | tuple):
        for index, item in enumerate(schema):
            yield from _walk(item, (*path, index))


def _resolves(schema: Mapping[str, Any], pointer: str) -> bool:
    """Whether ``pointer`` (``#/$defs/name``, RFC 6901) leads to something in ``schema``."""
    node: Any = schema
    for part in pointer[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list | tuple) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return False
    return True
