"""Rendering templates."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.entities import State
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
         {"d": {"a": 1, "b": None}}, "1/2 a=1 2/2 b= "),
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


@pytest.mark.row("D10")
def test_metadata_is_the_seed_of_a_state() -> None:
    state = State({"topic": "rendered", "more": 1}, {"topic": "seed"})

    assert renderer.render("{{ topic }} {{ metadata.topic }}", state) == "rendered seed"
    assert renderer.compile("{{ metadata.topic }}").render(state) == "seed"
    assert renderer.render("{{ metadata | tojson(0) }}", state) == '{\n"topic": "seed"\n}'


@pytest.mark.row("D10")
def test_metadata_can_be_passed_beside_the_context() -> None:
    context = {"topic": "rendered"}

    assert renderer.render("{{ metadata.topic }}", context, metadata={"topic": "seed"}) == "seed"
    assert renderer.render("{{ metadata }}", {"metadata": "own"}, metadata={"topic": "seed"}) == "own"
