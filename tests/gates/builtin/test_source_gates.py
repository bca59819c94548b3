"""The gates that hold a text to its source."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateError
from penstock.gates import BaseGate
from penstock.gates.builtin.grounding import GroundingGate
from penstock.gates.builtin.quote import QuoteGate

TEXT = "Penicillin was discovered by Alexander Fleming in London in 1928, and it changed medicine."


def faults(gate: BaseGate, text: Any = TEXT, **parts: Any) -> list[str]:
    state = {"text": text, "generated": parts}
    return [finding.message for finding in gate.look(Parts({"generated": parts}, state)).findings]


def quote(**config: Any) -> QuoteGate:
    return QuoteGate(**{"source": "text", "part": "generated.answer", **config})


def grounding(**config: Any) -> GroundingGate:
    return GroundingGate(**{"source": "text", "part": "generated.question", **config})


@pytest.mark.parametrize(
    "answer", ["Alexander Fleming", "alexander  fleming\n", "1928", "London in 1928,", "１９２８"]
)
def test_an_answer_that_stands_in_the_text_passes(answer: str) -> None:
    assert faults(quote(), answer=answer) == []


@pytest.mark.parametrize(
    "answer", ["Marie Curie", "Alex", "Fleming Alexander", "lexander", "192", "medicine. And"]
)
def test_an_answer_that_does_not_stand_there_as_whole_words_is_a_fault(answer: str) -> None:
    assert faults(quote(), answer=answer) == [
        "the answer does not occur in the text; copy it from there word for word"
    ]


def test_case_and_spacing_count_where_that_is_asked_for() -> None:
    assert faults(quote(exact=True), answer="alexander fleming")
    assert faults(quote(exact=True), answer="Alexander  Fleming")
    assert faults(quote(exact=True), answer="Alexander Fleming") == []


def test_an_answer_that_is_most_of_the_text_is_a_fault() -> None:
    assert faults(quote(), answer="discovered by Alexander Fleming in London in 1928") == [
        "the answer is too much of the text: 8 of 14 words; give only what is asked"
    ]
    assert faults(quote(max_share=1.0), answer=TEXT) == []


def test_an_answer_that_the_question_gives_away_is_a_fault() -> None:
    gate = quote(not_in="generated.question")

    assert faults(gate, answer="Alexander Fleming", question="Who was alexander fleming?") == [
        "the answer is already in the question"
    ]
    assert faults(gate, answer="Alexander Fleming", question="Who found it?") == []
    assert faults(gate, answer="Alexander Fleming") == []
    assert faults(gate, answer="Alexander Fleming", question=None) == []


def test_the_question_can_be_blamed_for_its_answer() -> None:
    parts = {"generated": {"answer": "Marie Curie"}}

    verdict = quote(blame="generated").look(Parts(parts, {"text": TEXT, **parts}))

    assert [finding.part for finding in verdict.findings] == ["generated"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [("", "the answer is empty"), (" \n", "the answer is empty"), (1928, "answer is a number, not text")],
)
def test_an_answer_that_says_nothing_is_a_fault(answer: Any, says: str) -> None:
    assert faults(quote(), answer=answer) == [says]


def test_scripts_without_spaces_are_quoted_by_characters() -> None:
    assert faults(quote(), text="東京は日本の首都である", answer="東京") == []
    assert faults(quote(), text="東京は日本の首都である", answer="東京は日本の首都") == [
        "the answer is too much of the text: 8 of 11 words; give only what is asked"
    ]


def test_a_source_may_lie_deeper_and_need_not_be_text() -> None:
    gate = quote(source="metadata.text")
    parts = {"generated": {"answer": "Ada"}}

    assert gate.look(Parts(parts, {"metadata": {"text": "It was Ada, they say."}})).passed
    assert gate.look(Parts(parts, {"metadata": {"text": ["It was Ada", "they say"]}})).passed


@pytest.mark.parametrize("gate", [quote(source="story"), grounding(source="story.text")])
def test_without_its_source_a_gate_cannot_look(gate: BaseGate) -> None:
    with pytest.raises(GateError, match="there is no field 'story"):
        faults(gate, answer="Ada", question="Who?")


def test_huge_texts_are_looked_at_in_bounded_time() -> None:
    many = "a " * 2_000_000

    assert faults(quote(), text=many, answer="b " * 1_000_000)
    assert faults(quote(), text="ab" * 100_000, answer="a")
    assert faults(grounding(), text=many, question="zebra giraffe " * 500_000)


@pytest.mark.parametrize(
    "question",
    [
        "Who discovered penicillin?",
        "Who discovers penicillin?",
        "What did Fleming's discovery change?",
        "Where was it discovered, and when?",
        "How did PENICILLIN change Medicine?",
        "Which elephant discovered it?",  # one foreign word is allowed
        "",
    ],
)
def test_a_question_that_keeps_to_the_text_passes(question: str) -> None:
    assert faults(grounding(), question=question) == []


def test_a_question_about_something_else_is_told_its_foreign_words() -> None:
    assert faults(grounding(), question="Which elephants danced the tango? Elephants!") == [
        "question has words that are not in the text: elephants, danced, tango; use only words from there"
    ]
    assert faults(grounding(max_foreign=0), question="Which elephant discovered it?")
    assert faults(grounding(max_foreign=3), question="Which elephants danced the tango?") == []


def test_other_languages_have_their_own_stems_and_stop_words() -> None:
    gate = grounding(language="german", max_foreign=0)
    text = "Penicillin wurde von Alexander Fleming in London entdeckt."

    assert faults(gate, text=text, question="Von wem wurde das Penicillin in London entdeckt?") in (
        [],
        ["question has words that are not in the text: wem; use only words from there"],
    )
    assert faults(gate, text=text, question="Wieviel kostet ein Elefant?")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: quote(source=""), "source is empty"),
        (lambda: quote(max_share=0), "max_share is 0"),
        (lambda: quote(max_share=50), "max_share is 50"),
        (lambda: grounding(source=""), "source is empty"),
        (lambda: grounding(max_foreign=-1), "max_foreign is -1"),
        (lambda: grounding(language="klingon"), "language is 'klingon'; write one of arabic"),
    ],
)
def test_impossible_settings_are_refused(make: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        make()
