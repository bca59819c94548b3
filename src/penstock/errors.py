"""All errors of penstock, as one tree.

PipelineError                 the base: a message of one sentence, and its details
├── BadInputError             an input cannot be used (a file, a setting, a request)
│   ├── DefinitionError       a pipeline definition is invalid
│   └── TooLargeError         an input has too many bytes
├── BlockNotFoundError        no block has that type
├── GateNotFoundError         no gate has that type
├── BlockExecutionError       a block failed while it ran
├── ValidationError           a block returned fields that it did not declare
├── TemplateError             a template could not be rendered
├── GateError                 a gate could not run (a gate that runs and finds issues raises nothing)
├── HealingError              all attempts are used and gates still report issues
├── ConfigurationError        penstock or the machine is not set up for this
├── NotFoundError             nothing is stored under that name or number
├── ConflictError             the current state does not allow it
├── StorageError              the database cannot be read or written
│   ├── SerializationError    a value cannot be stored
│   ├── DatabaseGoneError     the file is no longer the one that was opened
│   └── DamagedRecordError    a stored record cannot be read
├── InternalError             a part of penstock ended although nothing should end it
└── LLMError                  a model could not be called, or did not answer
    ├── LLMRefusedError       the provider refused the request; a retry would not help
    ├── LLMClientError        the library that asks the provider has an error of its own
    ├── LLMAnswerError        the answer is empty, was cut off or was refused
    ├── LLMSetupError         no request can succeed until the key, the quota or the server is put right
    ├── LLMUnavailableError   the network or the provider failed until the deadline
    └── JournalMissError      a replay needs a call that is not in the journal
"""

from __future__ import annotations

from typing import Any

from penstock.control_characters import escape_controls


class PipelineError(Exception):
    """Base of all errors of penstock: ``message`` is one sentence, ``detail`` has the details as data.

    Control characters in the message are escaped, since it often quotes the text of others.
    """

    def __init__(self, message: str, detail: dict[str, Any] | None = None) -> None:
        message = escape_controls(str(message))
        super().__init__(message)
        self.message = message
        self.detail = detail or {}


class BadInputError(PipelineError):
    """An input cannot be used; the message says what to give instead."""


class DefinitionError(BadInputError):
    """A pipeline definition is invalid."""


class TooLargeError(BadInputError):
    """An input has too many bytes; ``detail``: limit_bytes."""


class BlockNotFoundError(PipelineError):
    """No block has that type; ``detail``: block_type, available_blocks."""


class GateNotFoundError(PipelineError):
    """No gate has that type; ``detail``: gate_type, available_gates."""


class BlockExecutionError(PipelineError):
    """A block failed while it ran; ``detail``: block_type, step (from 1), error, input."""


class ValidationError(PipelineError):
    """A block returned fields that it did not declare.

    ``detail``: block_type, declared_outputs, actual_outputs, extra_fields.
    """


class TemplateError(PipelineError):
    """A template is malformed, uses a field that does not exist, or accesses something forbidden."""


class GateError(PipelineError):
    """A gate could not run, so it is not known whether the output is right."""


class HealingError(PipelineError):
    """All attempts are used and gates still report issues; ``detail``: findings, attempts."""


class ConfigurationError(PipelineError):
    """Penstock or the machine is not set up for what was requested."""


class NotFoundError(PipelineError):
    """Nothing is stored under that name or number."""


class ConflictError(PipelineError):
    """The current state does not allow what was requested."""


class StorageError(PipelineError):
    """The database cannot be read or written."""


class SerializationError(StorageError):
    """A value cannot be stored: it has no JSON text, or is longer than a database holds."""


class DatabaseGoneError(StorageError):
    """The database's file was deleted, replaced or cut while it was open."""


class DamagedRecordError(StorageError):
    """A stored record cannot be read, and others can; ``detail``: record_id, job_id."""


class InternalError(PipelineError):
    """A part of penstock ended although nothing should end it; what it was working for is started again."""


class LLMError(PipelineError):
    """A model could not be called, or did not answer."""


class LLMRefusedError(LLMError):
    """The provider refused the request, and a retry would not help; ``detail``: status, body."""


class LLMClientError(LLMError):
    """The library that asks the provider has an error of its own, which a retry would meet again."""


class LLMAnswerError(LLMError):
    """A model's answer is empty, was cut off or was refused; ``detail``: findings, attempts."""


class LLMSetupError(LLMError):
    """No request can succeed until the credentials, the quota, the model name or the server is put right."""


class LLMUnavailableError(LLMError):
    """The network or the provider failed until the deadline."""


class JournalMissError(LLMError):
    """A replay needs a call that is not in the journal."""
