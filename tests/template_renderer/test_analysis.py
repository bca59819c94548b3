"""The names that a template reads."""

from __future__ import annotations

from penstock.template_renderer import TemplateRenderer

renderer = TemplateRenderer()


def test_a_template_knows_what_it_reads() -> None:
    compiled = renderer.compile(
        "{{ a }}{% if b is defined %}{{ b }}{% endif %}{{ c | default('') }}"
        "{{ metadata.x }}{{ metadata['y'] }}{% for i in range(d) %}{{ i }}{% endfor %}{% set e = 1 %}{{ e }}"
    )

    assert compiled.variables == {"a", "b", "c", "d"}
    assert compiled.metadata_variables == {"x", "y"}
    assert compiled.optional_variables == {"b", "c"}
    assert renderer.compile("plain").variables == frozenset()
