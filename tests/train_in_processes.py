"""Train a tiny model for a few steps; started alone or by torchrun: `train_in_processes.py TASK.json`."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_corpus import make_split

from modeling_lira import LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_split
from modeling_lira.training.options import ArcaOptions, LasrOptions
from modeling_lira.training.resumable import run_stage


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = json.loads(Path(sys.argv[1]).read_text())
    model = LiraModel.from_backbones(task["multilingual"], task["english"], adaptor_size=16, actor_size=8)
    cache = StreamCache(task["streams"])
    tables = [cache_split(model, cache, make_split(language, number)) for number, language in enumerate(("vi", "th"))]
    arca = ArcaOptions(epochs=1, batch_size=8, learning_rates={"arca": 1e-3})
    rates = {"arca.adaptor": 1e-3, "lasr": 1e-3}
    lasr = LasrOptions(objective="joint", epochs=2, batch_size=4, learning_rates=rates, doc_queue=8, corr_queue=8)
    run_stage("arca", model, tables, tables, task["output"], options=arca)
    run_stage("lasr", model, tables, tables, task["output"], options=replace(lasr, **task["lasr"]))


if __name__ == "__main__":
    main()
