"""Values appear in prompts as text or JSON, and never as Python writes them (fault 31)."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import TemplateError
from penstock.template_renderer import TemplateRenderer

renderer = TemplateRenderer()
SEED: dict[str, Any] = {
    "self": "me",
    "x": None,
    "t": True,
    "list": [None, True, "a", 1.5],
    "order": {"items": [1, 2], "count": 5, "paid": False},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ self }} {{ self | upper }} {% if self %}{{ self }}{% endif %}", "me ME me"),
        ("{% for i in list %}{{ self }}{% endfor %}", "memememe"),
        ("<{{ x }}> <{{ none }}> <{{ x | string }}> <{{ x | trim }}> <{{ x | upper }}>", "<> <> <> <> <>"),
        ("{{ t }} {{ t | string }} {{ not t }} {{ 1 == 1 }} {{ order.paid }}", "true true false true false"),
        ("{{ 'a' ~ x ~ t }} {{ 'a%sb%s' % (x, t) }} {{ '%s%d' | format(t, 2) }}", "atrue abtrue true2"),
        ("{{ '{}/{}/{:.1f}'.format(x, t, 1) }} {{ 'a-b' | replace('-', x) }}", "/true/1.0 ab"),
        ("{{ list | join(',') }} {{ [order] | join(',', attribute='paid') }}", ",true,a,1.5 false"),
        ("{{ list }} {{ order }}", '[null, true, "a", 1.5] {"items": [1, 2], "count": 5, "paid": false}'),
        ("{{ order.keys() }} {{ order.items }} {{ order.count }}", '["items", "count", "paid"] [1, 2] 5'),
        (
            "{{ order | items | first }} {{ range(3) }} {{ list | select }}",
            '["items", [1, 2]] [0, 1, 2] [true, "a", 1.5]',
        ),
        ("{{ order.keyz | default('none') }} {{ order.keys | default('none') }}", "none none"),
        ("{% if order['items'].count is defined %}a{% else %}b{% endif %}{{ 'abc'.upper() }}", "bABC"),
        ("{% block b %}hi{% endblock %}{{ self.b() }}", "hihi"),
    ],
)
def test_a_value_is_shown_as_text_or_json(template: str, text: str) -> None:
    assert renderer.render(template, SEED) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ order['items'].count }}", "has no attribute 'count'"),
        ("{{ self.upper }}", "has no attribute 'upper'"),
        ("{{ order.keys }}", "has no attribute 'keys'"),
        ("{{ order['keys'] }}", "'keys', a function, is not a value"),
        ("{{ range }}", "a function, is not a value"),
        ("{% macro m() %}{% endmacro %}{{ m }}", "'m', a function, is not a value"),
        ("{% for i in [1] %}{{ loop }}{% endfor %}", "a LoopContext is not a value"),
    ],
)
def test_what_is_no_value_is_an_error(template: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words.replace("(", r"\(")):
        renderer.render(template, SEED)


def test_a_field_called_self_is_missing_by_its_name() -> None:
    assert renderer.compile("{{ self }}").variables == {"self"}
    with pytest.raises(TemplateError, match="undefined variable in template: 'self' is undefined"):
        renderer.render("{{ self }}", {})
