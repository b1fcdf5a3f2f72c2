"""Helpers of all commands and packages: lazy imports, optional packages, and text for terminals, Markdown and HTML."""
