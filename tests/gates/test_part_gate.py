"""What gates on one part have in common."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Finding, Parts, Verdict
from penstock.errors import DefinitionError
from penstock.gates import BaseGate, BasePartGate
from penstock.gates.builtin.json_fields import JSONFieldsGate
from penstock.gates.builtin.length import LengthGate
from penstock.gates.builtin.python_syntax import PythonSyntaxGate
from penstock.gates.builtin.regex import RegexGate


def test_without_a_named_part_the_first_declared_output_is_checked() -> None:
    gate = JSONFieldsGate(["a"])

    gate.bind("second")

    assert gate.look(Parts({"first": {}, "second": {"a": 1}})).passed


def find_issues(gate: BaseGate, value: Any) -> list[str]:
    return [finding.message for finding in gate.look(Parts({"text": value, "other": 1})).findings]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "text is null, not text"),
        (7, "text is a number, not text"),
        (True, "text is true or false, not text"),
        ({}, "text is an object, not text"),
        ([], "text is a list, not text"),
        (object(), "text is not text"),
    ],
)
def test_a_value_that_is_not_text_is_a_finding(value: Any, message: str) -> None:
    for gate in (LengthGate(min_length=0), RegexGate("x"), PythonSyntaxGate()):
        assert find_issues(gate, value) == [message]


def test_a_missing_part_is_a_finding_on_that_part() -> None:
    verdict = RegexGate("x", part="generated.title").look(Parts({"generated": {}}))

    assert [(finding.part, finding.message) for finding in verdict.findings] == [
        ("generated.title", "title is missing")
    ]


def test_a_part_inside_an_answer_that_is_not_json_is_a_finding_on_the_answer() -> None:
    verdict = RegexGate("x", part="generated.title").look(Parts({"generated": {"raw_response": "Sure"}}))

    assert [(finding.part, finding.message) for finding in verdict.findings] == [
        ("generated", "the answer is not JSON")
    ]


def test_an_empty_output_does_not_pass() -> None:
    assert not RegexGate("x").look(Parts({})).passed


class Polite(BasePartGate):
    """A gate that uses the names of an earlier version."""

    def __init__(self, part: str | None = None, blame: str | list[str] | None = None, limit: int = 1) -> None:
        super().__init__(part, blame)
        if limit < 1:
            raise self.refuse("limit", f"is {limit}; write 1 or more")

    def look(self, parts: Parts) -> Verdict:
        if self.value(parts) == "one":
            return self.fault(parts, "it is rude", expected="kindness", got=self.value(parts))
        return self.verdict(*self.faults(parts, "it is rude", part="narrower"))


def test_the_earlier_names_of_methods_still_work() -> None:
    gate = Polite("text")

    assert gate.look(Parts({"text": "one"})).findings == (
        Finding("text", "it is rude", "Polite", "kindness", "one"),
    )
    assert gate.look(Parts({"text": "two"})).findings == (Finding("narrower", "it is rude", "Polite"),)
    with pytest.raises(DefinitionError, match="Gate 'Polite': limit is 0; write 1 or more") as raised:
        Polite(limit=0)
    assert raised.value.detail == {"type": "Polite", "key": "limit"}


@pytest.mark.parametrize(
    ("blame", "parts"),
    [(None, ["text"]), ("", ["text"]), ([], ["text"]), ("a", ["a"]), (["a", "b.c"], ["a", "b.c"])],
)
def test_blame_replaces_the_part_of_the_findings(blame: Any, parts: list[str]) -> None:
    gate = RegexGate("x", blame=blame)

    assert [finding.part for finding in gate.look(Parts({"text": "y"})).findings] == parts


def test_a_message_is_one_short_line() -> None:
    gate = Polite()

    (finding,) = gate.findings(Parts({"a": 1}), "x\n" * 1000, expected={"a": None}, got="y" * 1000)

    assert len(finding.message) == 300
    assert "\n" not in finding.message
    assert finding.expected == '{"a":null}'
    assert len(finding.got or "") == 120


def test_the_label_of_a_part_is_the_last_name_of_its_path() -> None:
    parts = Parts({"generated": {}})

    assert RegexGate("x", part="generated.deep.title").label(parts) == "title"
    assert RegexGate("x").label(parts) == "generated"
    assert RegexGate("x").label(Parts({})) == "the output"
    assert len(RegexGate("x", part="p" * 1000).label(parts)) == 60
