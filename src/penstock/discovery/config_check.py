"""Checks settings before a class is made with them: each issue is a sentence that says what to write."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from penstock.discovery.config_model import JsonSchema, get_type_schemas, get_validator
from penstock.discovery.init_settings import Setting, read_settings
from penstock.errors import DefinitionError, SerializationError
from penstock.serialization import to_text

_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """What is wrong with one setting, in a sentence; ``kind`` is unknown, missing, type or choice."""

    kind: str
    key: str
    message: str
    advice: str = ""
    """What to write instead, where that is known."""


def find_config_issues(cls: type, config: Any, what: str | None = None) -> list[ConfigIssue]:
    """All that is wrong with ``config`` as the settings of ``cls``: in its order, then what is missing.

    ``what`` begins each sentence; the default is ``Block 'ClassName'``.
    """
    what = what or f"Block '{cls.__name__}'"
    if not isinstance(config, Mapping):
        message = f"{what}: config must be a mapping of settings, not {_show(config)}"
        return [ConfigIssue("type", "config", message)]
    settings, open_ended = read_settings(cls)
    known = {setting.name: setting for setting in settings}
    wrong = _find_wrong(cls, config)
    issues = []
    for key, value in config.items():
        if key not in known and not open_ended:
            issues.append(_unknown(what, str(key), list(known)))
        elif key in known and key in wrong:
            issues.append(_wrong_value(cls, what, known[key], value))
    return issues + [
        ConfigIssue("missing", name, f"{what} needs the setting '{name}'", f"add '{name}' to its config")
        for name, setting in known.items()
        if setting.required and name not in config
    ]


def check_config(cls: type, config: Any, what: str | None = None) -> None:
    """Raise DefinitionError for the first issue in ``config``; ``detail`` has the messages of all.

    ``what`` begins the sentence; the default is ``Block 'ClassName'``.
    """
    issues = find_config_issues(cls, config, what)
    if issues:
        first = issues[0]
        raise DefinitionError(
            f"{first.message}; {first.advice}" if first.advice else first.message,
            detail={"type": cls.__name__, "key": first.key, "faults": [issue.message for issue in issues]},
        )


def _find_wrong(cls: type, config: Mapping[Any, Any]) -> set[Any]:
    """The names of settings whose values do not fit, among others."""
    try:
        get_validator(cls).validate_python(dict(config))
    except ValidationError as error:
        return {problem["loc"][0] for problem in error.errors(include_url=False, include_input=False)}
    return set()


def _unknown(what: str, key: str, known: list[str]) -> ConfigIssue:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        advice = f"did you mean '{near[0]}'?"
    elif known:
        advice = "it takes " + ", ".join(f"'{name}'" for name in known)
    else:
        advice = "it takes no settings"
    return ConfigIssue("unknown", key, f"{what} has no setting '{key}'", advice)


def _wrong_value(cls: type, what: str, setting: Setting, value: Any) -> ConfigIssue:
    if setting.choices:
        kind, allowed = "choice", "one of " + ", ".join(_show(choice) for choice in setting.choices)
    else:
        kind, allowed = "type", _describe(get_type_schemas(cls)[setting.name])
    return ConfigIssue(kind, setting.name, f"{what}: '{setting.name}' must be {allowed}, not {_show(value)}")


_TYPES = {
    "boolean": ("true or false", None),
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "texts"),
    "object": ("a mapping", "mappings"),
    "array": ("a list", None),
}
"""How sentences call the types of JSON: one value, and the items of a list."""


def _describe(schema: JsonSchema) -> str:
    """The types that a setting's JSON Schema allows, in words: ``a list of texts or text``."""
    words = []
    for member in schema.get("anyOf", [schema]):
        one, _ = _TYPES.get(member.get("type"), ("", None))
        _, several = _TYPES.get(member.get("items", {}).get("type"), ("", None))
        if one:
            words.append(f"{one} of {several}" if several else one)
    return " or ".join(dict.fromkeys(words)) or "one of the types that it allows"


def _show(value: Any) -> str:
    """A value as its pipeline file would write it, shortened."""
    if value is None:
        return "null"
    try:
        text = f"'{value}'" if isinstance(value, str) else to_text(value)
    except SerializationError:
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
