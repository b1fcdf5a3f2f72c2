"""The model card, README.md of a model repository: generated from the model's files and from records of runs.

Records are JSON files. `training.json` is what `lira train` writes. An evaluation is a mapping of

- `results`: rows of `system`, `task`, `language` ("mean" for the mean of all), `metric` and `value`, with `interval`
  (two bounds, 95%) where there is one, and `baseline: true` on the rows of other systems than this model;
- `dataset`, `split`: what it was measured on;
- `command`, `seed`, `cpu_seconds`, `threads`, `weights` (`weights_digest` of the folder that was measured), optional.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, cast

import yaml
from huggingface_hub import EvalResult, ModelCardData
from safetensors import safe_open

from ..data.languages import languages_on_hub
from ..errors import LiraError
from ..faces.markup import markdown_code, markdown_text
from ..frozen_backbone import same_weights
from .embedding_card import ADAPTER, FETCHED, TEMPLATE, WHOLE
from .reasoning_card import (
    REASONING_FETCHED,
    REASONING_PIPELINE,
    REASONING_TAGS,
    REASONING_TASK,
    REASONING_TEMPLATE,
    reasoning_training,
)

Record = Mapping[str, Any]
MEAN = "mean"
WEIGHTS = "model*.safetensors"
LANGUAGE_MODEL = "language model"
_FROZEN = ("multilingual_encoder.", "english_encoder.", "language_model.")
_PIPE, _ESCAPED_PIPE = re.compile(r"(?<!\\)\|"), r"\\|"
_MAPPING = "tag:yaml.org,2002:map"
_METRIC = re.compile(r"\w+@\d+")
"""Metrics such as ndcg@10, which no viewer takes for an address."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_NOT_TOLD = "not told here; see its own page"


@dataclass(frozen=True)
class CardSources:
    """What a card is made of, besides the model's folder.

    `training`, `evaluation`: records as the module says. `dataset`: Hub id of the corpus, where it was published.
    `licence` of the trained weights, as the Hub names licences; `licences` of the backbones by their ids. `tags`: more
    of them for the Hub. `quantised`: what is to be said of weights that are not as published, by their digest.
    """

    training: Record | None = None
    evaluation: Record | None = None
    dataset: str = ""
    licence: str = ""
    licences: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    quantised: Mapping[str, str] = field(default_factory=dict)


def read_record(path: Path) -> Record:
    """Read a record; raise `LiraError` for a file that holds anything but one JSON object."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LiraError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(record, dict):
        raise LiraError(f"{path} must hold one JSON object, got {type(record).__name__}")
    return record


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a folder's weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob(WEIGHTS)):
        with path.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class FrozenPart:
    """A pretrained model that a checkpoint rests on, and under which keys its config has the name and the rest."""

    role: str
    name_key: str
    name: str
    revision: str | None
    config_key: str
    config: Mapping[str, Any]
    digest: str | None


def encoder_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the encoder's config: a reasoning model's has it inside, an embedding model's is it."""
    return config["lira_config"] if is_reasoning(config) else config


def is_reasoning(config: Mapping[str, Any]) -> bool:
    """Whether it is the config of a language model with LiRA before it."""
    return config["model_type"] == "lira_causal_lm"


def frozen_parts(config: Mapping[str, Any]) -> list[FrozenPart]:
    """Return both encoders and, of a reasoning model, the language model."""
    keys = [
        (encoder_config(config), f"{path} backbone", f"{path}_backbone", path) for path in ("multilingual", "english")
    ]
    if is_reasoning(config):
        keys.append((config, LANGUAGE_MODEL, "text_model", "text"))
    return [
        FrozenPart(
            role,
            name,
            whole[name],
            whole.get(f"{path}_revision"),
            f"{path}_config",
            whole[f"{path}_config"],
            whole.get(f"{path}_digest"),
        )
        for whole, role, name, path in keys
    ]


def backbone_ids(config: Mapping[str, Any]) -> list[str]:
    """Return the frozen parts that are on the Hub, each once."""
    names = [part.name for part in frozen_parts(config)]
    return list(dict.fromkeys(name for name in names if _HUB_ID.fullmatch(name)))


def of_these_weights(evaluation: Record, folder: Path) -> bool:
    """Whether an evaluation is of a folder's weights, or does not say of which."""
    weights = evaluation.get("weights")
    return weights is None or (
        isinstance(weights, str) and weights != "" and weights_digest(folder).startswith(weights)
    )


def model_card(folder: Path, config: Mapping[str, Any], repo: str, sources: CardSources) -> str:
    """Return the card of a saved model, one that embeds or one that reasons.

    Parameters
    ----------
    folder : Path
        With the weights.
    config : mapping
        Content of its `config.json`.
    repo : str
        Where it will be found.
    sources : CardSources

    Raises
    ------
    LiraError
        An evaluation of other weights, or one that lacks what a row must have.
    """
    rows = _checked_rows(folder, sources.evaluation)
    head = _front_matter(_metadata(config, repo, sources, rows))
    included, languages = config["backbones_included"], encoder_config(config)["languages"]
    text = Template(REASONING_TEMPLATE if is_reasoning(config) else TEMPLATE).substitute(
        repo=repo,
        languages=", ".join(map(markdown_text, languages)),
        layout=WHOLE if included else ADAPTER,
        fetched="" if included else REASONING_FETCHED if is_reasoning(config) else FETCHED,
        example=_between_quotes(languages[0]),
        **{kind: _between_quotes(prompt) for kind, prompt in _prompts(folder).items()},
        backbones=_backbones(folder, config, sources),
        training=_training(config, sources),
        evaluation=_evaluation(sources, rows, _quantised(config, sources)),
        licence=_licence(config, sources),
    )
    return f"---\n{head}---\n\n{text}"


def _checked_rows(folder: Path, evaluation: Record | None) -> list[Record]:
    if evaluation is None:
        return []
    if not of_these_weights(evaluation, folder):
        raise LiraError("the evaluation is of other weights than these: evaluate this model, or leave it out")
    rows = evaluation.get("results")
    if not isinstance(rows, list) or not rows:
        raise LiraError("the evaluation has no list named results")
    for row in rows:
        names = ("system", "task", "language", "metric", "value")
        missing = [name for name in names if not isinstance(row, dict) or name not in row]
        if missing:
            raise LiraError(f"a row of the evaluation lacks {missing[0]!r}: {row}")
        if not isinstance(row["value"], int | float) or not math.isfinite(row["value"]):
            raise LiraError(f"a value of the evaluation is no number: {row}")
    return rows


# ---------------------------------------------------------------- metadata


def _metadata(config: Mapping[str, Any], repo: str, sources: CardSources, rows: Sequence[Record]) -> ModelCardData:
    measured = [row for row in rows if not row.get("baseline") and row["language"] != MEAN]
    more: dict[str, Any] = {"base_model_relation": "finetune" if config["backbones_included"] else "adapter"}
    task = REASONING_TASK if is_reasoning(config) else "text-retrieval"
    tags = REASONING_TAGS if is_reasoning(config) else ("sentence-transformers", "feature-extraction")
    return ModelCardData(
        base_model=backbone_ids(config) or None,
        datasets=[sources.dataset] if _HUB_ID.fullmatch(sources.dataset) else None,
        **languages_on_hub(encoder_config(config)["languages"]),
        library_name="transformers",
        license=sources.licence or None,
        pipeline_tag=REASONING_PIPELINE if is_reasoning(config) else "sentence-similarity",
        tags=["lira", *tags, "cross-lingual", "custom_code", *sources.tags],
        model_name=repo.rpartition("/")[2],
        eval_results=[_result(row, sources, task) for row in measured] or None,
        **(more if backbone_ids(config) else {}),
    )


def _result(row: Record, sources: CardSources, task: str) -> EvalResult:
    evaluation = sources.evaluation or {}
    dataset = sources.dataset or str(evaluation.get("dataset", "")) or "unnamed"
    name = dataset if _HUB_ID.fullmatch(dataset) else Path(dataset).name
    return EvalResult(
        task_type=task,
        dataset_type=name,
        dataset_name=name,
        dataset_config=row["language"],
        dataset_split=evaluation.get("split"),
        metric_type=row["metric"].replace("@", "_at_"),
        metric_name=f"{row['metric']}, {row['task']}, {row['system']}",
        metric_value=row["value"],
    )


class _OneLine(dict[str, Any]):
    """A mapping that takes one line of YAML, with all that is in it."""


class _Dumper(yaml.SafeDumper):
    """YAML in which lists of words, and every result, take one line each: nobody reads them, so they are kept short."""


_Dumper.add_representer(_OneLine, lambda dumper, row: dumper.represent_mapping(_MAPPING, row, flow_style=True))


def _front_matter(data: ModelCardData) -> str:
    values = data.to_dict()
    for model in values.get("model-index", []):
        model["results"] = [_OneLine(result) for result in model["results"]]
    return yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=math.inf
    )


# ---------------------------------------------------------------- text


def _between_quotes(text: str) -> str:
    """Return a text as it stands between double quotes in Python code."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _prompts(folder: Path) -> dict[str, str]:
    """Return what stands before a query and before a document, as the folder tells sentence-transformers."""
    path = folder / "config_sentence_transformers.json"
    prompts = read_record(path).get("prompts", {}) if path.is_file() else {}
    return {kind: str(prompts.get(kind, "")) for kind in ("query", "document")}


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table of cells that are Markdown; what is in a cell stays in it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(_PIPE.sub(_ESCAPED_PIPE, str(cell)).split()) for cell in row)} |" for row in lines
    )


def _backbones(folder: Path, config: Mapping[str, Any], sources: CardSources) -> str:
    lines = []
    tuned = {f"{path} backbone" for path in encoder_config(config).get("tuned_backbones", ())}
    for part in frozen_parts(config):
        link = f"[{part.name}](https://huggingface.co/{part.name})"
        known = link if _HUB_ID.fullmatch(part.name) else "a model of its author's own"
        sizes = {"layers": part.config.get("num_hidden_layers"), "wide": part.config.get("hidden_size")}
        shape = [part.config["model_type"], *(f"{size} {word}" for word, size in sizes.items() if size)]
        weights = _known_weights(part, sources)
        facts = [
            f"at {part.revision or 'main'}",
            *shape,
            *([f"trained on weights {weights}"] if weights else []),
            *(["tuned: low-rank changes of it are in the weight file"] if part.role in tuned else []),
            f"licence {sources.licences.get(part.name, _NOT_TOLD)}",
        ]
        lines.append(f"- {part.role}: {known}, {', '.join(map(markdown_text, facts))}")
    open_ended = any(part.revision is None for part in frozen_parts(config))
    notes = [_NOT_FIXED] * open_ended + [_QUANTISED] * bool(_quantised(config, sources))
    return "\n".join([*lines, "", " ".join([*notes, _sizes(folder)])])


def _known_weights(part: FrozenPart, sources: CardSources) -> str:
    """Return how a part's weights differ from the published ones, as far as their digest tells."""
    if part.digest is None:
        return "not recorded"
    return next(
        (difference for digest, difference in sources.quantised.items() if same_weights(digest, part.digest)), ""
    )


def _quantised(config: Mapping[str, Any], sources: CardSources) -> list[str]:
    """Return the roles whose weights were de-quantised, each with what is known of them."""
    parts = ((part, _known_weights(part, sources)) for part in frozen_parts(config))
    return [f"the {part.role} {difference}" for part, difference in parts if part.digest is not None and difference]


def _sizes(folder: Path) -> str:
    trained = total = size = 0
    for path in folder.glob(WEIGHTS):
        size += path.stat().st_size
        with safe_open(path, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118  # not a dictionary
                count = math.prod(opened.get_slice(key).get_shape())
                total += count
                trained += 0 if key.removeprefix("lira.").startswith(_FROZEN) else count
    return f"{trained:,} parameters of LiRA's own; {total:,} in the weight file ({size / 1e6:.1f} MB)."


def _training(config: Mapping[str, Any], sources: CardSources) -> str:
    record = sources.training
    if record is None:
        return "No record of the training came with these weights."
    parts = reasoning_training(record) if is_reasoning(config) else _stages(record, sources)
    if record.get("command"):
        parts.append(_fenced(record["command"]))
    return "\n\n".join(parts)


def _fenced(text: object) -> str:
    """Return a text of several lines as Markdown's code, between fences that it cannot close."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", str(text))), 3)
    return f"{fence}\n{text}\n{fence}"


def _stages(record: Record, sources: CardSources) -> list[str]:
    options = record["options"]
    corpus = sources.dataset or Path(options["corpus"]).name
    shown = (
        f"[{corpus}](https://huggingface.co/datasets/{corpus})" if _HUB_ID.fullmatch(corpus) else markdown_code(corpus)
    )
    stages = "\n".join(_stage(name, log) for name, log in record["training"].items())
    versions = markdown_text(", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    return [
        f"Corpus: {shown}, train split; validation split for the choice of the epoch. Seed {options['seed']}.",
        stages,
        f"Processes: {record['processes']}, threads: {record['threads']}; {versions}. CPU-seconds are the "
        "measured cost (where a run was interrupted, of its last part); energy was not measured. All options: "
        "`training.json`.",
    ]


def _stage(name: str, log: Sequence[Record]) -> str:
    scores = [(row["epoch"], row["eval_score"]) for row in log if "eval_score" in row]
    last = log[-1]
    facts = [markdown_text(name)]
    if scores:
        best = max(score for _, score in scores)
        facts[0] += f": {max(epoch for epoch, _ in scores):.0f} epochs"
        facts.append(f"validation score {100 * scores[0][1]:.1f} before, {100 * best:.1f} at best")
    facts += [f"{last[key]:.0f} {unit}" for key, unit in (("seconds", "s"), ("cpu_seconds", "CPU-s")) if key in last]
    return f"- {', '.join(facts)}"


def _evaluation(sources: CardSources, rows: Sequence[Record], quantised: Sequence[str]) -> str:
    evaluation = sources.evaluation
    if evaluation is None:
        return "These weights have not been evaluated."
    dataset = sources.dataset or Path(str(evaluation.get("dataset", "unnamed"))).name
    split = markdown_text(str(evaluation.get("split", "test")))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    intro = f"{', '.join(map(_metric, metrics))} × 100 on {markdown_code(dataset)}, {split} split; 95% intervals where "
    intro += "measured."
    if "cpu_seconds" in evaluation:
        intro += f" It took {evaluation['cpu_seconds']:.0f} CPU-seconds."
    if quantised:
        intro += f" All of it measured with {', '.join(quantised)}, not with the float weights of the Hub."
    parts = [intro, _score_table(rows, several=len(metrics) > 1)]
    if evaluation.get("command"):
        parts.append(_fenced(evaluation["command"]))
    return "\n\n".join(parts)


def _score_table(rows: Sequence[Record], several: bool) -> str:
    """Return what was measured as one table; where there are several metrics, each line names its own."""
    languages = list(dict.fromkeys(row["language"] for row in rows))
    heads = [(_metric(row["metric"]) if several else "", *_task_and_system(row)) for row in rows]
    cells = {(*head, row["language"]): _cell(row) for head, row in zip(heads, rows, strict=True)}
    return table(
        [*["metric"] * several, "task", "system", *(markdown_text(str(language)) for language in languages)],
        (
            [*head[1 - several :], *(cells.get((*head, language), "") for language in languages)]
            for head in dict.fromkeys(heads)
        ),
    )


def _task_and_system(row: Record) -> tuple[str, str]:
    system = markdown_text(str(row["system"]))
    return markdown_text(str(row["task"])), system if row.get("baseline") else f"**{system}**"


def _metric(name: str) -> str:
    return name if _METRIC.fullmatch(name) else markdown_text(name)


def _cell(row: Record) -> str:
    value = f"{100 * row['value']:.1f}"
    if not row.get("interval"):
        return value
    low, high = cast(Sequence[float], row["interval"])
    return f"{value} ({100 * low:.1f}–{100 * high:.1f})"


def _licence(config: Mapping[str, Any], sources: CardSources) -> str:
    licence = markdown_code(sources.licence) if sources.licence else "none given; ask whoever published them"
    where = "which are part of the weight file" if config["backbones_included"] else "which are fetched, not included"
    named = [f"{name}: {markdown_text(sources.licences.get(name, _NOT_TOLD))}" for name in backbone_ids(config)]
    backbones = "; ".join(named) or "of their author's own"
    return f"Trained weights: {licence}. Code (`*.py`): Apache 2.0. Backbones, {where}: {backbones}."


_NOT_FIXED = "A backbone at `main` is fixed to no revision; loading warns where its weights are not those of training."
_QUANTISED = (
    "Every figure below was measured with these de-quantised 4-bit weights. The float weights on the Hub are others: "
    "with them loading warns, and the figures need not hold."
)
