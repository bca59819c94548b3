"""Modules and names that moved: an import by the old name fails with a message that says the new one.

Python asks the finder only when nothing else finds a module, so that it costs nothing otherwise. It covers
``import penstock.jobs.processor``, ``from penstock.jobs import processor``, and names of packages such as
``from penstock.llm import CallScope``, because Python looks for a submodule of that name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

RENAMED = {
    "penstock.blocks.text": "penstock.serialization",
    "penstock.cli.listing": "penstock.cli.blocks and penstock.cli.templates",
    "penstock.discovery.ConfigFault": "penstock.discovery.ConfigIssue",
    "penstock.discovery.find_config_faults": "penstock.discovery.find_config_issues",
    "penstock.gates.words": "penstock.gates.text_matching",
    "penstock.jobs.datasets": "penstock.jobs.dataset_export",
    "penstock.jobs.processor": "penstock.jobs.runner (Processor is JobRunner)",
    "penstock.jobs.record_file": "penstock.jobs.ordered_jsonl (RecordFile is OrderedJsonlFile)",
    "penstock.jobs.rehearsal": "penstock.jobs.dry_run (Rehearsal is DryRun, rehearse is dry_run)",
    "penstock.jobs.seeds": "penstock.seeds",
    "penstock.jobs.workshop": (
        "penstock.jobs.runtime (Workshop is Runtime, open_workshop is open_runtime) and penstock.jobs.resume "
        "(take_up is resume_job, settle is save_outcome)"
    ),
    "penstock.llm.CallScope": "penstock.llm.CallContext",
    "penstock.llm.by_litellm": "penstock.llm.transports.litellm (LiteLLMRoad is LiteLLMTransport)",
    "penstock.llm.current_scope": "penstock.llm.current_call_context",
    "penstock.llm.embedded.Fact": "penstock.llm.embedded.Requirement",
    "penstock.llm.embedded.check": "penstock.llm.embedded.check_requirements",
    "penstock.llm.embedded.facts": "penstock.llm.embedded.diagnostics (Fact is Requirement)",
    "penstock.llm.entries": "penstock.llm.journal_codec",
    "penstock.llm.lean": "penstock.llm.transports.openai (LeanRoad is OpenAITransport)",
    "penstock.llm.parsing": "penstock.llm.structured_output",
    "penstock.llm.scope": (
        "penstock.llm.call_context (CallScope is CallContext, current_scope is current_call_context, "
        "scope is use_call_context)"
    ),
    "penstock.llm.usage": "penstock.llm.completion",
    "penstock.llm.wire": "penstock.llm.transports.http_pool (Wire is HttpPool)",
    "penstock.storage.claims": "penstock.storage.job_locks (claim_job is lock_job)",
    "penstock.storage.exports": "penstock.exports",
    "penstock.storage.sqlite_driver": "penstock.storage.sqlite",
    "penstock.workflow.Problem": "penstock.workflow.Issue",
    "penstock.workflow.check": "penstock.workflow.validation (check is validate, Problem is Issue)",
}
"""Old name: new name, and in parentheses new names of what the module holds."""


class RenamedNames:
    """A finder for ``sys.meta_path`` that finds nothing, and says where a renamed module is."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Raise ModuleNotFoundError when ``name`` was renamed."""
        if name in RENAMED:
            # Without its ``name``: Python hides an error that has one when it comes from ``from x import y``.
            raise ModuleNotFoundError(f"{name} is now {RENAMED[name]}")


def install() -> None:
    """Put the finder behind all others."""
    sys.meta_path.append(RenamedNames)
