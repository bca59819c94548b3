"""The small budget of renderings in the event loop, and the large one in the child process."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest

from penstock.errors import TemplateError
from penstock.template_renderer import TemplateRenderer
from penstock.template_renderer.in_child import child

renderer = TemplateRenderer()

LONG_TURNS = "{% for i in range(9000) %}{{ i ~ ',' }}{% endfor %}"


async def render(template: str, state: dict[str, Any] | None = None) -> str:
    return await renderer.render_in_loop(template, state or {})


async def test_what_is_much_work_has_the_same_text_from_the_child() -> None:
    assert renderer.compile(LONG_TURNS).render_at_once({}) is None
    assert await render(LONG_TURNS) == "".join(f"{i}," for i in range(9000))
    assert renderer.render(LONG_TURNS, {}) == "".join(f"{i}," for i in range(9000))


async def test_the_child_sees_the_state_and_the_seed() -> None:
    state = {"day": datetime.date(2020, 1, 2), "name": "weir", "self": "me", "none": None}
    template = LONG_TURNS + "{{ day.year }} {{ name }} {{ self }} {{ metadata.name }}"

    assert (await render(template, state)).endswith("2020 weir me weir")


async def test_an_error_in_the_child_is_the_error_of_the_template() -> None:
    with pytest.raises(TemplateError, match="undefined variable in template: 'missing' is undefined"):
        await render(LONG_TURNS + "{{ missing }}")


async def test_values_that_no_child_can_be_given_are_refused_in_our_words() -> None:
    with pytest.raises(TemplateError, match="needs more work than values that are no JSON may cost"):
        await render(LONG_TURNS + "{{ f }}", {"f": lambda: 1})


async def test_the_event_loop_turns_while_a_template_takes_long() -> None:
    rendering = asyncio.create_task(render("{% for i in range(99999) %}{{ i ~ i ~ i }}{% endfor %}" * 2))

    turns = 0
    while not rendering.done():
        await asyncio.sleep(0.005)
        turns += 1

    assert turns > 3
    assert isinstance(rendering.exception(), TemplateError)


async def test_a_long_program_is_compiled_in_the_child() -> None:
    program = "{{ [" + ",".join(["1"] * 3000) + "]|length }}"

    assert await render(program) == "3000"


async def test_a_program_that_is_too_long_is_refused() -> None:
    with pytest.raises(TemplateError, match="template too large"):
        await render("{{ [" + ",".join(["1"] * 200_000) + "]|length }}")


async def test_a_child_that_was_killed_is_replaced() -> None:
    await render(LONG_TURNS)
    process = child._process
    assert process is not None
    process.kill()
    process.wait()

    assert (await render(LONG_TURNS)).endswith("8999,")


@pytest.mark.parametrize(
    "template",
    [
        '{{ ("{0:9999}"*40000).format("")|length }}',
        '{{ ("{0:9999}"*400000).format("")|length }}',
        '{{ ("%(a)9999d"*40000) % {"a":1} }}',
        '{{ ("%(a)9999d"*40000)|format(a=1)|length }}',
        '{{ ("%.9999f"*500) % ((1.5,)*500) }}',
        "{{ ([1]*40000)|tojson(10000)|length }}",
        "{{ ([[[[[1]*9]*9]*9]*9]*9)|tojson(1000)|length }}",
        '{% set a = ("f"*900000)|int(0,16) %}{% set b = ("e"*450001)|int(0,16) %}{% set c = a // b %}x',
        '{% set s = "a"*1900000 %}{% for i in range(4000) %}{% set y = s[::-1] %}{% endfor %}x',
        '{% set b = [1]*900000 %}{% for i in range(9999) %}{% set x = b[1:] %}{% endfor %}',
        "{{ ('x'|safe).center(10**9)|length }}",
        "{{ ('x'|e).ljust(10**9)|length }}",
        "{{ ('x'|escape|upper).rjust(10**9)|length }}",
        '{{ ("a"*2000000).rfind("b"+"a"*1000000) }}',
        '{{ ("a"*2000000).strip("b"*1000000+"a")|length }}',
        '{{ ("a"*2000000)|trim("b"*1000000+"a")|length }}',
        '{{ ("é"*500000).encode("punycode")|length }}',
        "{% for x in [1] recursive %}{{ loop(range(100000)) }}{% endfor %}",
        "{% for i in range(100000) %}{% set x = range(100000)|sort|list %}{% endfor %}",
        "{% for i in range(100000) %}{% set x = range(100000)|sum %}{% endfor %}",
        "{{ ([[1]*1000]*1000)|sum(start=[])|length }}",
        '{% set b = "a"*990000 %}{% for i in range(9999) %}{% set x = loop.changed(b ~ "") %}{% endfor %}',
        "{% set b = [1]*900000 %}{% for i in range(9999) %}{% set x = b.count(2) %}{% endfor %}",
        "{% set n = namespace(a=3) %}{% for i in range(99) %}{% set n.a = n.a * n.a %}{% endfor %}{{ n.a }}",
        "{{ 10 ** -20000 }}",
        "{{ (2 ** 19000) ** 1.5 }}",
        '{{ ("%a"*4000) % (("😀"*100,)*4000) }}',
        '{{ ("\t"*900).expandtabs(9999)|length }}',
        '{{ ("x\n"*100000)|indent(9999)|length }}',
        '{% filter indent(9999) %}{{ "x\n"*100000 }}{% endfilter %}',
        '{{ ("a"*2000).join(["b"]*200000)|length }}',
        '{% for i in range(9999) %}{% set x = cycler(*range(99999)) %}{% endfor %}',
    ],
    ids=range(32),
)  # fmt: skip
async def test_a_hostile_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        await render(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{{ "%(a)s of %(b)05d" % {"a": 1, "b": 22} }}', "1 of 00022"),
        ('{{ "**%s** has 123456 words" % "x" }}', "**x** has 123456 words"),
        ('{{ "a\tb".expandtabs(4) }}', "a   b"),
        ("{{ ('<b>'|e) ~ '<i>' }}", "&lt;b&gt;<i>"),
        ("{{ ('<b>'|safe).upper() }}", "<B>"),
        ("{{ 'abcdef'[1:-1:2] }}{{ [1, 2, 3][:2] }}", "bd[1, 2]"),
        ("{% for i in range(300) %}{{ loop.length if loop.last else '' }}{% endfor %}", "300"),
        ("{{ -7 // 2 }} {{ 7 / 2 }} {{ 2 - 5 }} {{ 2 ** 10 }} {{ 7 % 4 }}", "-4 3.5 -3 1024 3"),
        ("{{ 'é'.encode('UTF-8')|length }}", "2"),
        ("{{ ('a b'|title).split()|list|tojson(0) }}", '[\n"A",\n"B"\n]'),
    ],
)
async def test_ordinary_operations_are_done_in_the_event_loop(template: str, text: str) -> None:
    assert renderer.compile(template).render_at_once({}) == text
