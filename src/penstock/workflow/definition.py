"""Pipeline files: a definition as YAML or JSON, from a file or a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from penstock.errors import DefinitionError
from penstock.yaml_reader import MAX_BYTES, SourceMap, load_yaml


def load_definition(source: str | Path) -> tuple[dict[str, Any], str]:
    """The definition in a YAML or JSON file, or in such a text, and the text itself.

    A string is taken as a path unless it has several lines or begins a mapping. Raises DefinitionError, with
    the line, when it cannot be read or is not a mapping.
    """
    name, text = _read(source)
    if name.lower().endswith(".json"):
        _check_json(text, name)
    definition = load_yaml(text, name)
    if definition is None:
        raise DefinitionError(f"{name} is empty; a pipeline is a mapping with 'name' and 'blocks'.")
    if not isinstance(definition, dict):
        raise DefinitionError(
            f"{name} holds {_describe(definition)}; a pipeline is a mapping with 'name' and 'blocks'."
        )
    return definition, text


def refuse_duplicate_keys(text: str, name: str) -> None:
    """Raise DefinitionError when a key stands twice in one mapping; only one of the values would count."""
    found = sorted(SourceMap(text).duplicates(), key=lambda duplicate: duplicate.line)
    for twice in found:
        raise DefinitionError(
            f"{name} line {twice.line}: the key '{twice.path[-1]}' is there twice (line {twice.first_line} "
            f"and line {twice.line}); remove one of them.",
            {"line": twice.line},
        )


def _check_json(text: str, name: str) -> None:
    """Raise DefinitionError for a ``.json`` file that is YAML and not JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DefinitionError(
            f"{name} line {error.lineno}: this is not valid JSON: {error.msg} (column {error.colno}).",
            {"line": error.lineno},
        ) from error


def _read(source: str | Path) -> tuple[str, str]:
    """What error messages call the source, and its text."""
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{") or ": " in source):
        return "The pipeline", source
    path = Path(source)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DefinitionError(
                f"{path} is larger than {MAX_BYTES // 1024:,} KB and cannot be a pipeline file."
            )
        return path.name, path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DefinitionError(f"There is no pipeline file {path}.") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path.name} is not UTF-8 text. Save the file as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise DefinitionError(f"The pipeline file {path} cannot be read: {error}.") from error


def _describe(value: object) -> str:
    return {"list": "a list", "str": "text"}.get(type(value).__name__, f"a {type(value).__name__}")
