"""Hold an answer to the words of its source."""

from __future__ import annotations

from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BaseTextGate, read_source, shorten
from penstock.gates.parts import find_part
from penstock.gates.text_matching import normalize, stands_in, words


class QuoteGate(BaseTextGate):
    """A text must stand in its source, whole words of it, and be only some of it.

    Case and white space may differ, unless ``exact``. ``not_in`` names a part that must not have it already:
    a question that contains its answer asks nothing.
    """

    name = "Quote"
    description = "The part stands literally in a field of the state."
    _field_references: ClassVar[list[str]] = ["source"]
    _part_references: ClassVar[list[str]] = ["part", "blame", "not_in"]
    _config_descriptions: ClassVar[dict[str, str]] = {
        "source": "Field with the text to quote from.",
        "max_share": "The largest share of the source's words that the quote may be, from 0 to 1.",
        "not_in": "Part that must not contain the quote, such as generated.question; empty for none.",
        "exact": "Whether case and white space count.",
    }

    def __init__(
        self,
        source: str,
        part: str | None = None,
        max_share: float = 0.5,
        not_in: str | None = None,
        exact: bool = False,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if not source:
            raise self.refuse("source", "is empty; name the field with the text to quote from")
        if not 0 < max_share <= 1:
            raise self.refuse("max_share", f"is {max_share}; write a number above 0 and up to 1")
        self.source = source
        self.max_share = max_share
        self.not_in = not_in or None
        self.exact = exact

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict; raises GateError when the state has no source."""
        source = read_source(parts, self.source, self)
        label, of = self.label(parts), shorten(self.source.rpartition(".")[2], 60)
        quote = normalize(text, exact=self.exact)
        if not quote:
            return self.fault(parts, f"the {label} is empty", expected=f"words of the {of}")
        if not stands_in(quote, normalize(source, exact=self.exact)):
            message = f"the {label} does not stand in the {of}; copy it from there word for word"
            return self.fault(parts, message, got=text)
        mine, all_words = len(words(text)), len(words(source))
        if mine > self.max_share * all_words:
            message = (
                f"the {label} is too much of the {of}: {mine} of {all_words} words; give only what is asked"
            )
            return self.fault(parts, message, expected=f"at most {self.max_share:g}", got=text)
        return self._look_elsewhere(quote, text, label, parts)

    def _look_elsewhere(self, quote: str, text: str, label: str, parts: Parts) -> Verdict:
        other = find_part(parts.state, self.not_in) if self.not_in else None
        if not isinstance(other, str) or not stands_in(quote, normalize(other, exact=self.exact)):
            return self.verdict()
        where = shorten((self.not_in or "").rpartition(".")[2], 60)
        return self.fault(parts, f"the {label} stands in the {where} already", got=text)
