"""The thoughts that reasoning models write before their answer, in the same text."""

from __future__ import annotations

_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
_ALONE = (
    "</think>",
    "</thinking>",
    "</thought>",
    "</seed:think>",
    "[/THINK]",
    "◁/think▷",
    "<|end_of_thought|>",
)
"""Marks that also end thoughts without a mark of their beginning, which then stands in the prompt."""
_QUOTES = "`'\""
_END_OF_ANSWER = ("<|return|>", "<|end|>")


def split_thoughts(text: str) -> tuple[str, str]:
    """The thoughts in ``text``, and the answer that follows them.

    Thoughts are a block at the beginning, or all that stands before the mark of their end when there is no
    mark of their beginning. A block without an end is thoughts alone. Anything else is the answer unchanged.
    """
    thoughts: list[str] = []
    rest = text
    while found := _split_first(rest):
        thoughts.append(found[0].strip())
        rest = found[1]
    if not thoughts:
        return "", text
    rest = rest.strip()
    for end in _END_OF_ANSWER:
        rest = rest.removesuffix(end)
    return "\n\n".join(filter(None, thoughts)), rest


def _split_first(text: str) -> tuple[str, str] | None:
    """The first block of thoughts, and what follows it; None when ``text`` does not begin with thoughts."""
    if "<" not in text and "[/" not in text and "[T" not in text and "◁" not in text:
        return None
    start = text.lstrip()
    for opening, closing in _MARKS:
        if start[: len(opening)].lower() == opening.lower():
            end = start.find(closing, len(opening))
            if end < 0:
                return start[len(opening) :], ""
            return start[len(opening) : end], start[end + len(closing) :]
    for closing in _ALONE:
        end = text.find(closing)
        if end < 0 or closing.replace("/", "", 1) in text[:end] or _is_quoted(text, end, len(closing)):
            continue
        return text[:end], text[end + len(closing) :]
    return None


def _is_quoted(text: str, start: int, length: int) -> bool:
    """Whether a mark stands in quotes, because the answer speaks of it."""
    before, after = text[start - 1 : start], text[start + length : start + length + 1]
    return before != "" and before in _QUOTES and before == after
