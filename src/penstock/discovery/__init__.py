"""Finds the blocks and gates that exist, and reads which settings each of them takes.

Classes are found in packages of penstock, in installed packages (by entry point), and in the files of a
folder. A file that fails to import is listed with the reason and stops nothing else.
"""

from __future__ import annotations

from penstock.discovery.classes import Discovered, DiscoveryError, discover
from penstock.discovery.config_check import ConfigIssue, check_config, find_config_issues
from penstock.discovery.config_schema import extract_config_schema
from penstock.discovery.contract import Contract, Method, read_names
from penstock.discovery.declarations import (
    Configurable,
    get_config_descriptions,
    get_config_enums,
    get_field_references,
    get_part_references,
    get_state_templates,
    get_templates,
)
from penstock.discovery.registry import Registry

__all__ = [
    "ConfigIssue",
    "Configurable",
    "Contract",
    "Discovered",
    "DiscoveryError",
    "Method",
    "Registry",
    "check_config",
    "discover",
    "extract_config_schema",
    "find_config_issues",
    "get_config_descriptions",
    "get_config_enums",
    "get_field_references",
    "get_part_references",
    "get_state_templates",
    "get_templates",
    "read_names",
]
