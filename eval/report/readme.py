"""Write measured figures into the marked blocks of a document: nothing is typed by hand."""

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from huggingface_hub import ModelCard

from modeling_lira.backbones import BACKBONES
from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_bytes, atomic_write_text
from modeling_lira.records.model_card import model_card, read_record
from modeling_lira.records.publishing import card_sources
from modeling_lira.records.saved_model import RECORDS

from .blocks import BLOCKS
from .modes import COMMANDS, Records, documents_block, modes_block
from .page import PLAIN, plots_of

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parents[1] / "results"


def render(document: str, results: Path = RESULTS) -> str:
    """Return the document with every marked block written anew from `results/<block>.json`.

    A block stands between `<!-- name -->` and `<!-- /name -->`.

    Raises
    ------
    LiraError
        A block without results.
    """
    for name in BLOCKS:
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(document):
            continue
        path = results / f"{name}.json"
        if not path.is_file():
            raise LiraError(f"block {name!r} has no results: {path} is not there")
        text = rendered(name, json.loads(path.read_text(encoding="utf-8")))
        document = pattern.sub(partial(_filled, text), document)
    for name in JOINED:
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(document):
            document = pattern.sub(partial(_filled, joined(name, results)), document)
    return document


JOINED: dict[str, tuple[Iterable[str], Callable[[Records], str]]] = {
    "modes": (COMMANDS, modes_block),
    "documents": (("retrieval", "throughput"), documents_block),
}
"""The blocks that are made of several results, of those that there are."""


def joined(name: str, results: Path = RESULTS) -> str:
    """Return a block of several results, and below it on which weights its figures rest."""
    names, block = JOINED[name]
    paths = {name: results / f"{name}.json" for name in names}
    records = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}
    return "\n\n".join([block(records), *_weights_note(name)])


WITHOUT_ENCODERS, WITH_GEMMA = ("index",), ("questions", "mgsm")
"""Blocks of random vectors, and blocks that rest on the language model too."""


def rendered(name: str, results: dict) -> str:
    """Return a block of the README: what its results say, and below it on which weights they rest."""
    return "\n\n".join([BLOCKS[name](results), *_weights_note(name)])


def _filled(text: str, block: re.Match[str]) -> str:
    return f"{block[1]}{text}\n{block[2]}"


def _weights_note(name: str) -> list[str]:
    """Return what is said below a block's figures of the weights that they rest on."""
    if name in WITHOUT_ENCODERS:
        return []
    names = ["multilingual-e5-small", *(["gemma-3-270m"] if name in WITH_GEMMA else [])]
    weights = " and ".join(f"{name} ({BACKBONES[name].quantisation})" for name in names)
    return [f"*Measured with de-quantised 4-bit weights of {weights}, not with the Hub's float weights.*"]


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


def keep_found(runs: Path) -> list[str]:
    """Keep every result of a folder of runs that a block shows, and its plots; return the names of the blocks."""
    places = {name: runs / "records" / f"{name}.json" for name in BLOCKS} | {
        name: runs / path for name, path in PLAIN.items()
    }
    kept = [name for name in BLOCKS if places[name].is_file()]
    for name in kept:
        keep(places[name], name)
        for plot in plots_of(runs, name) if name not in PLAIN else ():
            atomic_write_bytes(RESULTS / plot.name, plot.read_bytes())
    if "demo" in kept:
        chart = places["demo"].with_name("chart.png")
        atomic_write_bytes(ROOT / "model_cards" / "demo_chart.png", chart.read_bytes())
    return kept


def pages_of(root: Path = ROOT) -> list[Path]:
    """Return the README and the pages beside the packages, in which blocks may stand."""
    folders = (root / name for name in ("modeling_lira", "dataset_builder", "eval"))
    return [root / "README.md", *sorted(page for folder in folders for page in folder.rglob("*.md"))]


def card_of(folder: Path) -> str:
    """Return the card of a model folder as its own records give it, under the terms that its card names now.

    Raises
    ------
    LiraError
        A record that is damaged, or of other weights than the folder's.
    """
    metadata = ModelCard.load(folder / "README.md").data.to_dict()
    evaluation = folder / RECORDS["evaluation"]
    sources = card_sources(
        folder,
        evaluation=evaluation if evaluation.is_file() else None,
        dataset=next(iter(metadata.get("datasets") or []), ""),
        licence=metadata.get("license", ""),
    )
    return model_card(folder, read_record(folder / "config.json"), folder.name, sources)


def update_all(root: Path = ROOT) -> list[Path]:
    """Write the pages and every model card anew from their results; return the files that changed."""
    changed = []
    pages = pages_of(root)
    for path in (*pages, *sorted(path.with_name("README.md") for path in (root / "model_cards").glob("*/config.json"))):
        text = render(path.read_text(encoding="utf-8")) if path in pages else card_of(path.parent)
        if text != path.read_text(encoding="utf-8"):
            atomic_write_text(path, text)
            changed.append(path)
    return changed
