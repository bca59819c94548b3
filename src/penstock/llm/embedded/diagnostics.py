"""Check what the embedded model needs; shown by ``penstock doctor``."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import sys
from typing import NamedTuple

from penstock.errors import ConfigurationError
from penstock.llm.embedded.weights import EMBEDDED_MODELS, find_installed, get_weights
from penstock.settings import EMBEDDED_MODEL, Settings


class Requirement(NamedTuple):
    """Something that the embedded model needs: whether it is met, what was found, what to do if it is not."""

    name: str
    is_met: bool
    found: str
    advice: str = ""


def check_requirements(settings: Settings) -> list[Requirement]:
    """Whether the embedded model can run on this machine; starts and downloads nothing."""
    return [_check_runtime(), *_check_libraries(), _check_weights(settings)]


def _check_runtime() -> Requirement:
    if importlib.util.find_spec("xllamacpp") is None:
        return Requirement("runtime", False, "xllamacpp is not installed", "pip install 'penstock[embedded]'")
    return Requirement("runtime", True, f"xllamacpp {importlib.metadata.version('xllamacpp')}")


def _check_libraries() -> list[Requirement]:
    if not sys.platform.startswith("linux"):
        return []
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return [Requirement("libgomp", False, "libgomp.so.1 is missing", "apt-get install libgomp1")]
    return [Requirement("libgomp", True, "libgomp.so.1")]


def _check_weights(settings: Settings) -> Requirement:
    try:
        # With the user's own path, get_weights downloads nothing.
        path = (
            get_weights(settings, EMBEDDED_MODEL)
            if settings.embedded_model_path is not None
            else find_installed(EMBEDDED_MODELS[EMBEDDED_MODEL])
        )
    except ConfigurationError as error:
        return Requirement(
            "weights", False, error.message, "set EMBEDDED_MODEL_PATH to a GGUF file, or unset it"
        )
    if path is None:
        size = EMBEDDED_MODELS[EMBEDDED_MODEL].size / 1e6
        return Requirement("weights", True, f"not installed: the first use downloads {size:.0f} MB")
    return Requirement("weights", True, f"{path} ({path.stat().st_size / 1e6:.0f} MB)")
