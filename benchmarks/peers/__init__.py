"""The peers: what to install for each, and their scripts, which run in environments of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENVS = ROOT / ".venv-bench"


@dataclass(frozen=True)
class Peer:
    """A tool to compare with, at the version that was measured."""

    name: str
    title: str
    package: str
    version: str
    extras: str = ""

    @property
    def requirement(self) -> str:
        """What is installed, as pip reads it."""
        return f"{self.package}{self.extras}=={self.version}"

    @property
    def python(self) -> Path:
        """The interpreter of the peer's own environment."""
        return VENVS / self.name / "bin" / "python"

    @property
    def marker(self) -> Path:
        """A file with the requirement that was installed completely."""
        return VENVS / self.name / ".installed"

    @property
    def installed(self) -> bool:
        """Whether exactly this version is installed."""
        return self.marker.is_file() and self.marker.read_text().strip() == self.requirement

    @property
    def script(self) -> Path:
        """The peer's script, which has the same name."""
        return Path(__file__).with_name(f"{self.name}.py")


PEERS = {
    peer.name: peer
    for peer in (
        Peer("curator", "Curator", "bespokelabs-curator", "0.1.31"),
        Peer("data_designer", "Data Designer", "data-designer", "0.9.7"),
        Peer("distilabel", "distilabel", "distilabel", "1.5.3", extras="[openai]"),
        Peer("sdg_hub", "sdg-hub", "sdg-hub", "0.9.4"),
    )
}
"""All peers, by the name of their script and environment."""
