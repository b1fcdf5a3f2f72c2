"""The `lira` command."""

from .lira import app, main, run

__all__ = ["app", "main", "run"]
