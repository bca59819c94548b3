"""Finds classes in packages, in entry points and in folders."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from penstock.user_code import name_exception, safe_text, to_exception
from penstock.user_output import user_output

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DiscoveryError:
    """A file or entry point that could not be imported, and the reason in one sentence."""

    file: str
    error: str

    def to_dict(self) -> dict[str, str]:
        """The error as plain data: file, error."""
        return {"file": self.file, "error": self.error}


@dataclass(slots=True)
class Discovered(Generic[T]):
    """The classes that were found, by name, and the imports that failed."""

    classes: dict[str, type[T]] = field(default_factory=dict)
    errors: list[DiscoveryError] = field(default_factory=list)


def discover(
    base: type[T],
    *,
    packages: Iterable[str] = (),
    folders: Iterable[Path] = (),
    entry_points: str | None = None,
) -> Discovered[T]:
    """Every subclass of ``base`` in ``packages``, then in the group ``entry_points``, then in ``folders``.

    A class replaces an earlier one of the same name, so a file of the user has precedence. Not found are
    files that begin with ``_``, classes that a file only imports, abstract classes, and classes whose names
    are ``BaseSomething`` or ``_something``. A folder that does not exist counts as empty.
    """
    found: Discovered[T] = Discovered()
    for name in packages:
        _search_package(name, base, found)
    if entry_points is not None:
        _search_entry_points(entry_points, base, found)
    for folder in folders:
        _search_folder(Path(folder), base, found)
    return found


def _search_package(name: str, base: type[T], found: Discovered[T]) -> None:
    package = _attempt(name, partial(importlib.import_module, name), found.errors)
    if package is None:
        return
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if not module.name.startswith("_"):
            path = f"{name}.{module.name}"
            _add_from(path, partial(importlib.import_module, path), base, found)


def _search_folder(folder: Path, base: type[T], found: Discovered[T]) -> None:
    if not _attempt(str(folder), folder.is_dir, found.errors):
        return
    package = _attempt(str(folder), partial(_folder_package, folder), found.errors)
    for path in sorted(folder.glob("*.py")) if package else ():
        if not path.name.startswith("_"):
            _add_from(str(path), partial(_import_file, package, path), base, found)


def _folder_package(folder: Path) -> str:
    """The name of a package made over ``folder``, so that its files can use ``from ._shared import …``.

    While no file changes, every search gets the same modules, so a block and a gate in one file are imported
    once.
    """
    path = str(folder.resolve())
    name = f"penstock_user_{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    stamp = sorted(_stamp(file) for file in folder.glob("*.py"))
    known = sys.modules.get(name)
    if known is None or vars(known).get("stamp") != stamp:
        for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
            del sys.modules[module]
        importlib.invalidate_caches()
        package = ModuleType(name)
        package.__path__ = [path]
        vars(package)["stamp"] = stamp
        sys.modules[name] = package
    return name


def _stamp(file: Path) -> tuple[str, int, int]:
    """Name, time and size, which change with the file; a broken link has time and size 0."""
    try:
        status = file.stat()
    except OSError:
        return file.name, 0, 0
    return file.name, status.st_mtime_ns, status.st_size


def _import_file(package: str, path: Path) -> ModuleType:
    name = f"{package}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    if path.exists() and not path.is_file():  # a named pipe would be read for ever
        raise ImportError(f"{path.name} is not a file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _search_entry_points(group: str, base: type[T], found: Discovered[T]) -> None:
    for point in sorted(importlib.metadata.entry_points(group=group), key=lambda point: point.name):
        origin = f"entry point '{point.name} = {point.value}'"
        loaded = _attempt(origin, point.load, found.errors)
        if isinstance(loaded, type) and issubclass(loaded, base):
            found.classes[loaded.__name__] = loaded
        elif isinstance(loaded, ModuleType):
            _add_classes(origin, loaded, base, found)
        elif loaded is not None:
            found.errors.append(DiscoveryError(origin, f"It is neither a {base.__name__} nor a module."))


def _add_from(origin: str, load: Callable[[], ModuleType], base: type[T], found: Discovered[T]) -> None:
    module = _attempt(origin, load, found.errors)
    if module is not None:
        _add_classes(origin, module, base, found)


def _add_classes(origin: str, module: ModuleType, base: type[T], found: Discovered[T]) -> None:
    """Add the classes of a module, which may hold objects that raise when they are looked at."""
    classes = _attempt(origin, lambda: list(_list_classes(module, base)), found.errors)
    found.classes.update((own.__name__, own) for own in classes or ())


def _list_classes(module: ModuleType, base: type[T]) -> Iterator[type[T]]:
    for own in list(vars(module).values()):
        # A proxy of a library (of the present request, say) may raise when it is asked what it is.
        is_class = issubclass(type(own), type)
        if not (is_class and issubclass(own, base) and own.__module__ == module.__name__):
            continue
        name = own.__name__
        is_base = name.startswith("_") or (name.startswith("Base") and name[4:5].isupper())
        if not is_base and not inspect.isabstract(own):
            yield own


def _attempt(origin: str, load: Callable[[], Any], errors: list[DiscoveryError]) -> Any:
    """The result of ``load``, or None when it fails: a user's file may raise anything, except a signal."""
    watched_as = origin  # noqa: F841 (read by the watchdog)
    try:
        with user_output():
            return load()
    except BaseException as error:
        to_exception(error)
        errors.append(DiscoveryError(safe_text(origin), _describe(error)))
        return None


def _describe(error: BaseException) -> str:
    if type(error) in {SyntaxError, IndentationError, TabError}:
        assert isinstance(error, SyntaxError)
        return f"{type(error).__name__}: {safe_text(error.msg)} (line {error.lineno})"
    if isinstance(error, SystemExit):
        return "SystemExit: it ends the program when it is imported"
    return name_exception(error)


def defines_class(file: str, name: str) -> bool:
    """Whether a file that could not be imported seems to define the class ``name``."""
    path = Path(file)
    if path.stem.replace("_", "").lower() == name.lower():
        return True
    try:
        return (
            re.search(rf"^\s*class\s+{re.escape(name)}\b", path.read_text("utf-8", "replace"), re.MULTILINE)
            is not None
        )
    except (OSError, ValueError):  # an entry point or a package
        return f".{name}" in file or f":{name}" in file


def show_file(file: str) -> str:
    """A file as messages name it: with its folder, but not where that is."""
    path = Path(file)
    return f"{path.parent.name}/{path.name}" if path.is_absolute() else file
