"""One page of everything that was measured: tables, plots, and where each figure comes from."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt

from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import ENCODER, TUNED
from modeling_lira.faces.markup import markdown_code, markdown_table, markdown_text
from modeling_lira.files import atomic_write_bytes, atomic_write_text

from ..drawing import COLOURS, MARKERS, figure_of
from ..markdown import interval, scaled
from ..record import Record, read_record
from ..significance import MEAN
from .blocks import BLOCKS

PLAIN = {
    "ablations": "ablations/ablations.json",
    "demo": "demo/results.json",
    "throughput": "throughput.json",
    "index": "index/results.json",
}
"""Results that are no records, and where their commands put them, below `runs/`."""
ORDER = (
    "retrieval", "generalisation", "regret-tuned", "regret", "averages", "gate", "ablations", "few-shot", "noise",
    "backbones", "sensitivity", "bound", "cost",
    "throughput", "index", "mteb", "demo", "critic-check",
)  # fmt: skip
TITLES = {
    "retrieval": "Search and ranking on the corpus",
    "generalisation": "Text that the model never saw",
    "ablations": "Does each part earn its place?",
    "mteb": "MTEB",
}
_STYLE = """body{font:15px/1.5 system-ui,"Noto Sans",sans-serif;
max-width:80rem;margin:2rem auto;padding:0 1rem;color:#222}table{border-collapse:collapse;margin:1rem 0;display:block;
overflow-x:auto}td,th{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:right}td:first-child,
th:first-child{text-align:left}img{max-width:100%}code{background:#f4f4f4;padding:0 .2rem}"""


@dataclass(frozen=True)
class Found:
    """A result: its name, its figures, its record if it has one, its plots, and the stem of its file's name."""

    name: str
    payload: Mapping[str, Any]
    record: Record | None
    plots: tuple[Path, ...] = ()
    stem: str = ""

    @property
    def base(self) -> str:
        """The measurement's name, without what says that it was quick or which task."""
        return "mteb" if self.name.startswith("mteb-") else self.name.removesuffix("-quick")


def write_report(runs: Path, output: Path, corpus: str | None = None) -> Path:
    """Write `evaluation.md` and `evaluation.html` with their plots, of every result in a folder of runs.

    Parameters
    ----------
    runs : Path
        Holds `records/` and what the other commands left.
    output : Path
    corpus : str, optional
        Version that the records must be of; by default any, but all the same one.

    Returns
    -------
    Path
        Of the HTML page.

    Raises
    ------
    LiraError
        No result, a damaged one, records of different corpus versions.
    """
    results = found_results(runs, corpus)
    parts = ["# Evaluation", _summary(results)]
    for result in results:
        parts += [_heading(_title(result), 2), _origin(result), *_pictures(result, output), *_section(result)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    atomic_write_text(output / "evaluation.md", text)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    head = f'<meta charset="utf-8"><title>{escape("LiRA: evaluation")}</title><style>{_STYLE}</style>'
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'
    atomic_write_text(output / "evaluation.html", page)
    return output / "evaluation.html"


def found_results(runs: Path, corpus: str | None = None) -> list[Found]:
    """Return all results below a folder of runs, in the report's order; errors as in `write_report`.

    Records of other corpus versions are left out where the same measurement was made on this one.
    """
    records = _of_one_corpus(_records(runs / "records"), corpus)
    results = [
        Found(record.name, record.payload, record, plots_of(runs, record.name) if stem == record.name else (), stem)
        for stem, record in records.items()
    ]
    for name, path in PLAIN.items():
        if (runs / path).is_file():
            plots = tuple(sorted((runs / path).parent.glob("chart.png")))
            results.append(Found(name, _read(runs / path), None, plots, name))
    if not results:
        raise LiraError(f"there are no results below {runs}: run `python -m eval all --quick` first")
    order = {name: position for position, name in enumerate(ORDER)}
    return sorted(results, key=lambda result: (order.get(result.base, len(order)), result.name, result.stem))


def _records(folder: Path) -> dict[str, Record]:
    """Return the records of a folder by their files' stems."""
    return {path.stem: read_record(path, path.name.split(".")[0]) for path in sorted(folder.glob("*.json"))}


def _of_one_corpus(records: Mapping[str, Record], corpus: str | None) -> dict[str, Record]:
    """Return the records of a corpus version, by default that of the newest one."""
    dated = [record for record in records.values() if record.corpus is not None]
    newest = max(dated, key=lambda record: record.created).corpus if dated else None
    wanted = corpus or newest
    kept = {stem: record for stem, record in records.items() if record.corpus in (None, wanted)}
    names = {record.name for record in kept.values()}
    for record in records.values():
        if record.name not in names:
            raise LiraError(
                f"record {record.name!r} was measured on corpus version {record.corpus}, not {wanted}: run it again"
            )
    return kept


def plots_of(runs: Path, name: str) -> tuple[Path, ...]:
    """Return the pictures that a measurement left below a folder of runs."""
    base = name.removesuffix("-quick")
    folder = runs / base / "quick" if name != base else runs / base
    beside = runs / "records" / f"{name}.png"
    return tuple(sorted([*folder.glob("*.png"), *([beside] if beside.is_file() else [])]))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LiraError(f"{path} is damaged: {error}; run its command again") from error
    if not isinstance(content, dict):
        raise LiraError(f"{path} is no result: it holds {type(content).__name__}")
    return content


def _summary(results: Sequence[Found]) -> str:
    rows = []
    for result in results:
        record = result.record
        cells = ["", "", "", ""] if record is None else [
            record.created, record.revision, f"{record.seconds:,.0f}", f"{record.cpu_seconds:,.0f}",
        ]  # fmt: skip
        rows.append([_title(result), *cells])
    return markdown_table(["measurement", "when", "code", "seconds", "CPU-seconds"], rows)


def _title(result: Found) -> str:
    title = TITLES.get(result.base, result.base.replace("_", " ").replace("-", " ").capitalize())
    if result.base == "mteb":
        title += f": {result.payload['task']}"
    if result.record is not None and result.stem != result.name:
        title += f", an earlier one of something else ({result.stem.rpartition('.')[2]})"
    return title + (
        " (quick: it shows that everything runs, not what is true)" if result.name.endswith("-quick") else ""
    )


def _origin(result: Found) -> str:
    """Say how a result came about."""
    record = result.record
    if record is None:
        return ""
    machine = record.hardware
    parts = [
        f", revision {record.revision}, {record.created}",
        f"{machine['cpu']}, {machine['threads']} threads, {machine['ram_gib']} GiB; {machine['system']}",
        f"{record.seconds:,.0f} s, {record.cpu_seconds:,.0f} CPU-seconds, peak memory {record.peak_memory_gib:.1f} GiB",
        ", ".join(f"{name} {number}" for name, number in record.versions.items()),
    ]
    if record.corpus:
        parts.append(f"corpus version {record.corpus}")
    if record.seeds:
        parts.append(f"seeds {', '.join(map(str, record.seeds))}")
    return markdown_code(record.command) + markdown_text(". ".join(parts) + ".")


# ---------------------------------------------------------------- pictures


def _pictures(result: Found, output: Path) -> Iterator[str]:
    """Draw or copy a result's plots beside the page; yield their lines."""
    panels = GAINS.get(result.base, lambda _: {})(result.payload)
    if panels:
        name = f"{result.stem}-gains.png"
        gain_plot(output / name, panels)
        yield f"![Gains with 95% intervals]({quote(name)})"
    for path in result.plots:
        name = f"{result.stem}-{path.name}"
        atomic_write_bytes(output / name, path.read_bytes())
        yield f"![{markdown_text(path.stem.replace('_', ' '))}]({quote(name)})"


Panels = dict[str, dict[str, Mapping[str, Mapping[str, float]]]]
"""Differences by panel, series and language."""


def _retrieval_gains(payload: Mapping[str, Any]) -> Panels:
    return {what: _against_encoder(pairs) for what, pairs in payload["differences"].items()}


def _unseen_gains(payload: Mapping[str, Any]) -> Panels:
    return {name: _against_encoder(figures["differences"]) for name, figures in payload["sets"].items()}


def _against_encoder(pairs: Mapping[str, Any]) -> dict[str, Mapping[str, Mapping[str, float]]]:
    rivals = (f" against {name}" for name in (ENCODER, TUNED))
    rival = next((rival for rival in rivals if any(pair.endswith(rival) for pair in pairs)), "")
    return {pair.removesuffix(rival): differences for pair, differences in pairs.items() if pair.endswith(rival)}


GAINS: dict[str, Callable[[Mapping[str, Any]], Panels]] = {
    "retrieval": _retrieval_gains,
    "generalisation": _unseen_gains,
}


def gain_plot(path: Path, panels: Panels) -> None:
    """Draw differences to the encoder alone with their 95% intervals, one panel a set, one place a language."""
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    with figure_of(path, 1, len(panels), width=4.8, sharey=True) as (_, axes):
        for axis, (title, series) in zip(axes[0], panels.items(), strict=True):
            languages = list(dict.fromkeys(code for differences in series.values() for code in differences))
            for name, differences in series.items():
                number = names.index(name)
                shift = 0.18 * (number - (len(names) - 1) / 2)
                places = [position + shift for position, code in enumerate(languages) if code in differences]
                values = [
                    [100 * differences[code][key] for code in languages if code in differences]
                    for key in ("mean", "low", "high")
                ]
                spans = [
                    [max(0.0, mean - low) for mean, low in zip(values[0], values[1], strict=True)],
                    [max(0.0, high - mean) for mean, high in zip(values[0], values[2], strict=True)],
                ]
                axis.errorbar(
                    places, values[0], spans, fmt=MARKERS[number], color=COLOURS[number], capsize=3, markersize=5,
                    linestyle="none", label=name,
                )  # fmt: skip
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set_xticks(range(len(languages)), languages)
            axis.set_title(title, loc="left", fontsize=10)
            axis.set_xlabel("query language")
        axes[0][0].set_ylabel("gain over the encoder alone,\nnDCG@10 × 100")


# ---------------------------------------------------------------- tables

_LEGEND = (
    "differences with paired 95% bootstrap intervals; * at 5% by paired randomisation, after Holm's correction; d: "
    "Cohen's, of paired samples."
)


def _retrieval(result: Found) -> Iterator[str]:
    payload = result.payload
    languages = [*payload["languages"], MEAN]
    yield markdown_text(
        f"Models {', '.join(payload['models'])}; corpus {payload['corpus']}, {payload['split']} part; queries "
        f"{_counts(payload['queries'])}; products {_counts(payload['documents'])}. Values × 100; {_LEGEND}"
    )
    for what, systems in payload["search"].items():
        yield _heading(what)
        metrics = list(next(iter(systems.values())))
        first, *others = metrics
        rows = [
            [
                system,
                *(scaled(scores[first].get(code)) for code in languages),
                *(scaled(scores[m][MEAN]) for m in others),
            ]
            for system, scores in systems.items()
        ]
        yield markdown_table([f"{first}", *languages, *others], rows)
        yield _difference_table(payload["differences"].get(what, {}), languages)
        unseen = payload["differences_unseen_types"].get(what, {})
        if unseen:
            yield "Products of types that training never saw:"
            yield _difference_table(unseen, languages)
    yield "### By kind of query and by type, nDCG@10, mean of languages"
    kinds = list(next(iter(next(iter(payload["kinds"].values())).values())))
    types = list(next(iter(next(iter(payload["types"].values())).values())))
    rows = [
        [f"{system}, {what}", *(scaled(parts[kind][MEAN]) for kind in kinds),
         *(scaled(payload["types"][what][system][one][MEAN]) for one in types)]
        for what, systems in payload["kinds"].items() for system, parts in systems.items()
    ]  # fmt: skip
    yield markdown_table(["", *kinds, *types], rows)
    if payload["ranking"]:
        yield "### Ranking: correlation of cosines with graded similarity, queries and local titles"
        for name in next(iter(payload["ranking"].values())):
            yield markdown_table(
                [name, *languages],
                [
                    [system, *(scaled(scores[name].get(code), 1, 3) for code in languages)]
                    for system, scores in payload["ranking"].items()
                ],
            )
            rows = [
                [pair, *(interval(difference[name].get(code), 1, 3) for code in payload["languages"])]
                for pair, difference in payload["ranking_differences"].items()
            ]
            yield markdown_table(["difference", *payload["languages"]], rows)


def _heading(text: str, level: int = 3) -> str:
    return f"{'#' * min(level, 6)} {markdown_text(text)}"


def _counts(counts: Mapping[str, int]) -> str:
    several = sorted(set(counts.values()))
    return f"{several[0]:,} a language" if len(several) == 1 else ", ".join(f"{k} {v:,}" for k, v in counts.items())


def _unseen(result: Found) -> Iterator[str]:
    yield markdown_text(f"Model {result.payload['model']}. nDCG@10 × 100; the mean leaves English out; {_LEGEND}")
    for name, figures in result.payload["sets"].items():
        languages = [*figures["queries"], MEAN]
        yield _heading(f"{name}: {figures['documents']:,} English documents; queries {_counts(figures['queries'])}")
        yield markdown_table(
            ["system", *languages, "gap to English"],
            [
                [
                    system,
                    *(scaled(values.get(code)) for code in languages),
                    scaled(figures["gap_to_english"].get(system)),
                ]
                for system, values in figures["ndcg@10"].items()
            ],
        )
        yield _difference_table(figures["differences"], languages)


def _mteb(result: Found) -> Iterator[str]:
    given = "with" if result.payload["translations"] else "without"
    yield markdown_text(f"Model {result.payload['model']}, {given} translations; × 100.")
    rows = [
        (split, subset, values)
        for split, subsets in result.payload["scores"].items()
        for subset, values in subsets.items()
    ]
    columns = list(dict.fromkeys(key for _, _, values in rows for key in values))
    yield markdown_table(
        ["split", "subset", *columns], [[a, b, *(scaled(values.get(key)) for key in columns)] for a, b, values in rows]
    )


def _difference_table(pairs: Mapping[str, Any], languages: Sequence[str]) -> str:
    rows = [[pair, *(_difference(differences.get(code)) for code in languages)] for pair, differences in pairs.items()]
    return markdown_table(["difference", *languages], rows) if rows else ""


def _difference(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return "–"
    star = "*" if difference["corrected_p"] < 0.05 else ""
    return f"{interval(difference)}{star}, d {difference['effect']:.2f}"


def _section(result: Found) -> Iterator[str]:
    return SECTIONS.get(result.base, _block if result.base in BLOCKS else generic)(result)


def _block(result: Found) -> Iterator[str]:
    """Yield the README's block, then whatever else a record holds."""
    if result.record is None:
        yield BLOCKS[result.base](dict(result.payload))
    else:
        yield BLOCKS[result.base](asdict(result.record))
        yield from generic(result)


# ---------------------------------------------------------------- results of any form


def generic(result: Found) -> Iterator[str]:
    """Yield a payload of any form as headings, tables and lines."""
    yield from _nested(result.payload, 3)


def _nested(value: Mapping[str, Any], level: int) -> Iterator[str]:
    plain = [[name, _cell(part)] for name, part in value.items() if _is_cell(part)]
    if plain:
        yield markdown_table(["", "value"], plain)
    for name, part in value.items():
        if _is_cell(part):
            continue
        yield _heading(name, level)
        rows = _rows(part)
        if rows is not None:
            yield rows
        elif isinstance(part, Mapping):
            yield from _nested(part, level + 1)
        else:
            yield from _nested({str(number): item for number, item in enumerate(part)}, level + 1)


def _rows(value: Mapping[str, Any] | Sequence[Any]) -> str | None:
    """Return a table of a mapping or list of rows, if that is what it is."""
    items: list[tuple[object, object]] = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
    rows = {str(name): _row_cells(part) for name, part in items}
    if not rows or any(cells is None for cells in rows.values()):
        return None
    columns = list(dict.fromkeys(key for cells in rows.values() for key in cells or ()))
    return markdown_table(
        ["", *columns], [[name, *((cells or {}).get(key, "") for key in columns)] for name, cells in rows.items()]
    )


def _row_cells(value: object) -> dict[str, str] | None:
    """Return a row's cells by column; None if it is no row."""
    if isinstance(value, Mapping) and not _is_cell(value):
        inner: list[tuple[str, Any]] = [(str(name), part) for name, part in value.items()]
    elif isinstance(value, list | tuple) and not _is_cell(value):
        inner = [(str(number), part) for number, part in enumerate(value)]
    else:
        return None
    return {name: _cell(part) for name, part in inner} if all(_is_cell(part) for _, part in inner) else None


def _is_cell(value: object) -> bool:
    """Whether a value fits into one cell: a number, a word, an interval, a short list of such."""
    if isinstance(value, Mapping):
        return {"mean", "low", "high"} <= value.keys() and not any(
            isinstance(part, Mapping | list) for part in value.values()
        )
    if isinstance(value, list | tuple):
        return all(not isinstance(part, Mapping | list | tuple) for part in value) and len(value) <= 8
    return True


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{_cell(value['mean'])} ({_cell(value['low'])} … {_cell(value['high'])})"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(part) for part in value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


SECTIONS: dict[str, Callable[[Found], Iterator[str]]] = {
    "retrieval": _retrieval,
    "generalisation": _unseen,
    "mteb": _mteb,
}
