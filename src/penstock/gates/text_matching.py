"""Texts as gates compare them: their words, and whether one text contains another."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from penstock.errors import SerializationError
from penstock.serialization import to_json

_UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
"""Letters of scripts without spaces between words: each of them counts as a word."""
_WORD = re.compile(rf"[^\W{_UNSPACED}_]+(?:['’][^\W{_UNSPACED}_]+)*|[{_UNSPACED}]")
_BARE_WORD = re.compile(rf"[^\W{_UNSPACED}_]+|[{_UNSPACED}]")
_SPACED_LETTER = re.compile(rf"[^\W{_UNSPACED}_]")
_MAX_TEXT = 200_000
_MOST_COMPARED = 2_000_000
"""Characters of a quotation that are compared inside of words, where they do not count."""
_LONGEST_RUN = 30
"""Combining marks behind one letter; no word has more, and normalizing takes the square of their number."""
_LONGEST_LIGATURE = "\ufdfa"
"""It becomes 18 characters; all others become a few."""


def as_text(value: Any, *, sort_keys: bool = False) -> str:
    """A text unchanged, any other value as JSON; ``(int)`` for a value that JSON cannot hold."""
    if isinstance(value, str):
        return value
    try:
        return to_json(value, sort_keys=sort_keys)
    except SerializationError:
        return f"({type(value).__name__})"


def split_words(text: str) -> list[str]:
    """The words of a text unchanged, from its first 200,000 characters."""
    return _WORD.findall(text[:_MAX_TEXT])


def split_folded_words(text: str) -> list[str]:
    """The words of a text for comparison: in lower case, Unicode NFKC, cut at apostrophes."""
    return _BARE_WORD.findall(_fold(text[:_MAX_TEXT]))


def normalize(text: str, *, exact: bool = False) -> str:
    """A text for literal comparison: in lower case and with single spaces, unless ``exact``."""
    text = text[:_MAX_TEXT]
    if exact:
        return text.strip()
    return " ".join(_fold(text).split())


def _fold(text: str) -> str:
    if not text.isascii():
        if text.count(_LONGEST_LIGATURE) > _MAX_TEXT // 100:
            text = text.replace(_LONGEST_LIGATURE, " ")
        text = unicodedata.normalize("NFKC", _cut_long_runs(text))
    return text.casefold()


def _cut_long_runs(text: str) -> str:
    """``text`` without the combining marks of which too many follow each other."""
    marks = "".join(character for character in set(text) if unicodedata.combining(character))
    if sum(map(text.count, marks)) <= _LONGEST_RUN:
        return text
    return re.sub(f"([{marks}]{{{_LONGEST_RUN}}})[{marks}]+", r"\1", text)


def contains_words(text: str, quote: str) -> bool:
    """Whether ``text`` contains ``quote`` as whole words (both as ``normalize`` returns them)."""
    if not quote:
        return False
    start = text.find(quote)
    compared = 0
    while start >= 0 and compared <= _MOST_COMPARED:
        compared += len(quote)
        if not _is_inside_word(text, start) and not _is_inside_word(text, start + len(quote)):
            return True
        start = text.find(quote, start + 1)
    return False


def _is_inside_word(text: str, index: int) -> bool:
    """Whether a cut before ``text[index]`` would divide a word."""
    if index <= 0 or index >= len(text):
        return False
    return bool(_SPACED_LETTER.match(text[index - 1]) and _SPACED_LETTER.match(text[index]))
