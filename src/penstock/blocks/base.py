"""What a block is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from penstock.discovery import Configurable, Contract, Method, extract_config_schema
from penstock.entities import Attempt

_CONTRACT = Contract(
    names=("inputs", "outputs", "field_references", "part_references", "templates"),
    mappings=("config_enums", "config_descriptions", "state_templates"),
    texts=("name", "description"),
    methods=(Method("execute", ("data",)), Method("regenerate", ("data", "attempt"))),
    required=(("execute", "regenerate"),),
)


class BaseBlock(Configurable):
    """The work of one step: takes the state, returns the fields that it declares.

    The arguments of ``__init__`` are the block's settings: their names, types and defaults become the form
    that the editor shows, and the check of a pipeline file. One instance serves many records at the same
    time, so it must not keep anything of a record. A block asks a model by ``await llm.complete(...)``.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    inputs: ClassVar[list[str]] = []
    """Fields of the state that the block reads; ``["*"]`` for any."""
    outputs: ClassVar[list[str]] = []
    """Fields that it may return."""
    is_multiplier: ClassVar[bool] = False
    """Whether the block makes several states out of one; see ``BaseMultiplierBlock``."""
    _contract: ClassVar[Contract] = _CONTRACT

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The fields that this block adds to ``data``: only fields that ``outputs`` declares."""
        raise NotImplementedError

    async def regenerate(self, data: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """Generate again what gates found to be wrong.

        ``attempt.targets`` has the parts, each with its temperature and findings. Parts that are returned
        without being a target are ignored. A block whose result would be the same every time need not
        override this.
        """
        return await self.execute(data)

    @classmethod
    def expects_schema(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The JSON Schema that the first output must follow under ``config``; None when there is none."""
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
    """A block that makes several states out of one; it must be the first of its pipeline."""

    is_multiplier: ClassVar[bool] = True
    consumes: ClassVar[list[str]] = []
    """Fields that the new states leave out, because their own fields were made from them."""
    _contract: ClassVar[Contract] = replace(
        _CONTRACT,
        names=(*_CONTRACT.names, "consumes"),
        methods=(Method("multiply", ("data",)),),
        required=(("multiply",),),
    )

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """The states that ``data`` becomes, each with the fields of ``outputs``."""
        raise NotImplementedError

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """Not used: a pipeline calls ``multiply``, because one state becomes several."""
        raise NotImplementedError
