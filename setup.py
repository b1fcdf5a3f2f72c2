"""Build the package: `setup.cfg` says all but the long description, the README with links that work elsewhere.

PyPI shows the README without the files beside it. Where GitHub builds, its relative links become addresses of that
repository; elsewhere nobody knows where the repository will stand, so a link is its text, and pictures are left out.
"""

import os
import re
from pathlib import Path

from setuptools import setup

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)#\s]*)(#[^)\s]*)?\)")


def linked(link: re.Match[str]) -> str:
    """Return a relative link as it is on PyPI, where headings have no anchors of their own either."""
    picture, text, path, anchor = link[1], link[2], link[3] or "README.md", link[4] or ""
    repository = os.environ.get("GITHUB_REPOSITORY")
    if not repository:
        return "" if picture else text
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return f"{picture}[{text}]({server}/{repository}/{'raw' if picture else 'blob'}/HEAD/{path}{anchor})"


setup(long_description=LINK.sub(linked, Path(__file__).with_name("README.md").read_text(encoding="utf-8")))
