"""What the measurements share: a corpus' cached streams, whole or reduced, fresh models, and steps that are kept."""

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from modeling_lira.backbones.building import copy_start
from modeling_lira.configuration_lira import PATHS
from modeling_lira.data.corpus import ENGLISH, RetrievalSplit, corpus_languages, load_split
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_path
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.digests import code_version
from modeling_lira.training.options import ArcaOptions, LasrOptions, TrainingOptions, TuneOptions

from ..options import RECORDS
from ..record import Meter, corpus_version
from .systems import AS_IT_COMES, SYSTEMS, TUNED_AS_ASKED, WHOLE, TrainingPlan

STUDIES = Path(__file__).parent
CODE = ("systems.py", "baselines.py", "setting.py", "conditions.py")
"""Files beside this one that decide what a step computes, as the step's own file does."""
QUICK_SIZES = {"train": (192, 600), "validation": (60, 200), "test": (150, 800)}
"""Queries and documents of each part in a quick run."""
QUICK_LANGUAGES = ("th", "bn")
Values = dict[str, Tensor]


Value = TypeVar("Value")


class _Made(dict[str, Value]):
    """Values by name, each made when it is first asked for."""

    def __init__(self, make: Callable[[str], Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Value:
        self[name] = self._make(name)
        return self[name]


Parts = Mapping[str, list[SplitTables]]
"""Tables of each part of a corpus, one a language."""


@dataclass(frozen=True)
class Setting:
    """A corpus, options and seeds of a measurement, and the folders that keep what is finished.

    `quick` takes two languages, a small part of their queries and documents, one epoch and one seed.
    """

    options: TrainingOptions
    output: Path
    streams: Path
    seeds: tuple[int, ...]
    quick: bool = False
    records: Path = RECORDS

    def __post_init__(self) -> None:
        """Raise LiraError for seeds or options that no measurement can use."""
        if not self.seeds:
            raise LiraError("the measurement needs a seed: give at least one seed")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise LiraError(f"seeds must be different numbers from 0 up, got {', '.join(map(str, self.seeds))}")
        if self.options.arca is None or self.options.lasr is None:
            raise LiraError("the measurements train both stages: the config must not leave one out")

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages measured."""
        languages = self.options.languages or corpus_languages(self.options.corpus)
        if not self.quick:
            return languages
        return tuple(code for code in QUICK_LANGUAGES if code in languages) or languages[:2]

    @cached_property
    def corpus(self) -> str:
        """Version of the corpus; a wrong corpus or language is named here, before any backbone is loaded."""
        version = corpus_version(self.options.corpus)
        corpus_languages(self.options.corpus, self.options.languages)
        return version

    @cached_property
    def arca(self) -> ArcaOptions:
        """Options of stage 1."""
        assert self.options.arca is not None
        return replace(self.options.arca, epochs=1) if self.quick else self.options.arca

    @cached_property
    def lasr(self) -> LasrOptions:
        """Options of stage 2."""
        assert self.options.lasr is not None
        return replace(self.options.lasr, epochs=1) if self.quick else self.options.lasr

    @cached_property
    def encoder(self) -> str:
        """The state of the multilingual encoder that LiRA is trained on."""
        return AS_IT_COMES if self.options.tune is None else TUNED_AS_ASKED

    @cached_property
    def _templates(self) -> "_Made[LiraModel]":
        return _Made(self._template)

    def _template(self, encoder: str) -> LiraModel:
        """Return an untrained model whose multilingual encoder is in a state of `System.encoder`."""
        languages = self.options.languages or corpus_languages(self.options.corpus)
        multilingual = str(self._tuned_whole()) if encoder == WHOLE else self.options.multilingual
        with torch.random.fork_rng():  # a model that starts next is the same whether this is its first or not
            model = LiraModel.from_backbones(
                multilingual,
                self.options.english,
                languages=[*languages, ENGLISH],
                **self.options.model,  # type: ignore[arg-type]
            )
        if encoder == TUNED_AS_ASKED:
            self._tune(model, self._tune_options, "tuned")
        return model

    @property
    def _tune_options(self) -> TuneOptions:
        """How LiRA's encoder is tuned; in a quick run by a single pass."""
        tune = self.options.tune
        assert tune is not None
        return replace(tune, epochs=1, batch_size=min(tune.batch_size, 16)) if self.quick else tune

    def _tune(self, model: LiraModel, tune: TuneOptions, folder: str) -> Path:
        """Tune a model's encoders on the training queries, or read what an earlier run made; return the folder."""
        from modeling_lira.training.tuning import tune_encoders  # sentence-transformers takes seconds to import

        names = {path: getattr(self.options, path) for path in PATHS}
        train, validation = ([self._split(part, code) for code in self.languages] for part in ("train", "validation"))
        tune_encoders(model, names, train, validation, self.output / folder, tune, self.options.seed)
        return self.output / folder

    def _tuned_whole(self) -> Path:
        """Return the folder of the encoder as users tune it: every layer, as often as LiRA's, by the usual loss."""
        from modeling_lira.training.tuning import RIVAL

        tune = replace(self._tune_options, multilingual="full", english="none", loss="pairs", shares=(1.0,))
        folder = self._tune(self._template(AS_IT_COMES), tune, "tuned-whole")
        return next(folder.glob(f"*/{RIVAL}"))

    def start(self, encoder: str = "") -> LiraModel:
        """Return an untrained model; all of them share the frozen backbones."""
        template = self._templates[encoder or self.encoder]
        model = LiraModel(copy.deepcopy(template.config), template.multilingual_encoder, template.english_encoder)
        copy_start(template, model)
        model.processor = template.processor
        return model.eval()

    @cached_property
    def cache(self) -> StreamCache:
        """The streams of every text that was encoded."""
        return StreamCache(self.streams)

    @cached_property
    def _parts(self) -> _Made[Parts]:
        return _Made(lambda encoder: _Made(lambda part: [self._tables(part, code, encoder) for code in self.languages]))

    @property
    def tables(self) -> Parts:
        """Streams of each part, by the encoder that LiRA is trained on; encoded when they are first asked for."""
        return self.tables_of("")

    def tables_of(self, encoder: str) -> Parts:
        """Return the streams of each part by a state of the multilingual encoder, as `System.encoder` names it."""
        return self._parts[encoder or self.encoder]

    @cached_property
    def questions(self) -> dict[str, list[str]]:
        """Ids of the test queries by language; one id in several languages is one question, drawn in all of them."""
        return {tables.split.language: tables.split.questions for tables in self.tables["test"]}

    def _split(self, part: str, language: str) -> RetrievalSplit:
        split = load_split(self.options.corpus, language, part)
        if self.quick:
            split = reduced_split(split, *reduced_rows(split, *QUICK_SIZES[part]))
        return split

    def _tables(self, part: str, language: str, encoder: str) -> SplitTables:
        return cache_split(self._templates[encoder], self.cache, self._split(part, language))

    def english_streams(self, texts: Sequence[str]) -> np.ndarray:
        """Return the English encoder's streams of query candidates, [N, S, dh]."""
        return self.cache.get(self._templates[self.encoder], texts, "english", "query")

    def plan_of(self, name: str) -> TrainingPlan:
        """Return what a system is given: one that learns nothing gets no training data, which need not be encoded."""
        system = SYSTEMS[name]
        return self.plan(None if system.seeds else (), encoder=system.encoder)

    def plan(
        self,
        train: Sequence[SplitTables] | None = None,
        lasr: LasrOptions | None = None,
        stages: Path | None = None,
        encoder: str = "",
    ) -> TrainingPlan:
        """Return what a system is trained by; `train` and `lasr` replace the usual ones."""
        tables = self.tables_of(encoder)
        return TrainingPlan(
            partial(self.start, encoder),
            tables["train"] if train is None else train,
            tables["validation"],
            self.arca,
            lasr or self.lasr,
            stages or self.output / "stages",
        )

    def systems(self, names: Sequence[str]) -> list[str]:
        """Return the systems, each once, that can be had: without tuning none on a tuned encoder.

        Raises
        ------
        LiraError
            A system that does not exist.
        """
        known = known_systems(names)
        return [name for name in known if self.options.tune or SYSTEMS[name].encoder in ("", AS_IT_COMES)]

    def meter(self, name: str) -> Meter:
        """Start to measure; the record says whether the run was quick by its name."""
        corpus = self.corpus  # a corpus that is not there is named before its languages are asked for
        subject = {"options": asdict(replace(self.options, corpus="")), "languages": self.languages}
        return Meter(f"{name}-quick" if self.quick else name, self.seeds, corpus, subject)

    def step(self, name: str, compute: Callable[[], Values], **depends: object) -> Values:
        """Return the tensors of a finished step, or compute and keep them.

        A step is found again by its name, the corpus, the options, the code that trains and computes, and whatever else
        it `depends` on.
        """
        function = compute.func if isinstance(compute, partial) else compute
        settings = {
            "options": asdict(replace(self.options, corpus="")),
            "languages": self.languages,
            "code": [code_version(), code_version(STUDIES, (*CODE, Path(inspect.getfile(function)).name))],
            **depends,
        }
        digest = hashlib.sha256(json.dumps([self.corpus, self.quick, settings], sort_keys=True, default=str).encode())
        plain = "".join(letter if letter.isalnum() else "-" for letter in name)
        path = self.output / "steps" / f"{plain}-{digest.hexdigest()[:12]}.safetensors"
        if not path.is_file():
            values = {key: value.contiguous() for key, value in compute().items()}
            with atomic_path(path) as temporary:
                save_file(values, temporary)
        return load_file(path)


def known_systems(names: Sequence[str]) -> list[str]:
    """Return system names, each once; raise `LiraError` for one that does not exist."""
    for name in names:
        if name not in SYSTEMS:
            raise LiraError(f"system {name!r} is unknown: choose from {'; '.join(SYSTEMS)}")
    return list(dict.fromkeys(names))


# ---------------------------------------------------------------------- a part of a corpus


def reduced_rows(split: RetrievalSplit, queries: int, documents: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw query rows, and document rows that hold a best document of each; both ascending."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(split.queries))[:queries])
    best = [max(split.gains[row], key=split.gains[row].__getitem__) for row in rows if split.gains[row]]
    places = list(dict.fromkeys([*best, *rng.permutation(len(split.titles)).tolist()]))
    return rows, np.sort(np.asarray(places[: max(documents, len(set(best)))]))


def reduced_split(split: RetrievalSplit, rows: np.ndarray, places: np.ndarray) -> RetrievalSplit:
    """Return the split of the queries at `rows` and the documents at `places`."""
    new = {int(old): number for number, old in enumerate(places)}
    chosen = rows.tolist()
    return replace(
        split,
        queries=split.queries.at(chosen),
        query_ids=[split.questions[row] for row in chosen],
        kinds=[split.kinds[row] for row in chosen],
        unseen_type=[split.unseen_type[row] for row in chosen],
        document_ids=[split.document_ids[document] for document in places],
        titles=[split.titles[document] for document in places],
        english_titles=[split.english_titles[document] for document in places],
        gains=[{new[key]: grade for key, grade in split.gains[row].items() if key in new} for row in chosen],
        hard_negatives=[[new[document] for document in split.hard_negatives[row] if document in new] for row in chosen],
        pairs=[[(new[document], target) for document, target in split.pairs[row] if document in new] for row in chosen],
    )


def few_queries(tables: SplitTables, count: int, seed: int) -> SplitTables:
    """Return tables of which only `count` drawn queries can be trained on; the documents stay.

    A smaller draw of a seed is part of every larger one.
    """
    kept = set(np.random.default_rng(seed).permutation(len(tables.split.queries))[:count].tolist())
    queries = tables.queries
    hidden = [row for row in range(len(queries)) if row not in kept]
    split = replace(
        tables.split,
        gains=[values if row in kept else {} for row, values in enumerate(tables.split.gains)],
        pairs=[values if row in kept else [] for row, values in enumerate(tables.split.pairs)],
    )
    columns = {name: rows.copy() for name, rows in {"": queries.rows, **queries.others}.items()}
    for rows in columns.values():
        rows[hidden] = -1
    return replace(tables, split=split, queries=replace(queries, rows=columns.pop(""), others=columns))
