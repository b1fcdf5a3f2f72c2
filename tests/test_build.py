"""The `datasets` builder gives the rows that the build command publishes."""

from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from dataset_builder import datasets_builder as build
from dataset_builder.datasets_builder import ProductRetrieval
from dataset_builder.generator import corpus
from dataset_builder.generator.corpus import build_corpus
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.layout import PARTS, SCHEMAS, SPLITS, read_part

TINY = Release("tiny", Quota(60, 20, 40), Quota(20, 5, 10))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tiny corpus; the builder is made to generate the same release."""
    for module in (build, corpus):
        monkeypatch.setattr(module, "release_named", lambda name: TINY)
    build._language.cache_clear()
    datasets.disable_progress_bars()
    build_corpus(tmp_path / "corpus", languages=("bn",))
    yield tmp_path / "corpus"
    datasets.enable_progress_bars()
    build._language.cache_clear()


@pytest.mark.parametrize("part", PARTS)
def test_builder_equals_the_published_folder(folder: Path, tmp_path: Path, part: str) -> None:
    builder = ProductRetrieval(cache_dir=str(tmp_path / "cache"), config_name=f"bn-{part}")
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    for split in SPLITS:
        [path] = (tmp_path / "out").glob(f"*-{split}.parquet")
        assert pq.read_table(path).cast(SCHEMAS[part]).equals(read_part(folder, "bn", part, split))
    streamed = builder.as_streaming_dataset(split="test")
    assert next(iter(streamed)) == read_part(folder, "bn", part, "test").to_pylist()[0]


def test_every_published_language_and_part_has_a_config() -> None:
    assert set(ProductRetrieval.builder_configs) == {
        f"{language}-{part}" for language in ("vi", "th", "id", "ms", "ur", "bn", "fil") for part in PARTS
    }
