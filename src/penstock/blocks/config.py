"""The settings of a block: the form that an editor shows, and the check of a pipeline file."""

from __future__ import annotations

from penstock.discovery import ConfigFault, check_config, extract_config_schema, find_config_faults

__all__ = ["ConfigFault", "check_config", "extract_config_schema", "find_config_faults"]
