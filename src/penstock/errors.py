"""Everything that can go wrong, as one tree.

PipelineError                 the base: one sentence, and its facts
├── BadInputError             what was given cannot be used (a file, a setting, a request)
│   ├── DefinitionError       a pipeline that cannot run as it is written
│   └── TooLargeError         more bytes than are taken
├── BlockNotFoundError        no block of that type
├── GateNotFoundError         no gate of that type
├── BlockExecutionError       a block failed while it ran
├── ValidationError           a block returned what it did not declare
├── TemplateError             a template could not be rendered
├── GateError                 a gate could not look at all (not: it looked and found fault)
├── HealingError              the attempts are used up and gates still find fault
├── ConfigurationError        penstock, or the machine, is not set up for this
├── NotFoundError             nothing is stored under that name or number
├── ConflictError             the present state does not allow it
├── StorageError              the database cannot be read or written
│   └── SerializationError    a value that JSON cannot hold
└── LLMError                  a model could not be asked, or did not answer
    ├── LLMRefusedError       the provider refused the request; asking again changes nothing
    ├── LLMUnavailableError   the network or the provider failed until the deadline
    └── JournalMissError      a replay came to a call that is not in the journal
"""

from __future__ import annotations

from typing import Any


class PipelineError(Exception):
    """Base of all of penstock's errors: ``message`` is one sentence, ``detail`` holds its facts."""

    def __init__(self, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail or {}


class BadInputError(PipelineError):
    """What was given cannot be used; the message says what to give instead."""


class DefinitionError(BadInputError):
    """A pipeline definition that cannot run as it is written."""


class TooLargeError(BadInputError):
    """What was given has more bytes than are taken; ``detail``: limit_bytes."""


class BlockNotFoundError(PipelineError):
    """No block of that type; ``detail``: block_type, available_blocks."""


class GateNotFoundError(PipelineError):
    """No gate of that type; ``detail``: gate_type, available_gates."""


class BlockExecutionError(PipelineError):
    """A block failed while it ran; ``detail``: block_type, step (from 1), error, input."""


class ValidationError(PipelineError):
    """A block returned fields that it did not declare.

    ``detail``: block_type, declared_outputs, actual_outputs, extra_fields.
    """


class TemplateError(PipelineError):
    """A template is malformed, names something that is not there, or reaches for what it must not."""


class GateError(PipelineError):
    """A gate could not look at all, which is not the same as finding fault."""


class HealingError(PipelineError):
    """The attempts are used up and gates still find fault; ``detail``: findings, attempts."""


class ConfigurationError(PipelineError):
    """Penstock or the machine is not set up for what was asked."""


class NotFoundError(PipelineError):
    """Nothing is stored under that name or number."""


class ConflictError(PipelineError):
    """The present state does not allow what was asked."""


class StorageError(PipelineError):
    """The database cannot be read or written."""


class SerializationError(StorageError):
    """A value cannot be written as JSON, and so cannot be kept."""


class LLMError(PipelineError):
    """A model could not be asked, or did not answer."""


class LLMRefusedError(LLMError):
    """The provider refused the request, and asking again would change nothing; ``detail``: status, body."""


class LLMUnavailableError(LLMError):
    """The network or the provider failed until the deadline."""


class JournalMissError(LLMError):
    """A replay came to a call that is not in the journal."""
