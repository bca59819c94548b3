"""Gates over long and hostile texts do not hold the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateError
from penstock.gates import find_medoid
from penstock.gates.builtin.grounding import GroundingGate
from penstock.gates.builtin.python_syntax import PythonSyntaxGate
from penstock.gates.builtin.quote import QuoteGate
from penstock.gates.builtin.regex import RegexGate
from penstock.gates.builtin.similarity import SimilarityGate
from penstock.gates.text_matching import normalize

_ENDLESS = 60
"""Seconds; without a limit these take minutes to days."""
WORDS = " ".join(f"w{number}" for number in range(9_000))
MARKS = "\u0315\u0300" * 100_000


def parts(text: str, source: str = WORDS) -> Parts:
    return Parts({"text": text}, {"text": text, "source": source}, [{"text": text}] * 3)


@pytest.mark.parametrize(
    "gate",
    [QuoteGate("source"), GroundingGate("source"), SimilarityGate()],
    ids=lambda gate: type(gate).__name__,
)
async def test_other_tasks_run_while_a_gate_reads_a_long_text(gate: QuoteGate) -> None:
    checking = asyncio.create_task(gate.check(parts("aaaaaaaaaa " * 18_000)))

    turns = 0
    while not checking.done():
        await asyncio.sleep(0)
        turns += 1

    await checking
    assert turns > 2


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (MARKS, MARKS),
        ("\ufdfa" * 200_000, WORDS),
        ("a" * 100_000, "a" * 200_000),
        ("a " + "ba " * 30_000, "ba " * 67_000),
    ],
    ids=["combining marks", "ligatures", "one letter", "one word"],
)
async def test_hostile_texts_are_compared_in_limited_time(text: str, source: str) -> None:
    started = time.monotonic()

    await QuoteGate("source").check(parts(text, source))

    assert time.monotonic() - started < _ENDLESS


def test_words_with_combining_marks_are_compared_as_before() -> None:
    assert normalize("Cafe\u0301 " * 100) == " ".join(["caf\xe9"] * 100)
    assert normalize("\ufdfa") == normalize("صلى الله عليه وسلم")


@pytest.mark.parametrize("pattern", ["(a{1000}){1000}", "(((((((((a?){9}){9}){9}){9}){9}){9}){9}){9}){9}"])
def test_a_pattern_that_repeats_repetitions_is_refused_before_it_is_compiled(pattern: str) -> None:
    with pytest.raises(DefinitionError, match="repeats too much inside of repetitions"):
        RegexGate(pattern)


@pytest.mark.parametrize(
    "pattern", [r"^\d{4}-\d{2}-\d{2}$", r"(?:\w+\s){1,500}", r"[({]{2,}", r"\({3}", "{", "(?:a){2"]
)
def test_ordinary_repetitions_are_allowed(pattern: str) -> None:
    assert RegexGate(pattern).pattern == pattern


async def test_other_tasks_run_while_a_pattern_is_searched_for() -> None:
    gate = RegexGate("(?:abcdefghij){e<=5}" * 5)
    checking = asyncio.create_task(gate.check(parts("a" * 200_000)))

    turns = 0
    while not checking.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 2
    assert isinstance(checking.exception(), GateError)


async def test_long_code_is_parsed_in_a_child() -> None:
    gate = PythonSyntaxGate()
    code = "x = [1, 2, f(3)]\n" * 1_000

    assert (await gate.check(parts(code))).passed
    assert [found.message for found in (await gate.check(parts(code + "def broken(:"))).findings] == [
        "line 1001: invalid syntax: def broken(:"
    ]


async def test_the_medoid_of_long_samples_is_the_same() -> None:
    samples = [WORDS, WORDS + " more", "x " * 20_000]

    assert await find_medoid(samples) == 0
