"""What settings a class takes, read from its ``__init__``: an editor's form, and the check of a file."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from penstock.errors import DefinitionError

_SIMPLE: dict[Any, tuple[str, str]] = {
    bool: ("boolean", "true or false"),
    int: ("integer", "a whole number"),
    float: ("number", "a number"),
    str: ("string", "text"),
    Path: ("string", "text"),
}
_MAPPINGS = {dict, Mapping}
_SEQUENCES = {list, tuple, set, frozenset, Sequence}
_NOTHING = type(None)
_UNKNOWN: Any = Any


@dataclass(frozen=True, slots=True)
class Setting:
    """One argument of a class's ``__init__``."""

    name: str
    hint: Any
    default: Any
    required: bool
    choices: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """What is wrong with one setting, in a sentence; ``kind`` is unknown, missing, type or choice."""

    kind: str
    key: str
    message: str
    advice: str = ""
    """What to write instead, where it can be told."""


@lru_cache(maxsize=1024)
def _settings(cls: type) -> tuple[tuple[Setting, ...], bool]:
    """The settings that ``cls`` takes, and whether it takes others as well."""
    init = cls.__init__  # type: ignore[misc]  # the class is looked at, not an instance
    if init is object.__init__:
        return (), False
    enums = getattr(cls, "_config_enums", {})
    settings, open_ended = [], False
    hints = _hints(init)
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            name, required = parameter.name, parameter.default is parameter.empty
            hint = hints.get(name, _UNKNOWN)
            choices = enums.get(name) or _choices(hint)
            settings.append(
                Setting(
                    name, hint, None if required else parameter.default, required, choices and tuple(choices)
                )
            )
    return tuple(settings), open_ended


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of ``function``; one that cannot be resolved counts as any type."""
    try:
        return get_type_hints(function, include_extras=False)
    except Exception:  # a name that only exists while types are checked, or a slip in somebody's file
        scope = getattr(function, "__globals__", {})
        hints = {}
        for name, hint in getattr(function, "__annotations__", {}).items():
            probe = types.FunctionType((lambda: None).__code__, scope)
            probe.__annotations__ = {name: hint}
            try:
                hints.update(get_type_hints(probe))
            except Exception:
                hints[name] = _UNKNOWN
        return hints


def _members(hint: Any) -> tuple[Any, ...]:
    """The types that ``hint`` allows, None aside."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in {Union, types.UnionType}:
        return tuple(part for member in get_args(hint) for part in _members(member) if part is not _NOTHING)
    return (hint,)


def _choices(hint: Any) -> tuple[Any, ...] | None:
    members = _members(hint)
    if len(members) == 1:
        if get_origin(members[0]) is Literal:
            return tuple(choice for choice in get_args(members[0]) if choice is not None)
        if isinstance(members[0], type) and issubclass(members[0], Enum):
            return tuple(choice.value for choice in members[0])
    return None


def _type_schema(hint: Any) -> dict[str, Any]:
    """The JSON Schema of a type; of a union the first member's, since a form has one field for it."""
    hint = _members(hint)[0] if _members(hint) else _UNKNOWN
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint][0]}
    choices = _choices(hint)
    if choices:
        return _type_schema(type(choices[0]))
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in _MAPPINGS:
        values = _type_schema(arguments[1]) if len(arguments) == 2 else {}
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if origin in _SEQUENCES:
        return {"type": "array", "items": _type_schema(arguments[0]) if arguments else {}}
    return {}


def extract_config_schema(cls: type) -> dict[str, Any]:
    """The settings of ``cls`` as a JSON Schema of type object, with what an editor needs to draw a form.

    Class attributes add to it: ``_config_enums`` gives ``enum``, ``_config_descriptions`` ``description``,
    ``_field_references`` ``isFieldReference``, ``_part_references`` ``isPartReference`` and ``_templates``
    ``isTemplate``.
    """
    properties: dict[str, Any] = {}
    settings, _ = _settings(cls)
    for setting in settings:
        schema = _type_schema(setting.hint)
        if setting.choices:
            schema["enum"] = list(setting.choices)
        if not setting.required:
            default = setting.default.value if isinstance(setting.default, Enum) else setting.default
            with contextlib.suppress(TypeError, ValueError):  # of a default that JSON cannot say
                schema["default"] = json.loads(json.dumps(default))
        for attribute, key in _MARKS.items():
            if setting.name in getattr(cls, attribute, ()):
                schema[key] = True
        description = getattr(cls, "_config_descriptions", {}).get(setting.name)
        if description:
            schema["description"] = description
        properties[setting.name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": [setting.name for setting in settings if setting.required],
    }


_MARKS = {
    "_field_references": "isFieldReference",
    "_part_references": "isPartReference",
    "_templates": "isTemplate",
}


def find_config_issues(cls: type, config: Any, what: str | None = None) -> list[ConfigIssue]:
    """All that is wrong with ``config`` as the settings of ``cls``; ``what`` is how sentences call it."""
    what = what or f"Block '{cls.__name__}'"
    if not isinstance(config, Mapping):
        return [
            ConfigIssue(
                "type", "config", f"{what}: config must be a mapping of settings, not {_show(config)}"
            )
        ]
    settings, open_ended = _settings(cls)
    known = {setting.name: setting for setting in settings}
    faults: list[ConfigIssue] = []
    for key, value in config.items():
        if key in known:
            faults.extend(_value_faults(what, known[key], value))
        elif not open_ended:
            faults.append(_unknown(what, str(key), list(known)))
    faults.extend(
        ConfigIssue("missing", name, f"{what} needs the setting '{name}'", f"add '{name}' to its config")
        for name, setting in known.items()
        if setting.required and name not in config
    )
    return faults


def check_config(cls: type, config: Any, what: str | None = None) -> None:
    """Raise DefinitionError for the first fault in ``config``; ``detail`` has it, and all of them.

    ``what`` begins the sentence, as in ``Block 'TextGenerator'``, which is also what it is when left out.
    """
    faults = find_config_issues(cls, config, what)
    if faults:
        _refuse(cls, faults)


def _refuse(cls: type, faults: list[ConfigIssue]) -> NoReturn:
    first = faults[0]
    raise DefinitionError(
        f"{first.message}; {first.advice}" if first.advice else first.message,
        detail={"type": cls.__name__, "key": first.key, "faults": [fault.message for fault in faults]},
    )


def _unknown(what: str, key: str, known: list[str]) -> ConfigIssue:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        advice = f"did you mean '{near[0]}'?"
    elif known:
        advice = "it takes " + ", ".join(f"'{name}'" for name in known)
    else:
        advice = "it takes no settings"
    return ConfigIssue("unknown", key, f"{what} has no setting '{key}'", advice)


def _value_faults(what: str, setting: Setting, value: Any) -> Iterator[ConfigIssue]:
    given = value.value if isinstance(value, Enum) else value
    if setting.choices:
        if given not in setting.choices and not (given is None and _fits(None, setting.hint)):
            choices = ", ".join(_show(choice) for choice in setting.choices)
            message = f"{what}: '{setting.name}' must be one of {choices}, not {_show(given)}"
            yield ConfigIssue("choice", setting.name, message)
    elif not _fits(value, setting.hint):
        message = f"{what}: '{setting.name}' must be {_describe(setting.hint)}, not {_show(value)}"
        yield ConfigIssue("type", setting.name, message)


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the type ``hint``; a whole number is a number, and 3.0 a whole one."""
    if hint in {_UNKNOWN, object}:
        return True
    if hint is None or hint is _NOTHING:
        return value is None
    members = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else _members(hint)
    if len(members) > 1:
        return any(_fits(value, member) for member in members)
    return _fits_one(value, members[0])


def _fits_one(value: Any, hint: Any) -> bool:
    if hint in _SIMPLE:
        return _fits_simple(value, hint)
    if _choices(hint):
        return value in (_choices(hint) or ()) or (isinstance(hint, type) and isinstance(value, hint))
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in _MAPPINGS:
        return isinstance(value, Mapping) and (
            len(arguments) != 2 or all(_fits(item, arguments[1]) for item in value.values())
        )
    if origin in _SEQUENCES:
        if not isinstance(value, (list, tuple, set, frozenset)):
            return False
        return not arguments or all(_fits(item, arguments[0]) for item in value)
    return True  # a type that JSON does not know is the class's own to check


def _fits_simple(value: Any, hint: Any) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if hint is Path:
        return isinstance(value, (str, Path))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return hint is float or float(value).is_integer()


def _describe(hint: Any) -> str:
    """A type in words."""
    words = []
    for member in _members(hint):
        origin, arguments = get_origin(member) or member, get_args(member)
        if member in _SIMPLE:
            words.append(_SIMPLE[member][1])
        elif origin in _MAPPINGS:
            words.append("a mapping")
        elif origin in _SEQUENCES:
            inner = {
                "text": "texts",
                "a number": "numbers",
                "a whole number": "whole numbers",
                "a mapping": "mappings",
            }
            kind = inner.get(_describe(arguments[0])) if arguments else None
            words.append(f"a list of {kind}" if kind else "a list")
        else:
            words.append(f"a {getattr(member, '__name__', member)}")
    return " or ".join(words)


def _show(value: Any) -> str:
    """A value as its pipeline file would write it, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    if isinstance(value, str):
        text = f"'{value}'"
    return text if len(text) <= 60 else text[:57] + "..."
