"""Which gates there are: built-in ones, installed ones, and the user's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from penstock.discovery import DiscoveryError, check_config, discover
from penstock.errors import DefinitionError, GateNotFoundError, PipelineError
from penstock.gates.base import BaseGate
from penstock.settings import Settings, get_settings

PACKAGES = ("penstock.gates.builtin",)
ENTRY_POINTS = "penstock.gates"


class GateRegistry:
    """The gates that steps can be held to, by class name.

    Looks in penstock's own package, in installed packages with the entry point ``penstock.gates``, and in the
    folder ``user_blocks``, in this order; the later one of two gates with the same name is used.
    """

    def __init__(self, user_blocks: Path | None = None) -> None:
        found = discover(
            BaseGate,
            packages=PACKAGES,
            entry_points=ENTRY_POINTS,
            folders=[user_blocks] if user_blocks else [],
        )
        self._classes = found.classes
        self.errors: list[dict[str, str]] = [error.to_dict() for error in found.errors]

    def __contains__(self, gate_type: object) -> bool:
        return gate_type in self._classes

    def list_types(self) -> list[str]:
        """The class names of all gates, sorted."""
        return sorted(self._classes)

    def get_class(self, gate_type: str) -> type[BaseGate]:
        """The gate called ``gate_type``; raises GateNotFoundError."""
        try:
            return self._classes[gate_type]
        except (KeyError, TypeError):
            raise GateNotFoundError(
                f"Gate '{gate_type}' not found",
                detail={"gate_type": gate_type, "available_gates": self.list_types()},
            ) from None

    def create(self, gate_type: str, config: dict[str, Any] | None = None) -> BaseGate:
        """A gate with its settings; raises GateNotFoundError, or DefinitionError naming the setting."""
        cls = self.get_class(gate_type)
        config = {} if config is None else config
        check_config(cls, config, f"Gate '{gate_type}'")
        try:
            return cls(**config)
        except PipelineError:
            raise
        except Exception as error:  # somebody's own check of their settings
            raise DefinitionError(
                f"Gate '{gate_type}' cannot be made with these settings: {error}",
                detail={"gate_type": gate_type, "error": str(error)},
            ) from error

    def register(self, cls: type[BaseGate]) -> type[BaseGate]:
        """Add a gate that was written in place (a notebook, a test); can be used as a decorator."""
        self._classes[cls.__name__] = cls
        return cls

    def list_schemas(self) -> list[dict[str, Any]]:
        """Type, name, description, cost and config_schema of each gate, sorted by type.

        A gate that cannot say becomes one of ``errors``.
        """
        schemas = []
        for gate_type in self.list_types():
            try:
                schemas.append(self._classes[gate_type].get_schema())
            except Exception as error:  # a slip in somebody's class attributes
                fault = DiscoveryError(gate_type, f"{type(error).__name__}: {error}").to_dict()
                if fault not in self.errors:
                    self.errors.append(fault)
        return schemas


def parts_named(gate: BaseGate, first_output: str | None) -> list[str]:
    """The parts that ``gate`` looks at or blames, so that one which no step makes can be refused."""
    named: dict[str, None] = {}
    for setting in gate._part_references:  # noqa: SLF001 (a class attribute that gates are told to set)
        value = getattr(gate, setting, None)
        parts = [value] if isinstance(value, str) else list(value or ())
        if not parts and setting == "part" and first_output:
            parts = [first_output]
        named.update(dict.fromkeys(part for part in parts if part))
    return list(named)


def default_registry(settings: Settings | None = None) -> GateRegistry:
    """The registry over ``settings.user_blocks``; looked up once a folder and process."""
    folder = (settings or get_settings()).user_blocks
    return _registry(folder.resolve())


@lru_cache(maxsize=16)
def _registry(user_blocks: Path) -> GateRegistry:
    return GateRegistry(user_blocks)
