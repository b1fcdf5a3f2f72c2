"""What the Hub asks of the metadata of a card, by its documentation and its lists; without a network.

Source: huggingface/hub-docs (modelcard.md, datasetcard.md, docs/hub/spaces-config-reference.md) and the tasks in
huggingface.js (packages/tasks/src/pipelines.ts); languages, creators and sizes as in `datasets`.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any

import yaml
from huggingface_hub import DatasetCard, ModelCard, SpaceCard

from modeling_lira.records.repository import LICENCES

TASKS = {
    "text-classification", "token-classification", "table-question-answering", "question-answering",
    "zero-shot-classification", "translation", "summarization", "feature-extraction", "text-generation", "fill-mask",
    "sentence-similarity", "table-to-text", "multiple-choice", "text-ranking", "text-retrieval",
}  # fmt: skip
"""Those of texts."""
SUBTASKS = {
    "document-retrieval", "utterance-retrieval", "entity-linking-retrieval", "fact-checking-retrieval",
    "multiple-choice-qa", "semantic-similarity-scoring",
}  # fmt: skip
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
CREATORS = {"found", "crowdsourced", "expert-generated", "machine-generated", "other"}
RELATIONS = {"adapter", "merge", "quantized", "finetune"}
ID = re.compile(r"([\w.-]{1,96}/)?(?!.*(\.\.|--))\w([\w.-]{0,94}\w)?")
"""A repository's id: Hub names have no two hyphens or dots in a row."""
Data = dict[str, Any]
Rule = Callable[[Any], bool]


@cache
def _known(name: str) -> set[str]:
    return set(json.loads((files("datasets.utils.resources") / f"{name}.json").read_text(encoding="utf-8")))


def _each(rule: Rule) -> Rule:
    """Return the rule for one value or a list of them."""
    return lambda value: all(map(rule, value if isinstance(value, list) else [value]))


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _of(names: set[str]) -> Rule:
    return _each(lambda value: isinstance(value, str) and value in names)


def _id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _language(value: object) -> bool:
    """A script or a region of a language goes into `language_bcp47`."""
    return value == "multilingual" or (
        isinstance(value, str) and re.fullmatch("[a-z]{2,3}|code", value) is not None and value in _known("languages")
    )


def _result(result: Any) -> bool:
    """A result of model-index: a task, a dataset, metrics with numbers."""
    dataset, metrics = result["dataset"], result["metrics"]
    return (
        result["task"]["type"] in TASKS
        and _text(dataset["type"])
        and _text(dataset["name"])
        and bool(metrics)
        and all(_text(metric["type"]) and isfinite(metric["value"]) for metric in metrics)
    )


def _model_index(value: Any) -> bool:
    return all(_text(model["name"]) and model["results"] and all(map(_result, model["results"])) for model in value)


def _config(value: Any) -> bool:
    return _text(value["config_name"]) and all(_text(part["split"]) and part["path"] for part in value["data_files"])


_EVERYWHERE: dict[str, Rule] = {
    "license": _of(set(LICENCES)),
    "license_name": _text,
    "license_link": _text,
    "tags": _each(_text),
    "language": _each(_language),
    "language_bcp47": _each(_text),
    "datasets": _each(_id),
}
RULES: dict[str, dict[str, Rule]] = {
    "model": {
        "base_model": _each(_id),
        "base_model_relation": _of(RELATIONS),
        "model_name": _text,
        "library_name": _of({"transformers", "sentence-transformers"}),
        "pipeline_tag": lambda value: value in TASKS,
        "model-index": _model_index,
    },
    "dataset": {
        "pretty_name": _text,
        "version": _text,
        "task_categories": _of(TASKS),
        "task_ids": _of(SUBTASKS),
        "size_categories": _of(_known("size_categories")),
        "multilinguality": _of(_known("multilingualities")),
        "annotations_creators": _of(
            {"found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation"}
        ),
        "language_creators": _of({"found", "crowdsourced", "expert-generated", "machine-generated", "other"}),
        "source_datasets": _each(lambda value: _text(value) and value.partition("|")[0] in ("original", "extended")),
        "configs": _each(_config),
        "dataset_info": _each(lambda value: _text(value["config_name"]) and bool(value["splits"])),
    },
    "space": {
        "title": _text,
        "emoji": lambda value: len(value) <= 2 and not value.isascii(),
        "colorFrom": _of(COLOURS),
        "colorTo": _of(COLOURS),
        "sdk": _of({"gradio", "docker", "static"}),
        "sdk_version": lambda value: isinstance(value, str) and re.fullmatch(r"\d+\.\d+\.\d+", value) is not None,
        "python_version": lambda value: isinstance(value, str) and re.fullmatch(r"3\.\d+(\.\d+)?", value) is not None,
        "app_file": _text,
        "pinned": lambda value: isinstance(value, bool),
        "short_description": lambda value: _text(value) and len(value) <= 60,
        "description": _text,
    },
}
CARDS = {"model": ModelCard, "dataset": DatasetCard, "space": SpaceCard}


def _data(content: str) -> Data:
    match = re.match(r"---\n(.*?)^---\n", content, re.DOTALL | re.MULTILINE)
    data = yaml.safe_load(match[1]) if match else None
    if not isinstance(data, dict):
        raise ValueError("empty or missing YAML metadata")
    return data


def faults(content: str, kind: str) -> Iterator[str]:
    """Yield what is wrong with the metadata of a card of a "model", a "dataset" or a "space"."""
    try:
        data = _data(content)
        CARDS[kind](content)
    except (ValueError, yaml.YAMLError) as error:
        yield str(error)
        return
    rules = _EVERYWHERE | RULES[kind]
    for name, value in data.items():
        if name not in rules:
            yield f"{name}: no such field"
        elif not _holds(rules[name], value):
            yield f"{name}: {str(value)[:100]!r} is not valid"
    if "base_model_relation" in data and "base_model" not in data:
        yield "base_model_relation: without a base_model"
    if kind == "space":
        yield from (f"{name}: missing" for name in ("title", "sdk", "app_file") if name not in data)


def _holds(rule: Rule, value: object) -> bool:
    try:
        return rule(value)
    except (TypeError, KeyError, AttributeError):
        return False
