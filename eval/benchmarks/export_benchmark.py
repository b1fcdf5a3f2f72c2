"""What each engine and precision costs in CPU time and in quality, beside the bare encoder in the same engine."""

import json
import logging
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import openvino
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from dataset_builder.page import Table, to_text
from modeling_lira.data.corpus import RetrievalSplit, corpus_languages, load_split
from modeling_lira.evaluation.metrics import ndcg
from modeling_lira.exported_lira import open_graph
from modeling_lira.exporting import export_model
from modeling_lira.exporting.choices import Format, Precision
from modeling_lira.exporting.graphs import quantised, save_graphs, traced
from modeling_lira.modeling_lira import LiraModel, LiraModelOutput
from modeling_lira.processing_lira import LiraProcessor, batches_by_length
from modeling_lira.records.saved_model import fingerprint, load_model, located

from ..record import Meter, Record, corpus_version, weights_of
from .throughput import BATCH, bare_encoding

logger = logging.getLogger(__name__)
EXPORTS = (
    (Format.onnx, Precision.float32),
    (Format.onnx, Precision.int8),
    (Format.openvino, Precision.float32),
    (Format.openvino, Precision.bfloat16),
)
TORCH = (Precision.float32, Precision.bfloat16)
IN_A_ROW = 10
"""Queries that a system answers before the next system does."""
BARE, LIRA = "encoder", "LiRA"
REFERENCE = f"{BARE}, torch float32"
"""What every ratio is to: sentence-transformers with the multilingual encoder."""
EXACT = tuple(f"{LIRA}, {format} float32" for format in Format)
"""Systems whose embeddings are those of torch to 1e-5, so that their quality is not measured again."""
INSTRUCTIONS = ("avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

Encode = Callable[[Sequence[str], str], object]
"""Embeds texts of one language."""
Exports = Sequence[tuple[Format, Precision]]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: single texts, texts of a batch run and its rounds, a language's queries and documents."""

    singles: int = 140
    batched: int = 128
    rounds: int = 3
    queries: int = 140
    documents: int = 400


def measure_export(
    model: str,
    corpus: str,
    folder: Path,
    backbones: tuple[str | None, str | None],
    sizes: Sizes | None = None,
    formats: Sequence[Format] = tuple(Format),
) -> Record:
    """Export a model, time it in every engine and precision in turn, and return the record.

    Parameters
    ----------
    model : str
        Folder or run of `lira train`.
    corpus : str
        Its test queries are embedded, and search its local titles without translations.
    folder : Path
        Gets the exports of the model and of its bare multilingual encoder, in a folder for each model; those that are
        there are kept.
    backbones : tuple of str or None
        Multilingual and English, in place of those that the model names.
    sizes : Sizes, optional
    formats : sequence of Format
        Which engines are measured beside torch; by default all.

    Raises
    ------
    LiraError
        A model that cannot be loaded or exported, or a corpus that cannot be read.
    """
    sizes, threads = sizes or Sizes(), torch.get_num_threads()
    meter = Meter("export", corpus=corpus_version(corpus))
    splits = [load_split(corpus, language, "test") for language in corpus_languages(corpus)]
    torch.set_num_threads(1)  # so that CPU time is that of the work, not of threads that wait for each other
    try:
        exports = [export for export in EXPORTS if export[0] in formats]
        folder = folder / fingerprint(load_model(model, *backbones))
        models = _models(model, folder, backbones, exports)
        encodings = {name: _encoding(one) for name, one in models.items()} | _bare(models, folder, exports)
        singles = _singles(encodings, splits, sizes.singles)
        batches = _batches(encodings, splits, sizes)
        quality = {name: _quality(models[name], splits, sizes) for name in models if name not in EXACT}
    finally:
        torch.set_num_threads(threads)
    systems = {name: _figures(name, singles, batches, quality) for name in singles}
    head = ["", "query, CPU ms", "speed", "of the encoder's", "texts/CPU-s", "speed", "nDCG@10", "worst change"]
    logger.info("%s", to_text(Table(head, [[name, *shown(figures)] for name, figures in systems.items()])))
    measured = {"instructions": _instructions(), "threads": 1, "batch_size": BATCH, **vars(sizes), "systems": systems}
    return meter.record({**measured, "weights": [weights_of(model)]}, backbones=list(backbones))


# ---------------------------------------------------------------- systems


def _models(
    model: str, folder: Path, backbones: tuple[str | None, str | None], exports: Exports
) -> dict[str, LiraModel]:
    """Return LiRA in torch and as it runs from its exports, by the name of the system."""
    copy = folder / "model"
    shutil.copytree(located(model), copy, dirs_exist_ok=True)  # its own, for exports lie beside the weights
    models = {
        f"{LIRA}, torch {precision}": load_model(model, *backbones).to(getattr(torch, precision)) for precision in TORCH
    }
    for format, precision in exports:
        export_model(str(copy), format, precision, *backbones)
        models[f"{LIRA}, {format} {precision}"] = load_model(copy, backend=format, precision=precision)
    return models


def _encoding(model: LiraModel) -> Encode:
    return lambda texts, language: model.encode_query(texts, language, batch_size=BATCH)


def _bare(models: Mapping[str, LiraModel], folder: Path, exports: Exports) -> dict[str, Encode]:
    """Return the multilingual encoder alone: in sentence-transformers, and by the least code that runs its graph."""
    lira = models[f"{LIRA}, torch float32"]
    kept = folder / "encoder"
    if not kept.is_dir():
        lira.multilingual_encoder.save_pretrained(kept)
        _save_tokenizer(lira, kept)
    encodings: dict[str, Encode] = {}
    for precision in TORCH:
        model = SentenceTransformer(str(kept), device="cpu", model_kwargs={"dtype": getattr(torch, precision)})
        encodings[f"{BARE}, torch {precision}"] = _sentence_transformer(model, lira.processor.query_prefix)
    for format, precision in exports:
        path = _bare_graph(lira, folder, format, precision)
        encodings[f"{BARE}, {format} {precision}"] = _least_code(lira.processor, path, format, precision)
    return encodings


def _save_tokenizer(lira: LiraModel, folder: Path) -> None:
    """Save the multilingual tokenizer without the names by which its own files would find LiRA's processor."""
    lira.processor.tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in settings.items() if name not in ("auto_map", "processor_class")}
    path.write_text(json.dumps(kept), encoding="utf-8")


def _sentence_transformer(model: SentenceTransformer, prefix: str) -> Encode:
    encode = bare_encoding(model, prefix)
    return lambda texts, _: encode(texts)


class _Bare(PreTrainedModel):
    """An encoder whose embedding is the mean of its tokens, in the form in which LiRA's models are exported."""

    _supports_sdpa = True

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__(encoder.config)
        self.multilingual_encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> LiraModelOutput:
        """Return the unit `sentence_embedding`."""
        states = self.multilingual_encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        total = (states * attention_mask[..., None]).sum(1)  # to unit length: a sum is as good as a mean
        return LiraModelOutput(sentence_embedding=F.normalize(total, dim=-1))


def _bare_graph(lira: LiraModel, folder: Path, format: Format, precision: Precision) -> Path:
    """Return the graph of the bare encoder, made as LiRA's are; OpenVINO's is the same in both precisions."""
    exact = folder / f"encoder-for-{format}" / "model.onnx"
    if not exact.is_file():
        exact.parent.mkdir(parents=True)
        example = dict(lira.processor.tokenize(["white shirt for boys", "old telephone", "shirt"], "query"))
        bare = _Bare(lira.multilingual_encoder).eval()
        save_graphs({exact.stem: traced(bare, example, fused=format is Format.onnx)}, exact.parent)
    int8, converted = folder / "encoder-int8" / "model.onnx", exact.with_suffix(".xml")
    if format is Format.openvino and not converted.is_file():
        openvino.save_model(openvino.convert_model(exact), converted, compress_to_fp16=False)
    if precision is Precision.int8 and not int8.is_file():
        int8.parent.mkdir(parents=True)
        save_graphs({int8.stem: quantised(ir.load(exact))}, int8.parent)
    return converted if format is Format.openvino else int8 if precision is Precision.int8 else exact


def _least_code(processor: LiraProcessor, path: Path, format: Format, precision: Precision) -> Encode:
    """Return the tokenizer of `tokenizers` and the graph, with nothing around them that could cost time."""
    run, tokenizer = open_graph(path, format, precision), processor.tokenizer.backend_tokenizer
    prefix, length = processor.query_prefix, processor.longest()

    def encode(texts: Sequence[str], _: str) -> object:
        embeddings = []
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(pad_id=processor.tokenizer.pad_token_id, pad_token=processor.tokenizer.pad_token)
        for part in batches_by_length(texts, BATCH):
            tokens = tokenizer.encode_batch_fast([prefix + texts[row] for row in part])
            ids, mask = (np.array([getattr(row, name) for row in tokens]) for name in ("ids", "attention_mask"))
            embeddings.append(run({"input_ids": ids, "attention_mask": mask}))
        return np.concatenate(embeddings)

    return encode


# ---------------------------------------------------------------- figures


def _singles(encodings: Mapping[str, Encode], splits: Sequence[RetrievalSplit], count: int) -> dict[str, list[float]]:
    """Return the CPU milliseconds of each query; every system answers a few in a row, as a server does, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in encodings}
    rows = list(_mixed(splits, count))
    for start in tqdm(range(0, count, IN_A_ROW), desc="queries", disable=None):
        for name, encode in encodings.items():
            part = rows[start : start + IN_A_ROW]
            _cpu_seconds(encode, [part[0][0]], part[0][1])  # the first call finds another's numbers in the cache
            taken[name] += [1000 * _cpu_seconds(encode, [text], language) for text, language in part]
    return taken


def _batches(encodings: Mapping[str, Encode], splits: Sequence[RetrievalSplit], sizes: Sizes) -> dict[str, list[float]]:
    """Return the texts a CPU-second of every round in which each system embeds the same texts."""
    texts = [text for text, _ in _mixed(splits, sizes.batched)]
    rates: dict[str, list[float]] = {name: [] for name in encodings}
    for _ in tqdm(range(sizes.rounds), desc="batches", disable=None):
        for name, encode in encodings.items():
            rates[name].append(len(texts) / _cpu_seconds(encode, texts, splits[0].language))
    return rates


def _mixed(splits: Sequence[RetrievalSplit], count: int) -> Iterator[tuple[str, str]]:
    """Yield queries and their languages, the languages in turn."""
    for number in range(count):
        split = splits[number % len(splits)]
        yield split.queries.texts[number // len(splits) % len(split.queries)], split.language


def _cpu_seconds(encode: Encode, texts: Sequence[str], language: str) -> float:
    start = time.process_time()
    encode(texts, language)
    return time.process_time() - start


def _quality(model: LiraModel, splits: Sequence[RetrievalSplit], sizes: Sizes) -> dict[str, float]:
    """Return nDCG@10 by language of a search of the first local titles, everything embedded by this system."""
    values = {}
    for split in tqdm(splits, desc="search", unit="language", disable=None):
        queries = model.encode_query(split.queries.texts[: sizes.queries], split.language)
        documents = model.encode_document(split.titles[: sizes.documents], split.language)
        gains = split.gain_matrix()[: len(queries), : len(documents)]
        values[split.language] = float(ndcg(queries @ documents.T, gains).nanmean())
    return values


def _figures(
    name: str,
    singles: Mapping[str, Sequence[float]],
    batches: Mapping[str, Sequence[float]],
    quality: Mapping[str, Mapping[str, float]],
) -> dict:
    """Return what was measured of one system; ratios are medians over the same text or round, higher is faster."""
    bare = name.replace(LIRA, BARE)
    figures = {
        "query_ms": statistics.median(singles[name]),
        "query_speed": _ratio(singles[REFERENCE], singles[name]),
        "query_speed_of_encoder": _ratio(singles[bare], singles[name]),
        "query_ms_more_than_encoder": statistics.median(np.subtract(singles[name], singles[bare]).tolist()),
        "texts_per_second": statistics.median(batches[name]),
        "batch_speed": _ratio(batches[name], batches[REFERENCE]),
    }
    return figures | ({"ndcg@10": quality[name], **_change(name, quality)} if name in quality else {})


def _change(name: str, quality: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    exact = quality[f"{LIRA}, torch float32"]
    return {"worst_change": min(value - exact[language] for language, value in quality[name].items())}


def _ratio(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(first, second, strict=True))


def shown(figures: Mapping) -> list[float]:
    """Return the figures of a system that a table shows; what was not measured is not a number."""
    names = ("query_ms", "query_speed", "query_speed_of_encoder", "texts_per_second", "batch_speed")
    values = list(figures.get("ndcg@10", {}).values()) or [math.nan]
    quality = 100 * statistics.mean(values), 100 * figures.get("worst_change", math.nan)
    return [*(figures[name] for name in names), *quality]


def _instructions() -> dict[str, bool]:
    """Return which instructions for int8 and bfloat16 the CPU has."""
    has = torch.cpu.get_capabilities()
    return {name: bool(has.get(name)) for name in INSTRUCTIONS}
