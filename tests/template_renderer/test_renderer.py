"""Rendering templates: what they can do, and what they cannot."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PipelineError, TemplateError
from penstock.template_renderer import TemplateRenderer

renderer = TemplateRenderer()


@pytest.mark.row("A114", "A115")
@pytest.mark.parametrize(
    ("template", "context", "text"),
    [
        ("{{ variable }}", {"variable": "x"}, "x"),
        ("{% if condition %}yes{% endif %}", {"condition": True}, "yes"),
        ("{% for item in list %}{{ item }}{% endfor %}", {"list": ["a", "b"]}, "ab"),
        ("{{ variable | upper }}", {"variable": "x"}, "X"),
        ("{{ dict | tojson }}", {"dict": {"a": [1]}}, '{\n  "a": [\n    1\n  ]\n}'),
        ("{{ long_text | truncate(50) }}", {"long_text": "y" * 60}, "y" * 50 + "..."),
        ("{{ metadata.field.nested }}", {"metadata": {"field": {"nested": "n"}}}, "n"),
        ("{{ a if a else b }} {{ a ~ b }}", {"a": "", "b": 2}, "2 2"),
        ("{% for k, v in d.items() %}{{ loop.index }}/{{ loop.length }} {{ k }}={{ v }} {% endfor %}",
         {"d": {"a": 1, "b": None}}, "1/2 a=1 2/2 b=None "),
        ("{{ l | map('upper') | join('+') }} {{ ', '.join(l) }}", {"l": ["a", "b"]}, "A+B a, b"),
        ("{{ '{:.2f}'.format(score) }} {{ '%.1f' % score }}", {"score": 1.234}, "1.23 1.2"),
        ("{% set n = namespace(s=0) %}{% for i in range(4) %}{% set n.s = n.s + i %}{% endfor %}{{ n.s }}",
         {}, "6"),
        ("{% macro bold(x) %}*{{ x }}*{% endmacro %}{{ bold('a') }}", {}, "*a*"),
        ("{# a comment #}kept\n", {}, "kept\n"),
        ("plain { text } %}", {}, "plain { text } %}"),
        ("", {}, ""),
    ],
)  # fmt: skip
def test_the_features_that_prompts_need_work(template: str, context: dict[str, Any], text: str) -> None:
    assert renderer.render(template, context) == text


@pytest.mark.row("A116")
def test_tojson_indents_and_keeps_characters() -> None:
    assert renderer.render("{{ x | tojson }}", {"x": {"a": 1}}) == '{\n  "a": 1\n}'
    assert renderer.render("{{ x | tojson }}", {"x": "ü<b>"}) == '"ü<b>"'


@pytest.mark.row("A117")
@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ x | truncate(5) }}", "long ..."),
        ("{{ x | truncate(14) }}", "long text here"),
        ("{{ x | truncate }}", "long text here"),
        ("{{ x | truncate(0) }}", "..."),
        ("{{ y | truncate }}", "y" * 100 + "..."),
        ("{{ 123456 | truncate(3) }}", "123..."),
    ],
)
def test_truncate_cuts_at_the_character(template: str, text: str) -> None:
    assert renderer.render(template, {"x": "long text here", "y": "y" * 101}) == text


@pytest.mark.row("A118")
def test_nothing_is_escaped() -> None:
    assert renderer.render("<b>{{ x }}</b>", {"x": "<i>&"}) == "<b><i>&</b>"


@pytest.mark.row("A119")
def test_a_missing_name_is_an_error_that_names_it() -> None:
    with pytest.raises(TemplateError) as raised:
        renderer.render("hi {{ nope }}", {})

    assert raised.value.message == "undefined variable in template: 'nope' is undefined"


@pytest.mark.row("A119")
@pytest.mark.parametrize(
    "template", ["{{ x.y }}", "{{ x.y.z }}", "{% if nope %}{% endif %}", "{{ nope | tojson }}"]
)
def test_a_missing_nested_name_is_an_error_too(template: str) -> None:
    with pytest.raises(TemplateError, match=r"^undefined variable in template: "):
        renderer.render(template, {"x": {}})


@pytest.mark.row("A120", "A115")
@pytest.mark.parametrize(("template", "line"), [("{% if %}", 1), ("a\n\n{{ x", 3), ("{{ x | nofilter }}", 1)])
def test_wrong_syntax_is_an_error_with_its_line(template: str, line: int) -> None:
    with pytest.raises(TemplateError) as raised:
        renderer.render(template, {"x": 1})

    assert raised.value.message.startswith(f"template syntax error at line {line}: ")
    assert raised.value.detail["line"] == line
    assert isinstance(raised.value, PipelineError)


@pytest.mark.row("A121")
def test_a_template_sees_the_present_state() -> None:
    state = {"role": "assistant"}
    before = renderer.render("You are {{ role }}", state)

    state["role"] = "expert"

    assert (before, renderer.render("You are {{ role }}", state)) == ("You are assistant", "You are expert")


@pytest.mark.row("A123")
def test_metadata_is_the_state_unless_the_state_has_its_own() -> None:
    assert renderer.render("{{ metadata.topic }}{{ metadata['topic'] }}", {"topic": "x"}) == "xx"
    assert renderer.render("{{ metadata.topic }}", {"topic": "x", "metadata": {"topic": "y"}}) == "y"


def test_a_field_may_be_called_like_a_method_of_dict() -> None:
    assert renderer.render("{{ order.items[0] }}", {"order": {"items": ["tea"]}}) == "tea"


@pytest.mark.row("A125")
@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ x | attr('__class__') }}",
        "{{ [x] | map(attribute='__class__') | first }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ '{x.__class__}'.format_map({'x': x}) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ range.__self__ }}",
        "{{ x.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'x' %}",
    ],
)
def test_a_template_cannot_reach_python_or_files(template: str) -> None:
    state = {"x": [1]}

    with pytest.raises(TemplateError):
        renderer.render(template, state)

    assert state == {"x": [1]}


_DOUBLED = "{% set a = 'xxxxxxxxxx' %}"


@pytest.mark.row("A125")
@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * [1] }}",
        "{{ 2 ** (10 ** 9) }}",
        "{% set n = namespace(v=9**999) %}{% for i in range(99) %}{% set n.v = n.v * n.v %}{% endfor %}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
        _DOUBLED + "{% set a = a ~ a %}" * 40,
        _DOUBLED + "{% set a = a + a %}" * 40,
        _DOUBLED + "{% set a = [a, a] %}" * 40 + "{{ a }}",
        _DOUBLED + "{% set a = {'a': a, 'b': a} %}" * 40 + "{{ a }}",
        _DOUBLED + "{% set a = dict(a=a, b=a) %}" * 40 + "{{ a }}",
        _DOUBLED + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40,
        _DOUBLED + "{% set a = '%s%s' % (a, a) %}" * 40,
        _DOUBLED + "{% set a = '{0}{0}'.format(a) %}" * 40,
        _DOUBLED + "{% set a = a | replace('x', 'xx') %}" * 40,
        _DOUBLED + "{% set a = a.replace('x', 'xx') %}" * 40,
        _DOUBLED + "{% set a = [a, a] | join(a) %}" * 40,
        _DOUBLED + "{% set a = a.join([a, a]) %}" * 40,
        _DOUBLED + "{% set a = 'xxxx'.translate({120: a}) %}" * 40,
        "{% set a = 0 %}{% set b = 0 %}"
        + "{% set a = dict.fromkeys('xy', a) %}{% set b = dict.fromkeys('xy', b) %}" * 60 + "{{ a == b }}",
        _DOUBLED + "{% set b = a %}" + "{% set a = [1] | batch(3, a) | list %}" * 40 + "{{ a == b }}",
        "{% set a = 'x' * 3999999 %}" + "{% set a = a ~ '' %}" * 1000,
        "{% set a = 'x' * 3999999 %}{% for i in range(1000) %}{% set b = a.split('x') %}{% endfor %}",
        "{% set n = namespace() %}{{ n }}",
        "{{ 'x'.center(10**9) }}",
        "{{ 'x' | center(10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}",
        "{{ 'x' | indent(10**9) }}",
        "{{ 1.5 | round(10**9, 'ceil') }}",
        "{{ [1] | batch(10**9, 0) | list }}",
        "{{ [1] | tojson(10**9) }}",
        "{{ (5).to_bytes(10**9, 'big') }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
        "{% for x in [1] %}" * 30 + "{% endfor %}" * 30,
        "{{ a }}" * 6000,
        "{{ 1 / 0 }}",
    ],
    ids=range(44),
)  # fmt: skip
def test_a_template_cannot_exhaust_the_machine(template: str) -> None:
    with pytest.raises(TemplateError):
        renderer.render(template, {"a": 1})


def test_a_template_may_render_a_large_state() -> None:
    state = {"rows": [{"n": n, "text": "word " * 20} for n in range(2_000)]}

    text = renderer.render("{% for row in rows %}{{ row.n }}: {{ row.text | upper }}\n{% endfor %}", state)

    assert text.count("\n") == 2_000


def test_text_without_markup_may_have_any_length() -> None:
    text = "{ long " * 1_000_000

    assert renderer.render(text, {}) is text
    assert renderer.compile(text).render({}) is text


def test_a_template_knows_what_it_reads() -> None:
    compiled = renderer.compile(
        "{{ a }}{% if b is defined %}{{ b }}{% endif %}{{ c | default('') }}"
        "{{ metadata.x }}{{ metadata['y'] }}{% for i in range(d) %}{{ i }}{% endfor %}{% set e = 1 %}{{ e }}"
    )

    assert compiled.variables == {"a", "b", "c", "d"}
    assert compiled.metadata_variables == {"x", "y"}
    assert compiled.optional_variables == {"b", "c"}
    assert renderer.compile("plain").variables == frozenset()


def test_a_template_is_compiled_once() -> None:
    assert renderer.compile("{{ once }}") is TemplateRenderer().compile("{{ once }}")


def test_importing_the_renderer_does_not_import_jinja() -> None:
    code = "import sys, penstock.template_renderer; sys.exit('jinja2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.text(alphabet="{}%# abx|'\"().[]*+~-0123456789ifendrsou\n", max_size=60))
def test_any_text_renders_or_raises_an_error_with_a_reason(template: str) -> None:
    try:
        outcome = renderer.render(template, {"a": 1, "b": "t", "x": [1, {"a": 2}]})
    except TemplateError as error:
        outcome = error.message or "no reason"

    assert isinstance(outcome, str)
    assert outcome != "no reason"
