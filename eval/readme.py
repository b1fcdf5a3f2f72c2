"""Write measured figures into the marked blocks of a document: nothing is typed by hand."""

import json
import re
from collections.abc import Callable
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
            _row(["system", *languages]),
            _row(["---"] * (len(languages) + 1)),
        ]
        for system, values in numbers["systems"].items():
            lines.append(_row([system, *(f"{100 * values[language]:.1f}" for language in languages)]))
        for rival, gains in numbers["gains"].items():
            lines.append(_row([f"**gain over {rival}**", *(f"{100 * mean:+.1f}" for mean, _, _ in gains.values())]))
            bounds = (f"{100 * low:+.1f} … {100 * high:+.1f}" for _, low, high in gains.values())
            lines.append(_row(["95% interval", *bounds]))
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
    lines = [_row(["system", "texts/s", "ratio"]), _row(["---"] * 3)]
    for system, ratio in results["ratio"].items():
        lines.append(_row([system, f"{results['texts_per_second'][system]:.0f}", f"{ratio:.2f}"]))
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
            _row(["", *languages]),
            _row(["---"] * (len(languages) + 1)),
            _row(["share", *shares]),
            _row(["comparisons", *counts]),
        ]
    )


BLOCKS: dict[str, Callable[[dict], str]] = {
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


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
