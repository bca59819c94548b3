"""Healing: who is asked again, for what, how hot, and what is kept of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from penstock.entities import Attempt, Finding, Parts, Verdict
from penstock.errors import GateError, HealingError, LLMUnavailableError, PipelineError
from penstock.gates import AttemptRecord, BaseGate, Decay, Healed, HealPolicy, Ramp, Schedule, heal

Answer = Mapping[str, Any] | PipelineError


class Scribe:
    """Answers in order, and remembers what it was asked."""

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
    """The same, as a gate that waits for something."""

    cost = 1

    def __init__(self) -> None:
        self.looks = 0

    async def check(self, parts: Parts) -> Verdict:
        self.looks += 1
        return super().look(parts)


class Disagreeing(BaseGate):
    """Samples never agree."""

    disagreement = True

    def look(self, parts: Parts) -> Verdict:
        return self.verdict(Finding(next(iter(parts)), "the samples disagree"))


class Unable(BaseGate):
    """Cannot look at all."""

    def __init__(self, error: Exception) -> None:
        self.raised = error

    async def check(self, parts: Parts) -> Verdict:
        raise self.raised


class SpoiledError(PipelineError):
    """A gate's own error."""


class Strict(NoBadWords):
    """Raises its own error in the end."""

    error = SpoiledError


async def never(attempt: Attempt) -> Mapping[str, Any]:
    raise AssertionError("nothing was to be made again")


async def test_two_bad_answers_then_a_good_one_are_all_kept_with_findings_and_temperatures() -> None:
    scribe = Scribe({"text": "bad 2"}, {"text": "good"})
    heard: list[AttemptRecord] = []
    policy = HealPolicy(6, Schedule((0.0, 0.3, 0.5)))

    healed = await heal({"text": "bad 1"}, scribe.remake, [NoBadWords()], policy, on_attempt=heard.append)

    assert dict(healed.parts) == {"text": "good"}
    assert healed.attempts == 3
    assert [verdict.passed for verdict in healed.verdicts] == [True]
    found = {"part": "text", "gate": "NoBadWords"}
    assert [attempt.to_dict() for attempt in heard] == [
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


async def test_only_the_broken_part_is_asked_for_and_told_what_was_wrong_with_it() -> None:
    scribe = Scribe({"b": "good"})

    await heal({"a": "fine", "b": "bad", "c": "fine"}, scribe.remake, [NoBadWords()], HealPolicy())

    (attempt,) = scribe.asked
    assert attempt.number == 2
    assert list(attempt.targets) == ["b"]
    assert attempt.targets["b"].previous == "bad"
    assert [finding.message for finding in attempt.findings] == ["bad is bad"]


async def test_a_part_that_no_gate_named_is_carried_over_whatever_comes_back() -> None:
    kept = {"deep": ["as", "it", "was"]}
    scribe = Scribe({"a": "bad, and unasked for", "b": "good", "new": "bad"})

    healed = await heal({"a": kept, "b": "bad"}, scribe.remake, [NoBadWords()], HealPolicy())

    assert dict(healed.parts) == {"a": kept, "b": "good"}
    assert healed.parts["a"] is kept


async def test_only_the_named_field_of_a_nested_output_is_replaced() -> None:
    first = {"generated": {"question": "Who?", "answer": "bad"}}
    scribe = Scribe({"generated": {"question": "bad", "answer": "Ada", "more": "bad"}})

    healed = await heal(first, scribe.remake, [NoBadWords()], HealPolicy())

    assert dict(healed.parts) == {"generated": {"question": "Who?", "answer": "Ada"}}
    assert first == {"generated": {"question": "Who?", "answer": "bad"}}


async def test_naming_a_part_covers_everything_beneath_it() -> None:
    class Whole(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.verdict(Finding("generated", "no")) if "x" in parts["generated"] else self.verdict()

    scribe = Scribe({"generated": {"b": "good"}})

    healed = await heal(
        {"generated": {"x": 1, "b": "bad"}}, scribe.remake, [Whole(), NoBadWords()], HealPolicy()
    )

    assert list(scribe.asked[0].targets) == ["generated"]
    assert {finding.message for finding in scribe.asked[0].findings} == {"no", "bad is bad"}
    assert dict(healed.parts) == {"generated": {"b": "good"}}


async def test_a_finding_that_names_no_part_is_about_the_whole_output() -> None:
    class Vague(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.verdict(Finding("", "meh")) if parts["a"] == 1 else self.verdict()

    scribe = Scribe({"a": 2, "b": 2})

    healed = await heal({"a": 1, "b": 1}, scribe.remake, [Vague()], HealPolicy())

    assert list(scribe.asked[0].targets) == ["a", "b"]
    assert dict(healed.parts) == {"a": 2, "b": 2}


async def test_file_names_are_parts_although_they_have_dots() -> None:
    scribe = Scribe({"data.py": "good", "config.py": "ignored"})

    healed = await heal({"config.py": "fine", "data.py": "bad"}, scribe.remake, [NoBadWords()], HealPolicy())

    assert dict(healed.parts) == {"config.py": "fine", "data.py": "good"}


async def test_each_part_gets_the_temperature_that_its_own_failures_earned() -> None:
    scribe = Scribe({"a": "bad"}, {"a": "bad", "b": "bad"}, {"a": "good", "b": "good"})
    gate = NoBadWords()

    class LaterB(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            late = len(scribe.asked) == 1
            return self.verdict(Finding("b", "not yet")) if late else self.verdict()

    await heal({"a": "bad", "b": "fine"}, scribe.remake, [gate, LaterB()], HealPolicy(entropy=Ramp(0.0, 0.1)))

    earned = [
        {part: target.temperature for part, target in attempt.targets.items()} for attempt in scribe.asked
    ]
    assert earned == [{"a": 0.1}, {"a": 0.2, "b": 0.1}, {"a": 0.3, "b": 0.2}]


async def test_without_a_policy_for_it_wrong_parts_get_hotter_and_disagreeing_ones_cooler() -> None:
    wrong = Scribe({"a": "bad"}, {"a": "bad"}, {"a": "bad"})
    disagreeing = Scribe({"a": 1}, {"a": 1}, {"a": 1})

    with pytest.raises(HealingError):
        await heal({"a": "bad"}, wrong.remake, [NoBadWords()], HealPolicy())
    with pytest.raises(HealingError):
        await heal({"a": 1}, disagreeing.remake, [Disagreeing()], HealPolicy())

    assert [attempt.temperature for attempt in wrong.asked] == [0.05, 0.1, 0.15]
    assert [attempt.temperature for attempt in disagreeing.asked] == pytest.approx(
        [0.1275, 0.108375, 0.092119]
    )


async def test_giving_up_says_what_is_wrong_and_keeps_every_attempt() -> None:
    scribe = Scribe({"a": "bad 2", "b": "bad"}, {"a": "bad 3"})
    policy = HealPolicy(3, Decay(0.5, 0.5))

    with pytest.raises(HealingError) as caught:
        await heal({"a": "bad 1", "b": "fine"}, scribe.remake, [NoBadWords()], policy)

    assert caught.value.message == "1 gate still reports issues after 3 attempts: NoBadWords: bad 3 is bad"
    detail = caught.value.detail
    assert detail["findings"] == [{"part": "a", "gate": "NoBadWords", "message": "bad 3 is bad"}]
    assert [attempt["parts"]["a"] for attempt in detail["attempts"]] == ["bad 1", "bad 2", "bad 3"]
    assert [attempt["temperature"] for attempt in detail["attempts"]] == [0.5, 0.25, 0.125]


async def test_several_gates_that_still_find_fault_are_counted() -> None:
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


async def test_gates_without_a_policy_look_once() -> None:
    with pytest.raises(HealingError) as caught:
        await heal({"a": "bad"}, never, [NoBadWords()], None)

    assert len(caught.value.detail["attempts"]) == 1
    assert caught.value.detail["attempts"][0]["temperature"] is None


async def test_the_only_gate_that_fails_raises_its_own_error() -> None:
    with pytest.raises(SpoiledError, match="Strict: bad is bad"):
        await heal({"a": "bad"}, never, [Strict()], HealPolicy(1))
    with pytest.raises(HealingError):
        await heal({"a": "bad"}, never, [Strict(), NoBadWords()], HealPolicy(1))


async def test_the_same_findings_twice_in_a_row_end_it_where_that_is_asked_for() -> None:
    scribe = Scribe({"a": "bad 2"}, {"a": "bad 2"}, {"a": "good"})
    patient = Scribe({"a": "bad 2"}, {"a": "bad 2"}, {"a": "good"})

    with pytest.raises(HealingError, match="after 3 attempts"):
        await heal({"a": "bad 1"}, scribe.remake, [NoBadWords()], HealPolicy(6, stop_on_repeat=True))
    healed = await heal({"a": "bad 1"}, patient.remake, [NoBadWords()], HealPolicy(6))

    assert len(scribe.asked) == 2
    assert healed.attempts == 4


async def test_dear_gates_do_not_look_while_a_cheap_one_finds_fault() -> None:
    dear = Waiting()
    scribe = Scribe({"a": "bad"}, {"a": "good"})
    heard: list[AttemptRecord] = []

    healed = await heal(
        {"a": "bad"}, scribe.remake, [dear, NoBadWords()], HealPolicy(), on_attempt=heard.append
    )

    assert dear.looks == 1
    assert [[verdict.gate for verdict in attempt.verdicts] for attempt in heard] == [
        ["NoBadWords"],
        ["NoBadWords"],
        ["NoBadWords", "Waiting"],
    ]
    assert healed.attempts == 3


async def test_all_gates_of_the_same_cost_look_so_that_the_model_hears_everything_at_once() -> None:
    scribe = Scribe({"a": "good"})

    with pytest.raises(HealingError):
        await heal({"a": "bad"}, scribe.remake, [NoBadWords(), Disagreeing()], HealPolicy(2))

    assert [finding.gate for finding in scribe.asked[0].findings] == ["NoBadWords", "Disagreeing"]


async def test_a_gate_that_skipped_is_no_fault_and_says_why() -> None:
    class Idle(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.skip("there was nothing to judge")

    heard: list[AttemptRecord] = []

    healed = await heal({"a": 1}, never, [Idle()], None, on_attempt=heard.append)

    assert healed.verdicts == (Verdict("Idle", skipped="there was nothing to judge"),)
    assert heard[0].to_dict()["skipped"] == {"Idle": "there was nothing to judge"}


async def test_gates_see_the_state_with_the_newest_parts_in_it() -> None:
    states: list[dict[str, Any]] = []

    class Watching(NoBadWords):
        def look(self, parts: Parts) -> Verdict:
            states.append(dict(parts.state))
            return super().look(parts)

    state = {"text": "source", "a": "from an earlier step"}

    await heal({"a": "bad"}, Scribe({"a": "good"}).remake, [Watching()], HealPolicy(), state=state)

    assert states == [{"text": "source", "a": "bad"}, {"text": "source", "a": "good"}]
    assert state == {"text": "source", "a": "from an earlier step"}


async def test_samples_follow_the_parts_that_were_made_again() -> None:
    seen: list[list[Mapping[str, Any]]] = []

    class Watching(NoBadWords):
        def look(self, parts: Parts) -> Verdict:
            seen.append(list(parts.samples))
            return super().look(parts)

    first = Parts({"a": "bad", "b": 1}, samples=[{"a": "bad", "b": 1}, {"a": "x", "b": 2}])
    again = Parts({"a": "good", "b": 3}, samples=[{"a": "good", "b": 3}, {"a": "fine", "b": 4}])

    await heal(first, Scribe(again).remake, [Watching()], HealPolicy())

    assert seen == [
        [{"a": "bad", "b": 1}, {"a": "x", "b": 2}],
        [{"a": "good", "b": 1}, {"a": "fine", "b": 2}],
    ]


async def test_an_error_while_making_again_goes_on_with_the_attempts_so_far() -> None:
    error = LLMUnavailableError("The provider is down")

    with pytest.raises(LLMUnavailableError) as caught:
        await heal({"a": "bad"}, Scribe({"a": "bad"}, error).remake, [NoBadWords()], HealPolicy())

    assert [attempt["number"] for attempt in caught.value.detail["attempts"]] == [1, 2]


async def test_a_gate_that_breaks_could_not_look_and_the_attempts_are_kept() -> None:
    class Breaking(NoBadWords):
        def look(self, parts: Parts) -> Verdict:
            if parts["a"] == "good":
                raise ZeroDivisionError("division by zero")
            return super().look(parts)

    with pytest.raises(GateError, match="Breaking could not run: ZeroDivisionError") as caught:
        await heal({"a": "bad"}, Scribe({"a": "good"}).remake, [Breaking()], HealPolicy())

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(caught.value.detail["attempts"]) == 1


async def test_a_gate_that_gives_no_verdict_could_not_look() -> None:
    class Silent(BaseGate):
        async def check(self, parts: Parts) -> Verdict:
            return None  # type: ignore[return-value]  # somebody forgot to

    with pytest.raises(
        GateError, match="Silent could not run: TypeError: it returned NoneType, not a Verdict"
    ):
        await heal({"a": 1}, never, [Silent()], None)


async def test_what_several_gates_say_of_a_part_is_told_once() -> None:
    class Second(NoBadWords):
        pass

    with pytest.raises(HealingError) as caught:
        await heal({"a": "bad"}, never, [NoBadWords(), Second()], None)

    assert caught.value.message == "2 gates still report issues after 1 attempt: NoBadWords: bad is bad"


async def test_a_gate_that_cannot_look_says_so_itself() -> None:
    with pytest.raises(GateError, match="cargo is not installed"):
        await heal({"a": 1}, never, [Unable(GateError("cargo is not installed"))], HealPolicy())


async def test_output_without_gates_passes() -> None:
    healed = await heal({"a": 1}, never, [], HealPolicy())

    assert isinstance(healed, Healed)
    assert dict(healed.parts) == {"a": 1}
    assert healed.verdicts == ()


async def test_a_finding_on_a_part_that_nobody_makes_ends_with_the_attempts() -> None:
    class Lost(BaseGate):
        def look(self, parts: Parts) -> Verdict:
            return self.verdict(Finding("nowhere.at.all", "is not there"))

    scribe = Scribe({"a": 2}, {})

    with pytest.raises(HealingError, match="after 3 attempts"):
        await heal({"a": 1}, scribe.remake, [Lost()], HealPolicy(3))

    assert scribe.asked[0].targets["nowhere.at.all"].previous is None


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
