"""What there is of a kind (blocks, gates), by class name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from penstock.discovery.classes import DiscoveryError, discover
from penstock.discovery.config_schema import check_config
from penstock.errors import DefinitionError, PipelineError


class Described(Protocol):
    """A class that can say what it is; see ``BaseBlock.get_schema`` and ``BaseGate.get_schema``."""

    @classmethod
    def get_schema(cls) -> dict[str, Any]:
        """The class as lists show it."""
        ...


T = TypeVar("T", bound=Described)


class Registry(Generic[T]):
    """The classes of a kind that pipelines can use.

    Looks in penstock's own packages, in what installed packages offer by an entry point, and in the folder
    ``user_blocks``, in this order; the later one of two with the same name is used. What failed to import is
    in ``errors``, each with its ``file`` and ``error``.
    """

    kind: ClassVar[str]
    """What one of them is called: ``block``."""
    not_found: ClassVar[type[PipelineError]]
    packages: ClassVar[tuple[str, ...]]
    entry_points: ClassVar[str]

    def __init__(self, base: type[T], user_blocks: Path | None = None) -> None:
        found = discover(
            base,
            packages=self.packages,
            entry_points=self.entry_points,
            folders=[user_blocks] if user_blocks else [],
        )
        self._classes = found.classes
        self.errors: list[dict[str, str]] = [error.to_dict() for error in found.errors]

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def list_types(self) -> list[str]:
        """The class names of all, sorted."""
        return sorted(self._classes)

    def get_class(self, name: str) -> type[T]:
        """The one called ``name``; raises the kind's own not-found error."""
        try:
            return self._classes[name]
        except (KeyError, TypeError):
            raise self.not_found(
                f"{self.kind.capitalize()} '{name}' not found",
                detail={f"{self.kind}_type": name, f"available_{self.kind}s": self.list_types()},
            ) from None

    def create(self, name: str, config: dict[str, Any] | None = None) -> T:
        """One with its settings; raises the not-found error, or DefinitionError naming the setting."""
        cls = self.get_class(name)
        config = {} if config is None else config
        what = f"{self.kind.capitalize()} '{name}'"
        check_config(cls, config, what)
        try:
            return cls(**config)
        except PipelineError:
            raise
        except Exception as error:  # somebody's own check of their settings
            raise DefinitionError(
                f"{what} cannot be made with these settings: {error}",
                detail={f"{self.kind}_type": name, "error": str(error)},
            ) from error

    def register(self, cls: type[T]) -> type[T]:
        """Add one that was written in place (a notebook, a test); can be used as a decorator."""
        self._classes[cls.__name__] = cls
        return cls

    def list_schemas(self) -> list[dict[str, Any]]:
        """What each says of itself, sorted by type; one that cannot say becomes one of ``errors``."""
        schemas = []
        for name in self.list_types():
            try:
                schemas.append(self._classes[name].get_schema())
            except Exception as error:  # a slip in somebody's class attributes
                fault = DiscoveryError(name, f"{type(error).__name__}: {error}").to_dict()
                if fault not in self.errors:
                    self.errors.append(fault)
        return schemas
