"""The sandbox that templates run in, and the programs that they are compiled to.

Jinja2's own sandbox keeps a template away from Python's internals. This one also applies ``limits``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sized
from dataclasses import replace
from functools import lru_cache, wraps
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import (
    Environment,
    StrictUndefined,
    Template,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    nodes,
    pass_environment,
)
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from penstock.errors import TemplateError
from penstock.template_renderer.analysis import TemplateNames, find_names
from penstock.template_renderer.checks import (
    FILTER_CHECKS,
    OPERATOR_CHECKS,
    check_method,
    check_numbers,
    count_spec_widths,
    slice_of,
)
from penstock.template_renderer.limits import (
    CALL_COST,
    SMALL,
    Budget,
    LimitExceededError,
    MoreWorkError,
    allow_text,
    begin,
    check_result,
    count_each,
    count_iterations,
    join,
    measure,
    measured,
    spend,
)
from penstock.template_renderer.printing import concatenate, join_texts, to_formatted, to_printed

_METHODS = (BuiltinMethodType, MethodType)
_REMOVED_FILTERS = ("center", "pprint", "random", "urlize", "wordwrap", "xmlattr")
"""Filters that prompts have no use for; ``random`` would also make each run of a record different."""
_NUMBER_FILTERS = {"batch", "slice", "indent", "round", "tojson"}
"""Filters that make as much as a number says."""
_COMPARING_TESTS = (
    *("eq", "==", "equalto", "ne", "!=", "in", "lt", "<", "lessthan", "le", "<=", "gt", ">", "greaterthan"),
    *("ge", ">=", "lower", "upper", "divisibleby"),
)
_SEARCHING_METHODS = {"count", "index", "copy"}
"""Methods of containers that look at every item."""
_TEXT_FILTERS = frozenset(
    {"capitalize", "e", "escape", "forceescape", "indent", "lower", "replace", "string", "striptags", "title"}
    | {"trim", "truncate", "upper", "urlencode", "wordcount"}
)
"""Filters that read what they are given as text."""
_SELF = "_field_self"
"""What a field called ``self`` is compiled as; Jinja2 means the template itself by that name."""
_CALLED = "()"
"""The end of an attribute's name when it is called: only then it may be a method."""
_FREE_FILTERS = {"first", "last", "length", "count", "default", "d"}
"""Filters that need not look at the whole of what they are given."""


def compile_program(source: str) -> Program:
    """Compile a template; raises TemplateError with the line where its syntax is wrong."""
    sandbox = _get_sandbox()
    begin(SMALL)  # constant expressions are evaluated; one that needs more is left for the rendering
    try:
        tree = _LimitInserter().visit(_parse(source))
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


class Program:
    """The code that a template was compiled to."""

    __slots__ = ("_globals", "_mentions_metadata", "_source", "_template")

    def __init__(self, source: str, template: Template) -> None:
        self._source = source
        self._template = template
        self._globals = dict(template.globals)
        self._mentions_metadata = "metadata" in source

    def render(
        self, context: Mapping[str, Any], metadata: Mapping[str, Any], budget: Budget = SMALL
    ) -> str | None:
        """The text over ``context``, with ``metadata`` unless it has its own; raises TemplateError.

        None when the small budget is too small.
        """
        names = self._globals | dict(context)
        if "self" in names:
            names[_SELF] = names["self"]
        if self._mentions_metadata and "metadata" not in names:
            names["metadata"] = metadata
        sandbox = _get_sandbox()
        begin(budget)
        try:
            running = sandbox.context_class(sandbox, names, None, self._template.blocks)
            return join(self._template.root_render_func(running))
        except MoreWorkError:
            return None
        except UndefinedError as error:
            message = str(error.message).replace(_SELF, "self").replace(_CALLED, "")
            raise self._error(f"undefined variable in template: {message}") from error
        except SecurityError as error:
            raise self._error(f"template uses what the sandbox forbids: {error.message}") from error
        except LimitExceededError as error:
            raise self._error(f"template exceeds a limit: {error}") from error
        except RecursionError as error:
            raise self._error("template exceeds a limit: its calls are nested too deeply") from error
        except MemoryError as error:
            raise self._error("template exceeds a limit: it takes too much memory") from error
        except Exception as error:  # a template is a program: it may divide by zero
            raise self._error(f"template error: {error}") from error

    def find_names(self) -> TemplateNames:
        """The names that the template reads."""
        names = find_names(_parse(self._source))
        variables = frozenset("self" if name == _SELF else name for name in names.variables)
        return replace(names, variables=variables)

    def _error(self, message: str) -> TemplateError:
        return TemplateError(message, detail={"template": self._source[:500]})


def _parse(source: str) -> nodes.Template:
    tree = _get_sandbox().parse(source)
    if next(tree.find_all(nodes.Block), None) is None:  # else ``self`` has the blocks
        for name in tree.find_all(nodes.Name):
            if name.name == "self":
                name.name = _SELF
    return tree


class _Formatter(SandboxedFormatter):
    """``str.format`` inside the sandbox, with limits on its widths and its result."""

    def __init__(self, env: ImmutableSandboxedEnvironment) -> None:
        super().__init__(env)
        self._size = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        spend(2 * CALL_COST)
        self._size += measure(value) + count_spec_widths(format_spec)
        allow_text(self._size)
        return super().format_field(value, format_spec) if format_spec else to_printed(value)


class _LimitInserter(NodeTransformer):
    """Inserts limiting filters around loops, joined texts and literals that hold variables."""

    def _wrap(self, node: nodes.Node, name: str) -> nodes.Filter:
        assert isinstance(node, nodes.Expr)
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)

    def visit_Call(self, node: nodes.Call) -> nodes.Call:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.node, nodes.Getattr):
            node.node.attr += _CALLED
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  (the visitor's naming)
        self.generic_visit(node)
        node.iter = self._wrap(node.iter, "_count_iterations")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        part = node.arg
        if not isinstance(part, nodes.Slice):
            return node
        ends: list[nodes.Expr] = [end or nodes.Const(None) for end in (part.start, part.stop, part.step)]
        return nodes.Filter(node.node, "_slice_of", ends, [], None, None, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return self._wrap(nodes.Tuple(node.nodes, "load", lineno=node.lineno), "_concatenate")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        for operand in node.ops:
            if not isinstance(operand.expr, nodes.Const):
                operand.expr = self._wrap(operand.expr, "_measured")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        is_constant = all(isinstance(item, nodes.Const) for item in node.items)
        return node if is_constant else self._wrap(node, "_measured")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        is_constant = node.ctx != "load" or all(isinstance(item, nodes.Const) for item in node.items)
        return node if is_constant else self._wrap(node, "_measured")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        is_constant = all(isinstance(pair.value, nodes.Const) for pair in node.items)
        return node if is_constant else self._wrap(node, "_measured")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox with limits."""

    intercepted_binops = frozenset(OPERATOR_CHECKS)
    concat = staticmethod(join)

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            finalize=self._finalize,
            optimized=False,  # the optimizer's time grows with the square of the nesting
        )
        del self.globals["lipsum"]
        for name in _REMOVED_FILTERS:
            del self.filters[name]
        self.filters.update(tojson=_tojson, truncate=_truncate, join=_join)
        for name, function in self.filters.items():
            if name not in _FREE_FILTERS:
                self.filters[name] = _with_limits(name, function)
        for name in _COMPARING_TESTS:
            test: Any = self.tests[name]
            self.tests[name] = _with_limits(name, test)
        self.filters.update(
            _count_iterations=count_iterations,
            _concatenate=concatenate,
            _measured=measured,
            _slice_of=slice_of,
        )

    @staticmethod
    def _finalize(value: Any) -> Any:
        return value if isinstance(value, (str, Undefined)) else to_printed(value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``: of a dict its own keys first, unless a method is called; else no method."""
        name = attribute.removesuffix(_CALLED)
        is_called = name != attribute
        if isinstance(obj, dict) and name in obj and not is_called:
            return obj[name]
        value = super().getattr(obj, name)
        if not is_called and isinstance(value, _METHODS):
            return self.undefined(obj=obj, name=name)
        return value

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may have it: nothing of classes, and not ``translate``, which has no limit."""
        return (
            attr != "translate" and not isinstance(obj, type) and super().is_safe_attribute(obj, attr, value)
        )

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` and ``format_map``, safe and with limits; None for any other value."""
        if super().wrap_str_format(value) is None:
            return None
        text = str(value.__self__)
        if value.__name__ == "format_map":
            return lambda mapping: _Formatter(self).vformat(text, (), mapping)
        return lambda *args, **kwargs: _Formatter(self).vformat(text, args, kwargs)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call from a template; the names are odd so that they cannot clash with its keyword arguments."""
        spend(CALL_COST + len(args) + len(kwargs))
        if isinstance(__obj, _METHODS):
            owner = __obj.__self__
            if isinstance(owner, (str, bytes, int, float)):
                args = check_method(__obj.__name__, owner, args, kwargs)
            elif isinstance(owner, LoopContext) or __obj.__name__ in _SEARCHING_METHODS:
                measure((owner if isinstance(owner, (list, tuple, dict)) else None, args))
        elif isinstance(__obj, LoopContext) and args:  # a recursive loop
            args = (count_iterations(args[0]), *args[1:])
        result = super().call(__context, __obj, *args, **kwargs)
        return measured(result) if __obj is dict else check_result(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The result of an operator that can make something large; checked before it does."""
        spend(1)
        if operator == "%" and isinstance(left, str):
            right = _to_operand(right)
        OPERATOR_CHECKS[operator](left, right)
        return check_result(super().call_binop(context, operator, left, right))


def _to_operand(value: Any) -> Any:
    """What is put into a text by the ``%`` operator, as ``to_formatted`` shows it."""
    if isinstance(value, tuple):
        return tuple(map(to_formatted, value))
    if isinstance(value, Mapping):
        return {name: to_formatted(item) for name, item in value.items()}
    return to_formatted(value)


@lru_cache(maxsize=1)
def _get_sandbox() -> _Sandbox:
    return _Sandbox()


def _tojson(value: Any, indent: int = 2) -> str:
    if isinstance(value, Undefined):
        str(value)  # raises the error that names what is missing
    return json.dumps(value, indent=indent, ensure_ascii=False, default=str)


@pass_environment
def _join(environment: Environment, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    get = make_attrgetter(environment, attribute) if attribute is not None else None
    items = value if get is None else map(get, value)
    return join_texts(to_formatted(d), items)


def _truncate(value: Any, length: int = 100) -> str:
    text = to_printed(value)
    length = max(length, 0)
    return text if len(text) <= length else text[:length] + "..."


def _with_limits(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test ``function``, which first measures what it is given."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    check = FILTER_CHECKS.get(name)

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        spend(CALL_COST)
        given = list(args[first:])
        if name in {"join", "list"} and given and not isinstance(given[0], (Sized, Undefined)):
            given[0] = list(count_each(given[0]))
        for value in given:
            measure(value)
        if name in _NUMBER_FILTERS:
            check_numbers(name, (*given[1:], *kwargs.values()))
        if name in _TEXT_FILTERS:
            given = [to_printed(given[0]), *map(to_formatted, given[1:])] if given else given
        elif name == "format":
            given = list(map(to_formatted, given))
        if check is not None:
            check(*given, **kwargs)
        result = function(*args[:first], *given, **kwargs)
        # Markup, which escapes what is added to it, is for HTML; its methods would pass by the limits.
        return check_result(str(result) if isinstance(result, Markup) else result)

    return limited
