"""Work in one process or in several that train together, each a fork of one that has imported the libraries."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fresh import Forks
from helpers import free_port
from tiny_corpus import make_split

from modeling_lira import LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_split
from modeling_lira.training.options import ArcaOptions, LasrOptions
from modeling_lira.training.resumable import run_stage

Work = Callable[[dict[str, Any]], None]
CODE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
from train_in_processes import in_processes
work = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])
sys.exit(max(in_processes(count, work, task) for count, task in json.loads(sys.argv[4])))
"""


def run_alone_and_together(forks: Forks, work: Work, alone: dict[str, Any], together: dict[str, Any]) -> None:
    """Do one task in one process, then another in two, all of them without what this process has done."""
    tests = Path(__file__).parent
    tasks = json.dumps([[1, alone], [2, together]])
    done = forks.run(CODE, str(tests), work.__module__, work.__name__, tasks, cwd=tests)
    assert done.returncode == 0, done.stderr[-2000:]


def in_processes(count: int, work: Work, task: dict[str, Any]) -> int:
    """Run in forks of this process with the variables that torchrun sets; return the largest exit code."""
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(count):
        children.append(os.fork())
        if not children[-1]:
            os.environ |= {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
            os._exit(_ended(work, task))
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children)


def _ended(work: Work, task: dict[str, Any]) -> int:
    code = 1
    try:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        work(task)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    return code


def train_both_stages(task: dict[str, Any]) -> None:
    """Train a tiny model for a few steps."""
    model = LiraModel.from_backbones(task["multilingual"], task["english"], adaptor_size=16, actor_size=8)
    cache = StreamCache(task["streams"])
    tables = [cache_split(model, cache, make_split(language, number)) for number, language in enumerate(("vi", "th"))]
    arca = ArcaOptions(epochs=1, batch_size=8, learning_rates={"arca": 1e-3})
    rates = {"arca.adaptor": 1e-3, "lasr": 1e-3}
    lasr = LasrOptions(objective="joint", epochs=2, batch_size=4, learning_rates=rates, doc_queue=8, corr_queue=8)
    run_stage("arca", model, tables, tables, task["output"], options=arca)
    run_stage("lasr", model, tables, tables, task["output"], options=lasr)
