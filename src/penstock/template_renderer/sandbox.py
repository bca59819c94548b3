"""The sandbox that templates run in: what they can reach, and how much they may do.

Jinja2's own sandbox keeps a template from Python's insides. This one also keeps it from taking the machine's
memory or time: each loop, call, filter and operator that could make something large is counted first.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import lru_cache, wraps
from types import BuiltinMethodType
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from penstock.errors import TemplateError
from penstock.template_renderer import seed_variables

MAX_TEXT = 4_000_000
"""Characters that a template, or any value on the way, may come to."""
MAX_WORK = 5_000_000
"""Units of work of one rendering: a turn of a loop, half an element looked at, 16 characters handled."""
_CALL = 20
"""Units of work that a call costs beyond what it is given."""
_MAX_BITS = 20_000
"""Of a whole number."""
_MAX_WIDTH = 10_000
"""Of what is padded or formatted."""

_PADDING = {"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"}
_WIDE_FORMAT = re.compile(r"\d{5,}|\*")
_REMOVED_FILTERS = ("center", "pprint", "random", "urlize", "wordwrap", "xmlattr")
"""Filters that prompts have no use for; ``random`` would also make each run of a record another one."""
_COUNT_FILTERS = {"batch", "slice", "indent", "round", "tojson"}
_COMPARING_TESTS = ("eq", "==", "equalto", "ne", "!=", "in", "lt", "<", "le", "<=", "gt", ">", "ge", ">=")
_PEEKING_FILTERS = {"first", "last", "length", "count", "default", "d"}
_CONTAINERS = (Mapping, list, tuple, set, frozenset)


class _OverdoneError(Exception):
    """A template asks for more than it may have."""


class _Spent(threading.local):
    """What the rendering of this thread has used; rendering never waits, so no other one comes between."""

    units = 0


_spent = _Spent()


def _spend(units: int) -> None:
    _spent.units += units
    if _spent.units > MAX_WORK:
        raise _OverdoneError("it asks for too much work")


def _allow(size: int) -> None:
    """Count a text of ``size`` characters that is about to be made; raises when it would be too long."""
    if size > MAX_TEXT:
        raise _OverdoneError(f"it makes something larger than {MAX_TEXT} characters")
    _spend(1 + (size >> 4))


def _measure(value: Any) -> int:
    """About how many characters ``value`` would print as; raises when that is too many."""
    if isinstance(value, str):
        _allow(len(value))
        return len(value)
    size, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (str, bytes)):
            size += len(item) + 2
        elif isinstance(item, int):
            size += item.bit_length() // 3 + 1
        elif isinstance(item, _CONTAINERS):
            size += 2 * len(item) + 2
            if size > MAX_TEXT:
                break
            waiting.extend(item)
            if isinstance(item, Mapping):
                waiting.extend(item.values())
        elif isinstance(item, Namespace):
            raise _OverdoneError("a namespace cannot be printed; print one of its attributes")
        else:
            size += 8
        _spend(2)
        if size > MAX_TEXT:
            break
    _allow(size)
    return size


def _join(parts: Iterable[str]) -> str:
    """``"".join``, which gives up as soon as the text grows too long."""
    texts: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_TEXT:
            break
        texts.append(part)
    _allow(size)
    return "".join(texts)


def _check_format(text: str) -> None:
    if _WIDE_FORMAT.search(text):
        raise _OverdoneError("it formats to a width that is too large")


class _Formatter(SandboxedFormatter):
    """``str.format`` inside the sandbox, with bounded widths and a bounded whole."""

    def __init__(self, env: ImmutableSandboxedEnvironment) -> None:
        super().__init__(env)
        self._size = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        _check_format(format_spec)
        self._size += _measure(value)
        _allow(self._size)
        return super().format_field(value, format_spec)


def _tojson(value: Any, indent: int = 2) -> str:
    if isinstance(value, Undefined):
        str(value)  # says which name is missing
    return json.dumps(value, indent=indent, ensure_ascii=False, default=str)


def _truncate(value: Any, length: int = 100) -> str:
    text = value if isinstance(value, str) else str(value)
    length = max(length, 0)
    return text if len(text) <= length else text[:length] + "..."


def _counted(values: Any) -> Any:
    """What a loop goes over, its turns counted."""
    if isinstance(values, Sized):
        _spend(len(values))
        return values
    return _count_each(values)


def _count_each(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        _spend(1)
        yield value


def _concatenated(values: tuple[Any, ...]) -> str:
    for value in values:
        _measure(value)
    return _join(map(str, values))


def _measured(value: Any) -> Any:
    _measure(value)
    return value


def _guard_numbers(name: str, numbers: Iterable[Any]) -> None:
    for number in numbers:
        if isinstance(number, int) and abs(number) > _MAX_WIDTH:
            raise _OverdoneError(f"'{name}' is given a number that is too large")


def _guard_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    width = width if isinstance(width, int) else len(str(width))
    _allow((str(text).count("\n") + 1) * width)


def _guard_replace(text: Any, old: Any, new: Any, *_: Any) -> None:
    _allow(len(str(text)) + str(text).count(str(old)) * len(str(new)))


def _guard_format(text: Any, *args: Any, **kwargs: Any) -> None:
    _check_format(str(text))
    _allow(str(text).count("%") * (_measure(args) + _measure(kwargs)))


def _guard_join(values: Any, d: Any = "", *_: Any, **__: Any) -> None:
    _allow(_measure(values) + len(str(d)) * len(values))


_GUARDS: dict[str, Callable[..., None]] = {
    "indent": _guard_indent,
    "replace": _guard_replace,
    "format": _guard_format,
    "join": _guard_join,
}


def _meter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test ``function``, which first looks at what it is given."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    guard = _GUARDS.get(name)

    @wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        _spend(_CALL)
        given = list(args[first:])
        if name in {"join", "list"} and given and not isinstance(given[0], (Sized, Undefined)):
            given[0] = list(_count_each(given[0]))
        for value in given:
            _measure(value)
        if name in _COUNT_FILTERS:
            _guard_numbers(name, (*given[1:], *kwargs.values()))
        if guard is not None:
            guard(*given, **kwargs)
        return function(*args[:first], *given, **kwargs)

    return metered


class _Metered(NodeTransformer):
    """Puts the counting filters around loops, joined texts and literals that hold variables."""

    def _wrap(self, node: nodes.Node, name: str) -> nodes.Filter:
        assert isinstance(node, nodes.Expr)
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  (the visitor's naming)
        self.generic_visit(node)
        node.iter = self._wrap(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return self._wrap(nodes.Tuple(node.nodes, "load", lineno=node.lineno), "_concatenated")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        for operand in node.ops:
            if not isinstance(operand.expr, nodes.Const):
                operand.expr = self._wrap(operand.expr, "_measured")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        plain = all(isinstance(item, nodes.Const) for item in node.items)
        return node if plain else self._wrap(node, "_measured")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        plain = node.ctx != "load" or all(isinstance(item, nodes.Const) for item in node.items)
        return node if plain else self._wrap(node, "_measured")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        plain = all(isinstance(pair.value, nodes.Const) for pair in node.items)
        return node if plain else self._wrap(node, "_measured")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox, which also counts."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    concat = staticmethod(_join)

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=self._finalize
        )
        del self.globals["lipsum"]
        for name in _REMOVED_FILTERS:
            del self.filters[name]
        self.filters.update(tojson=_tojson, truncate=_truncate)
        for name, function in self.filters.items():
            if name not in _PEEKING_FILTERS:
                self.filters[name] = _meter(name, function)
        for name in _COMPARING_TESTS:
            test: Any = self.tests[name]
            self.tests[name] = _meter(name, test)
        self.filters.update(_counted=_counted, _concatenated=_concatenated, _measured=_measured)

    @staticmethod
    def _finalize(value: Any) -> Any:
        if not isinstance(value, (str, float, Undefined)):
            _measure(value)
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``; of a dict its own keys first, so that a field may be called ``items``."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may have it: nothing of classes, no ``translate``, which grows texts at will."""
        return (
            attr != "translate" and not isinstance(obj, type) and super().is_safe_attribute(obj, attr, value)
        )

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` and ``format_map``, safe and bounded; None for any other value."""
        if super().wrap_str_format(value) is None:
            return None
        text = str(value.__self__)
        if value.__name__ == "format_map":
            return lambda mapping: _Formatter(self).vformat(text, (), mapping)
        return lambda *args, **kwargs: _Formatter(self).vformat(text, args, kwargs)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call from a template; the names are odd so that they cannot clash with its keywords."""
        _spend(_CALL)
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, (str, bytes, int)):
            args = _guard_method(__obj.__name__, __obj.__self__, args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        if __obj is dict:
            _measure(result)
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator that can make something large: looked at before it does."""
        _spend(1)
        _OPERATORS[operator](left, right)
        return super().call_binop(context, operator, left, right)


def _guard_method(name: str, owner: str | bytes | int, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, ...]:
    """Look at a call of a text's or number's own method; returns the arguments to call it with."""
    _measure(owner)
    if name in _PADDING:
        _guard_numbers(name, (*args, *kwargs.values()))
    if isinstance(owner, int):
        return args
    if name == "expandtabs":
        _allow(len(owner) * _MAX_WIDTH)
    elif name == "replace":
        _allow(len(owner) + owner.count(args[0]) * len(args[1]))
    elif name == "join":
        args = (args[0] if isinstance(args[0], Sized) else list(_count_each(args[0])),)
        _guard_join(args[0], owner)
    return args


def _guard_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_BITS:
        raise _OverdoneError("it makes a number that is too large")


def _guard_times(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _guard_power(left, 1 + right.bit_length() // max(left.bit_length(), 1))
        return
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, (str, bytes, list, tuple)):
            _allow((_measure(value) + 1) * max(times, 0))


def _guard_plus(left: Any, right: Any) -> None:
    if not isinstance(left, (int, float)):
        _allow(_measure(left) + _measure(right))


def _guard_percent(left: Any, right: Any) -> None:
    if isinstance(left, bytes):
        left = left.decode("latin-1")
    if isinstance(left, str):
        _guard_format(left, right)


_OPERATORS: dict[str, Callable[[Any, Any], None]] = {
    "**": _guard_power,
    "*": _guard_times,
    "+": _guard_plus,
    "%": _guard_percent,
}


@lru_cache(maxsize=1)
def _sandbox() -> _Sandbox:
    return _Sandbox()


class Program:
    """A template's code, and what is known of it."""

    __slots__ = ("_globals", "_source", "_speaks_of_metadata", "_template")

    def __init__(self, source: str, template: Template) -> None:
        self._source = source
        self._template = template
        self._globals = dict(template.globals)
        self._speaks_of_metadata = "metadata" in source

    def render(self, context: Mapping[str, Any]) -> str:
        """The text over ``context``; raises TemplateError."""
        names = self._globals | dict(context)
        if self._speaks_of_metadata and "metadata" not in names:
            variables = seed_variables.get()
            names["metadata"] = context if variables is None else variables
        sandbox = _sandbox()
        _spent.units = 0
        try:
            running = sandbox.context_class(sandbox, names, None, self._template.blocks)
            return _join(self._template.root_render_func(running))
        except UndefinedError as error:
            raise TemplateError(
                f"undefined variable in template: {error.message}", detail=self._facts()
            ) from error
        except SecurityError as error:
            raise TemplateError(
                f"template reaches for what it must not: {error.message}", detail=self._facts()
            ) from error
        except _OverdoneError as error:
            raise TemplateError(f"template is out of bounds: {error}", detail=self._facts()) from error
        except RecursionError as error:
            raise TemplateError("template is out of bounds: too deep", detail=self._facts()) from error
        except Exception as error:  # a template is a program: it may divide by zero
            raise TemplateError(f"template error: {error}", detail=self._facts()) from error

    def _facts(self) -> dict[str, Any]:
        return {"template": self._source[:500]}

    def names(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Names read from the state, those read through ``metadata``, and what may be missing."""
        sandbox = _sandbox()
        tree = sandbox.parse(self._source)
        read = meta.find_undeclared_variables(tree)
        through: set[str] = set()
        if "metadata" in read:
            through.update(node.attr for node in tree.find_all(nodes.Getattr) if _is_metadata(node.node))
            through.update(
                node.arg.value
                for node in tree.find_all(nodes.Getitem)
                if _is_metadata(node.node)
                and isinstance(node.arg, nodes.Const)
                and isinstance(node.arg.value, str)
            )
        guarded = {
            node.node.name
            for kind in (nodes.Filter, nodes.Test)
            for node in tree.find_all(kind)
            if isinstance(node.node, nodes.Name) and node.name in {"default", "d", "defined", "undefined"}
        }
        return frozenset(read - {"metadata"}), frozenset(through), frozenset(guarded & read)


def _is_metadata(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "metadata"


def compile_program(source: str) -> Program:
    """Compile a template; raises TemplateError with the line where its syntax is wrong."""
    sandbox = _sandbox()
    _spent.units = 0
    try:
        tree = _Metered().visit(sandbox.parse(source))
        tree.set_environment(sandbox)
        return Program(source, sandbox.from_string(tree))
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"template syntax error at line {error.lineno}: {error.message}",
            detail={"line": error.lineno, "template": source[:500]},
        ) from error
    except (RecursionError, MemoryError, SyntaxError, OverflowError, ValueError) as error:
        raise TemplateError(
            f"template syntax error at line 1: it is nested too deeply ({type(error).__name__})",
            detail={"template": source[:500]},
        ) from error
