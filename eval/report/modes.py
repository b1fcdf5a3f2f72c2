"""The README's table of what to use when, from every record that there is; what was not measured says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modeling_lira.evaluation.names import ENCODER, LIRA, LIRA_FREE
from modeling_lira.faces.markup import Markdown, markdown_code, markdown_head, markdown_row, markdown_text

from ..markdown import interval, negated
from ..significance import MEAN
from ..studies.conditions import CRITIC, LOCAL, NONE, REFERENCE

Records = Mapping[str, Mapping[str, Any]]
"""Results by the name of their file, each as its command wrote it."""
COMMANDS = {
    "regret-tuned": "python -m eval regret --config tuned",
    "regret": "python -m eval regret --config frozen",
    "retrieval": "python -m eval retrieval",
    "generalisation": "python -m eval generalisation",
    "cost": "python -m eval cost",
}
"""What writes each record that the table is made of."""
_UNKNOWN = "not measured yet"


@dataclass(frozen=True)
class Mode:
    """A row: a situation, what to use in it, the record and the condition of its gain, how a query is served."""

    situation: str
    use: str
    record: str
    condition: str
    serving: str = ""


TRANSLATED = f"{LIRA}; translator counted"
MODES = (
    Mode("a search log and a translator", "[train on the log](#from-a-shops-log-to-a-model-on-the-hub) with "
         "`--config tuned`, send translations along", "regret-tuned", CRITIC, TRANSLATED),
    Mode("a search log, no translator at query time", "`--config tuned`, queries as they are", "regret-tuned", NONE,
         LIRA_FREE),
    Mode("a search log, titles in the shoppers' language", "`--config tuned`", "regret-tuned", LOCAL, LIRA_FREE),
    Mode("the encoders must stay as they are", "`--config frozen`", "regret", CRITIC, TRANSLATED),
    Mode("a translator that is never wrong", "translate, and search in English", "regret-tuned", REFERENCE),
    Mode("no labelled queries, a translator", "[the committed checkpoint](model_cards/lira-e5-small-minilm/README.md)",
         "retrieval", f"{LIRA} against {ENCODER}", TRANSLATED),
    Mode("no labelled queries, no translator", "the checkpoint, queries as they are", "retrieval",
         f"{LIRA_FREE} against {ENCODER}", LIRA_FREE),
    Mode("goods unlike any corpus", "[compare](eval/README.md) by `lira evaluate` on a few hundred queries of yours",
         "generalisation", f"{LIRA} against {ENCODER}", TRANSLATED),
)  # fmt: skip


DOCUMENTS = {
    "local titles": ("the multilingual one", LIRA_FREE),
    "local titles with English translations": ("both", "LiRA with one translation"),
    "English titles": ("both", "LiRA with one translation"),
}
"""What is embedded of a product, the encoders that it takes, and the system of the throughput's record that does so."""


def documents_block(records: Records) -> str:
    """Render what each way to embed the documents costs, and what is found with it."""
    lines = markdown_head(["documents", "encoders", "texts/s", "nDCG@10, queries as they are", "queries translated"])
    searches, rates = records["retrieval"]["payload"]["search"], records["throughput"]["ratio"]
    for name, (encoders, system) in DOCUMENTS.items():
        cells = [f"{100 * searches[name][query]['ndcg@10']['mean']:.1f}" for query in (LIRA_FREE, LIRA)]
        lines.append(markdown_row([name, encoders, f"{rates[system]:.2f}", *cells]))
    note = "texts/s: of the multilingual encoder's in sentence-transformers. nDCG@10 × 100, mean of languages; frozen."
    return "\n".join([*lines, "", f"{markdown_text(note)} {markdown_code(records['retrieval']['command'])}"])


def modes_block(records: Records) -> str:
    """Render a row for each of `MODES`: LiRA's gain over the encoder alone and over the best rival, and its cost."""
    columns = ["your situation", "what to use", "gain over the encoder alone", "over the best rival", "ms a query"]
    lines = markdown_head(columns)
    for mode in MODES:
        record = records.get(mode.record)
        gains = [_UNKNOWN, ""] if record is None else _gains(mode, record["payload"])
        lines.append(markdown_row([mode.situation, Markdown(mode.use), *gains, _milliseconds(mode, records)]))
    return "\n".join([*lines, "", " ".join(_notes(records))])


def _gains(mode: Mode, payload: Mapping[str, Any]) -> list[str]:
    """Return what LiRA gains over the encoder alone, and over the best rival where a record of regret knows one."""
    if mode.record == "generalisation":
        pairs = payload["sets"]["XQuAD"]["differences"]
        plain = "against pypi:multilingual-e5-small"  # a tuned model's encoder as it comes
        names = (mode.condition, f"{LIRA} {plain}", f"{LIRA_FREE} {plain}")
        gain = next((pairs[name][MEAN]["mean"] for name in names if name in pairs), None)
        return [_UNKNOWN if gain is None else f"{100 * gain:+.1f}", ""]
    if mode.record == "retrieval":
        return [interval(payload["differences"]["English titles"][mode.condition][MEAN]), ""]
    row = payload["conditions"].get(mode.condition)
    if row is None:
        return [_UNKNOWN, ""]
    means = {name: points[MEAN]["mean"] for name, points in row["systems"].items()}
    gain = f"{100 * (means[LIRA] - means[ENCODER]):+.1f}" if means.get(ENCODER) is not None else _UNKNOWN
    return [gain, f"{interval(negated(row['behind'][MEAN]))}, {row['best rival']}"]


def _milliseconds(mode: Mode, records: Records) -> str:
    """Return the median time of a query, and with translations also that of one whose translation is at hand."""
    if not mode.serving:
        return ""
    serving = records["cost"]["payload"]["serving"] if "cost" in records else {}
    if mode.serving not in serving:
        return _UNKNOWN
    time = f"{serving[mode.serving]['p50_ms']:.0f}"
    at_hand = serving.get(LIRA) if mode.serving == TRANSLATED else None
    return time if at_hand is None else f"{at_hand['p50_ms']:.0f}; {time} with the translator"


def _notes(records: Records) -> Iterator[str]:
    yield "nDCG@10 × 100, English titles but where the row says otherwise; the last row's on XQuAD."
    if "cost" in records and ENCODER in records["cost"]["payload"]["serving"]:
        cost = records["cost"]["payload"]
        yield markdown_text(
            f"The encoder alone takes {cost['serving'][ENCODER]['p50_ms']:.0f} ms; training on embedded texts took "
            f"{cost['training'][LIRA]['cpu_seconds']:.0f} CPU-seconds, and embedding them "
            f"{sum(stream['seconds'] for stream in cost['streams'].values()) / 60:.0f} minutes."
        )
    corpora = {records[name].get("corpus") for name in COMMANDS if name in records}
    yield markdown_text(f"Corpora of these records: {', '.join(sorted(filter(None, corpora)))}.")
    missing = [name for name in COMMANDS if name not in records]
    if missing:
        yield f"Not measured yet: {', '.join(markdown_code(COMMANDS[name]) for name in missing)}."
