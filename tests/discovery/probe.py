"""A class with a setting of every kind, under the names of the design document."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, Literal


class Shade(Enum):
    DARK = "dark"
    LIGHT = "light"


class Probe:
    _config_enums: ClassVar[dict[str, list[Any]]] = {"chosen": ["one", "two"]}
    _config_descriptions: ClassVar[dict[str, str]] = {"text": "What to say."}
    _field_references: ClassVar[list[str]] = ["field_name"]
    _part_references: ClassVar[list[str]] = ["part"]
    _templates: ClassVar[list[str]] = ["text"]

    def __init__(
        self,
        number: float,
        count: int,
        *,
        text: str = "",
        flag: bool = False,
        table: dict[str, Any] | None = None,
        amounts: dict[str, int] | None = None,
        names: list[str] | None = None,
        rows: list[list[int]] | None = None,
        records: list[dict[str, Any]] | None = None,
        bare: list = [],  # type: ignore[type-arg]  # noqa: B006  (what people write)
        literal: Literal["a", "b"] = "a",
        shade: Shade = Shade.DARK,
        chosen: str = "one",
        words: list[str] | str | None = None,
        anything: Any = None,
        odd: object = print,
        field_name: str = "assistant",
        part: str | None = None,
    ) -> None: ...
