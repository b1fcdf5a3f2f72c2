"""A job of two workers on four files, started as `scale_job.py FOLDER`; a task kills the job once."""

import os
import signal
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor

from modeling_lira.agents import DictionaryTranslator
from modeling_lira.scale import Translate

TERMS = {"vi": {"áo": ("shirt",), "giày": ("shoe",)}, "km": {"អាវ": ("shirt",)}}


def translator() -> DictionaryTranslator:
    return DictionaryTranslator(TERMS, name="words")


def kill_once(data, rank: int = 0, world_size: int = 1):
    """Kill all processes of this job when the third task has made its file, if they were not killed before."""
    for document in data:
        marker = Path(sys.argv[1]) / "killed"
        if rank == 2 and not marker.exists():
            marker.touch()
            os.killpg(0, signal.SIGKILL)
        yield document


def main() -> None:
    folder = Path(sys.argv[1])
    step = Translate(str(folder / "in"), str(folder / "out"), translator)
    LocalPipelineExecutor([step, kill_once], tasks=4, workers=2, logging_dir=str(folder / "logs")).run()


if __name__ == "__main__":
    main()
