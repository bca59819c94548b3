"""Which gates there are: built-in gates, gates of installed packages, and the user's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from penstock.discovery import Registry, get_part_references
from penstock.errors import GateNotFoundError
from penstock.gates.base import BaseGate
from penstock.settings import Settings, get_settings


class GateRegistry(Registry[BaseGate]):
    """The gates that steps can use, by class name; the user's own are in the folder of blocks."""

    kind = "gate"
    not_found = GateNotFoundError
    packages = ("penstock.gates.builtin",)
    entry_points = "penstock.gates"

    def __init__(self, user_blocks: Path | None = None) -> None:
        super().__init__(BaseGate, user_blocks)


def parts_named(gate: BaseGate, first_output: str | None) -> list[str]:
    """The parts that ``gate`` checks or blames, so that one which the step does not return can be refused."""
    named: dict[str, None] = {}
    for setting in get_part_references(type(gate)):
        value = getattr(gate, setting, None)
        parts = [value] if isinstance(value, str) else list(value or ())
        if not parts and setting == "part" and first_output:
            parts = [first_output]
        named.update(dict.fromkeys(part for part in parts if part))
    return list(named)


def default_registry(settings: Settings | None = None) -> GateRegistry:
    """The registry over ``settings.user_blocks``, made once per folder and process."""
    folder = (settings or get_settings()).user_blocks
    return _registry(folder.resolve())


@lru_cache(maxsize=16)
def _registry(user_blocks: Path) -> GateRegistry:
    return GateRegistry(user_blocks)
