"""The demo's steps: corpus, tuning, streams, both training stages, test table, saving, loading anew, search."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor

from ..data.corpus import RetrievalSplit, load_split
from ..data.stream_cache import StreamCache
from ..data.tables import SplitTables, cache_split
from ..errors import LiraError
from ..evaluation.comparison import (
    ENCODER,
    LIRA,
    LIRA_FREE,
    TRANSLATE,
    TUNED,
    UNTRAINED,
    Comparison,
    Scorer,
    compare,
    encoder_alone,
    searching,
    trained,
    translate_then_encode,
    untrained,
)
from ..evaluation.embedded import embed_table
from ..faces.terminal import one_line
from ..files import atomic_path, atomic_write_text
from ..modeling_lira import LiraModel
from ..records.provenance import SUBJECT, Clock, write_record
from ..training.digests import code_version
from ..training.options import ArcaOptions, LasrOptions, TuneOptions
from ..training.resumable import run_stage
from ..training.run_folder import run_folder
from ..training.tuning import tune_encoders
from .chart import bar_chart

Log = list[dict[str, float]]

LANGUAGES = ("vi", "th", "id", "ms", "ur", "bn", "fil")
TYPED_QUERIES = {
    "vi": "nồi cơm điện màu trắng",
    "th": "เสื้อฮู้ดสีดำ",
    "id": "sandal jepit wanita",
    "ms": "tudung warna hitam",
    "ur": "بچوں کا فیڈر",
    "bn": "বাচ্চাদের দুধের বোতল",
    "fil": "tsinelas na pambabae",
}
"""The queries that the demo searches for in the end, one for each language."""

OPTIONS: dict[str, ArcaOptions | LasrOptions] = {"arca": ArcaOptions(), "lasr": LasrOptions(batch_size=44, epochs=10)}
"""Smaller batches and more epochs than on the whole corpus: a language of the slice has 220 training queries."""

TUNE = TuneOptions(epochs=1, batch_size=44, precision="bfloat16", validation=20)
"""Fewer passes than on the whole corpus: two minutes on two cores."""

_INTERRUPTED = (130, -2)
"""Exit codes of a process that Ctrl-C ended: the project's own, or the number of the signal."""
CATALOGUES = {"English titles": True, "titles in the query's language": False}
console = Console(width=110)


@dataclass
class Steps:
    """Prints each step when it starts and how many seconds it took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce and time one step, the body of the `with` block."""
        console.print(f"[bold]{len(self.seconds) + 1}. {name}[/bold]")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)
        console.print(f"   {self.seconds[name]:.1f} s", style="dim")

    @property
    def total(self) -> float:
        """The seconds of all steps together."""
        return round(sum(self.seconds.values()), 1)


def run_demo(output: Path, seed: int, multilingual: str, english: str) -> None:
    """Run every step of the demo; results of an earlier run of the same options are used again.

    Parameters
    ----------
    output : Path
        Gets `corpus/`, `streams/`, `model/`, `results.json` and `chart.png`.
    seed : int
    multilingual, english : str
        Backbones.

    Raises
    ------
    LiraError
        If a backbone is not installed, the folder has the model of another run, or another process is using it.
    """
    identity = {"seed": seed, "multilingual": multilingual, "english": english, "code": code_version()}
    with run_folder(output, identity) as claim:
        _run_steps(output, seed, multilingual, english, claim)


def _run_steps(output: Path, seed: int, multilingual: str, english: str, claim: Callable[[], None]) -> None:
    """Run every step in a folder that is locked for this run; `claim` marks the folder as this run's."""
    torch.manual_seed(seed)
    clock, steps = Clock(), Steps()
    with steps.step("load the two encoders"):
        model = LiraModel.from_backbones(multilingual, english, languages=[*LANGUAGES, "en"], num_feature_bins=1)
    with steps.step("load the corpus slice"):
        corpus = _build_corpus(output / "corpus")
        splits = {
            name: [load_split(str(corpus), language, name) for language in LANGUAGES]
            for name in ("train", "validation", "test")
        }
        _describe(splits)
    cache = StreamCache(output / "streams")
    with steps.step("test the encoders as they come"):
        tests = [_encoded(model, cache, split, "test") for split in splits["test"]]
        scores = {name: _baselines(model, tests, in_english) for name, in_english in CATALOGUES.items()}
    with steps.step("tune the multilingual encoder"):
        names = {"multilingual": multilingual, "english": english}
        logs = tune_encoders(model, names, splits["train"], splits["validation"], output, TUNE, seed)
    with steps.step("read every text with both encoders"):
        streams = {name: [_encoded(model, cache, split, name) for split in group] for name, group in splits.items()}
    logs |= _train(model, streams, output, seed, steps)
    with steps.step("test LiRA"):
        comparisons = _compared(model, streams["test"], scores)
    claim()
    with steps.step("save the model"):
        model.save_pretrained(output / "model", save_backbones=True)
    with steps.step("load it in a new process that cannot import this package, and search"):
        reloaded = _reload(model, streams, output)
    with steps.step("draw the chart"):
        bar_chart(comparisons, output / "chart.png")
    _report(comparisons, reloaded, logs, clock, steps, output, seed)


def _build_corpus(folder: Path) -> Path:
    """Build the slice of the corpus, if it is not there, by the command that a user would run."""
    if not (folder / "README.md").is_file():
        order = [sys.executable, "-m", "dataset_builder", "build", "--output", str(folder), "--size", "slice"]
        code = subprocess.run([*order, "--languages", ",".join(LANGUAGES)], check=False).returncode
        if code in _INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise LiraError(f"`python -m dataset_builder build --output {folder} --size slice` failed: see above")
    return folder


def _encoded(model: LiraModel, cache: StreamCache, split: RetrievalSplit, part: str) -> SplitTables:
    """Cache a split's streams; print a line about it where no progress bar is shown."""
    tables = cache_split(model, cache, split)
    if not sys.stderr.isatty():
        console.print(f"   {split.language} {part}: {len(split.queries) + len(split.titles):,} texts", style="dim")
    return tables


def _describe(splits: dict[str, list[RetrievalSplit]]) -> None:
    for name, group in splits.items():
        queries = sum(len(split.queries) for split in group)
        products = sum(len(split.titles) for split in group)
        console.print(f"   {name}: {queries:,} queries and {products:,} products in {len(group)} languages")


Scores = dict[str, dict[str, Tensor]]


def _baselines(model: LiraModel, tests: list[SplitTables], in_english: bool) -> Scores:
    """Return what the encoders reach without any training."""
    systems: dict[str, Scorer] = {ENCODER: searching(encoder_alone, english_titles=in_english)}
    if in_english:
        systems[TRANSLATE] = searching(translate_then_encode)
    systems[UNTRAINED] = untrained(model, in_english)
    return compare(tests, systems).scores


def _train(
    model: LiraModel, streams: dict[str, list[SplitTables]], output: Path, seed: int, steps: Steps
) -> dict[str, Log]:
    logs: dict[str, Log] = {}
    for stage in ("arca", "lasr"):
        with steps.step(f"train stage {1 if stage == 'arca' else 2} ({stage})"):
            logs[stage] = run_stage(stage, model, streams["train"], streams["validation"], output, seed, OPTIONS[stage])
    return logs


def _compared(model: LiraModel, tests: list[SplitTables], scores: dict[str, Scores]) -> dict[str, Comparison]:
    """Return the scores of every system, those of the baselines first."""
    questions = {tables.split.language: tables.split.questions for tables in tests}
    comparisons = {}
    for name, in_english in CATALOGUES.items():
        systems = {
            TUNED: searching(encoder_alone, english_titles=in_english),
            LIRA: trained(model, in_english, True),
            LIRA_FREE: trained(model, in_english, False),
        }
        comparisons[name] = Comparison({**scores[name], **compare(tests, systems).scores}, questions)
    return comparisons


def _reload(model: LiraModel, streams: dict[str, list[SplitTables]], output: Path) -> dict[str, Any]:
    """Let a new process load the model, compare embeddings and search all titles; return its results."""
    texts, languages, candidates = [], [], []
    for split in streams["test"]:
        texts += split.split.queries.texts[:8]
        languages += split.split.queries.languages[:8]
        candidates += split.split.queries.candidates[:8]
    expected = {"texts": model.encode_query(texts, languages, candidates=candidates)}
    titles: dict[str, list[str]] = {}
    for parts in zip(*streams.values(), strict=True):
        language = parts[0].split.language
        expected[f"documents.{language}"] = torch.cat([embed_table(model, part.local) for part in parts])
        titles[language] = [title for part in parts for title in _bilingual_titles(part.split)]
    with atomic_path(output / "reload.safetensors") as temporary:
        save_file(expected, temporary)
    task = {
        "model": str((output / "model").resolve()),
        "expected": str((output / "reload.safetensors").resolve()),
        "texts": texts,
        "languages": languages,
        "candidates": candidates,
        "queries": [{"language": language, "text": text} for language, text in TYPED_QUERIES.items()],
        "titles": titles,
    }
    task_file = output.resolve() / "reload_task.json"
    atomic_write_text(task_file, json.dumps(task, ensure_ascii=False))
    script = Path(__file__).with_name("reload.py")
    subprocess.run([sys.executable, "-P", str(script), str(task_file)], check=True, cwd=output)
    return json.loads((output / "reload_answer.json").read_text(encoding="utf-8"))


def _bilingual_titles(split: RetrievalSplit) -> list[str]:
    pairs = zip(split.titles, split.english_titles, strict=True)
    return [f"{local}  |  {english}" if english else local for local, english in pairs]


def _report(
    comparisons: dict[str, Comparison],
    reloaded: dict[str, Any],
    logs: dict[str, Log],
    clock: Clock,
    steps: Steps,
    output: Path,
    seed: int,
) -> None:
    console.print(_table(comparisons))
    for (language, text), answers in zip(TYPED_QUERIES.items(), reloaded["answers"], strict=True):
        console.print(f"[bold]{language}[/bold]  {text}", highlight=False)
        for answer in answers:
            console.print(
                f"    {answer['score']:.3f}  {one_line(answer['title'])}", highlight=False, markup=False, soft_wrap=True
            )
    gap = reloaded["largest_gap"]
    console.print(f"\nreloaded: largest difference of an embedding {gap:.1e}", highlight=False)
    origin = clock.provenance()
    peak = origin["peak_memory_gib"]
    training = sum(value for name, value in steps.seconds.items() if name.startswith(("tune ", "train stage")))
    console.print(f"{steps.total:.0f} s in all, {training:.0f} s of it training; peak memory {peak:.1f} GiB")
    console.print(
        f"model {output / 'model'}, chart {output / 'chart.png'}, numbers {output / 'results.json'}", highlight=False
    )
    console.print(_what_next(output), highlight=False, soft_wrap=True)
    results = {
        **origin,
        SUBJECT: {"seed": seed},
        "seed": seed,
        "seconds": steps.seconds,
        "largest_reload_difference": gap,
        "threads": torch.get_num_threads(),
        "ndcg@10": {title: _numbers(comparison) for title, comparison in comparisons.items()},
        "training": logs,
    }
    write_record(output / "results.json", results)


def _what_next(output: Path) -> str:
    """Return the three commands that one may want next."""
    return (
        "\nwhat next\n"
        f"  lira space --model {output / 'model'}   # try it in a browser; needs the extra 'space'\n"
        f"  lira serve --model {output / 'model'}   # embeddings over HTTP\n"
        "  python -m dataset_builder build --source logs --input LOG.csv --output runs/shop   # your own shop's log"
    )


def _table(comparisons: dict[str, Comparison]) -> Table:
    """Return a table with a section for each kind of titles: every system, then LiRA's gains over the best others."""
    languages = [*next(iter(next(iter(comparisons.values())).scores.values())), None]
    first, *others = comparisons
    title = f"nDCG@10 x 100 on test, searching {', then '.join([first, *others])}"
    table = Table("system", title=title, title_justify="left")
    for language in languages:
        table.add_column(language or "mean", justify="right")
    for what, comparison in comparisons.items():
        table.add_section()
        table.add_row(what, style="bold")
        for system in comparison.scores:
            table.add_row(system, *(f"{100 * comparison.mean(system, language):.1f}" for language in languages))
        for rival in _rivals(comparison):
            gains = [comparison.gain(LIRA, rival, language) for language in languages]
            table.add_row(f"gain over {rival}", *(f"{100 * mean:+.1f}" for mean, _, _ in gains))
            table.add_row("  95% interval from", *(f"{100 * low:+.1f}" for _, low, _ in gains), style="dim")
            table.add_row("  to", *(f"{100 * high:+.1f}" for _, _, high in gains), style="dim")
    return table


def _rivals(comparison: Comparison) -> list[str]:
    """Return the systems that LiRA is compared with: the best other one, and its encoder alone, tuned and not."""
    return list(dict.fromkeys([comparison.best_rival(LIRA), TUNED, ENCODER]))


def _numbers(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison's means, intervals and gains for the record."""
    languages = list(next(iter(comparison.scores.values())))
    return {
        "systems": {
            system: {language or "mean": comparison.mean(system, language) for language in [*languages, None]}
            for system in comparison.scores
        },
        "intervals": {
            system: {language or "all": comparison.interval(system, language) for language in [*languages, None]}
            for system in comparison.scores
        },
        "gains": {
            rival: {language or "all": comparison.gain(LIRA, rival, language) for language in [*languages, None]}
            for rival in _rivals(comparison)
        },
    }
