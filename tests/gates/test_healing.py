"""Healing: what is asked for again, at which temperature, and what is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from penstock.entities import Attempt, Finding, Parts, Verdict
from penstock.errors import GateError, HealingError, LLMUnavailableError, PipelineError
from penstock.gates import AttemptRecord, BaseGate, Decay, Healed, HealPolicy, Ramp, Schedule, heal

Answer = Mapping[str, Any] | PipelineError


class ScriptedBlock:
    """Returns its answers in order, and records the attempts that it was asked for."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Attempt] = []

    async def remake(self, attempt: Attempt) -> Mapping[str, Any]:
        self.asked.append(attempt)
        answer = self.answers.pop(0)
        if isinstance(answer, PipelineError):
            raise answer
        return answer


class NoBadWords(BaseGate):
    """Every text in the output, and one level inside it, that begins with "bad" is wrong."""

    def look(self, parts: Parts) -> Verdict:
        found = []
        for name, value in parts.items():
            inner = value if isinstance(value, dict) else {"": value}
            found += [
                Finding(f"{name}.{key}".rstrip("."), f"{text} is bad")
                for key, text in inner.items()
                if str(text).startswith("bad")
            ]
        return self.verdict(*found)


class Waiting(NoBadWords):
    """The same check as a gate that must be awaited."""

    cost = 1

    def __init__(self) -> None:
        self.checks = 0

    async def check(self, parts: Parts) -> Verdict:
        self.checks += 1
        return super().look(parts)


class Disagreeing(BaseGate):
    """Samples never agree."""

    disagreement = True

    def look(self, parts: Parts) -> Verdict:
        return self.verdict(Finding(next(iter(parts)), "the samples disagree"))


class Unable(BaseGate):
    """Cannot run."""

    def __init__(self, error: Exception) -> None:
        self.raised = error

    async def check(self, parts: Parts) -> Verdict:
        raise self.raised


class SpoiledError(PipelineError):
    """A gate's own error."""


class Strict(NoBadWords):
    """Has its own error for when healing gives up."""

    error = SpoiledError


async def never(attempt: Attempt) -> Mapping[str, Any]:
    raise AssertionError("nothing must be generated again")


async def test_two_bad_answers_then_a_good_one_are_all_kept_with_findings_and_temperatures() -> None:
    answers = ScriptedBlock({"text": "bad 2"}, {"text": "good"})
    records: list[AttemptRecord] = []
    policy = HealPolicy(6, Schedule((0.0, 0.3, 0.5)))

    healed = await heal({"text": "bad 1"}, answers.remake, [NoBadWords()], policy, on_attempt=records.append)

    assert dict(healed.parts) == {"text": "good"}
    assert healed.attempts == 3
    assert [verdict.passed for verdict in healed.verdicts] == [True]
    found = {"part": "text", "gate": "NoBadWords"}
    assert [attempt.to_dict() for attempt in records] == [
        {
            "number": 1,
            "temperature": 0.0,
            "parts": {"text": "bad 1"},
            "findings": [{**found, "message": "bad 1 is bad"}],
        },
        {
            "number": 2,
            "temperature": 0.3,
            "temperatures": {"text": 0.3},
            "parts": {"text": "bad 2"},
            "findings": [{**found, "message": "bad 2 is bad"}],
        },
        {
            "number": 3,
            "temperature": 0.5,
            "temperatures": {"text": 0.5},
            "parts": {"text": "good"},
            "findings": [],
        },
    ]


async def test_only_the_wrong_part_is_asked_for_together_with_its_findings() -> None:
    answers = ScriptedBlock({"b": "good"})

    await heal({"a": "fine", "b": "bad", "c": "fine"}, answers.remake, [NoBadWords()], HealPolicy())

    (attempt,) = answers.asked
    assert attempt.number == 2
    assert list(attempt.targets) == ["b"]
    assert attempt.targets["b"].previous == "bad"
    assert [finding.message for finding in attempt.findings] == ["bad is bad"]


async def test_a_part_without_findings_is_kept_whatever_is_returned() -> None:
    kept = {"deep": ["as", "it", "was"]}
    answers = ScriptedBlock({"a": "bad, and unasked for", "b": "good", "new": "bad"})

    healed = await heal({"a": kept, "b": "bad"}, answers.remake, [NoBadWords()], HealPolicy())

    assert dict(healed.parts) == {"a": kept, "b": "good"}
    assert healed.parts["a"] is kept


async def test_only_the_named_field_of_a_nested_output_is_replaced() -> None:
    first = {"generated": {"question": "Who?", "answer": "bad"}}
    answers = ScriptedBlock({"generated": {"question": "bad", "answer": "Ada", "more": "bad"}})

    healed = await heal(first, answers.remake, [NoBadWords()], HealPolicy())

    assert dict(healed.parts) == {"generated": {"question": "Who?", "answer": "Ada"}}
    assert first == {"generated": {"question": "Who?", "answer": "bad"}}


async def test_a_part_inside_another_wrong_part_is_generated_together_with_it() -> None:
    class Whole(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.verdict(Finding("generated", "no")) if "x" in parts["generated"] else self.verdict()

    answers = ScriptedBlock({"generated": {"b": "good"}})

    healed = await heal(
        {"generated": {"x": 1, "b": "bad"}}, answers.remake, [Whole(), NoBadWords()], HealPolicy()
    )

    assert list(answers.asked[0].targets) == ["generated"]
    assert {finding.message for finding in answers.asked[0].findings} == {"no", "bad is bad"}
    assert dict(healed.parts) == {"generated": {"b": "good"}}


async def test_a_finding_that_names_no_part_is_about_the_whole_output() -> None:
    class Vague(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.verdict(Finding("", "meh")) if parts["a"] == 1 else self.verdict()

    answers = ScriptedBlock({"a": 2, "b": 2})

    healed = await heal({"a": 1, "b": 1}, answers.remake, [Vague()], HealPolicy())

    assert list(answers.asked[0].targets) == ["a", "b"]
    assert dict(healed.parts) == {"a": 2, "b": 2}


async def test_file_names_are_parts_although_they_have_dots() -> None:
    answers = ScriptedBlock({"data.py": "good", "config.py": "ignored"})

    healed = await heal({"config.py": "fine", "data.py": "bad"}, answers.remake, [NoBadWords()], HealPolicy())

    assert dict(healed.parts) == {"config.py": "fine", "data.py": "good"}


async def test_the_temperature_of_a_part_follows_from_its_own_failures() -> None:
    answers = ScriptedBlock({"a": "bad"}, {"a": "bad", "b": "bad"}, {"a": "good", "b": "good"})
    gate = NoBadWords()

    class LaterB(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            late = len(answers.asked) == 1
            return self.verdict(Finding("b", "not yet")) if late else self.verdict()

    await heal(
        {"a": "bad", "b": "fine"}, answers.remake, [gate, LaterB()], HealPolicy(entropy=Ramp(0.0, 0.1))
    )

    earned = [
        {part: target.temperature for part, target in attempt.targets.items()} for attempt in answers.asked
    ]
    assert earned == [{"a": 0.1}, {"a": 0.2, "b": 0.1}, {"a": 0.3, "b": 0.2}]


async def test_by_default_wrong_parts_get_hotter_and_disagreeing_ones_cooler() -> None:
    wrong = ScriptedBlock({"a": "bad"}, {"a": "bad"}, {"a": "bad"})
    disagreeing = ScriptedBlock({"a": 1}, {"a": 1}, {"a": 1})

    with pytest.raises(HealingError):
        await heal({"a": "bad"}, wrong.remake, [NoBadWords()], HealPolicy())
    with pytest.raises(HealingError):
        await heal({"a": 1}, disagreeing.remake, [Disagreeing()], HealPolicy())

    assert [attempt.temperature for attempt in wrong.asked] == [0.05, 0.1, 0.15]
    assert [attempt.temperature for attempt in disagreeing.asked] == pytest.approx(
        [0.1275, 0.108375, 0.092119]
    )


async def test_giving_up_says_what_is_wrong_and_keeps_every_attempt() -> None:
    answers = ScriptedBlock({"a": "bad 2", "b": "bad"}, {"a": "bad 3"})
    policy = HealPolicy(3, Decay(0.5, 0.5))

    with pytest.raises(HealingError) as caught:
        await heal({"a": "bad 1", "b": "fine"}, answers.remake, [NoBadWords()], policy)

    assert caught.value.message == "1 gate still reports issues after 3 attempts: NoBadWords: bad 3 is bad"
    detail = caught.value.detail
    assert detail["findings"] == [{"part": "a", "gate": "NoBadWords", "message": "bad 3 is bad"}]
    assert [attempt["parts"]["a"] for attempt in detail["attempts"]] == ["bad 1", "bad 2", "bad 3"]
    assert [attempt["temperature"] for attempt in detail["attempts"]] == [0.5, 0.25, 0.125]


async def test_the_message_counts_the_gates_that_still_report_issues() -> None:
    gates = [NoBadWords(), Disagreeing()]

    with pytest.raises(
        HealingError, match=r"^2 gates still report issues after 1 attempt: NoBadWords: .*; Disagr"
    ):
        await heal({"a": "bad"}, never, gates, None)


async def test_a_long_list_of_findings_makes_a_short_message() -> None:
    parts = {f"part{number}": "bad" for number in range(500)}

    with pytest.raises(HealingError, match="and 497 more") as caught:
        await heal(parts, never, [NoBadWords()], None)

    assert len(caught.value.message) < 300
    assert len(caught.value.detail["findings"]) == 500


async def test_without_a_policy_the_gates_run_once() -> None:
    with pytest.raises(HealingError) as caught:
        await heal({"a": "bad"}, never, [NoBadWords()], None)

    assert len(caught.value.detail["attempts"]) == 1
    assert caught.value.detail["attempts"][0]["temperature"] is None


async def test_the_only_gate_that_fails_raises_its_own_error() -> None:
    with pytest.raises(SpoiledError, match="Strict: bad is bad"):
        await heal({"a": "bad"}, never, [Strict()], HealPolicy(1))
    with pytest.raises(HealingError):
        await heal({"a": "bad"}, never, [Strict(), NoBadWords()], HealPolicy(1))


async def test_with_stop_on_repeat_the_same_findings_twice_in_a_row_end_healing() -> None:
    answers = ScriptedBlock({"a": "bad 2"}, {"a": "bad 2"}, {"a": "good"})
    patient = ScriptedBlock({"a": "bad 2"}, {"a": "bad 2"}, {"a": "good"})

    with pytest.raises(HealingError, match="after 3 attempts"):
        await heal({"a": "bad 1"}, answers.remake, [NoBadWords()], HealPolicy(6, stop_on_repeat=True))
    healed = await heal({"a": "bad 1"}, patient.remake, [NoBadWords()], HealPolicy(6))

    assert len(answers.asked) == 2
    assert healed.attempts == 4


async def test_expensive_gates_do_not_run_while_a_cheap_one_has_findings() -> None:
    expensive = Waiting()
    answers = ScriptedBlock({"a": "bad"}, {"a": "good"})
    records: list[AttemptRecord] = []

    healed = await heal(
        {"a": "bad"}, answers.remake, [expensive, NoBadWords()], HealPolicy(), on_attempt=records.append
    )

    assert expensive.checks == 1
    assert [[verdict.gate for verdict in attempt.verdicts] for attempt in records] == [
        ["NoBadWords"],
        ["NoBadWords"],
        ["NoBadWords", "Waiting"],
    ]
    assert healed.attempts == 3


async def test_all_gates_of_the_same_cost_run_so_that_the_model_gets_all_findings_together() -> None:
    answers = ScriptedBlock({"a": "good"})

    with pytest.raises(HealingError):
        await heal({"a": "bad"}, answers.remake, [NoBadWords(), Disagreeing()], HealPolicy(2))

    assert [finding.gate for finding in answers.asked[0].findings] == ["NoBadWords", "Disagreeing"]


async def test_a_gate_that_skips_passes_and_gives_a_reason() -> None:
    class Idle(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.skip("there was nothing to judge")

    records: list[AttemptRecord] = []

    healed = await heal({"a": 1}, never, [Idle()], None, on_attempt=records.append)

    assert healed.verdicts == (Verdict("Idle", skipped="there was nothing to judge"),)
    assert records[0].to_dict()["skipped"] == {"Idle": "there was nothing to judge"}


async def test_gates_see_the_state_with_the_newest_parts_in_it() -> None:
    states: list[dict[str, Any]] = []

    class Watching(NoBadWords):
        def look(self, parts: Parts) -> Verdict:
            states.append(dict(parts.state))
            return super().look(parts)

    state = {"text": "source", "a": "from an earlier step"}

    await heal({"a": "bad"}, ScriptedBlock({"a": "good"}).remake, [Watching()], HealPolicy(), state=state)

    assert states == [{"text": "source", "a": "bad"}, {"text": "source", "a": "good"}]
    assert state == {"text": "source", "a": "from an earlier step"}


async def test_only_the_named_parts_of_samples_are_replaced() -> None:
    seen: list[list[Mapping[str, Any]]] = []

    class Watching(NoBadWords):
        def look(self, parts: Parts) -> Verdict:
            seen.append(list(parts.samples))
            return super().look(parts)

    first = Parts({"a": "bad", "b": 1}, samples=[{"a": "bad", "b": 1}, {"a": "x", "b": 2}])
    again = Parts({"a": "good", "b": 3}, samples=[{"a": "good", "b": 3}, {"a": "fine", "b": 4}])

    await heal(first, ScriptedBlock(again).remake, [Watching()], HealPolicy())

    assert seen == [
        [{"a": "bad", "b": 1}, {"a": "x", "b": 2}],
        [{"a": "good", "b": 1}, {"a": "fine", "b": 2}],
    ]


async def test_an_error_of_the_block_carries_the_attempts_so_far() -> None:
    error = LLMUnavailableError("The provider is down")

    with pytest.raises(LLMUnavailableError) as caught:
        await heal({"a": "bad"}, ScriptedBlock({"a": "bad"}, error).remake, [NoBadWords()], HealPolicy())

    assert [attempt["number"] for attempt in caught.value.detail["attempts"]] == [1, 2]


async def test_a_gate_that_raises_becomes_a_gate_error_with_the_attempts_so_far() -> None:
    class Breaking(NoBadWords):
        def look(self, parts: Parts) -> Verdict:
            if parts["a"] == "good":
                raise ZeroDivisionError("division by zero")
            return super().look(parts)

    with pytest.raises(GateError, match="Breaking could not run: ZeroDivisionError") as caught:
        await heal({"a": "bad"}, ScriptedBlock({"a": "good"}).remake, [Breaking()], HealPolicy())

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(caught.value.detail["attempts"]) == 1


async def test_a_gate_that_returns_no_verdict_becomes_a_gate_error() -> None:
    class Silent(BaseGate):
        async def check(self, parts: Parts) -> Verdict:
            return None  # type: ignore[return-value]  # somebody forgot to

    with pytest.raises(
        GateError, match="Silent could not run: TypeError: it returned NoneType, not a Verdict"
    ):
        await heal({"a": 1}, never, [Silent()], None)


async def test_the_same_message_from_several_gates_appears_once() -> None:
    class Second(NoBadWords):
        pass

    with pytest.raises(HealingError) as caught:
        await heal({"a": "bad"}, never, [NoBadWords(), Second()], None)

    assert caught.value.message == "2 gates still report issues after 1 attempt: NoBadWords: bad is bad"


async def test_a_gate_error_keeps_its_own_message() -> None:
    with pytest.raises(GateError, match="cargo is not installed"):
        await heal({"a": 1}, never, [Unable(GateError("cargo is not installed"))], HealPolicy())


async def test_output_without_gates_passes() -> None:
    healed = await heal({"a": 1}, never, [], HealPolicy())

    assert isinstance(healed, Healed)
    assert dict(healed.parts) == {"a": 1}
    assert healed.verdicts == ()


async def test_a_finding_on_a_part_that_does_not_exist_uses_up_the_attempts() -> None:
    class Lost(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.verdict(Finding("nowhere.at.all", "is not there"))

    answers = ScriptedBlock({"a": 2}, {})

    with pytest.raises(HealingError, match="after 3 attempts"):
        await heal({"a": 1}, answers.remake, [Lost()], HealPolicy(3))

    assert answers.asked[0].targets["nowhere.at.all"].previous is None


@pytest.mark.parametrize("define", ["check", "look"])
async def test_the_nearest_definition_of_a_gate_counts(define: str) -> None:
    async def check(self: BaseGate, parts: Parts) -> Verdict:
        return self.verdict()

    def look(self: BaseGate, parts: Parts) -> Verdict:
        return self.verdict()

    own: Callable[..., Verdict | Awaitable[Verdict]] = check if define == "check" else look
    lenient = type("Lenient", (Waiting if define == "look" else NoBadWords,), {define: own})()

    healed = await heal({"a": "bad"}, never, [lenient], None)

    assert healed.verdicts == (Verdict("Lenient"),)
