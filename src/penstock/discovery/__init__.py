"""Finds the classes that people add, and what settings each of them takes.

Blocks and gates are found alike: in packages of penstock, in packages that others install, and in the files
of a folder. What fails to import is kept with its reason, and stops nothing.
"""

from __future__ import annotations

from penstock.discovery.classes import Discovered, DiscoveryError, discover
from penstock.discovery.config_schema import (
    ConfigIssue,
    check_config,
    extract_config_schema,
    find_config_issues,
)
from penstock.discovery.registry import Registry

__all__ = [
    "ConfigIssue",
    "Discovered",
    "DiscoveryError",
    "Registry",
    "check_config",
    "discover",
    "extract_config_schema",
    "find_config_issues",
]
