"""Hold a text to what its source speaks of."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BaseTextGate, read_source
from penstock.gates.text_matching import bare_words

_MAX_WORD = 64
_TOLD = 5


class GroundingGate(BaseTextGate):
    """At most a few content words of a text may be foreign to its source.

    Words are compared by their stems (``discovered`` and ``discovers`` are one); stop words and question
    words do not count.
    """

    name = "Grounding"
    description = "The part speaks only of what a field of the state speaks of."
    _field_references: ClassVar[list[str]] = ["source"]
    _config_descriptions: ClassVar[dict[str, str]] = {
        "source": "Field with the text that the part has to keep to.",
        "max_foreign": "How many different words may be foreign to it.",
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
            raise self.refuse("source", "is empty; name the field with the text to keep to")
        if max_foreign < 0:
            raise self.refuse("max_foreign", f"is {max_foreign}; write 0 or more")
        known = _languages()
        if language not in known:
            raise self.refuse("language", f"is '{language}'; write one of {', '.join(known)}")
        self.source = source
        self.max_foreign = max_foreign
        self.language = language

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict, naming foreign words; raises GateError when the state has no source."""
        source = bare_words(read_source(parts, self.source, self))
        mentioned = set(source)
        mentioned.update(_stem(word[:_MAX_WORD], self.language) for word in source)
        idle = _idle_words(self.language)
        foreign: dict[str, str] = {}
        for word in bare_words(text):
            if word not in idle and word not in mentioned:
                stem = _stem(word[:_MAX_WORD], self.language)
                if stem not in mentioned:
                    foreign.setdefault(stem, word[:_MAX_WORD])
        if len(foreign) <= self.max_foreign:
            return self.verdict()
        told = ", ".join(list(foreign.values())[:_TOLD])
        of = self.source.rpartition(".")[2]
        message = (
            f"{self.label(parts)} has words that are not in the {of}: {told}; use only what stands there"
        )
        return self.fault(parts, message, expected=f"at most {self.max_foreign}", got=text)


@lru_cache(maxsize=1)
def _languages() -> tuple[str, ...]:
    """The languages of which both stems and stop words are known."""
    import snowballstemmer
    import stop_words

    return tuple(sorted(set(snowballstemmer.algorithms()) & set(stop_words.AVAILABLE_LANGUAGES)))


@lru_cache(maxsize=32)
def _idle_words(language: str) -> frozenset[str]:
    """Words that say nothing of what a text is about."""
    import stop_words

    given = (word for entry in stop_words.get_stop_words(language) for word in (entry, *bare_words(entry)))
    return frozenset(given) | _QUESTION_WORDS.get(language, frozenset())


_QUESTION_WORDS = {
    "french": frozenset({"combien", "comment", "pourquoi", "quand", "quel", "quelle", "quoi"}),
    "german": frozenset({"wann", "warum", "wessen", "wie", "wieso", "wieviel", "wo", "woher", "wohin"}),
    "italian": frozenset({"chi", "come", "cosa", "dove", "perché", "quale", "quando", "quanti", "quanto"}),
    "spanish": frozenset({"cómo", "cuál", "cuándo", "cuánto", "cuántos", "dónde", "qué", "quién", "quiénes"}),
}
"""What lists of stop words leave out here and there."""


@lru_cache(maxsize=32_768)
def _stem(word: str, language: str) -> str:
    import snowballstemmer

    stem: str = snowballstemmer.stemmer(language).stemWord(word)  # a stemmer of one's own: it has a state
    return stem
