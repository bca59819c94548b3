"""What a block is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from penstock.blocks.config import extract_config_schema
from penstock.entities import Attempt


class BaseBlock:
    """A step's work: takes the state, returns the fields that it declares.

    The arguments of ``__init__`` are the block's settings: their names, types and defaults become the form
    that the editor shows and the check that a pipeline file gets. One instance serves many records at once,
    so it keeps nothing of what it saw. A block that asks a model calls ``await llm.complete(...)``.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    inputs: ClassVar[list[str]] = []
    """Fields of the state that the block reads; ``["*"]`` for any."""
    outputs: ClassVar[list[str]] = []
    """Fields that it may return."""
    is_multiplier: ClassVar[bool] = False
    """Whether ``execute`` makes several states out of one; see ``BaseMultiplierBlock``."""

    _config_enums: ClassVar[dict[str, list[Any]]] = {}
    _config_descriptions: ClassVar[dict[str, str]] = {}
    _field_references: ClassVar[list[str]] = []
    """Arguments that name a field of the state."""
    _templates: ClassVar[list[str]] = []
    """Arguments that are Jinja2 templates over the state, so that they can be checked before a run."""
    _state_templates: ClassVar[dict[str, str]] = {}
    """Arguments that, left empty, are taken from a field of the state: argument -> field."""

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The fields that this block adds to ``data``; only those that ``outputs`` declares."""
        raise NotImplementedError

    async def regenerate(self, data: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """Make again what gates found fault with.

        ``attempt.targets`` names the parts, the temperature that each has earned, and its findings; parts
        that are returned but were not named are ignored. A block whose answer would be the same every time
        need not override this.
        """
        return await self.execute(data)

    @classmethod
    def expects_schema(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The JSON Schema that the first output is held to under ``config``; None when there is none."""
        return None

    @classmethod
    def get_schema(cls) -> dict[str, Any]:
        """The block as ``/api/blocks`` serves it: type, name, description, inputs, outputs, config_schema."""
        return {
            "type": cls.__name__,
            "name": cls.name or cls.__name__,
            "description": cls.description,
            "inputs": list(cls.inputs),
            "outputs": list(cls.outputs),
            "is_multiplier": cls.is_multiplier,
            "config_schema": extract_config_schema(cls),
        }


class BaseMultiplierBlock(BaseBlock):
    """A block that makes several states out of one; it stands first in its pipeline."""

    is_multiplier: ClassVar[bool] = True
    consumes: ClassVar[list[str]] = []
    """Fields that its states do without: what they are made from, and need not each carry whole."""

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """The states that ``data`` becomes, each with the fields of ``outputs``."""
        raise NotImplementedError

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """Not used: a multiplier gives many results, and a pipeline asks for them by ``multiply``."""
        raise NotImplementedError
