"""The settings of a block: the form that an editor shows, and the check of a pipeline file."""

from __future__ import annotations

from penstock.discovery import ConfigIssue, check_config, extract_config_schema, find_config_issues

__all__ = ["ConfigIssue", "check_config", "extract_config_schema", "find_config_issues"]
