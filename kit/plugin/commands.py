"""For `kit_commands`: a sub-command's output and the options shared with the built-in commands."""

from kit.cli.options import CompetitionName, ConfigFile, Json, RunName, Settings
from kit.console import Console

__all__ = ["CompetitionName", "ConfigFile", "Console", "Json", "RunName", "Settings"]
