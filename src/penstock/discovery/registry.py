"""The classes of one kind (blocks, gates), by class name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from penstock.discovery.classes import DiscoveryError, defines_class, discover, show_file
from penstock.discovery.config_check import check_config
from penstock.discovery.config_schema import is_schema
from penstock.discovery.contract import (
    describe_value,
    find_declaration_issues,
    find_method_issues,
)
from penstock.errors import DefinitionError, PipelineError
from penstock.plain_values import to_plain
from penstock.user_code import (
    describe_exception,
    is_user_class,
    name_exception,
    to_exception,
)
from penstock.user_output import user_output


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
        self._base = base
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
            reason = self._find_reason(str(name))
            raise self.not_found(
                f"{self.kind.capitalize()} '{name}' not found" + (f"; {reason}" if reason else ""),
                detail={f"{self.kind}_type": name, f"available_{self.kind}s": self.list_types()},
            ) from None

    def create(self, name: str, config: dict[str, Any] | None = None) -> T:
        """An instance with these settings; raises the not-found error, or DefinitionError for a setting."""
        cls = self.get_class(name)
        config = {} if config is None else config
        what = f"{self.kind.capitalize()} '{name}'"
        self._refuse_declarations(cls, what)
        try:
            check_config(cls, config, what)
            with user_output():
                made = cls(**config)
            if not isinstance(made, self._base):
                raise TypeError(f"its class gives {describe_value(made)}")
        except PipelineError:
            raise
        except BaseException as error:  # a class may check its settings itself, and raise anything
            reason = describe_exception(to_exception(error))
            raise DefinitionError(
                f"{what} cannot be made with these settings: {reason}",
                detail={f"{self.kind}_type": name, "error": reason},
            ) from error
        return made

    def find_method_issues(self, name: str) -> list[str]:
        """What is wrong with the methods of the class called ``name``, each as a sentence."""
        cls = self.get_class(name)
        issues = find_method_issues(cls) if is_user_class(cls) else []
        return [f"{self.kind.capitalize()} '{name}': {issue}" for issue in issues]

    def _refuse_declarations(self, cls: type[T], what: str) -> None:
        if is_user_class(cls) and (issues := find_declaration_issues(cls)):
            raise DefinitionError(
                f"{what}: {issues[0]}.", detail={"type": cls.__name__, "declarations": issues}
            )

    def _find_reason(self, name: str) -> str:
        """Why there is no class called ``name``, if a file that failed to load defines it."""
        for error in self.errors:
            if defines_class(error["file"], name):
                return f"{show_file(error['file'])} could not be loaded: {error['error']}"
        return ""

    def register(self, cls: type[T]) -> type[T]:
        """Add a class that is not in a file (from a notebook, a test); can be used as a decorator."""
        self._classes[cls.__name__] = cls
        return cls

    def list_schemas(self) -> list[dict[str, Any]]:
        """The schemas of all classes, sorted by type; a class whose schema fails is added to ``errors``."""
        schemas = []
        for name in self.list_types():
            try:
                schemas.append(self._make_schema(self._classes[name]))
            except BaseException as error:  # a mistake in a user's class
                reason = to_exception(error)
                text = reason.message if isinstance(reason, PipelineError) else name_exception(reason)
                issue = DiscoveryError(name, text).to_dict()
                if issue not in self.errors:
                    self.errors.append(issue)
        return schemas

    def _make_schema(self, cls: type[T]) -> dict[str, Any]:
        """The schema of a class; one that a user's class makes itself must have what readers rely on."""
        if not is_user_class(cls):
            return cls.get_schema()
        self._refuse_declarations(cls, f"{self.kind.capitalize()} '{cls.__name__}'")
        with user_output():
            schema = cls.get_schema()
        if not isinstance(schema, dict) or not is_schema(schema):
            raise TypeError("get_schema does not give type, name, description and config_schema")
        plain: dict[str, Any] = to_plain(schema)
        return plain
