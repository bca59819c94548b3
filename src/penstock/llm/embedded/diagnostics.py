"""What ``penstock doctor`` says about the embedded model."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from typing import NamedTuple

from penstock.errors import ConfigurationError
from penstock.llm.embedded.openmp import LIBRARY, find_bundled_library, has_system_library
from penstock.llm.embedded.weights import EMBEDDED_MODELS, find_installed, get_weights
from penstock.settings import EMBEDDED_MODEL, Settings


class Diagnostic(NamedTuple):
    """One thing that was looked at: whether it is well, what was seen, and what to do if it is not."""

    name: str
    ok: bool
    seen: str
    advice: str = ""


def check(settings: Settings) -> list[Diagnostic]:
    """Whether the embedded model can run here; looks only, and starts and downloads nothing."""
    return [_runtime(), *_libraries(), _weights(settings)]


def _runtime() -> Diagnostic:
    if importlib.util.find_spec("xllamacpp") is None:
        return Diagnostic("runtime", False, "xllamacpp is not installed", "pip install 'penstock[embedded]'")
    return Diagnostic("runtime", True, f"xllamacpp {importlib.metadata.version('xllamacpp')}")


def _libraries() -> list[Diagnostic]:
    if not sys.platform.startswith("linux"):
        return []
    if has_system_library():
        return [Diagnostic("libgomp", True, LIBRARY)]
    if bundled := find_bundled_library():
        return [Diagnostic("libgomp", True, str(bundled))]
    return [Diagnostic("libgomp", False, f"{LIBRARY} is missing", "pip install 'penstock[embedded]'")]


def _weights(settings: Settings) -> Diagnostic:
    try:
        # With a path of the user's own, looking for it downloads nothing.
        path = (
            get_weights(settings, EMBEDDED_MODEL)
            if settings.embedded_model_path is not None
            else find_installed(EMBEDDED_MODELS[EMBEDDED_MODEL])
        )
    except ConfigurationError as error:
        return Diagnostic(
            "weights", False, error.message, "set EMBEDDED_MODEL_PATH to a GGUF file, or unset it"
        )
    if path is None:
        size = EMBEDDED_MODELS[EMBEDDED_MODEL].size / 1e6
        return Diagnostic("weights", True, f"not here yet: the first use downloads {size:.0f} MB")
    return Diagnostic("weights", True, f"{path} ({path.stat().st_size / 1e6:.0f} MB)")
