"""The quality report: what it measures, by hand, and the page it writes."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from dataset_builder.__main__ import main
from dataset_builder.candidate_source import CandidateSource
from dataset_builder.card import write_card
from dataset_builder.generator.corpus import write_language
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.layout import PARTS, SPLITS, PartWriter
from dataset_builder.lexicon import load_lexicon
from dataset_builder.logs.corpus import build_log_corpus
from dataset_builder.page import Heading, Paragraph, Picture, Table, to_html, to_markdown, to_text
from dataset_builder.quality.baselines import Baseline, EncoderSystem, bm25_system, score_system
from dataset_builder.quality.leakage import check_language
from dataset_builder.quality.measures import candidate_quality, relevant_per_query
from dataset_builder.quality.report import baseline_tables, outliers, write_report
from dataset_builder.scripts import script_shares
from modeling_lira.evaluation.bm25 import BM25, tokens

TINY = Release("tiny", Quota(120, 30, 80), Quota(40, 10, 20))
FACTS = {"release": "tiny", "seed": 0, "types": 614, "departments": 17}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny corpus in Thai and Filipino."""
    folder = tmp_path_factory.mktemp("corpus")
    lexicon = load_lexicon(languages=("th", "fil"))
    for language in ("th", "fil"):
        write_language(lexicon, language, TINY, 0, CandidateSource(lexicon, Path("none")), folder)
    write_card(folder, "catalogue", FACTS)
    return folder


def write_rows(folder: Path, rows: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> None:
    for part in PARTS:
        for split in SPLITS:
            with PartWriter(folder, "fil", part, split) as writer:
                writer.add_all(rows.get((part, split), []))


def test_bm25_equals_the_formula() -> None:
    documents = [["red", "mug"], ["red", "red", "shirt", "shirt"], ["blue"]]
    scores = BM25(documents, saturation=1.2, length_norm=0.75).scores(["red", "shirt", "moon"])
    mean = 7 / 3

    def weight(frequency: int, length: int, matches: int) -> float:
        idf = math.log(1 + (3 - matches + 0.5) / (matches + 0.5))
        return idf * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * length / mean))

    assert scores == pytest.approx([weight(1, 2, 2), weight(2, 4, 2) + weight(2, 4, 1), 0.0])
    assert BM25([]).scores(["red"]).tolist() == []


def test_tokens_keep_marks_and_cut_thai() -> None:
    assert tokens("লাল শাড়ি, 2টি", "bn") == ["লাল", "শাড়ি", "2টি"]
    assert tokens("Áo-Thun (đỏ)", "vi") == ["áo", "thun", "đỏ"]
    assert tokens("เสื้อ ab", "th") == ["เสื", "สื้", "ื้อ", "ab"]


def test_script_shares_count_letters_only() -> None:
    assert script_shares(["ab 12 กข", "!ค"]) == {"thai": 0.6, "latin": 0.4}
    assert script_shares(["12"]) == {}


def test_candidate_quality_by_hand(tmp_path: Path) -> None:
    def candidate(text: str, semantic: float | None = None) -> dict:
        return {"text": text, "agent": "model", "semantic": semantic, "emotional": semantic, "pragmatic": semantic}

    rows: list[dict[str, Any]] = [
        {
            "_id": "1",
            "text": "medyas",
            "type": "socks",
            "candidates": [candidate("foot bags", 2), candidate("Ankle Socks", 8)],
        },
        {"_id": "2", "text": "sapatos", "type": "socks", "candidates": [candidate("sapatos")]},
        {"_id": "3", "text": "regalo", "type": "", "candidates": [candidate("สวย")]},
        {"_id": "4", "text": "baso", "type": "socks", "candidates": []},
    ]
    write_rows(tmp_path, {("queries", "test"): rows})
    quality = candidate_quality(tmp_path, "fil", {"socks": ("socks",)})
    assert quality.covered == 0.75
    assert quality.per_query == 1.0
    assert quality.scored == 0.5
    assert quality.untranslated == 0.5
    assert quality.named_first == 0.0
    assert quality.named_any == 0.5
    assert quality.semantic == 5.0


def test_baseline_and_relevance_by_hand(tmp_path: Path) -> None:
    products = [{"_id": name, "title": title, "text": ""} for name, title in (("a", "pulang baso"), ("b", "asul baso"))]
    queries = [
        {"_id": "q", "text": "pulang baso", "kind": "bare", "unseen_type": False},
        {"_id": "r", "text": "tasa", "kind": "synonym", "unseen_type": True},
    ]
    qrels = [{"query-id": "q", "corpus-id": "b", "score": 3}, {"query-id": "r", "corpus-id": "a", "score": 1}]
    write_rows(tmp_path, {("corpus", "test"): products, ("queries", "test"): queries, ("qrels", "test"): qrels})
    baseline = score_system(tmp_path, "fil", bm25_system)
    second = 1 / np.log2(3)
    assert baseline.kinds == pytest.approx({"bare": second, "synonym": 1.0})  # among equals the earlier is first
    assert baseline.unseen == 1.0
    assert baseline.mean == pytest.approx((second + 1) / 2)
    assert relevant_per_query(tmp_path, "fil", "test") == [1, 1]
    assert relevant_per_query(tmp_path, "fil", "train") == []


def test_encoder_system_is_mean_pooling_and_cosine(backbones: dict[str, Path]) -> None:
    """Each text alone, without padding, gives the same vectors as a sorted and padded batch."""
    system = EncoderSystem(str(backbones["xlm-roberta"]), "query: ", "passage: ")
    documents = ["áo sơ mi trắng cho bé trai", "cheap used phone", "a"]
    tokenizer = AutoTokenizer.from_pretrained(backbones["xlm-roberta"])
    model = AutoModel.from_pretrained(backbones["xlm-roberta"]).eval()

    def alone(text: str) -> torch.Tensor:
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return torch.nn.functional.normalize(states.mean(0), dim=0)

    scores = system(documents, "vi")(["phone"])
    expected = [float(alone("query: phone") @ alone(f"passage: {text}")) for text in documents]
    assert scores.shape == (1, 3)
    assert scores[0] == pytest.approx(expected, abs=1e-5)


def test_page_escapes_and_formats() -> None:
    blocks = [
        Heading("A & B", 1),
        Paragraph("<b>"),
        Table(["x|y", "n"], [["a|b", 1234], ["c", float("nan")], ["d", 0.5]]),
        Picture("p.png", 'a "plot"'),
    ]
    markdown, html = to_markdown(blocks), to_html("t", blocks)
    assert "# A & B" in markdown
    assert "| a\\|b | 1,234 |\n| c | – |\n| d | 0.50 |" in markdown
    assert "<h1>A &amp; B</h1>" in html
    assert "<p>&lt;b&gt;</p>" in html
    assert '<img src="p.png" alt="a &quot;plot&quot;">' in html


def test_baselines_by_language_and_kind_with_their_mean() -> None:
    scores = {
        "th": Baseline(0.5, {"bare": 0.75, "vague": 0.25}, 0.25),
        "fil": Baseline(0.875, {"bare": 0.25}, 0.75),
        "ur": Baseline(0.125, {"bare": 0.5}, 0.5),
    }
    [table] = baseline_tables({"BM25": scores})
    assert to_text(table).splitlines() == [
        "BM25   all  bare  vague  unseen types",
        "th    0.50  0.75   0.25          0.25",
        "fil   0.88  0.25      –          0.75",
        "ur    0.12  0.50      –          0.50",
        "mean  0.50  0.50   0.25          0.50",
    ]
    assert outliers({"BM25": scores}) == [
        "BM25, fil: mean nDCG@10 0.88 is not between 0.25 and 0.85",
        "BM25, ur: mean nDCG@10 0.12 is not between 0.25 and 0.85",
    ]


def test_report_command_writes_the_page_with_its_pictures(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as stop:
        main(["report", "--corpus", str(folder), "--output", str(tmp_path)])
    assert stop.value.code == 0
    assert "every leakage check is 0" in caplog.text
    printed = next(record.getMessage() for record in caplog.records if "BM25" in record.getMessage())
    assert [line.split()[0] for line in printed.strip().splitlines()[1:]] == ["BM25", "th", "fil", "mean"]
    assert {"attribute", "bare", "vague"} <= set(printed.splitlines()[1].split())
    pictures = {"lengths.png", "scripts.png", "relevance.png", "baselines.png", "candidates.png"}
    assert {path.name for path in tmp_path.iterdir()} == {*pictures, "report.md", "report.html", "report.json"}
    html, markdown = ((tmp_path / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
        assert picture in html
        assert picture in markdown
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert numbers["counts"]["th"]["test"]["products"] == 80
    assert set(numbers["leaks"]["fil"].values()) == {0}
    assert 0 < numbers["baselines"]["BM25"]["fil"]["mean"] < 1


def fails(capsys: pytest.CaptureFixture[str], corpus: Path, output: Path, *more: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["report", "--corpus", str(corpus), "--output", str(output), *more])
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_report_of_something_else_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is not a complete corpus folder: build one first" in fails(capsys, tmp_path, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_report_on_what_is_damaged_or_of_another_version_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "corpus")
    [path] = (tmp_path / "corpus" / "th-queries").glob("test-*")
    pq.write_table(pq.read_table(path).drop_columns(["band"]), path)
    line = fails(capsys, tmp_path / "corpus", tmp_path / "report")
    assert f"{path} is of another version (band differ): build the corpus again" in line
    path.write_bytes(b"PAR1")
    assert f"{path} is damaged" in fails(capsys, tmp_path / "corpus", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_wrong_outputs_and_encoders_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "encoder").mkdir()
    assert "File exists" in fails(capsys, folder, tmp_path / "file")
    assert "Not a directory" in fails(capsys, folder, tmp_path / "file" / "report")
    for name in ("pypi:no-such-encoder", str(tmp_path / "encoder")):
        assert name in fails(capsys, folder, tmp_path / "report", "--encoder", name)
    assert not (tmp_path / "report").exists()


def test_a_corpus_without_test_queries_has_a_report(tmp_path: Path) -> None:
    product = {"_id": "a", "title": "baso", "text": "", "title_en": "glass", "type": "", "unseen_type": False}
    query = {"_id": "q", "text": "baso", "kind": "log", "type": "", "unseen_type": False, "hard_negatives": []}
    rows = {("corpus", split): [product] for split in SPLITS}
    rows[("queries", "train")] = [{**query, "candidates": []}]
    rows[("qrels", "train")] = [{"query-id": "q", "corpus-id": "a", "score": 3}]
    write_rows(tmp_path / "corpus", rows)
    write_card(tmp_path / "corpus", "logs", {"seed": 0, "min_sessions": 3, "min_seen": 3, "english": "", "drops": ""})
    findings = write_report(tmp_path / "corpus", tmp_path / "report")
    assert "| fil | – | – |" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert outliers(findings.baselines) == []
    numbers = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert numbers["baselines"]["BM25"]["fil"] == {"mean": None, "kinds": {}, "unseen": None}


def test_a_log_is_not_warned_of_the_catalogue_that_its_splits_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log.csv"
    rows = [
        f"<b>mug</b> {query},red | mug {query},{action},s{session},en"
        for query in range(8)
        for session in range(3)
        for action in ("impression", "click")
    ]
    log.write_text("\n".join(["query,product,action,session,language", *rows]), "utf-8")
    build_log_corpus(tmp_path / "corpus", log, candidates=Path("none"))
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as stop:
        main(["report", "--corpus", str(tmp_path / "corpus"), "--output", str(tmp_path / "report")])
    assert stop.value.code == 0
    assert "every leakage check is 0" in caplog.text
    assert "in two splits" not in caplog.text
    page = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "This corpus is split by query alone" in page
    assert "1 clicked" in page
    assert "substitute" not in page


def test_a_catalogue_that_leaks_as_a_whole_is_not_taken_for_a_log(tmp_path: Path) -> None:
    product = {"_id": "a", "title": "baso", "text": "", "title_en": "glass", "type": "mug", "unseen_type": False}
    write_rows(tmp_path, {("corpus", split): [product] for split in SPLITS})
    assert check_language(tmp_path, "fil")["products in two splits"] == 3
