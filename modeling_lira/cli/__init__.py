"""The `lira` command."""

from .lira import app, main
from .running import run

__all__ = ["app", "main", "run"]
