"""What a template can reach."""

from __future__ import annotations

import pytest

from penstock.errors import TemplateError
from penstock.template_renderer import TemplateRenderer

renderer = TemplateRenderer()


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


def test_a_field_may_be_called_like_a_method_of_dict() -> None:
    assert renderer.render("{{ order.items[0] }}", {"order": {"items": ["tea"]}}) == "tea"
