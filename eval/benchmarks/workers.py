"""How many texts one and two workers of datatrove embed, by the clock and by CPU time."""

import json
import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datatrove.executor import LocalPipelineExecutor

from dataset_builder.page import Table, to_text
from modeling_lira.data.corpus import corpus_languages, load_split
from modeling_lira.errors import LiraError
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.saved_model import load_model
from modeling_lira.scale import Encode
from modeling_lira.search.choices import Kind

from ..record import Meter, Record, corpus_version, weights_of

logger = logging.getLogger(__name__)


class TimedEncode(Encode):
    """Embeds texts and writes beside each file when that began and ended, and its CPU time, without loading."""

    def process(self, name: str, source: Path, target: Path) -> int:
        """Embed one file."""
        self.made(self.make)
        start, cpu = time.time(), time.process_time()
        rows = super().process(name, source, target)
        times = {"start": start, "end": time.time(), "cpu": time.process_time() - cpu, "rows": rows}
        with self.output.open(f"{Path(name).stem}.json", "w") as file:
            json.dump(times, file)
        return rows


def measure_workers(
    model: str, corpus: str, folder: Path, texts: int, workers: Sequence[int], backbones: tuple[str | None, str | None]
) -> Record:
    """Embed the same titles with each number of workers in turn, and return the record.

    Parameters
    ----------
    model : str
        Folder or run of `lira train`.
    corpus : str
        Its test titles are embedded.
    folder : Path
        A new one; gets the texts and the embeddings.
    texts : int
        How many each number of workers embeds.
    workers : sequence of int
        Numbers of processes, each of one thread; the first is what the others are compared with.
    backbones : tuple of str or None
        Multilingual and English, in place of those that the model names.

    Raises
    ------
    LiraError
        A folder that is there already, or a model or corpus that cannot be read.
    """
    if folder.exists():
        raise LiraError(f"{str(folder)!r} is there already: give a new folder")
    meter = Meter("workers", corpus=corpus_version(corpus))
    _write_texts(corpus, folder / "texts", texts, max(workers))
    figures = {}
    for count in workers:
        output = folder / f"workers-{count}"
        step = TimedEncode(str(folder / "texts"), str(output), partial(_loaded, model, backbones), Kind.document)
        options = {"tasks": max(workers), "workers": count, "logging_dir": str(folder / f"logs-{count}")}
        LocalPipelineExecutor([step], **options).run()
        figures[count] = _figures([json.loads(path.read_text()) for path in sorted(output.glob("*.json"))])
    first = figures[workers[0]]["texts_per_second"]
    rows = [[str(count), *row.values(), row["texts_per_second"] / first] for count, row in figures.items()]
    columns = ["workers", "texts/s", "CPU ms a text", "of the first's"]
    logger.info("%s", to_text(Table(columns, rows)))
    payload = {"texts": texts, "workers": figures, "weights": [weights_of(model)]}
    return meter.record(payload, backbones=list(backbones))


def _write_texts(corpus: str, folder: Path, count: int, files: int) -> None:
    folder.mkdir(parents=True)
    splits = [load_split(corpus, language, "test") for language in corpus_languages(corpus)]
    titles = [(title, split.language) for split in splits for title in split.titles]
    rows = [(str(row), *titles[row % len(titles)]) for row in range(count)]
    for number in range(files):
        columns = zip(*rows[number::files], strict=True)
        pq.write_table(pa.table(list(map(pa.array, columns)), ["id", "text", "lang"]), folder / f"{number}.parquet")


def _loaded(model: str, backbones: tuple[str | None, str | None]) -> LiraModel:
    torch.set_num_threads(1)
    return load_model(model, *backbones)


def _figures(times: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return texts a second from when the first file was begun until the last was done, and CPU time a text."""
    rows = sum(row["rows"] for row in times)
    seconds = max(row["end"] for row in times) - min(row["start"] for row in times)
    return {"texts_per_second": rows / seconds, "cpu_ms": 1000 * sum(row["cpu"] for row in times) / rows}
