"""The gate that requires a quotation."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateError
from penstock.gates import BaseGate
from penstock.gates.builtin.quote import QuoteGate

TEXT = "Penicillin was discovered by Alexander Fleming in London in 1928, and it changed medicine."


def find_issues(gate: BaseGate, text: Any = TEXT, **parts: Any) -> list[str]:
    state = {"text": text, "generated": parts}
    return [finding.message for finding in gate.look(Parts({"generated": parts}, state)).findings]


def quote(**config: Any) -> QuoteGate:
    return QuoteGate(**{"source": "text", "part": "generated.answer", **config})


@pytest.mark.parametrize(
    "answer", ["Alexander Fleming", "alexander  fleming\n", "1928", "London in 1928,", "１９２８"]
)
def test_an_answer_that_occurs_in_the_text_passes(answer: str) -> None:
    assert find_issues(quote(), answer=answer) == []


@pytest.mark.parametrize(
    "answer", ["Marie Curie", "Alex", "Fleming Alexander", "lexander", "192", "medicine. And"]
)
def test_an_answer_that_does_not_occur_as_whole_words_is_a_finding(answer: str) -> None:
    assert find_issues(quote(), answer=answer) == [
        "the answer does not occur in the text; copy it from there word for word"
    ]


def test_an_exact_quotation_has_the_same_case_and_spacing() -> None:
    assert find_issues(quote(exact=True), answer="alexander fleming")
    assert find_issues(quote(exact=True), answer="Alexander  Fleming")
    assert find_issues(quote(exact=True), answer="Alexander Fleming") == []


def test_an_answer_that_is_most_of_the_text_is_a_finding() -> None:
    assert find_issues(quote(), answer="discovered by Alexander Fleming in London in 1928") == [
        "the answer is too much of the text: 8 of 14 words; give only what is asked"
    ]
    assert find_issues(quote(max_share=1.0), answer=TEXT) == []


def test_an_answer_that_the_question_already_contains_is_a_finding() -> None:
    gate = quote(not_in="generated.question")

    assert find_issues(gate, answer="Alexander Fleming", question="Who was alexander fleming?") == [
        "the answer is already in the question"
    ]
    assert find_issues(gate, answer="Alexander Fleming", question="Who found it?") == []
    assert find_issues(gate, answer="Alexander Fleming") == []
    assert find_issues(gate, answer="Alexander Fleming", question=None) == []


def test_another_part_can_be_blamed() -> None:
    parts = {"generated": {"answer": "Marie Curie"}}

    verdict = quote(blame="generated").look(Parts(parts, {"text": TEXT, **parts}))

    assert [finding.part for finding in verdict.findings] == ["generated"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [("", "the answer is empty"), (" \n", "the answer is empty"), (1928, "answer is a number, not text")],
)
def test_an_empty_answer_is_a_finding(answer: Any, message: str) -> None:
    assert find_issues(quote(), answer=answer) == [message]


def test_in_scripts_without_spaces_each_letter_is_a_word() -> None:
    assert find_issues(quote(), text="東京は日本の首都である", answer="東京") == []
    assert find_issues(quote(), text="東京は日本の首都である", answer="東京は日本の首都") == [
        "the answer is too much of the text: 8 of 11 words; give only what is asked"
    ]


def test_a_source_may_be_nested_and_need_not_be_text() -> None:
    gate = quote(source="metadata.text")
    parts = {"generated": {"answer": "Ada"}}

    assert gate.look(Parts(parts, {"metadata": {"text": "It was Ada, they say."}})).passed
    assert gate.look(Parts(parts, {"metadata": {"text": ["It was Ada", "they say"]}})).passed


def test_without_its_source_the_gate_cannot_run() -> None:
    with pytest.raises(GateError, match="there is no field 'story"):
        find_issues(quote(source="story"), answer="Ada", question="Who?")


def test_huge_texts_are_checked_in_bounded_time() -> None:
    many = "a " * 2_000_000

    assert find_issues(quote(), text=many, answer="b " * 1_000_000)
    assert find_issues(quote(), text="ab" * 100_000, answer="a")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quote(source=""), "source is empty"),
        (lambda: quote(max_share=0), "max_share is 0"),
        (lambda: quote(max_share=50), "max_share is 50"),
    ],
)
def test_invalid_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()
