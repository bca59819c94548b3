"""LLM generation that can be trusted: pipelines of blocks, checked by gates, healed and traced.

    from penstock import Pipeline

    results = await Pipeline.load("pipeline.yaml").run([{"topic": "tides"}])

Each name is imported at its first use, so that ``import penstock`` takes hardly any time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from penstock import renamed

if TYPE_CHECKING:
    from penstock.blocks.base import BaseBlock, BaseMultiplierBlock
    from penstock.gates.base import BaseGate
    from penstock.jobs.runs import run
    from penstock.workflow.pipeline import Pipeline

__version__ = "0.1.0"

_MODULES = {
    "BaseBlock": "penstock.blocks.base",
    "BaseGate": "penstock.gates.base",
    "BaseMultiplierBlock": "penstock.blocks.base",
    "Pipeline": "penstock.workflow.pipeline",
    "run": "penstock.jobs.runs",
}

__all__ = ["BaseBlock", "BaseGate", "BaseMultiplierBlock", "Pipeline", "__version__", "run"]


renamed.install()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'penstock' has no attribute '{name}'")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
