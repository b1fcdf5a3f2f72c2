"""Write measured figures into the marked blocks of a document: nothing is typed by hand."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import ModelCard

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_bytes, atomic_write_text
from modeling_lira.model_card import model_card, read_record
from modeling_lira.publishing import RECORDS, card_sources

ROOT = Path(__file__).parents[1]
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


def retrieval_block(results: dict) -> str:
    """Render how a saved model searches the corpus, mean of languages, and its gains over the encoder alone."""
    payload = results["payload"]
    searches = payload["search"]
    systems = list(dict.fromkeys(system for found in searches.values() for system in found))
    lines = [row_of(["nDCG@10 × 100", *searches]), row_of(["---"] * (len(searches) + 1))]
    for system in systems:
        cells = [_value(found[system]["ndcg@10"]["mean"]) if system in found else "–" for found in searches.values()]
        lines.append(row_of([system, *cells]))
    for pair in list(dict.fromkeys(pair for found in payload["differences"].values() for pair in found)):
        found = [own.get(pair, {}).get("mean") for own in payload["differences"].values()]
        cells = ["–" if own is None else _gain(own) for own in found]
        lines.append(row_of([f"**{pair}**", *cells]))
    languages, queries = len(payload["languages"]), sum(payload["queries"].values())
    lines += [
        "",
        f"Mean of {languages} languages, {queries:,} {payload['split']} queries; paired 95% intervals, * at 5% "
        f"by paired randomisation after Holm's correction. `{results['command']}`",
    ]
    return "\n".join(lines)


def _gain(own: dict) -> str:
    star = "*" if own["corrected_p"] < 0.05 else ""
    return "{:+.1f}{} ({:+.1f} … {:+.1f})".format(100 * own["mean"], star, 100 * own["low"], 100 * own["high"])


def index_block(results: dict) -> str:
    """Render recall, latency and size of the search index."""
    columns = ["index", "recall@10", "p50 ms", "p95 ms", "bytes a row", "built in s"]
    lines = [row_of(columns), row_of(["---"] * len(columns))]
    for method, own in results["methods"].items():
        figures = [f"{own[name]:.1f}" for name in ("p50_ms", "p95_ms", "bytes_a_row")]
        lines.append(row_of([method, f"{own['recall']:.3f}", *figures, f"{own['build_seconds']:.0f}"]))
    lines += [
        "",
        f"{results['rows']:,} embeddings of {results['width']} numbers, {results['real_titles']:,} of them of real "
        f"titles; {results['queries']:,} queries, one at a time, on {results['threads']} threads.",
    ]
    return "\n".join(lines)


def answers_block(results: dict) -> str:
    """Render the share of questions that every system answers right, and LiRA's gain over it."""
    payload = results["payload"]
    measures = payload["measures"][payload["main"]]
    languages = list(next(iter(measures.values())))
    lines = [row_of(["accuracy × 100", *languages, "LiRA's gain, mean (95%)"])]
    lines.append(row_of(["---"] * (len(languages) + 2)))
    for system, own in measures.items():
        cells = [_value(own[code]) for code in languages]
        gain = payload["differences"].get(f"LiRA against {system}", {}).get("mean")
        lines.append(row_of([system, *cells, "" if gain is None else _gain(gain)]))
    spread = payload["deviation_over_models"].get("LiRA") or 0.0
    english = payload["english"].get("LiRA against language model alone", {}).get("en")
    lines += [
        "",
        f"{', '.join(f'{count} {code}' for code, count in payload['questions'].items())} questions; mean of "
        f"{len(payload['languages'])} languages without English; standard deviation of LiRA's over seeds "
        f"{100 * spread:.1f}{'' if english is None else f'; English against the model alone {_gain(english)}'}. "
        f"`{results['command']}`",
    ]
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[dict], str]] = {
    "own": answers_block,
    "mgsm": answers_block,
    "ablations": ablations_block,
    "generalisation": generalisation_block,
    "retrieval": retrieval_block,
    "index": index_block,
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
    try:
        BLOCKS[name](results)
    except KeyError as error:
        raise LiraError(f"{path} does not hold what the block shows: {error} is missing") from error
    atomic_write_text(RESULTS / f"{name}.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def update(path: Path) -> None:
    """Rewrite the marked blocks of the file at `path`."""
    atomic_write_text(path, render(path.read_text(encoding="utf-8")))


def keep_found(runs: Path) -> list[str]:
    """Keep every result of a folder of runs that a block shows; return the names of the blocks."""
    from .report import PLAIN

    places = {name: runs / "records" / f"{name}.json" for name in BLOCKS} | {
        name: runs / place for name, place in PLAIN.items()
    }
    found = [name for name in BLOCKS if places[name].is_file()]
    for name in found:
        keep(places[name], name)
    if "demo" in found:
        chart = places["demo"].with_name("chart.png")
        atomic_write_bytes(ROOT / "model_cards" / "demo_chart.png", chart.read_bytes())
    return found


def card_of(folder: Path) -> str:
    """Return the card of a model folder as its own records give it, under the terms that its card names now.

    Raises
    ------
    LiraError
        A record that is damaged, or of other weights than the folder's.

    Source: ours.
    """
    told = ModelCard.load(folder / "README.md").data.to_dict()
    evaluation = folder / RECORDS["evaluation"]
    sources = card_sources(
        folder,
        evaluation=evaluation if evaluation.is_file() else None,
        dataset=next(iter(told.get("datasets") or []), ""),
        licence=told.get("license", ""),
    )
    return model_card(folder, read_record(folder / "config.json"), folder.name, sources)


def update_all(root: Path = ROOT) -> list[Path]:
    """Write README and every model card anew from their results; return the files that changed."""
    changed = []
    readme = root / "README.md"
    for path in (readme, *sorted((root / "model_cards").glob("*/README.md"))):
        text = render(path.read_text(encoding="utf-8")) if path == readme else card_of(path.parent)
        if text != path.read_text(encoding="utf-8"):
            atomic_write_text(path, text)
            changed.append(path)
    return changed


def row_of(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
