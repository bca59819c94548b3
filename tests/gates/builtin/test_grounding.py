"""The gate that allows only words of the source."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateError
from penstock.gates import BaseGate
from penstock.gates.builtin.grounding import GroundingGate

TEXT = "Penicillin was discovered by Alexander Fleming in London in 1928, and it changed medicine."


def find_issues(gate: BaseGate, text: Any = TEXT, **parts: Any) -> list[str]:
    state = {"text": text, "generated": parts}
    return [finding.message for finding in gate.look(Parts({"generated": parts}, state)).findings]


def grounding(**config: Any) -> GroundingGate:
    return GroundingGate(**{"source": "text", "part": "generated.question", **config})


def test_without_its_source_the_gate_cannot_run() -> None:
    with pytest.raises(GateError, match="there is no field 'story"):
        find_issues(grounding(source="story.text"), answer="Ada", question="Who?")


def test_huge_texts_are_checked_in_bounded_time() -> None:
    many = "a " * 2_000_000

    assert find_issues(grounding(), text=many, question="zebra giraffe " * 500_000)


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
def test_a_question_with_words_of_the_text_passes(question: str) -> None:
    assert find_issues(grounding(), question=question) == []


def test_the_finding_on_an_unrelated_question_names_its_foreign_words() -> None:
    assert find_issues(grounding(), question="Which elephants danced the tango? Elephants!") == [
        "question has words that are not in the text: elephants, danced, tango; use only words from there"
    ]
    assert find_issues(grounding(max_foreign=0), question="Which elephant discovered it?")
    assert find_issues(grounding(max_foreign=3), question="Which elephants danced the tango?") == []


def test_another_language_has_its_own_stems_and_stop_words() -> None:
    gate = grounding(language="german", max_foreign=0)
    text = "Penicillin wurde von Alexander Fleming in London entdeckt."

    assert find_issues(gate, text=text, question="Von wem wurde das Penicillin in London entdeckt?") in (
        [],
        ["question has words that are not in the text: wem; use only words from there"],
    )
    assert find_issues(gate, text=text, question="Wieviel kostet ein Elefant?")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grounding(source=""), "source is empty"),
        (lambda: grounding(max_foreign=-1), "max_foreign is -1"),
        (lambda: grounding(language="klingon"), "language is 'klingon'; write one of arabic"),
    ],
)
def test_invalid_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()


def test_long_words_are_compared_by_their_first_64_characters() -> None:
    gate = grounding(max_foreign=0)

    assert find_issues(gate, text="b" * 64 + "x", question="b" * 64 + "y") == []
    (issue,) = find_issues(gate, text="b" * 63 + "x", question="b" * 63 + "y" + "z" * 99)
    assert issue == (f"question has words that are not in the text: {'b' * 63}y; use only words from there")


def test_at_most_five_foreign_words_are_named() -> None:
    (issue,) = find_issues(grounding(), question="zebra giraffe lion tiger panther leopard")

    assert "not in the text: zebra, giraffe, lion, tiger, panther; use" in issue
