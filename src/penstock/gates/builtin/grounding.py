"""Checks that a text uses only words of its source."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BaseTextGate, LongTextGate, read_source
from penstock.gates.text_matching import split_folded_words

_MAX_WORD = 64
_MAX_WORDS_IN_MESSAGE = 5


class GroundingGate(LongTextGate, BaseTextGate):
    """At most a few content words of a text may be missing from its source.

    Words are compared by their stems (``discovered`` and ``discovers`` are the same); stop words and question
    words do not count.
    """

    name = "Grounding"
    description = "The part uses only words that a field of the state uses."
    field_references: ClassVar[list[str]] = ["source"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "source": "Field with the text whose words the part may use.",
        "max_foreign": "How many different words may be missing from it.",
        "language": "Language of both, by its English name.",
    }

    def __init__(
        self,
        source: str,
        part: str | None = None,
        max_foreign: int = 1,
        language: str = "english",
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if not source:
            raise self.setting_error("source", "is empty; name the field with the source text")
        if max_foreign < 0:
            raise self.setting_error("max_foreign", f"is {max_foreign}; write 0 or more")
        known = _languages()
        if language not in known:
            raise self.setting_error("language", f"is '{language}'; write one of {', '.join(known)}")
        self.source = source
        self.max_foreign = max_foreign
        self.language = language

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict, with the missing words; raises GateError when the state has no source."""
        source = split_folded_words(read_source(parts, self.source, self))
        mentioned = set(source)
        mentioned.update(_stem(word[:_MAX_WORD], self.language) for word in source)
        stop_words = _stop_words(self.language)
        foreign: dict[str, str] = {}
        for word in split_folded_words(text):
            if word not in stop_words and word not in mentioned:
                stem = _stem(word[:_MAX_WORD], self.language)
                if stem not in mentioned:
                    foreign.setdefault(stem, word[:_MAX_WORD])
        if len(foreign) <= self.max_foreign:
            return self.verdict()
        shown = ", ".join(list(foreign.values())[:_MAX_WORDS_IN_MESSAGE])
        source_name = self.source.rpartition(".")[2]
        message = (
            f"{self.label(parts)} has words that are not in the {source_name}: {shown}; "
            "use only words from there"
        )
        return self.reject(parts, message, expected=f"at most {self.max_foreign}", got=text)


@lru_cache(maxsize=1)
def _languages() -> tuple[str, ...]:
    """The languages for which there are both a stemmer and a list of stop words."""
    import snowballstemmer
    import stop_words

    return tuple(sorted(set(snowballstemmer.algorithms()) & set(stop_words.AVAILABLE_LANGUAGES)))


@lru_cache(maxsize=32)
def _stop_words(language: str) -> frozenset[str]:
    """Stop words and question words, which say nothing about the subject of a text."""
    import stop_words

    given = (
        word for entry in stop_words.get_stop_words(language) for word in (entry, *split_folded_words(entry))
    )
    return frozenset(given) | _QUESTION_WORDS.get(language, frozenset())


_QUESTION_WORDS = {
    "french": frozenset({"combien", "comment", "pourquoi", "quand", "quel", "quelle", "quoi"}),
    "german": frozenset({"wann", "warum", "wessen", "wie", "wieso", "wieviel", "wo", "woher", "wohin"}),
    "italian": frozenset({"chi", "come", "cosa", "dove", "perché", "quale", "quando", "quanti", "quanto"}),
    "spanish": frozenset({"cómo", "cuál", "cuándo", "cuánto", "cuántos", "dónde", "qué", "quién", "quiénes"}),
}
"""Question words that the lists of stop words lack."""


@lru_cache(maxsize=32_768)
def _stem(word: str, language: str) -> str:
    import snowballstemmer

    stem: str = snowballstemmer.stemmer(language).stemWord(
        word
    )  # stemmers have state, so each call makes its own
    return stem
