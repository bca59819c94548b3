"""Templates are refused when a run would fail with them, and only then (fault 29)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import llm
from penstock.settings import Settings
from penstock.workflow import Pipeline
from penstock.workflow.validation import validate

SEED: dict[str, Any] = {
    "a.b": "x",
    "items": [{"name": "n", "tags": []}],
    "kind": "short",
    "user name": "Ada",
    "order": {"items": [1], "paid": None},
    "self": "me",
}
WORKS = [
    '{{ metadata["a.b"] }}{{ metadata["user name"] }}',
    "{{ metadata.get('a.b') }}{{ metadata.get('nope', 'x') }}{{ metadata.keys() }}",
    "{% for k, v in metadata.items() %}{{ k }}: {{ v }}{% endfor %}{{ metadata | length }}",
    "{{ metadata.nope | default('x') }}{% if metadata.nope is defined %}{{ metadata.nope }}{% endif %}",
    "{% for i in items %}{{ i.name.upper() }}{% for t in i.tags %}{{ t.nope }}{% endfor %}{% endfor %}",
    "{% if kind == 'long' %}{{ long_only }}{% else %}{{ kind }}{% endif %}",
    "{{ kind if kind else nope }}{{ kind or nope }}{% if false and nope %}{% endif %}",
    "{% set n = namespace(v=1) %}{% set m = n.v %}{{ m }}{% macro f(p) %}{{ p }}{% endmacro %}{{ f(2) }}",
    "{% set y = 'z' %}{{ y }}{% with w = kind %}{{ w }}{% endwith %}{{ nope | default(kind) | upper }}",
    "{{ items | map(attribute='name') | join }}{{ order['items'][0] }}{{ order.get('nope') }}{{ self }}",
    "{% for i in [] %}{{ nope }}{% else %}none{% endfor %}{{ items[0]['name'] }}{{ range(3) | list }}",
    "{% if nope is defined %}{{ nope.deep }}{% endif %}{{ order.nope | default('x') }}",
]
FAILS = [
    (
        "{{ order['items'].count }}",
        "cannot be used with seed 1: undefined variable in template: 'list object'",
    ),
    ("{{ order.nope }}", "has no attribute 'nope'"),
    ("{{ nope }}", "reads 'nope', which neither the seeds nor an earlier step have"),
    ('{{ metadata["c.d"] }}', "reads 'metadata.c.d', which no seed has"),
    ("{% for item in items %}{{ item.nope }}{% endfor %}", "has no attribute 'nope'"),
    ("{{ kind.upper }}", "has no attribute 'upper'"),
    ("{{ 1 / 0 }}", "division by zero"),
]


@pytest.fixture(autouse=True)
async def _client(settings: Settings) -> AsyncIterator[None]:
    """Let blocks ask the scripted model."""
    async with llm.Client(settings) as client:
        with llm.use_client(client):
            yield


def pipeline(template: str, *, after: str = "") -> dict[str, Any]:
    prompts = [prompt for prompt in (after, template) if prompt]
    steps = [{"type": "TextGenerator", "config": {"user_prompt": prompt}} for prompt in prompts]
    return {"name": "x", "blocks": steps}


@pytest.mark.parametrize("template", WORKS)
async def test_what_a_run_can_do_is_not_refused(template: str) -> None:
    for definition in (pipeline(template), pipeline(template + "{{ assistant }}", after="Q")):
        assert [str(issue) for issue in validate(definition, seeds=[SEED])] == []

        [made] = await Pipeline.load_from_dict(definition).run([SEED])
        assert made.error is None


@pytest.mark.parametrize(("template", "words"), FAILS)
async def test_what_a_run_cannot_do_is_an_issue(template: str, words: str) -> None:
    [issue] = validate(pipeline(template), seeds=[SEED])
    [made] = await Pipeline.load_from_dict(pipeline(template)).run([SEED])

    assert words in issue.message
    assert made.error is not None


def test_the_seed_with_which_a_template_fails_is_named() -> None:
    seeds: list[dict[str, Any]] = [{"order": {"count": 1}}, {"order": {}}]

    [issue] = validate(pipeline("{{ order.count }}"), seeds=seeds)

    assert "cannot be used with seed 2: " in issue.message


def test_a_variable_that_is_read_in_every_case_is_missed_also_beside_what_steps_make() -> None:
    [issue] = validate(pipeline("{{ assistant }}{{ nope }}", after="Q"), seeds=[SEED])

    assert "reads 'nope'" in issue.message
