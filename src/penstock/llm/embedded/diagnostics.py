"""Check what the embedded model needs; shown by ``penstock doctor``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from typing import NamedTuple

from penstock.errors import ConfigurationError
from penstock.llm.embedded.openmp import LIBRARY, find_bundled_library, has_system_library
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
    if has_system_library():
        return [Requirement("libgomp", True, LIBRARY)]
    if bundled := find_bundled_library():
        return [Requirement("libgomp", True, str(bundled))]
    return [Requirement("libgomp", False, f"{LIBRARY} is missing", "pip install 'penstock[embedded]'")]


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
