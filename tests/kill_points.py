"""Kill commands before each of their file operations, run them again, and compare with runs that were left alone.

    python tests/kill_points.py --all                   every operation of every command, and some random moments
    python tests/kill_points.py --command encode-parquet --action interrupt
    python tests/kill_points.py --sample 2 --random 1   a few points of every command, as the tests do

The libraries are imported once; every run is a fork of this process, in one folder that is made anew for each point.
An audit hook sees what Python does to files of that folder: opening to write, renaming, removing, making folders,
truncating; fsync and requests to a Hub are wrapped. Before the n-th of these the run is killed (or gets Ctrl-C, or a
full disk). The same command then has to end as the run that was left alone did: the same files with the same content,
and nothing beside them.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import importlib
import json
import logging
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(tempfile.mkdtemp(prefix="kill-points-"))
ENVIRONMENT = {
    "HF_HOME": str(ROOT / "hub"),
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_TOKEN": "hf_mayWrite",
    "LIRA_CACHE": "cache",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
os.environ |= ENVIRONMENT
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
sys.dont_write_bytecode = True

import torch  # noqa: E402

torch.set_num_threads(1)

from hub.server import Hub  # noqa: E402

HUB = Hub()
ENVIRONMENT["HF_ENDPOINT"] = os.environ["HF_ENDPOINT"] = HUB.endpoint

import crash_commands  # noqa: E402  # after the environment, which libraries read when they are imported

from modeling_lira.errors import LiraError  # noqa: E402

logger = logging.getLogger("kill_points")

crash_commands.HUB.hub = HUB
WORK = ROOT / "work"
LOG = ROOT / "stderr"
NOBODY = 65534
ACTIONS = ("kill", "interrupt", "full")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
PAGE = 4096
PATIENCE = 120
"""Seconds after which a run counts as hanging."""


# ------------------------------------------------------------------ one run in a fork


@dataclass
class Watch:
    """Counts the operations of this process, and acts before one of them."""

    at: int = 0
    action: str = "kill"
    operations: list[str] = field(default_factory=list)
    busy: bool = False

    def install(self) -> None:
        sys.addaudithook(self._audit)
        fsync, self._fsync = os.fsync, os.fsync

        def counted(fd: Any) -> None:
            self.count("fsync")
            fsync(fd)

        os.fsync = counted
        for name in ("httpx", "httpx2"):  # which one the Hub's client uses differs by version
            with contextlib.suppress(ImportError):
                self._count_requests(importlib.import_module(name).HTTPTransport)

    def _count_requests(self, transport: Any) -> None:
        send = transport.handle_request

        def counted(sender: Any, request: Any) -> Any:
            self.count(f"request {request.method}")
            return send(sender, request)

        transport.handle_request = counted

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.busy or (event != "open" and event not in CHANGES):
            return
        path = arguments[0]
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        if isinstance(path, int):
            self.count(event)
        elif _inside(os.fsdecode(path)):
            self.count(f"{event} {Path(os.fsdecode(path)).name}")

    def count(self, name: str) -> None:
        self.operations.append(name)
        if self.at and len(self.operations) >= self.at:
            if self.action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.action == "interrupt" and len(self.operations) == self.at:
                raise KeyboardInterrupt
            elif self.action == "full" and name.startswith(("open", "fsync", "os.mkdir")):
                raise OSError(28, "No space left on device")


def _inside(path: str) -> bool:
    return not Path(path).is_absolute() or path.startswith(f"{WORK}/")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: exit code (negative: the signal that ended it), its stderr, its operations, seconds."""

    code: int
    stderr: str
    operations: list[str]
    seconds: float

    @property
    def clear(self) -> bool:
        """One line says what was wrong, with exit code 2."""
        lines = [line for line in self.stderr.splitlines() if re.match(r"(lira|python -m \w+): ", line)]
        return self.code == 2 and len(lines) == 1 and "Traceback" not in self.stderr


def run(
    command: Callable[[], None],
    watch: Watch | None = None,
    delay: float | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run in a fork of this process, in `WORK`; with `delay`, kill it after so many seconds."""
    counted = ROOT / "operations"
    for file in (counted, LOG):
        file.write_bytes(b"")
        file.chmod(0o666)
    start = time.monotonic()
    child = os.fork()
    if not child:
        _child(command, watch or Watch(), prepare, counted)
    code = _wait(child, start, delay)
    operations = json.loads(counted.read_text() or "[]")  # a killed run has not told them
    return Outcome(code, LOG.read_text(errors="replace"), operations, time.monotonic() - start)


def _child(command: Callable[[], None], watch: Watch, prepare: Callable[[], None], counted: Path) -> None:
    code = 70
    try:
        for target in (1, 2):
            os.dup2(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666), target)
        os.chdir(WORK)
        handle = os.open(counted, os.O_WRONLY | os.O_CREAT, 0o666)
        prepare()
        watch.install()
        try:
            command()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 2
        except KeyboardInterrupt:
            code = 130
        except LiraError as error:  # of a function rather than a command, which says it so
            sys.stderr.write(f"lira: {error}\n")
            code = 2
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        watch.busy = True
        with contextlib.suppress(ValueError):  # the list itself may be longer than the run's files were allowed to be
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.write(handle, json.dumps(watch.operations).encode())
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)


def _wait(child: int, start: float, delay: float | None) -> int:
    limit = PATIENCE if delay is None else delay
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - start > limit:
            os.kill(child, signal.SIGKILL)
            limit = float("inf")
        time.sleep(0.002)


# ------------------------------------------------------------------ what a run leaves


VOLATILE = re.compile(r"train_loss|seconds|runtime|per_second|total_flos|command|threads|date|time$")


def _steady(value: Any) -> Any:
    """Return JSON without what is of one process alone: its seconds, and the mean loss since it began."""
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if not VOLATILE.search(key)}
    if isinstance(value, list):
        kept = [_steady(item) for item in value]
        return [item for item, before in zip(kept, value, strict=True) if item or not before]
    return value


def _content(path: Path, opaque: str) -> object:
    if opaque and re.search(opaque, path.name):
        return "opaque"
    if path.suffix == ".json":
        with contextlib.suppress(ValueError):  # half a file that a kill left
            return _steady(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".jsonl":
        return sorted(path.read_text(encoding="utf-8").splitlines())  # answers of a server come in any order
    return path.read_bytes()


def snapshot(command: "crash_commands.Command") -> dict[str, object]:
    """Return names and contents below `WORK`, and what the command's result answers."""
    result: dict[str, object] = {}
    for path in sorted(WORK.rglob("*")):
        name = str(path.relative_to(WORK))
        result[name] = "folder" if path.is_dir() else _content(path, command.opaque)
    if (answer := command.answers) is not None:
        answers = ROOT / "answers"
        outcome = run(lambda: answers.write_text(json.dumps(answer())))
        result["answers"] = json.loads(answers.read_text()) if outcome.code == 0 else outcome.stderr
    if command.service is not None:
        result["service"] = command.service.content()
    return result


def difference(result: dict[str, object], expected: dict[str, object]) -> str:
    """Say in a line what differs, or nothing."""
    left = sorted(result.keys() - expected.keys())
    lost = sorted(expected.keys() - result.keys())
    other = sorted(name for name in result.keys() & expected.keys() if result[name] != expected[name])
    parts = (("left behind", left), ("missing", lost), ("other content", other))
    return "; ".join(f"{what}: {', '.join(names[:4])}" for what, names in parts if names)


# ------------------------------------------------------------------ points


@dataclass
class Result:
    """Of one command: how many points were tried, and what failed."""

    name: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def survived(self) -> int:
        return self.tried - len(self.failures)


class Harness:
    """One command: its folder before the run, and the folder that an undisturbed run leaves."""

    def __init__(self, command: "crash_commands.Command") -> None:
        self.command = command
        self.template = ROOT / command.name
        self.result = Result(command.name)

    def __enter__(self) -> "Harness":
        self._fresh(None)
        made = run(self.command.prepare)
        if made.code:
            raise RuntimeError(f"{self.command.name} cannot be prepared: {made.stderr}")
        shutil.copytree(WORK, self.template, symlinks=True)
        self.fresh()
        self.whole = run(self.command.run)
        if self.whole.code:
            raise RuntimeError(f"{self.command.name} fails undisturbed: {self.whole.stderr}")
        self.expected = snapshot(self.command)
        operations, seconds = len(self.whole.operations), self.whole.seconds
        logger.info("%s: %d operations in %.2f s", self.command.name, operations, seconds)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.template, ignore_errors=True)
        shutil.rmtree(WORK, ignore_errors=True)
        if self.command.service is not None:
            self.command.service.stop()

    def fresh(self) -> None:
        """Make `WORK` as it is before the command."""
        self._fresh(self.template)
        if self.command.service is not None:
            self.command.service.restart()

    def _fresh(self, template: Path | None) -> None:
        shutil.rmtree(WORK, ignore_errors=True)
        if template is None:
            WORK.mkdir(parents=True)
        else:
            shutil.copytree(template, WORK, symlinks=True)

    def points(self, sample: int | None, chance: random.Random) -> list[int]:
        numbers = range(1, len(self.whole.operations) + 1)
        return list(numbers) if sample is None else sorted(chance.sample(numbers, min(sample, len(numbers))))

    def try_operation(self, number: int, action: str) -> None:
        self.fresh()
        ended = run(self.command.run, Watch(number, action))
        where = f"{action} before operation {number} ({self.whole.operations[number - 1]})"
        if action == "full" and ended.code and not ended.clear:
            self._judge(where, f"exit {ended.code}: {_last(ended.stderr)}")
            return
        if action == "interrupt" and ended.code not in (0, 130) and not ended.clear:
            self._judge(where, f"exit {ended.code}: {_last(ended.stderr)}")
            return
        self.again(where)

    def try_moment(self, seconds: float) -> None:
        self.fresh()
        run(self.command.run, delay=seconds)
        self.again(f"killed after {seconds:.3f} s")

    def again(self, where: str) -> None:
        """Run the command again and compare."""
        second = run(self.command.run)
        if second.code:
            self._judge(where, f"then exit {second.code}: {_last(second.stderr)}")
        else:
            self._judge(where, difference(snapshot(self.command), self.expected))

    def _judge(self, where: str, problem: str) -> None:
        self.result.tried += 1
        if problem:
            self.result.failures.append(f"{where}: {problem}")
            logger.info("  %s: %s: %s", self.result.name, where, problem)


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["nothing on stderr"])[-1][:300]


def kill(
    command: "crash_commands.Command", actions: Sequence[str], sample: int | None, moments: int, seed: int
) -> Result:
    """Try operations, all of them or a sample, with each action, and random moments."""
    chance = random.Random(f"{seed}{command.name}")
    with Harness(command) as harness:
        for action in actions:
            for number in harness.points(sample, chance):
                harness.try_operation(number, action)
        for _ in range(moments):
            harness.try_moment(chance.uniform(0, harness.whole.seconds))
    return harness.result


# ------------------------------------------------------------------ no room, read-only, another user


def can_mount() -> str:
    """Return why no file system can be mounted here, or nothing."""
    folder = ROOT / "mount"
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        return made.stderr.decode().strip() or "mount failed"
    subprocess.run(["umount", folder], check=True)
    return ""


@contextlib.contextmanager
def mounted(options: str) -> Iterator[None]:
    """Make `WORK` a file system of its own."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", WORK], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", WORK], check=True)


def remount(options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", WORK], check=True)


def _fill(template: Path) -> None:
    shutil.copytree(template, WORK, symlinks=True, dirs_exist_ok=True)


def _bytes(folder: Path) -> int:
    """Return what the files take on a tmpfs, in whole pages."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.rglob("*") if path.is_file())


def no_room(command: "crash_commands.Command", steps: int) -> Result:
    """Run on file systems of several sizes, all too small; then with room."""
    with Harness(command) as harness:
        harness.result.name += " (no room)"
        before, after = _bytes(harness.template), _bytes(WORK)
        for step in range(steps):
            harness.fresh()
            room = max(after - before, PAGE) * step // steps
            with mounted(f"size={before + room + PAGE}"):
                _fill(harness.template)
                _room_point(harness, f"room for {room} bytes", lambda: remount("size=256m"))
    return harness.result


def short_files(command: "crash_commands.Command", steps: int) -> Result:
    """Run with a limit on the size of every file, which needs no right to mount."""
    with Harness(command) as harness:
        harness.result.name += " (file size)"
        made = {path for path in WORK.rglob("*") if path.is_file()}
        largest = max((path.stat().st_size for path in made), default=0)
        for step in range(steps):
            limit = largest * step // steps
            harness.fresh()

            def prepare(limit: int = limit) -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (max(limit, 4096), resource.RLIM_INFINITY))

            _room_point(harness, f"files of at most {max(limit, 4096)} bytes", lambda: None, prepare)
    return harness.result


def _room_point(
    harness: Harness, where: str, relieve: Callable[[], None], prepare: Callable[[], None] = lambda: None
) -> None:
    ended = run(harness.command.run, prepare=prepare)
    relieve()
    if ended.code and not ended.clear:
        harness._judge(where, f"exit {ended.code}: {_last(ended.stderr)}")
    else:
        harness.again(where)


def read_only(command: "crash_commands.Command") -> Result:
    """Run on a file system that is read-only, then on one that is not."""
    with Harness(command) as harness:
        harness.result.name += " (read-only)"
        harness.fresh()
        with mounted("size=256m"):
            _fill(harness.template)
            before = snapshot(command)
            remount("ro")
            ended = run(command.run)
            remount("rw")
            _refused(harness, "read-only", ended, before)
    return harness.result


def become_nobody() -> None:
    """Give up root, but for the right to read: Python itself may be installed where only root reads."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    read_search = 1 << 2
    libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(read_search, read_search, 0, 0, 0, 0))


def another_user(command: "crash_commands.Command") -> Result:
    """Run as a user who may read but not write, then as one who may."""
    with Harness(command) as harness:
        harness.result.name += " (another user)"
        harness.fresh()
        before = snapshot(command)
        ROOT.chmod(0o755)

        ended = run(command.run, prepare=become_nobody)
        _refused(harness, "another user", ended, before)
    return harness.result


def _refused(harness: Harness, where: str, ended: Outcome, before: dict[str, object]) -> None:
    if not ended.clear:
        harness._judge(where, f"exit {ended.code}: {_last(ended.stderr)}")
    elif changed := difference(snapshot(harness.command), before):
        harness._judge(where, changed)
    else:
        harness.again(where)


# ------------------------------------------------------------------ the command line


def table(results: Sequence[Result]) -> str:
    """Points tried and survived by command, and what failed."""
    lines = [f"{'command':36}{'tried':>7}{'survived':>10}"]
    lines += [f"{result.name:36}{result.tried:7}{result.survived:10}" for result in results]
    tried, survived = sum(result.tried for result in results), sum(result.survived for result in results)
    lines.append(f"{'all':36}{tried:7}{survived:10}")
    lines += [f"{result.name}: {failure}" for result in results for failure in result.failures]
    return "\n".join(lines)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every operation; otherwise --sample of each command")
    parser.add_argument("--command", action="append", choices=list(crash_commands.COMMANDS), help="only these")
    parser.add_argument("--skip", action="append", choices=list(crash_commands.COMMANDS), default=[])
    parser.add_argument(
        "--action", action="append", choices=ACTIONS, help="kill -9 (if none is named), Ctrl-C, full disk"
    )
    parser.add_argument("--sample", type=int, default=3, help="operations of each command")
    parser.add_argument("--random", type=int, default=1, help="random moments of each command")
    parser.add_argument("--room", type=int, default=0, help="instead: so many full file systems, read-only, other user")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="list the commands")
    parser.add_argument("--output", type=Path, help="write the results here, as JSON")
    return parser.parse_args(given)


def _room(command: "crash_commands.Command", steps: int) -> list[Result]:
    results = [short_files(command, steps)]
    reason = can_mount() if os.getuid() == 0 else "only root may mount"
    if reason:
        logger.info("full and read-only file systems are left out: %s", reason)
    else:
        results += [no_room(command, steps), read_only(command)]
    if os.getuid() == 0:
        results.append(another_user(command))
    return results


def main(given: Sequence[str] | None = None) -> int:
    """Try the points and print the table; the exit code says whether all survived."""
    arguments = _arguments(given)
    os.environ |= ENVIRONMENT  # a fork of a process that has imported this begins without
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)
    if arguments.list:
        logger.info("\n".join(crash_commands.COMMANDS))
        return 0
    results: list[Result] = []
    try:
        for name in arguments.command or crash_commands.COMMANDS:
            if name in arguments.skip:
                continue
            command = crash_commands.COMMANDS[name]
            if arguments.room:
                tried = _room(command, arguments.room)
            else:
                actions, sample = arguments.action or ["kill"], None if arguments.all else arguments.sample
                tried = [kill(command, actions, sample, arguments.random, arguments.seed)]
            results += tried
            for result in tried:
                logger.info("%s: %d of %d", result.name, result.survived, result.tried)
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    logger.info(table(results))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1))
    return int(any(result.failures for result in results))


if __name__ == "__main__":
    sys.exit(main())
