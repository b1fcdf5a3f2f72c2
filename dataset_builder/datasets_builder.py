"""The corpus as a `datasets` builder, for those who want it as objects or in another file format.

The `build` command writes the same rows as Parquet itself, language by language, and can be interrupted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import datasets

from .candidate_source import CandidateSource
from .generator.corpus import build_language
from .generator.rows import LanguageData, corpus_row, qrel_tables, query_rows, ranking_rows
from .generator.splits import release_named
from .layout import PARTS, SCHEMAS, SPLITS, VERSION, Row
from .lexicon import LANGUAGES, Lexicon, load_lexicon


@dataclass
class ProductConfig(datasets.BuilderConfig):
    """One part of one language of a release, named `{language}-{part}` like the published configs."""

    language: str = "vi"
    part: str = "corpus"
    size: str = "slice"
    seed: int = 0


class ProductRetrieval(datasets.GeneratorBasedBuilder):
    """Generates a config; `download_and_prepare(folder, file_format="parquet")` writes it."""

    VERSION = datasets.Version(VERSION)
    BUILDER_CONFIG_CLASS = ProductConfig
    BUILDER_CONFIGS = [
        ProductConfig(name=f"{language}-{part}", language=language, part=part)
        for language in LANGUAGES
        for part in PARTS
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Products, queries and graded judgements generated from an authored lexicon.",
            features=datasets.Features.from_arrow_schema(SCHEMAS[self.config.part]),
            license="cc-by-4.0",
        )

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in SPLITS]

    def _generate_examples(self, split: str) -> Iterator[tuple[int, Row]]:
        lexicon, data = _language(self.config.language, self.config.size, self.config.seed)
        yield from enumerate(part_rows(lexicon, data, self.config.part, split))


@lru_cache(maxsize=1)
def _language(language: str, size: str, seed: int) -> tuple[Lexicon, LanguageData]:
    """Generate a language once for all its splits and parts."""
    lexicon = load_lexicon(languages=(language,))
    return lexicon, build_language(lexicon, language, release_named(size), seed)


def part_rows(lexicon: Lexicon, data: LanguageData, part: str, split: str) -> Iterator[Row]:
    """Yield the rows of one part and split, as `build` publishes them."""
    if part == "corpus":
        yield from (corpus_row(lexicon, product, data.unseen) for product in data.splits[split].products)
    elif part == "queries":
        yield from query_rows(lexicon, data, split, CandidateSource(lexicon))
    elif part == "ranking":
        yield from ranking_rows(lexicon, data, split)
    else:
        yield from (row for table in qrel_tables(data, split) for row in table.to_pylist())
