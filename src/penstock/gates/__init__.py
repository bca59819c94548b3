"""Gates check the output of a step and say which part is wrong; healing asks again for only those parts."""

from __future__ import annotations

from penstock.gates.attempts import AttemptRecord
from penstock.gates.base import BaseGate
from penstock.gates.entropy import Decay, EntropyPolicy, Ramp, Schedule
from penstock.gates.entropy_state import FileEntropyState, PartEntropyState
from penstock.gates.heal_policy import HealPolicy
from penstock.gates.healing import Healed, heal
from penstock.gates.part_gate import BasePartGate
from penstock.gates.parts import ABSENT, find_part, merge_parts
from penstock.gates.registry import GateRegistry, default_registry, parts_named
from penstock.gates.similarity import find_medoid, medoid

__all__ = [
    "ABSENT",
    "AttemptRecord",
    "BaseGate",
    "BasePartGate",
    "Decay",
    "EntropyPolicy",
    "FileEntropyState",
    "GateRegistry",
    "HealPolicy",
    "Healed",
    "PartEntropyState",
    "Ramp",
    "Schedule",
    "default_registry",
    "find_medoid",
    "find_part",
    "heal",
    "medoid",
    "merge_parts",
    "parts_named",
]
