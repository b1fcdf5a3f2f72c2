"""The published folder: what `load_dataset` reads, what the card says, nothing leaked, nothing half-built."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Features, get_dataset_config_names, load_dataset, load_dataset_builder

from dataset_builder import layout, staging
from dataset_builder.candidate_source import CandidateSource
from dataset_builder.generator import corpus as corpus_module
from dataset_builder.generator.corpus import build_corpus, slice_queries, write_language
from dataset_builder.generator.splits import Quota, Release, release_named
from dataset_builder.layout import CARD, PARTS, SCHEMAS, SPLITS, TEXTS, PartWriter, read_part, shards
from dataset_builder.lexicon import LANGUAGES, load_lexicon, normalise_text
from dataset_builder.quality.leakage import check_leakage
from modeling_lira.agents.candidate import Candidate
from modeling_lira.errors import LiraError

TINY = Release("tiny", Quota(120, 30, 80), Quota(40, 10, 20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slice in all seven languages."""
    folder = tmp_path_factory.mktemp("corpus") / "slice"
    build_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default release in Malay."""
    folder = tmp_path_factory.mktemp("corpus") / "default"
    build_corpus(folder, size="default", languages=("ms",))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cache of `datasets` that no other test or user shares."""
    datasets.disable_progress_bars()
    yield str(tmp_path_factory.mktemp("cache"))
    datasets.enable_progress_bars()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the slice tiny."""
    monkeypatch.setattr(corpus_module, "release_named", lambda name: TINY)


def digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_every_config_loads_and_equals_the_card(folder: Path, cache: str) -> None:
    release = release_named("slice")
    names = get_dataset_config_names(str(folder))
    assert sorted(names) == sorted(f"{language}-{part}" for language in (*LANGUAGES, "all") for part in PARTS)
    for name in names:
        card = load_dataset_builder(str(folder), name, cache_dir=cache).info
        loaded = load_dataset(str(folder), name, cache_dir=cache)
        assert list(loaded) == list(SPLITS)
        language, part = name.rsplit("-", 1)
        assert loaded["train"].features == card.features == Features.from_arrow_schema(SCHEMAS[part])
        assert {split: card.splits[split].num_examples for split in SPLITS} == loaded.num_rows
        factor = len(LANGUAGES) if language == "all" else 1
        if part in ("corpus", "queries"):
            quota = release.products if part == "corpus" else release.queries
            assert loaded.num_rows == {split: factor * quota[split] for split in SPLITS}


def test_all_configs_are_the_languages_in_order(folder: Path, cache: str) -> None:
    every = load_dataset(str(folder), "all-queries", split="test", cache_dir=cache)
    one_by_one = [
        name
        for language in LANGUAGES
        for name in load_dataset(str(folder), f"{language}-queries", split="test", cache_dir=cache)["_id"]
    ]
    assert list(every["_id"]) == one_by_one


@pytest.mark.parametrize("part", PARTS)
def test_streaming_reads_the_same_rows(folder: Path, cache: str, part: str) -> None:
    for split in SPLITS:
        streamed = load_dataset(str(folder), f"th-{part}", split=split, streaming=True, cache_dir=cache)
        loaded = load_dataset(str(folder), f"th-{part}", split=split, cache_dir=cache)
        assert list(streamed) == list(loaded)


def test_a_folder_loads_without_a_configs_name(folder: Path, cache: str) -> None:
    every = load_dataset(str(folder), cache_dir=cache)
    assert every.num_rows == load_dataset(str(folder), "all-queries", cache_dir=cache).num_rows


def test_a_grade_has_its_relation(folder: Path) -> None:
    for split in SPLITS:
        rows = read_part(folder, "th", "qrels", split)
        pairs = set(zip(rows["score"].to_pylist(), rows["relation"].to_pylist(), strict=True))
        assert pairs == {(3, "exact"), (2, "partial"), (1, "substitute"), (0, "complement")}


def test_about_twenty_judgements_a_query(default: Path) -> None:
    """In the default release, of which every relevant product is judged."""
    rows = {part: sum(read_part(default, "ms", part, split).num_rows for split in SPLITS) for part in PARTS}
    assert 17 < rows["qrels"] / rows["queries"] < 25


def test_nothing_leaks(folder: Path) -> None:
    leaks = check_leakage(folder)
    assert set(leaks) == set(LANGUAGES)
    assert not [(language, check) for language, checks in leaks.items() for check, count in checks.items() if count]


def test_leakage_checks_see_what_is_wrong(tmp_path: Path) -> None:
    """One planted fault a check, counted by hand."""
    product = {"title_en": "mug", "type": "mug", "unseen_type": False}
    query = {"type": "mug", "unseen_type": False, "hard_negatives": []}
    rows = {
        ("corpus", "train"): [
            {"_id": "p1", "title": "Tasa Pula", "title_en": "red mug", "type": "mug", "unseen_type": True},
            {**product, "_id": "p2", "title": "tasa"},
            {**product, "_id": "p4", "title": "baso", "type": "glass"},
        ],
        ("corpus", "test"): [{**product, "_id": "p1", "title": "tasa  pula"}],
        ("queries", "train"): [
            {**query, "_id": "q1", "text": "TASA", "hard_negatives": ["p2"]},
            {**query, "_id": "q2", "text": "ta sa", "unseen_type": True},
        ],
        ("queries", "validation"): [{**query, "_id": "q1", "text": "Tasa"}],
        ("qrels", "train"): [{"query-id": "q1", "corpus-id": "p2", "score": 1}],
        ("qrels", "test"): [{"query-id": "q9", "corpus-id": "p9", "score": 3}],
    }
    for part in PARTS:
        for split in SPLITS:
            with PartWriter(tmp_path, "fil", part, split) as writer:
                writer.add_all(rows.get((part, split), []))
    assert check_leakage(tmp_path)["fil"] == {
        "query texts in two splits": 1,
        "queries of the same words in two splits": 1,
        "query ids in two splits": 1,
        "products in two splits": 1,
        "titles in two splits": 1,
        "titles of the same words in two splits": 1,
        "English titles in two splits": 1,
        "query texts twice in a split": 1,
        "titles twice in a split": 0,
        "unseen types in training queries": 1,
        "unseen types in training products": 2,
        "judgements of unknown queries or products": 2,
        "queries without a relevant product": 2,
        "hard negatives that are relevant": 1,
    }


def test_no_query_of_any_split_is_a_training_title(folder: Path) -> None:
    for language in LANGUAGES:
        titles = {normalise_text(text) for text in read_part(folder, language, "corpus", "train")["title"].to_pylist()}
        queries = read_part(folder, language, "queries", "test")["text"].to_pylist()
        assert not {normalise_text(text) for text in queries} & titles


def test_rebuilt_corpus_is_byte_identical(tmp_path: Path, folder: Path) -> None:
    build_corpus(tmp_path / "again", languages=("th", "fil"))
    again = digests(tmp_path / "again")
    first = digests(folder)
    for name in TEXTS:  # the card counts the languages
        again.pop(name, None)
    assert len(again) == 2 * len(PARTS) * len(SPLITS)
    assert again.items() <= first.items()


def test_the_slice_is_contained_in_the_default_release(default: Path, folder: Path) -> None:
    for split in SPLITS:
        for part in ("corpus", "queries"):
            small = read_part(folder, "ms", part, split).drop_columns(["unseen_type"]).to_pylist()
            large = read_part(default, "ms", part, split).drop_columns(["unseen_type"]).to_pylist()
            columns = {"hard_negatives"}  # drawn from the larger catalogue
            strip = [{key: value for key, value in row.items() if key not in columns} for row in large[: len(small)]]
            assert strip == [{key: value for key, value in row.items() if key not in columns} for row in small]
        judged = _grades(default, split)
        assert _grades(folder, split).items() <= judged.items()


def _grades(folder: Path, split: str) -> dict[tuple[str, str], int]:
    rows = read_part(folder, "ms", "qrels", split).to_pylist()
    return {(row["query-id"], row["corpus-id"]): row["score"] for row in rows}


def test_another_seed_is_another_corpus(tmp_path: Path, tiny: None) -> None:
    texts = []
    for seed in (0, 1):
        build_corpus(tmp_path / str(seed), languages=("id",), seed=seed)
        texts.append(set(read_part(tmp_path / str(seed), "id", "corpus", "train")["title"].to_pylist()))
    assert not texts[0] & texts[1]


def test_slice_queries_are_those_of_the_folder_with_their_candidates(folder: Path) -> None:
    rows = list(slice_queries(("bn", "vi")))
    assert [row.language for row in rows] == ["vi"] * 420 + ["bn"] * 420
    published = [row for split in SPLITS for row in read_part(folder, "bn", "queries", split).to_pylist()]
    assert [(row.text, row.candidates) for row in rows[420:]] == [(row["text"], row["candidates"]) for row in published]
    assert set(rows[0].candidates[0]) == {"text", "agent", "semantic", "emotional", "pragmatic"}


def test_committed_candidates_come_before_the_gloss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataset_builder.candidate_source import write_candidates

    query = next(iter(slice_queries(("fil",))))
    path = tmp_path / "candidates.jsonl.xz"
    write_candidates({("fil", query.text): [Candidate("a translation", "model", 7.0, 6.0, 5.0)]}, path)
    monkeypatch.setattr(corpus_module, "CANDIDATES_FILE", path)
    first, second, *_ = slice_queries(("fil",))
    assert first.candidates == [
        {"text": "a translation", "agent": "model", "semantic": 7.0, "emotional": 6.0, "pragmatic": 5.0}
    ]
    assert {candidate["agent"] for candidate in second.candidates} == {"gloss"}


def test_products_that_are_not_kept_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of the mega release: products made again, several shards, several tables of judgements."""
    lexicon = load_lexicon(languages=("bn",))
    write_language(lexicon, "bn", TINY, 0, CandidateSource(lexicon), tmp_path / "kept")
    monkeypatch.setattr("dataset_builder.generator.products.ProductList.__init__.__defaults__", (5,))
    monkeypatch.setattr("dataset_builder.generator.rows.QRELS_PER_TABLE", 7)
    monkeypatch.setattr(layout.PartWriter.__init__, "__defaults__", (50,))
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 16)
    write_language(lexicon, "bn", TINY, 0, CandidateSource(lexicon), tmp_path / "made")
    for part in PARTS:
        for split in SPLITS:
            kept, made = (read_part(tmp_path / name, "bn", part, split) for name in ("kept", "made"))
            assert kept.equals(made)
    names = [path.name for path in shards(tmp_path / "made", "bn-corpus", "train")]
    assert names == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    assert [read_rows(path) for path in shards(tmp_path / "made", "bn-corpus", "train")] == [50, 50, 20]


def read_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows


def test_interrupted_build_leaves_nothing_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: None
) -> None:
    built: list[str] = []

    def interrupt_at_thai(lexicon: object, language: str, *rest: Any) -> None:
        if language == "th" and "th" not in built:
            built.append("th")
            write_language(lexicon, language, *rest)
            (rest[3] / "th-corpus" / "test-00000-of-00001.parquet").unlink()
            raise KeyboardInterrupt
        built.append(language)
        write_language(lexicon, language, *rest)

    monkeypatch.setattr(corpus_module, "write_language", interrupt_at_thai)
    output = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        build_corpus(output, languages=("vi", "th", "id"))
    assert not output.exists()
    build_corpus(output, languages=("vi", "th", "id"))
    assert built == ["vi", "th", "th", "id"]
    build_corpus(tmp_path / "at once", languages=("vi", "th", "id"))
    assert digests(output) == digests(tmp_path / "at once")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_unfinished_work_of_other_settings_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: None
) -> None:
    with (
        pytest.raises(RuntimeError),
        staging.staged(tmp_path / "corpus", {"seed": 1}) as stage,
    ):
        (stage.folder / "vi-corpus").mkdir()
        stage.finish("vi")
        raise RuntimeError
    with staging.staged(tmp_path / "corpus", {"seed": 2}) as stage:
        assert stage.finished == []
        assert not (stage.folder / "vi-corpus").exists()


def test_a_failed_rebuild_keeps_the_old_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: None) -> None:
    output = tmp_path / "corpus"
    build_corpus(output, languages=("fil",))
    before = digests(output)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(layout.pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        build_corpus(output, languages=("fil", "th"))
    assert digests(output) == before
    assert not (tmp_path / ".corpus.partial").exists()


def test_a_rebuild_leaves_no_old_files(tmp_path: Path, tiny: None) -> None:
    build_corpus(tmp_path / "corpus", languages=("fil", "th"))
    build_corpus(tmp_path / "corpus", languages=("fil",))
    names = {path.name for path in (tmp_path / "corpus").iterdir()}
    assert {CARD} <= names & {*TEXTS}
    assert names - {*TEXTS} == {"fil-corpus", "fil-qrels", "fil-queries", "fil-ranking"}


def test_two_builds_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    with (
        staging.staged(tmp_path / "corpus", {}),
        pytest.raises(LiraError, match="another process builds"),
        staging.staged(tmp_path / "corpus", {}),
    ):
        pass


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(LiraError, match=r"holds something else than a corpus \(photo.png\)"):
        build_corpus(tmp_path)


def test_a_split_without_rows_still_loads(tmp_path: Path) -> None:
    with PartWriter(tmp_path, "vi", "queries", "test"):
        pass
    assert read_part(tmp_path, "vi", "queries", "test").num_rows == 0
    assert read_part(tmp_path, "vi", "queries", "test").schema == SCHEMAS["queries"]


@pytest.mark.parametrize("step", range(4))
def test_a_build_killed_while_its_corpus_takes_its_place_is_made_good(tmp_path, monkeypatch, step):
    def build(seed: int) -> None:
        with staging.staged(tmp_path / "corpus", {"seed": seed}) as stage:
            (stage.folder / "README.md").write_text(f"{seed}")
            stage.finish("vi")

    class Killed(BaseException):
        pass

    def killing(original, calls):
        def call(*arguments, **options):
            if len(calls) == step:
                raise Killed
            calls.append(arguments)
            return original(*arguments, **options)

        return call

    build(1)
    with monkeypatch.context() as patched:
        calls: list = [None] * 99  # counted from the moment that it takes its place
        for owner, name in ((Path, "rename"), (staging.shutil, "rmtree")):
            patched.setattr(owner, name, killing(getattr(owner, name), calls))
        put_in_place = staging._put_in_place
        patched.setattr(staging, "_put_in_place", lambda *folders: (calls.clear(), put_in_place(*folders)))
        with contextlib.suppress(Killed):
            build(2)
    assert any(
        (folder / "README.md").is_file() for folder in (tmp_path / "corpus", tmp_path / ".corpus.old")
    )  # one of both is always whole
    build(3)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["README.md"]
    assert (tmp_path / "corpus" / "README.md").read_text() == "3"
