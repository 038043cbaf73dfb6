"""The version of what is installed."""

from __future__ import annotations

VERSION = "0.1.0"  # as pyproject.toml has it
