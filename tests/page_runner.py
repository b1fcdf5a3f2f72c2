"""Runs the blocks of a page as a reader would, one after the other in one folder, but in one process: it starts faster.

Reads a JSON list of [language, text] from stdin. Python runs in one namespace; commands are `lira`, `python -m` and
`hf auth login`, in whose place HF_TOKEN is set; YAML is saved under the name in its first line; a server stays until
the last block has run, on a port that is free.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from helpers import free_port

SERVED = "8080"


def serve(words: list[str], port: str) -> subprocess.Popen[bytes]:
    server = subprocess.Popen([sys.executable, "-m", "modeling_lira.cli", *words])
    while server.poll() is None:
        try:
            urlopen(f"http://localhost:{port}/health")
            return server
        except URLError:
            time.sleep(0.2)
    raise SystemExit(f"{words}: exit code {server.returncode}")


def call(words: list[str]) -> None:
    from modeling_lira.cli import app, run

    name, arguments = "lira", words[1:]
    if words[:3] == ["python", "-m", "dataset_builder"]:
        from dataset_builder.__main__ import app

        name, arguments = "python -m dataset_builder", words[3:]
    sys.argv = [name, *arguments]  # which records keep as the command
    try:
        run(app, name, arguments)
    except SystemExit as end:
        if end.code:
            raise SystemExit(f"{shlex.join(words)}: exit code {end.code}") from None


def main() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    servers, port = [], str(free_port())
    try:
        for language, written in json.load(sys.stdin):
            text = written.replace(SERVED, port)
            if language == "python":
                exec(compile(text, "page", "exec"), names)
            elif language == "yaml":
                Path(text.split()[1]).write_text(text, encoding="utf-8")
            for line in text.splitlines() if not language else ():
                words = shlex.split(line, comments=True)
                if words[:2] == ["lira", "serve"]:
                    servers.append(serve(words[1:], port))
                elif words and words[:3] != ["hf", "auth", "login"]:
                    call(words)
    finally:
        for server in servers:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
