"""The classes of one kind (blocks, gates), by class name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from penstock.discovery.classes import DiscoveryError, discover
from penstock.discovery.config_check import check_config
from penstock.errors import DefinitionError, PipelineError


class Described(Protocol):
    """A class with a schema; see ``BaseBlock.get_schema`` and ``BaseGate.get_schema``."""

    @classmethod
    def get_schema(cls) -> dict[str, Any]:
        """The class as lists show it."""
        ...


T = TypeVar("T", bound=Described)


class Registry(Generic[T]):
    """The classes of one kind that pipelines can use.

    Searches penstock's own packages, the entry points of installed packages, and the folder ``user_blocks``,
    in this order; of two classes with the same name the later one is used. ``errors`` lists what failed to
    import, each with ``file`` and ``error``.
    """

    kind: ClassVar[str]
    """The name of the kind in messages: ``block``."""
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
        """All class names, sorted."""
        return sorted(self._classes)

    def get_class(self, name: str) -> type[T]:
        """The class called ``name``; raises the not-found error of the kind."""
        try:
            return self._classes[name]
        except (KeyError, TypeError):
            raise self.not_found(
                f"{self.kind.capitalize()} '{name}' not found",
                detail={f"{self.kind}_type": name, f"available_{self.kind}s": self.list_types()},
            ) from None

    def create(self, name: str, config: dict[str, Any] | None = None) -> T:
        """An instance with these settings; raises the not-found error, or DefinitionError for a setting."""
        cls = self.get_class(name)
        config = {} if config is None else config
        what = f"{self.kind.capitalize()} '{name}'"
        check_config(cls, config, what)
        try:
            return cls(**config)
        except PipelineError:
            raise
        except Exception as error:  # a class may check its settings itself
            raise DefinitionError(
                f"{what} cannot be made with these settings: {error}",
                detail={f"{self.kind}_type": name, "error": str(error)},
            ) from error

    def register(self, cls: type[T]) -> type[T]:
        """Add a class that is not in a file (from a notebook, a test); can be used as a decorator."""
        self._classes[cls.__name__] = cls
        return cls

    def list_schemas(self) -> list[dict[str, Any]]:
        """The schemas of all classes, sorted by type; a class whose schema fails is added to ``errors``."""
        schemas = []
        for name in self.list_types():
            try:
                schemas.append(self._classes[name].get_schema())
            except Exception as error:  # a mistake in a user's class attributes
                issue = DiscoveryError(name, f"{type(error).__name__}: {error}").to_dict()
                if issue not in self.errors:
                    self.errors.append(issue)
        return schemas
