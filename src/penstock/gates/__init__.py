"""Gates look at what a step made and say which part is wrong; healing asks again for just those parts."""

from __future__ import annotations

from penstock.gates.base import BaseGate
from penstock.gates.entropy import Decay, EntropyPolicy, Ramp, Schedule
from penstock.gates.entropy_state import FileEntropyState, PartEntropyState
from penstock.gates.healing import AttemptRecord, Healed, HealPolicy, heal
from penstock.gates.part_gate import BasePartGate
from penstock.gates.parts import ABSENT, find_part, merge_parts
from penstock.gates.registry import GateRegistry, default_registry, parts_named
from penstock.gates.similarity import medoid

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
    "find_part",
    "heal",
    "medoid",
    "merge_parts",
    "parts_named",
]
