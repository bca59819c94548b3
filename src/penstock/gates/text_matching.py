"""Texts as gates compare them: their words, and one text standing in another."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import orjson

_UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
"""Letters of scripts that set no spaces between words: each of them counts as a word."""
_WORD = re.compile(rf"[^\W{_UNSPACED}_]+(?:['’][^\W{_UNSPACED}_]+)*|[{_UNSPACED}]")
_BARE_WORD = re.compile(rf"[^\W{_UNSPACED}_]+|[{_UNSPACED}]")
_SPACED_LETTER = re.compile(rf"[^\W{_UNSPACED}_]")
_MAX_TEXT = 200_000


def words(text: str) -> list[str]:
    """The words of a text as they stand, of at most its first 200,000 characters."""
    return _WORD.findall(text[:_MAX_TEXT])


def bare_words(text: str) -> list[str]:
    """The words of a text for comparing: lower case, one form for each letter, cut at apostrophes."""
    return _BARE_WORD.findall(unicodedata.normalize("NFKC", text[:_MAX_TEXT]).casefold())


def normalize(text: str, *, exact: bool = False) -> str:
    """A text for comparing literally: unless ``exact``, in lower case and with single spaces."""
    text = text[:_MAX_TEXT]
    if exact:
        return text.strip()
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def stands_in(quote: str, text: str) -> bool:
    """Whether ``quote`` stands in ``text`` as whole words (both as ``normalize`` gives them)."""
    if not quote:
        return False
    at = text.find(quote)
    while at >= 0:
        if not _cuts_word(text, at) and not _cuts_word(text, at + len(quote)):
            return True
        at = text.find(quote, at + 1)
    return False


def _cuts_word(text: str, at: int) -> bool:
    """Whether the place before ``text[at]`` lies inside a word."""
    if at <= 0 or at >= len(text):
        return False
    return bool(_SPACED_LETTER.match(text[at - 1]) and _SPACED_LETTER.match(text[at]))


def to_json(value: Any, *, sort_keys: bool = False) -> str:
    """A value as JSON text; what JSON cannot say comes as Python shows it."""
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_SORT_KEYS if sort_keys else 0)
    try:
        return orjson.dumps(value, default=repr, option=options).decode()
    except TypeError:  # integers beyond 64 bits, lone surrogates, nested too deep
        try:
            return repr(value)
        except (ValueError, RecursionError):
            return f"({type(value).__name__})"
