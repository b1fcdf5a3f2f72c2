"""Write measured figures into the marked blocks of a document: nothing is typed by hand."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text

RESULTS = Path(__file__).with_name("results")


def demo_block(results: dict) -> str:
    """Render the demo's tables."""
    lines = []
    for title, numbers in results["ndcg@10"].items():
        languages = list(numbers["systems"]["LiRA"])
        lines += [
            f"nDCG@10 × 100 on test, searching {title}:",
            "",
            row_of(["system", *languages]),
            row_of(["---"] * (len(languages) + 1)),
        ]
        for system, values in numbers["systems"].items():
            lines.append(row_of([system, *(f"{100 * values[language]:.1f}" for language in languages)]))
        for rival, gains in numbers["gains"].items():
            lines.append(row_of([f"**gain over {rival}**", *(f"{100 * mean:+.1f}" for mean, _, _ in gains.values())]))
            bounds = (f"{100 * low:+.1f} … {100 * high:+.1f}" for _, low, high in gains.values())
            lines.append(row_of(["95% interval", *bounds]))
        lines.append("")
    seconds = results["seconds"]
    training = sum(value for name, value in seconds.items() if name.startswith("train stage"))
    total, threads = sum(seconds.values()), results["threads"]
    lines.append(
        f"One run, seed {results['seed']}: {total:.0f} s on {threads} threads, {training:.0f} s of it training; "
        f"peak memory {results['peak_memory_gib']:.1f} GiB. Intervals: paired bootstrap over test queries."
    )
    return "\n".join(lines)


def throughput_block(results: dict) -> str:
    """Render the throughput table."""
    lines = [row_of(["system", "texts/s", "ratio"]), row_of(["---"] * 3)]
    for system, ratio in results["ratio"].items():
        lines.append(row_of([system, f"{results['texts_per_second'][system]:.0f}", f"{ratio:.2f}"]))
    lines.append("")
    lines.append(
        f"{results['texts']} corpus queries on {results['threads']} threads, batches of {results['batch_size']}."
    )
    return "\n".join(lines)


def check_block(results: dict) -> str:
    """Render how often the critic in use puts a true translation above an unrelated one."""
    languages = results["languages"]
    shares = [f"{values['share']:.3f}" for values in languages.values()]
    counts = [str(values["count"]) for values in languages.values()]
    return "\n".join(
        [
            row_of(["", *languages]),
            row_of(["---"] * (len(languages) + 1)),
            row_of(["share", *shares]),
            row_of(["comparisons", *counts]),
        ]
    )


def ablations_block(results: dict) -> str:
    """Render every system's means on test, and LiRA's gain over it."""
    ways = list(next(iter(results["systems"].values()))["ndcg@10"])
    columns = ["system", *ways, "unseen types", "Pearson", "Spearman", "LiRA's gain, English titles (95%)"]
    lines = [row_of(columns), row_of(["---"] * len(columns))]
    for name, own in results["systems"].items():
        cells = [
            _value(own["ndcg@10"][way])
            + (f" ± {100 * spread:.1f}" if (spread := own["deviation_over_seeds"][way]) else "")
            for way in ways
        ]
        unseen = _value(own["ndcg@10_unseen_types"]["English titles"])
        correlations = [_value(value, 1, 3) for value in own["correlation"].values()]
        gain = results["gains"].get(f"English titles against {name}")
        shown = "" if gain is None else "{:+.1f} ({:+.1f} … {:+.1f})".format(*(100 * v for v in gain["all"]["mean"]))
        lines.append(row_of([name, *cells, unseen, *correlations, shown]))
    seeds = ", ".join(str(seed) for seed in results["seeds"])
    lines += ["", f"nDCG@10 × 100 on test, mean of {len(results['corpus']['languages'])} languages; seeds {seeds}."]
    return "\n".join(lines)


def _value(value: float | None, factor: int = 100, digits: int = 1) -> str:
    return "–" if value is None or value != value else f"{factor * value:.{digits}f}"  # NaN equals nothing


def generalisation_block(results: dict) -> str:
    """Render what a saved model reaches on texts unlike its training's."""
    lines = []
    for name, own in results["payload"]["sets"].items():
        languages = list(next(iter(own["ndcg@10"].values())))
        lines += [f"{name}, nDCG@10 × 100:", "", row_of(["system", *languages]), row_of(["---"] * (len(languages) + 1))]
        for system, values in own["ndcg@10"].items():
            lines.append(row_of([system, *(_value(values.get(language)) for language in languages)]))
        for pair, values in own["differences"].items():
            if "encoder alone" in pair:
                mean = values["mean"]
                lines += ["", f"{pair}: {{:+.1f}} ({{:+.1f}} … {{:+.1f}}).".format(*(100 * mean[k] for k in KEYS))]
        lines.append("")
    return "\n".join(lines)


KEYS = ("mean", "low", "high")


BLOCKS: dict[str, Callable[[dict], str]] = {
    "ablations": ablations_block,
    "generalisation": generalisation_block,
    "demo": demo_block,
    "throughput": throughput_block,
    "critic-check": check_block,
}


def render(document: str, results: Path = RESULTS) -> str:
    """Return the document with every marked block written anew from `results/<block>.json`.

    A block stands between `<!-- name -->` and `<!-- /name -->`.

    Raises
    ------
    LiraError
        A block without results.

    Source: ours.
    """
    for name, block in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(document):
            continue
        path = results / f"{name}.json"
        if not path.is_file():
            raise LiraError(f"block {name!r} has no results: {path} is not there")
        text = block(json.loads(path.read_text(encoding="utf-8")))
        document = pattern.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", document)
    return document


def keep(path: Path, name: str) -> None:
    """Copy a results file to where the block `name` reads it; raise `LiraError` if it is not one."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise LiraError(f"no results in {path}: {error}") from error
    BLOCKS[name](results)
    atomic_write_text(RESULTS / f"{name}.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def update(path: Path) -> None:
    """Rewrite the marked blocks of the file at `path`."""
    atomic_write_text(path, render(path.read_text(encoding="utf-8")))


def row_of(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
