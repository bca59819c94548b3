"""The columns of the table: how each one is started, and how its rows are counted."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers import PEERS, ROOT, Peer
from benchmarks.runners import penstock_run
from benchmarks.work import Job

BASELINE = "aiohttp"
RIVAL = "curator"
OURS = "penstock"


@dataclass(frozen=True)
class Command:
    """What to start, where, and in which environment; nothing is inherited from the caller's."""

    argv: list[str]
    cwd: Path
    env: dict[str, str]


@dataclass(frozen=True)
class Column:
    """One tool doing the common work."""

    name: str
    title: str
    version: str
    speed: str
    """``fast``, ``middling`` or ``slow``: how many rows it gets, so that no run takes minutes."""
    prepare: Callable[[Job], Command]
    count: Callable[[Job, str], int]
    """The number of correct rows, from the job's folder and what the command printed."""
    stores: bool = True


def installed_columns(trees: Iterable[Path] = ()) -> dict[str, Column]:
    """The baselines, penstock, and the peers that are installed, in the order of the table.

    ``trees`` are other working trees of penstock to compare with.
    """
    columns = [
        _baseline(BASELINE, "bare aiohttp, nothing stored (baseline)", "aiohttp_baseline", "fast", "aiohttp"),
        _baseline("aiohttp-tuned", "the same with uvloop and orjson", "aiohttp_tuned", "fast", "aiohttp"),
        _baseline(
            "litellm", "bare litellm.acompletion, nothing stored", "litellm_baseline", "slow", "litellm"
        ),
        _penstock(OURS, "**penstock**, everything on", version("penstock"), ROOT),
        *(_penstock(f"{OURS}@{tree.name}", "penstock of another tree", tree.name, tree) for tree in trees),
        *(_peer(peer) for peer in PEERS.values() if peer.installed),
    ]
    return {column.name: column for column in columns}


def base_environment(home: Path, tree: Path = ROOT) -> dict[str, str]:
    """No telemetry, no keys, no files outside of ``home``; penstock is the one in ``tree``."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{ROOT}",
        "OPENAI_API_KEY": "none",
        "NO_PROXY": "127.0.0.1,localhost",
        "DO_NOT_TRACK": "1",
        "TELEMETRY_ENABLED": "false",
        "NEMO_TELEMETRY_ENABLED": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        # Some peers download a vocabulary to count tokens; litellm contains the same file.
        "TIKTOKEN_CACHE_DIR": str(_tokenizers()),
    }


def _tokenizers() -> Path:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"


def _baseline(name: str, title: str, module: str, speed: str, package: str) -> Column:
    return Column(
        name=name,
        title=title,
        version=version(package),
        speed=speed,
        prepare=_script(Path(sys.executable), f"benchmarks.runners.{module}"),
        count=_printed,
        stores=False,
    )


def _penstock(name: str, title: str, tree_version: str, tree: Path) -> Column:
    return Column(
        name=name,
        title=title,
        version=tree_version,
        speed="fast",
        prepare=lambda job: Command(
            penstock_run.prepare(job),
            job.out,
            base_environment(job.out, tree) | penstock_run.environment(job),
        ),
        count=lambda job, _: penstock_run.count(job),
    )


def _peer(peer: Peer) -> Column:
    return Column(
        name=peer.name,
        title=peer.title,
        version=peer.version,
        speed="middling" if peer.name == RIVAL else "slow",
        prepare=_script(peer.python, f"benchmarks.peers.{peer.name}"),
        count=_printed,
    )


def _script(python: Path, module: str) -> Callable[[Job], Command]:
    return lambda job: Command(
        [str(python), "-m", module, *job.as_arguments()], job.out, base_environment(job.out)
    )


def _printed(job: Job, printed: str) -> int:
    for line in reversed(printed.splitlines()):
        if line.startswith('{"rows":'):
            return int(json.loads(line)["rows"])
    return 0
