"""Time and peak memory of building a corpus from logs of several sizes, and what a large log takes by these."""

import json
import logging
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression

from dataset_builder.lexicon import Lexicon, load_lexicon
from dataset_builder.page import Table, to_text
from modeling_lira.errors import LiraError

from ..record import Meter

logger = logging.getLogger(__name__)
LANGUAGES = ("vi", "th", "id")
LARGE = 10_000_000
"""Rows of the log whose time and memory are extrapolated."""
_SHELF = 40
_RARE_SHARE = 0.3
_CLICKED = 0.1
_MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""Run by a small process of its own: Linux counts the memory of the process that starts another as the other's."""


@dataclass(frozen=True)
class Measured:
    """One log: its size, and what building a corpus from it took."""

    megabytes: float
    rows: int
    seconds: float
    cpu_seconds: float
    peak_memory_mib: float


def measure_logs(sizes: Sequence[int], records: Path, seed: int = 0) -> list[Measured]:
    """Build a corpus from a log of each size, each in a process of its own, and keep the record.

    Parameters
    ----------
    sizes : sequence of int
        Megabytes, at least two different ones.
    records : Path
        Folder of records; this one is `logs.json`.
    seed : int

    Raises
    ------
    LiraError
        Fewer than two sizes, or a build that fails.
    """
    if len(set(sizes)) < 2:
        raise LiraError(f"sizes {list(sizes)}: give at least two different ones, in megabytes")
    meter = Meter("logs", seeds=(seed,))
    lexicon = load_lexicon(languages=LANGUAGES)
    measured = [_measure(lexicon, size, seed) for size in sorted(set(sizes))]
    exponents = {name: _exponent(measured, name) for name in ("cpu_seconds", "peak_memory_mib")}
    expected = {name: _expected(measured, name, LARGE) for name in ("seconds", "cpu_seconds", "peak_memory_mib")}
    payload = {"logs": [asdict(log) for log in measured], "exponents": exponents, f"at {LARGE:,} rows": expected}
    meter.record(payload).write(records)
    header = ["megabytes", "rows", "seconds", "CPU-seconds", "peak MiB"]
    logger.info("corpora from logs\n%s", to_text(Table(header, [list(asdict(log).values()) for log in measured])))
    logger.info("CPU time grows by size ** %.2f, memory by size ** %.2f", *exponents.values())
    logger.info("by a line, %s rows take %.0f s, %.0f CPU-seconds, %.0f MiB", f"{LARGE:,}", *expected.values())
    return measured


def _measure(lexicon: Lexicon, size: int, seed: int) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log.csv"
        rows = write_log(lexicon, log, size * 1_000_000, seed)
        command = [sys.executable, "-m", "dataset_builder", "build", "--source", "logs", "--input", str(log)]
        measuring = [sys.executable, "-c", _MEASURE, *command, "--output", str(Path(name) / "corpus")]
        printed = subprocess.run(measuring, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        code, seconds, cpu, kibibytes = json.loads(printed.splitlines()[-1])
        if code:
            raise LiraError(f"building from a log of {size} MB ended with exit code {code}")
        return Measured(log.stat().st_size / 1e6, rows, seconds, cpu, kibibytes / 1024)


def _expected(measured: Sequence[Measured], name: str, rows: int) -> float:
    """Return a quantity at a number of rows, by the line through the measured ones."""
    values = [getattr(log, name) for log in measured]
    slope, intercept = linear_regression([log.rows for log in measured], values)
    return intercept + slope * rows


def _exponent(measured: Sequence[Measured], name: str) -> float:
    """Return the slope of a line through the logarithms."""
    sizes = [math.log(log.megabytes) for log in measured]
    values = [math.log(getattr(log, name)) for log in measured]
    middle, height = sum(sizes) / len(sizes), sum(values) / len(values)
    spread = sum((size - middle) ** 2 for size in sizes)
    return sum((size - middle) * (value - height) for size, value in zip(sizes, values, strict=True)) / spread


def write_log(lexicon: Lexicon, path: Path, size: int, seed: int = 0) -> int:
    """Write a log of about so many bytes; return its rows.

    A part of the searches is asked by nobody else, as in real logs.
    """
    rows = written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("query,product,action,position,session\n")
        for line in _lines(lexicon, random.Random(seed)):
            file.write(line)
            rows, written = rows + 1, written + len(line.encode())
            if written >= size:
                break
    return rows


def _lines(lexicon: Lexicon, rng: random.Random) -> Iterator[str]:
    types, brands = list(lexicon.types), [brand.latin for brand in lexicon.brands]
    forms = {
        language: {name: lexicon.vocabularies[language][f"type:{name}"].forms() for name in types}
        for language in LANGUAGES
    }
    session = 0
    while True:
        session += 1
        names = forms[rng.choice(LANGUAGES)]
        name = types[int(len(types) * rng.random() ** 2)]
        query = rng.choice(names[name])
        if rng.random() < _RARE_SHARE:
            query += f" {rng.choice(brands)} {rng.randrange(100_000)}"
        for position in range(1, 11):
            shown = name if rng.random() < 0.7 else rng.choice(types)
            number = rng.randrange(_SHELF)
            product = f"{names[shown][number % len(names[shown])]} {brands[number % len(brands)]} {number}"
            yield f'"{query}","{product}",impression,{position},s{session}\n'
            if rng.random() < _CLICKED:
                yield f'"{query}","{product}",click,{position},s{session}\n'
