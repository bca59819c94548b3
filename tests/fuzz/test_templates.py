"""Random templates of allowed operations with large numbers: a text or our error, within limits."""

from __future__ import annotations

import asyncio
import time

from hypothesis import strategies as st

from penstock.errors import TemplateError
from penstock.template_renderer import TemplateRenderer
from penstock.template_renderer.in_child import SECONDS
from support.fuzzing import fuzzed

_STATE = {"text": "word " * 300, "rows": [{"n": n, "t": "x" * n} for n in range(60)], "n": 7, "none": None}
_NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 9, 100, 999, 9_999, 10_000, 40_000, 99_999, 10**6, 10**9, -1, 1.5, 2**63]
)
_TEXTS = st.sampled_from(
    ["''", "'a'", "'ab\\n'", "'{0:9999}'", "'%9999d'", "'%(a)s'", "'😀'", "'é<b>'", "'a b\\tc'"]
)
_ATOMS = st.one_of(
    _NUMBERS.map(str),
    _TEXTS,
    st.sampled_from(["text", "rows", "n", "none", "x", "[]", "{'a': 1}", "missing"]),
)
_BINARY = st.sampled_from(
    ["+", "-", "*", "/", "//", "%", "**", "~", "<", "==", "!=", ">=", "in", "not in", "and", "or"]
)
_FILTERS = st.sampled_from(
    [
        "abs",
        "attr",
        "batch",
        "capitalize",
        "count",
        "default",
        "dictsort",
        "e",
        "escape",
        "filesizeformat",
        "first",
        "float",
        "forceescape",
        "format",
        "groupby",
        "indent",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "safe",
        "select",
        "selectattr",
        "slice",
        "sort",
        "string",
        "striptags",
        "sum",
        "title",
        "tojson",
        "trim",
        "truncate",
        "unique",
        "upper",
        "urlencode",
        "wordcount",
    ]
)
_METHODS = st.sampled_from(
    [
        "center",
        "count",
        "encode",
        "expandtabs",
        "find",
        "format",
        "index",
        "join",
        "ljust",
        "lower",
        "partition",
        "replace",
        "rfind",
        "rjust",
        "rsplit",
        "split",
        "splitlines",
        "strip",
        "swapcase",
        "title",
        "to_bytes",
        "upper",
        "zfill",
        "items",
        "keys",
        "values",
        "copy",
        "bit_length",
        "hex",
    ]
)


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=2).map(", ".join)
    return st.one_of(
        st.tuples(inner, _BINARY, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, _FILTERS, arguments).map(lambda t: f"({t[0]}|{t[1]}({t[2]}))"),
        st.tuples(inner, _METHODS, arguments).map(lambda t: f"({t[0]}).{t[1]}({t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]})[{t[1]}:{t[2]}]"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]})[{t[1]}]"),
        inner.map(lambda t: f"range({t})"),
        st.lists(inner, max_size=3).map(lambda t: f"[{', '.join(t)}]"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
    )


_EXPRESSIONS = st.recursive(_ATOMS, _extend, max_leaves=12)
_STATEMENTS = st.one_of(
    _EXPRESSIONS.map(lambda e: f"{{{{ {e} }}}}"),
    _EXPRESSIONS.map(lambda e: f"{{% set x = {e} %}}"),
    st.tuples(_EXPRESSIONS, _EXPRESSIONS).map(
        lambda e: f"{{% for i in {e[0]} %}}{{% set x = {e[1]} %}}{{{{ loop.index }}}}{{% endfor %}}"
    ),
    st.tuples(_EXPRESSIONS, _EXPRESSIONS).map(lambda e: f"{{% if {e[0]} %}}{{{{ {e[1]} }}}}{{% endif %}}"),
    st.tuples(_EXPRESSIONS, _EXPRESSIONS).map(
        lambda e: f"{{% for i in {e[0]} recursive %}}{{{{ loop({e[1]}) }}}}{{% endfor %}}"
    ),
    _EXPRESSIONS.map(lambda e: f"{{% filter indent({e}) %}}a\nb{{% endfilter %}}"),
)
_TEMPLATES = st.lists(_STATEMENTS, min_size=1, max_size=4).map(
    lambda parts: "{% set x = 1 %}" + "".join(parts)
)
_RENDERER = TemplateRenderer()


@fuzzed(_TEMPLATES)
def test_a_template_is_rendered_or_refused(template: str) -> None:
    try:
        text = asyncio.run(_RENDERER.render_in_loop(template, _STATE))
    except TemplateError:
        return

    assert isinstance(text, str)
    assert len(text) <= 4_000_000


@fuzzed(_TEMPLATES)
def test_what_is_rendered_in_the_event_loop_is_little_work(template: str) -> None:
    try:
        compiled = _RENDERER.compile(template)
        used = time.thread_time()
        compiled.render_at_once(_STATE)
    except TemplateError:
        pass
    else:
        assert time.thread_time() - used < SECONDS / 20
