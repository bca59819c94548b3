"""How often a step is generated again, and at which temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from penstock.errors import DefinitionError
from penstock.gates.entropy import EntropyPolicy

_MAX_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class HealPolicy:
    """The ``heal`` setting of a step.

    ``max_attempts`` includes the first generation. ``entropy=None`` makes wrong parts hotter (Ramp) and parts
    whose samples disagree cooler (Decay). With ``stop_on_repeat``, the same findings twice in a row end
    healing.
    """

    max_attempts: int = 4
    entropy: EntropyPolicy | None = None
    stop_on_repeat: bool = False

    def __post_init__(self) -> None:
        attempts: Any = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= _MAX_ATTEMPTS:
            raise DefinitionError(
                f"max_attempts is {attempts!r}; write a whole number from 1 to {_MAX_ATTEMPTS}",
                detail={"key": "heal.max_attempts"},
            )
        if not isinstance(self.stop_on_repeat, bool):
            raise DefinitionError(
                f"stop_on_repeat is {self.stop_on_repeat!r}; write true or false",
                detail={"key": "heal.stop_on_repeat"},
            )

    @classmethod
    def from_config(cls, config: Any) -> HealPolicy:
        """The policy of a step's ``heal``; raises DefinitionError that says what to write instead."""
        if isinstance(config, HealPolicy):
            return config
        if not isinstance(config, Mapping):
            raise DefinitionError(
                f"heal must be a mapping such as {{max_attempts: 4}}, not {type(config).__name__}",
                detail={"key": "heal"},
            )
        known = [setting.name for setting in fields(cls)]
        for key in config:
            if key not in known:
                raise DefinitionError(
                    f"heal has no setting '{key}'; it takes {', '.join(known)}", detail={"key": f"heal.{key}"}
                )
        settings = dict(config)
        if settings.get("entropy") is not None:
            settings["entropy"] = EntropyPolicy.from_config(settings["entropy"])
        return cls(**settings)

    def first_temperature(self) -> float | None:
        """The temperature of the first generation; None leaves it to the block."""
        return None if self.entropy is None else self.entropy.first_temperature()
