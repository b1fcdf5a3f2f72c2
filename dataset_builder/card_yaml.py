"""The YAML head of the dataset card: what `load_dataset` and the Hub read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfo, DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from modeling_lira.data.languages import languages_on_hub

from .counting import rows_of
from .layout import ALL, PARTS, SCHEMAS, SPLITS, VERSION, shards, splits_in, stem_of

DEFAULT = f"{ALL}-queries"
"""The config that `load_dataset` reads without a name."""


def card_data(
    folder: Path, languages: Sequence[str], card_languages: Sequence[str], described: Mapping[str, Any]
) -> str:
    """Return the YAML of a corpus folder: configs with their files, features and split sizes.

    Parameters
    ----------
    folder : Path
    languages : sequence of str
        Languages that have configs.
    card_languages : sequence of str
        All languages that occur in the texts.
    described : mapping
        What else the Hub knows of a dataset: name, licence, who made texts and judgements from what.
    """
    names = [f"{language}-{part}" for language in (*languages, ALL) for part in PARTS]
    data = DatasetCardData(
        **described,
        version=VERSION,
        **languages_on_hub(card_languages),
        multilinguality="multilingual",
        task_categories=["text-retrieval", "sentence-similarity"],
        task_ids=["document-retrieval"],
        size_categories=[_size_category(sum(_config_rows(folder, languages, "all-corpus", split) for split in SPLITS))],
        tags=["product-search", "e-commerce", "low-resource-languages", "mteb"],
    )
    DatasetInfosDict({config: _info(folder, languages, config) for config in names}).to_dataset_card_data(data)
    files: dict[str, dict[str, object]] = {
        config: {"data_files": _files(folder, languages, config)} for config in names
    }
    files[DEFAULT]["default"] = True
    MetadataConfigs(files).to_dataset_card_data(data)
    return data.to_yaml(line_break="\n")


def _info(folder: Path, languages: Sequence[str], config: str) -> DatasetInfo:
    """Return a config's features and sizes; `dataset_size` is the size of the Parquet files in bytes."""
    splits = SplitDict()
    for split in splits_in(folder, config):
        size = sum(path.stat().st_size for path in shards(folder, config, split))
        rows = _config_rows(folder, languages, config, split)
        splits[split] = SplitInfo(name=split, num_bytes=size, num_examples=rows)
    total = sum(info.num_bytes for info in splits.values())
    return DatasetInfo(
        features=datasets.Features.from_arrow_schema(SCHEMAS[config.rsplit("-", 1)[1]]),
        splits=splits,
        download_size=total,
        dataset_size=total,
    )


def _config_rows(folder: Path, languages: Sequence[str], config: str, split: str) -> int:
    language, part = config.rsplit("-", 1)
    return sum(rows_of(folder, code, part, split) for code in (languages if language == ALL else (language,)))


def _files(folder: Path, languages: Sequence[str], config: str) -> list[dict[str, str | list[str]]]:
    """Return a config's files by split; the config `all-*` refers to the languages' files instead of copying them."""
    language, part = config.rsplit("-", 1)
    if language != ALL:
        return [{"split": split, "path": _pattern(folder, config, split)} for split in splits_in(folder, config)]
    owners = {code: splits_in(folder, f"{code}-{part}") for code in languages}
    return [
        {
            "split": split,
            "path": [_pattern(folder, f"{code}-{part}", split) for code in languages if split in owners[code]],
        }
        for split in splits_in(folder, config)
    ]


def _pattern(folder: Path, config: str, split: str) -> str:
    return f"{config}/{stem_of(folder, config, split)}-*"


def _size_category(rows: int) -> str:
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return name
    return "1M<n<10M"
