"""The gates that look at a text by itself, at a number, or at samples."""

from __future__ import annotations

import math
from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateError
from penstock.gates import BaseGate
from penstock.gates.builtin.length import LengthGate
from penstock.gates.builtin.python_syntax import PythonSyntaxGate
from penstock.gates.builtin.regex import RegexGate
from penstock.gates.builtin.score import ScoreGate
from penstock.gates.builtin.similarity import SimilarityGate


def faults(gate: BaseGate, value: Any) -> list[str]:
    return [finding.message for finding in gate.look(Parts({"text": value, "other": 1})).findings]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "text is null, not text"),
        (7, "text is a number, not text"),
        (True, "text is true or false, not text"),
        ({}, "text is an object, not text"),
        ([], "text is a list, not text"),
        (object(), "text is not text"),
    ],
)
def test_what_is_no_text_is_a_fault(value: Any, says: str) -> None:
    for gate in (LengthGate(min_length=0), RegexGate("x"), PythonSyntaxGate()):
        assert faults(gate, value) == [says]


def test_a_part_that_is_missing_is_a_fault_that_names_it() -> None:
    verdict = RegexGate("x", part="generated.title").look(Parts({"generated": {}}))

    assert [(finding.part, finding.message) for finding in verdict.findings] == [
        ("generated.title", "title is missing")
    ]


def test_a_part_inside_an_answer_that_is_no_json_is_the_fault_of_the_answer() -> None:
    verdict = RegexGate("x", part="generated.title").look(Parts({"generated": {"raw_response": "Sure"}}))

    assert [(finding.part, finding.message) for finding in verdict.findings] == [
        ("generated", "the answer is not JSON")
    ]


def test_nothing_at_all_is_a_fault_too() -> None:
    assert not RegexGate("x").look(Parts({})).passed


@pytest.mark.parametrize(
    ("config", "text", "found"),
    [
        ({"min_length": 3}, "ab", ["text is too short: 2 characters, write at least 3"]),
        ({"min_length": 3}, " ab \n", ["text is too short: 2 characters, write at least 3"]),
        ({"min_length": 3}, "abc", []),
        ({"max_length": 3}, "abcd", ["text is too long: 4 characters, write at most 3"]),
        (
            {"max_length": 3, "unit": "words"},
            "it's two or more",
            ["text is too long: 4 words, write at most 3"],
        ),
        ({"max_length": 3, "unit": "words"}, "it's two, no?", []),
        ({"min_length": 4, "unit": "words"}, "東京タワー", []),
        ({"min_length": 0, "max_length": 0}, "", []),
    ],
)
def test_a_length_is_bounded(config: dict[str, Any], text: str, found: list[str]) -> None:
    assert faults(LengthGate(**config), text) == found


@pytest.mark.parametrize("config", [{}, {"min_length": -1}, {"min_length": 3, "max_length": 2}])
def test_lengths_that_nothing_can_have_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="Gate 'LengthGate': min_length"):
        LengthGate(**config)


def test_a_text_must_match_or_must_not() -> None:
    asks = RegexGate(r"\?\s*$")
    plain = RegexGate(r"(?i)as an ai", must_match=False)

    assert faults(asks, "Who? ") == []
    assert faults(asks, "Who") == [r"text does not match the pattern \?\s*$"]
    assert faults(plain, "Well, As an AI model") == ["text must not have 'As an AI'"]
    assert faults(plain, "Well") == []


def test_the_pipelines_own_message_is_what_the_model_reads() -> None:
    assert faults(RegexGate("x", message="end it with\na question mark"), "y") == [
        "end it with a question mark"
    ]


@pytest.mark.parametrize("pattern", ["(", "*", "", "x" * 3000, "[z-a]"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(DefinitionError, match="Gate 'RegexGate': pattern"):
        RegexGate(pattern)


def test_a_pattern_that_runs_away_is_stopped() -> None:
    with pytest.raises(GateError, match="takes too long"):
        faults(RegexGate("(a|aa)+$"), "a" * 60 + "!")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.5, []),
        (0.4999, ["text is too low: 0.4999, it must be at least 0.5"]),
        (2, ["text is too high: 2, it must be at most 1"]),
        (10**400, ["text is too high: a number of very many digits, it must be at most 1"]),
        (math.nan, ["text is not a number"]),
        (math.inf, ["text is too high: inf, it must be at most 1"]),
        (True, ["text is true or false, not a number"]),
        ("0.7", ["text is text, not a number"]),
        (None, ["text is null, not a number"]),
    ],
)
def test_a_score_is_bounded(value: Any, found: list[str]) -> None:
    assert faults(ScoreGate(min_score=0.5, max_score=1.0), value) == found


@pytest.mark.parametrize(
    "config", [{}, {"min_score": 2.0, "max_score": 1.0}, {"min_score": math.nan}, {"max_score": math.nan}]
)
def test_scores_that_nothing_can_have_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="Gate 'ScoreGate': min_score"):
        ScoreGate(**config)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "```python\nx = 1\n```",
        "```\ndef f(): ...\n```\n",
        "async def f():\n    await g()",
        r"'\d'",
    ],
)
def test_code_that_parses_passes(code: str) -> None:
    assert faults(PythonSyntaxGate(), code) == []


def test_code_that_does_not_parse_is_told_the_line() -> None:
    assert faults(PythonSyntaxGate(), "x = 1\ndef broken(:\n") == ["line 2: invalid syntax: def broken(:"]


@pytest.mark.parametrize(
    "code",
    [
        "-" * 100_000 + "1",
        "a" + "+a" * 90_000,
        "(" * 10_000,
        "x = 1\0",
        "\ud800",
        "lambda:" * 20_000 + "1",
        "9" * 5000,
        "x" * 300_000,
        "Sure, here it is:\n```python\nx = 1\n```",
        "```",
        "f'{" * 1000,
    ],
)
def test_hostile_code_is_a_fault_and_no_crash(code: str) -> None:
    (message,) = faults(PythonSyntaxGate(), code)

    assert len(message) <= 300
    assert "\n" not in message


def test_nothing_of_the_code_is_executed() -> None:
    assert faults(PythonSyntaxGate(), "raise SystemExit\nimport os; os._exit(3)") == []


def look_at_samples(*samples: Any, least: float = 0.97, part: str | None = None) -> Any:
    made = [{"text": sample} for sample in samples]
    return SimilarityGate(part, least).look(Parts(made[0], samples=made))


def test_a_single_sample_is_skipped_rather_than_passed() -> None:
    verdict = look_at_samples("one")

    assert verdict.skipped == "a single sample cannot disagree"
    assert SimilarityGate().look(Parts({"text": "one"})).skipped


def test_samples_that_agree_pass_whatever_their_spacing() -> None:
    assert look_at_samples("x = f(1)", "x  =  f( 1 )").passed
    assert look_at_samples({"a": 1, "b": 2}, {"b": 2, "a": 1}).passed


def test_the_two_samples_that_are_least_alike_decide() -> None:
    verdict = look_at_samples("a b c d", "a b c d", "a b x y")

    (finding,) = verdict.findings
    assert finding.part == "text"
    assert finding.message == "the samples of text disagree: two of 3 are alike by 0.50 of 0.97"
    assert look_at_samples("a b c d", "a b x y", least=0.5).passed


def test_a_part_that_some_samples_lack_is_a_disagreement() -> None:
    verdict = look_at_samples({"a": "x"}, {}, part="text.a")

    assert [finding.message for finding in verdict.findings] == ["1 of 2 samples have no a"]


def test_long_and_monotonous_samples_are_compared_all_the_same() -> None:
    assert not look_at_samples("a " * 50_000, "b " * 50_000).passed
    assert look_at_samples("a " * 50_000, "a " * 49_999 + "b").passed
    assert not look_at_samples(None, 10**400, 10**5000, least=1.0).passed


def test_a_similarity_beyond_reach_is_refused() -> None:
    with pytest.raises(DefinitionError, match="write a number between 0 and 1"):
        SimilarityGate(min_similarity=97)
