"""Fresh processes without the wait: forks of one that has imported torch, and nothing of this project."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TORCH = ("torch._dynamo", "torch.distributed.tensor", "torch.distributed.fsdp", "jinja2")
"""The greater part of what transformers imports; nothing of it reads a variable that a test sets."""

SERVER = """
import gc, importlib, json, os, sys, traceback
sys.path[:0] = filter(None, [sys.argv[1]])
for name in sys.argv[2:]:
    importlib.import_module(name)
gc.freeze()

def run(order):
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for target in (1, 2):
        os.dup2(os.open(order["output"][target - 1], os.O_WRONLY), target)
    sys.argv = ["-c", *order["arguments"]]
    code = 0
    try:
        exec(compile(order["code"], "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    child = os.fork()
    if not child:
        run(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs code as `python -I -c` does, in forks of a process that has imported some modules, of a folder or of all."""

    def __init__(self, modules: Sequence[str] = TORCH, folder: Path | str = "", **environment: str) -> None:
        self.environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment}
        self._command = [sys.executable, "-I", "-c", SERVER, str(folder), *modules]
        self._server: subprocess.Popen[str] | None = None

    def run(
        self, code: str, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run code; what the modules read of the environment when they were imported stays as it was then."""
        if self._server is None:
            pipe = subprocess.PIPE
            self._server = subprocess.Popen(self._command, env=self.environment, stdin=pipe, stdout=pipe, text=True)
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
            order = {
                "code": code,
                "arguments": arguments,
                "cwd": str(cwd),
                "environment": self.environment | dict(environment or {}),
                "output": [output.name, errors.name],
            }
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            code_of_exit = int(self._server.stdout.readline())
            return subprocess.CompletedProcess(list(arguments), code_of_exit, output.read(), errors.read())

    def stop(self) -> None:
        if self._server is not None:
            self._server.communicate()
            self._server = None
