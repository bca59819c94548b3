"""The names of the design document for a block's settings: the editor's form, and the check of a config."""

from __future__ import annotations

from penstock.discovery import ConfigIssue, check_config, extract_config_schema, find_config_issues

__all__ = ["ConfigIssue", "check_config", "extract_config_schema", "find_config_issues"]
