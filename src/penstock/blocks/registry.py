"""Which blocks there are: built-in ones, installed ones, and the user's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from penstock.blocks.base import BaseBlock
from penstock.blocks.config import check_config
from penstock.discovery import DiscoveryError, discover
from penstock.errors import BlockNotFoundError, DefinitionError, PipelineError
from penstock.settings import Settings, get_settings

PACKAGES = ("penstock.blocks.builtin", "penstock.blocks.custom")
ENTRY_POINTS = "penstock.blocks"


class BlockRegistry:
    """The blocks that pipelines can use, by class name.

    Looks in penstock's own packages, in installed packages with the entry point ``penstock.blocks``, and in
    the folder ``user_blocks``, in this order; the later one of two blocks with the same name is used.
    """

    def __init__(self, user_blocks: Path | None = None) -> None:
        found = discover(
            BaseBlock,
            packages=PACKAGES,
            entry_points=ENTRY_POINTS,
            folders=[user_blocks] if user_blocks else [],
        )
        self._classes = found.classes
        self.errors: list[dict[str, str]] = [error.to_dict() for error in found.errors]

    def __contains__(self, block_type: object) -> bool:
        return block_type in self._classes

    def list_types(self) -> list[str]:
        """The class names of all blocks, sorted."""
        return sorted(self._classes)

    def get_class(self, block_type: str) -> type[BaseBlock]:
        """The block called ``block_type``; raises BlockNotFoundError."""
        try:
            return self._classes[block_type]
        except (KeyError, TypeError):
            raise BlockNotFoundError(
                f"Block '{block_type}' not found",
                detail={"block_type": block_type, "available_blocks": self.list_types()},
            ) from None

    def create(self, block_type: str, config: dict[str, Any] | None = None) -> BaseBlock:
        """A block with its settings; raises BlockNotFoundError, or DefinitionError naming the setting."""
        cls = self.get_class(block_type)
        config = {} if config is None else config
        check_config(cls, config, f"Block '{block_type}'")
        try:
            return cls(**config)
        except PipelineError:
            raise
        except Exception as error:  # somebody's own check of their settings
            raise DefinitionError(
                f"Block '{block_type}' cannot be made with these settings: {error}",
                detail={"block_type": block_type, "error": str(error)},
            ) from error

    def register(self, cls: type[BaseBlock]) -> type[BaseBlock]:
        """Add a block that was written in place (a notebook, a test); can be used as a decorator."""
        self._classes[cls.__name__] = cls
        return cls

    def list_schemas(self) -> list[dict[str, Any]]:
        """What ``/api/blocks`` serves, sorted by type; a block that cannot say becomes one of ``errors``."""
        schemas = []
        for block_type in self.list_types():
            try:
                schemas.append(self._classes[block_type].get_schema())
            except Exception as error:  # a slip in somebody's class attributes
                fault = DiscoveryError(block_type, f"{type(error).__name__}: {error}").to_dict()
                if fault not in self.errors:
                    self.errors.append(fault)
        return schemas


def default_registry(settings: Settings | None = None) -> BlockRegistry:
    """The registry over ``settings.user_blocks``; looked up once a folder and process."""
    folder = (settings or get_settings()).user_blocks
    return _registry(folder.resolve())


@lru_cache(maxsize=16)
def _registry(user_blocks: Path) -> BlockRegistry:
    return BlockRegistry(user_blocks)
