"""``python -m benchmarks.peers install NAME…``: each peer into its own environment under ``.venv-bench/``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import PEERS, Peer


def install(peer: Peer) -> None:
    """Make the peer's environment; raises CalledProcessError when its packages cannot be installed."""
    uv = str(Path(sys.executable).with_name("uv"))
    if not Path(uv).exists():
        uv = shutil.which("uv") or sys.exit("uv is needed to install peers: pip install uv")
    venv = peer.python.parents[1]
    venv.mkdir(parents=True, exist_ok=True)
    peer.marker.unlink(missing_ok=True)
    subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, venv], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", peer.python, peer.requirement],
        check=True,
    )
    peer.marker.write_text(peer.requirement)


def main() -> int:
    """Install, or list, the peers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all peers, and which of them are installed")
    installing = commands.add_parser("install", help="install peers")
    installing.add_argument(
        "names", nargs="+", choices=[*PEERS, "all"], metavar="NAME", help=", ".join(PEERS)
    )
    arguments = parser.parse_args()

    if arguments.command == "list":
        for peer in PEERS.values():
            print(f"{peer.name:14} {peer.requirement:36} {'installed' if peer.installed else '-'}")
        return 0

    failed = 0
    for name in PEERS if "all" in arguments.names else arguments.names:
        try:
            install(PEERS[name])
            print(f"{name}: installed {PEERS[name].requirement}")
        except subprocess.CalledProcessError as error:
            print(f"{name}: could not be installed ({error})", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
