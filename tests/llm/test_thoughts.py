"""Thoughts in the text of an answer."""

from __future__ import annotations

import pytest

from penstock.llm.thoughts import split_thoughts


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>\nsecret\n</think>\n\nThe answer.", "secret", "The answer."),
        ("secret\n</think>\n\nThe answer.", "secret", "The answer."),
        ("secret</think>The answer.", "secret", "The answer."),
        ("<think></think>The answer.", "", "The answer."),
        ("<think>a</think><think>b</think>c", "a\n\nb", "c"),
        ("<Thinking>a</thinking> c", "a", "c"),
        ("[THINK]a[/THINK]c", "a", "c"),
        ("◁think▷a◁/think▷c", "a", "c"),
        ("<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>c", "a<|end|>", "c"),
        ("<think>cut off in the mid", "cut off in the mid", ""),
        ("  plain text \n", "", "  plain text \n"),
        ("The tag `</think>` ends thoughts.", "", "The tag `</think>` ends thoughts."),
        ("Write <think>x</think> first.", "", "Write <think>x</think> first."),
    ],
)
def test_thoughts_are_split_from_the_answer(text: str, thoughts: str, answer: str) -> None:
    assert split_thoughts(text) == (thoughts, answer)
