"""Limits on what a template makes and how long it takes."""

from __future__ import annotations

import pytest

from penstock.errors import TemplateError
from penstock.template_renderer import TemplateRenderer

renderer = TemplateRenderer()


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
