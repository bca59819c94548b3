"""Which blocks there are: built-in blocks, blocks of installed packages, and the user's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from penstock.blocks.base import BaseBlock
from penstock.discovery import Registry
from penstock.errors import BlockNotFoundError
from penstock.settings import Settings, get_settings


class BlockRegistry(Registry[BaseBlock]):
    """The blocks that pipelines can use, by class name."""

    kind = "block"
    not_found = BlockNotFoundError
    packages = ("penstock.blocks.builtin", "penstock.blocks.custom")
    entry_points = "penstock.blocks"

    def __init__(self, user_blocks: Path | None = None) -> None:
        super().__init__(BaseBlock, user_blocks)


def default_registry(settings: Settings | None = None) -> BlockRegistry:
    """The registry over ``settings.user_blocks``; made once per folder and process."""
    folder = (settings or get_settings()).user_blocks
    return _registry(folder.resolve())


@lru_cache(maxsize=16)
def _registry(user_blocks: Path) -> BlockRegistry:
    return BlockRegistry(user_blocks)
