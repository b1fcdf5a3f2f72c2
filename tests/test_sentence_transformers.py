"""A saved model in sentence-transformers and MTEB: the same vectors, and its prompts, evaluators and saving work."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, disturb
from helpers import COMMIT, content, put_on_hub
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.testing import assert_close

from modeling_lira import LiraError, LiraModel
from modeling_lira.evaluation.metrics import ndcg

TEXTS = list(MULTILINGUAL_TEXTS)
CODES = [code for code in ("vi", "th", "id", "ms", "ur", "bn", "fil", "en") for _ in range(2)]
CANDIDATES = [[f"white shirt {row}", "phone", "old rice"][: row % 4] for row in range(len(TEXTS))]
SCORES = [[[1 + row % 9, 3, 10 - column] for column in range(len(names))] for row, names in enumerate(CANDIDATES)]


@pytest.fixture(scope="module")
def model(build_model) -> LiraModel:
    """A trained model whose prefixes differ in both paths; read-only."""
    built = disturb(build_model(anchor_texts=TEXTS, query_prefix="query: ", document_prefix="passage: "))
    built.processor.english_query_prefix = "a "
    return built


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("st") / "model"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def st(folder) -> SentenceTransformer:
    """The saved model; read-only."""
    return load(folder)


def load(folder: Path, **arguments: object) -> SentenceTransformer:
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu", **arguments)


def dictionaries() -> list[dict[str, object]]:
    rows = zip(TEXTS, CODES, CANDIDATES, SCORES, strict=True)
    return [dict(zip(("text", "language", "candidates", "critic_scores"), row, strict=True)) for row in rows]


def same(actual: object, expected: torch.Tensor) -> None:
    assert_close(torch.as_tensor(actual), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["query", "document"])
def test_equal_vectors(st, model, kind):
    theirs, ours = (getattr(side, f"encode_{kind}") for side in (st, model))
    same(theirs(TEXTS, batch_size=3), ours(TEXTS))
    same(theirs(TEXTS, language="th"), ours(TEXTS, "th"))
    same(theirs(dictionaries(), batch_size=5), ours(TEXTS, CODES, CANDIDATES, SCORES))
    same(theirs(dictionaries(), batch_size=5, language="th"), ours(TEXTS, CODES, CANDIDATES, SCORES))
    same(theirs(dictionaries()[3]), ours(TEXTS[3], CODES[3], CANDIDATES[3:4], SCORES[3:4])[0])
    assert (ours(TEXTS) - ours(TEXTS, CODES, CANDIDATES)).abs().max() > 1e-3


def test_prompts_are_the_models_prefixes(st, model):
    assert st.prompts == {"query": "query: ", "document": "passage: "}
    rows = dictionaries()
    same(st.encode(rows), model.encode_query(TEXTS, CODES, CANDIDATES, SCORES))
    same(
        st.encode(rows, prompt_name="document"), model.encode_document(TEXTS, CODES, CANDIDATES, SCORES)
    )  # whose English path has another prefix, too
    bare = model.processor(TEXTS, prefix="")
    with torch.no_grad():
        same(st.encode(TEXTS, prompt=""), model(**bare).sentence_embedding)
        assert (model(**bare).sentence_embedding - model.encode_query(TEXTS)).abs().max() > 1e-3


def test_a_language_of_the_whole_model(folder, model):
    st = load(folder)
    st[0].language = "ur"
    same(st.encode_query(TEXTS), model.encode_query(TEXTS, "ur"))
    same(st.encode_query(TEXTS, language="bn"), model.encode_query(TEXTS, "bn"))
    same(st.encode_query(dictionaries()), model.encode_query(TEXTS, CODES, CANDIDATES, SCORES))


def test_what_the_user_asks_of_a_model(st, model):
    size = model.config.embedding_size
    assert st.get_embedding_dimension() == size and st.similarity_fn_name == "cosine"
    assert st.max_seq_length == 64 and st.tokenizer("áo")["input_ids"] == model.processor.tokenizer("áo")["input_ids"]
    assert st.get_model_kwargs() == ["language"]
    assert isinstance(st.transformers_model, LiraModel)
    assert st.encode(TEXTS, truncate_dim=8).shape == (len(TEXTS), 8)
    assert st.encode([]).size == 0


def test_a_shorter_limit_counts(folder, st):
    short, long = load(folder), TEXTS[0] * 3
    short.max_seq_length = 6
    assert st[0].preprocess([long])["input_ids"].shape[1] > short[0].preprocess([long])["input_ids"].shape[1] == 6
    limited = load(folder, processor_kwargs={"max_length": 6})
    same(limited.encode([long]), torch.as_tensor(short.encode([long])))


@pytest.mark.parametrize("length", [0, 1, 2, -5, 2.5, "64", True])
def test_a_limit_that_leaves_no_room_for_a_text(folder, length):
    st = load(folder)
    with pytest.raises(ValueError, match="max_length must be a whole number of tokens from 3 on, got") as caught:
        st.max_seq_length = length
    assert caught.type.__name__ == LiraError.__name__
    assert st.max_seq_length == 64


def test_no_limit_is_the_backbones(folder, st):
    other = load(folder)
    other.max_seq_length = 6
    for length, expected in ((None, 64), (10**12, 64), (3, 3)):
        other.max_seq_length = length
        assert other.max_seq_length == expected
        assert other[0].preprocess([TEXTS[0] * 9])["input_ids"].shape[1] == expected


def test_a_blank_text_has_a_vector_of_its_own(st, model):
    together = torch.as_tensor(st.encode_document(["áo thun", "", "nồi", "\u200b\ufeff", " \n"], batch_size=2))
    same(together[[0, 2]], model.encode_document(["áo thun", "nồi"]))
    assert together.isfinite().all()
    assert_close(together.norm(dim=-1), torch.ones(5))
    same(together[[3, 4]], together[[1, 1]])
    same(torch.as_tensor(st.encode_document([""]))[0], together[1])
    assert (together[1] - together[0]).abs().max() > 1e-3
    rows = [{"text": "", "language": "en"}, {"text": "", "candidates": ["shirt"]}]
    for kind in ("query", "document"):
        assert torch.as_tensor(getattr(st, f"encode_{kind}")(rows)).isfinite().all()


def test_fields_that_are_missing(st, model):
    nothing = {"language": None, "candidates": None, "critic_scores": None}
    nan = dict.fromkeys(nothing, float("nan"))
    expected = model.encode_query(["áo", "phone"], candidates=[[], ["a"]])
    for fields in (nothing, nan, {"language": "", "candidates": [], "critic_scores": []}):
        same(st.encode_query([{"text": "áo", **fields}, {"text": "phone", **fields, "candidates": ["a"]}]), expected)


def test_tokens_are_the_fused_ones(st, model):
    rows = dictionaries()
    tokens = st.encode_query(rows, batch_size=3, output_value="token_embeddings")
    with torch.no_grad():
        output = model(**model.processor(TEXTS, CANDIDATES, CODES, critic_scores=SCORES))
    for vectors, states, mask in zip(tokens, output.fused_states, output.fused_mask, strict=True):
        same(vectors, states[mask])
    everything = st.encode_query(rows, batch_size=3, output_value=None)
    same(torch.stack([row["sentence_embedding"] for row in everything]), output.sentence_embedding)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([{"text": "áo", "lang": "vi"}, "áo thun trắng"], "text 'áo' has unknown field 'lang'"),
        (["áo", {"language": "vi"}], "must be str or a dictionary with a text, got {'language': 'vi'}"),
        ([("áo", "shirt")], "must be str or a dictionary with a text, got"),
        ([{"text": None}], "text None must be str"),
        ([{"text": "áo", "language": "xx"}, "áo thun trắng"], "language 'xx' is not in the model's config.*'áo'"),
        ([{"text": "áo", "candidates": "shirt"}], "candidates of text 'áo' must be a list of str"),
        ([{"text": "áo", "candidates": ["a"] * 5}, "áo thun trắng"], "text 'áo' has 5 candidates"),
        ([{"text": "áo", "candidates": ["\u200b"]}, "áo thun trắng"], "text 'áo' has an empty candidate"),
    ],
)
def test_bad_input_is_one_clear_error(st, texts, message):
    with pytest.raises(ValueError, match=message) as caught:
        st.encode(texts)
    assert caught.type.__name__ == LiraError.__name__  # the folder's own class, not this package's


def test_another_backend_needs_an_export(folder):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match=r"has no such export: make it by `lira export .* --format onnx`"):
        load(folder, backend="onnx")


def test_no_code_runs_that_the_user_did_not_trust(folder):
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(folder))


def test_an_adapter_only_folder(model, tmp_path):
    model.save_pretrained(tmp_path, save_backbones=False)
    same(load(tmp_path).encode_query(dictionaries()), model.encode_query(TEXTS, CODES, CANDIDATES, SCORES))


def test_what_it_saves_loads_everywhere(st, model, folder, tmp_path):
    st.save(str(tmp_path / "again"))
    assert content(tmp_path / "again").keys() == content(folder).keys() | {"README.md"}
    assert not [path for path in (tmp_path / "again").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    expected = model.encode_query(TEXTS)
    same(load(tmp_path / "again").encode_query(TEXTS), expected)
    same(LiraModel.from_pretrained(tmp_path / "again").encode_query(TEXTS), expected)


def test_training_reaches_the_trained_parts_only(folder):
    st = load(folder).train()
    pairs = [st.preprocess(texts) for texts in (TEXTS[::2], TEXTS[1::2])]
    MultipleNegativesRankingLoss(st)(pairs, labels=None).backward()
    trained = {name for name, parameter in st[0].model.named_parameters() if parameter.grad is not None}
    assert {name.partition(".")[0] for name in trained} == {"arca", "lasr"}


# ---------------------------------------------------------------- queries or documents

PROMPTED = {
    "LangChain's encode_kwargs": ({}, {"prompt_name": "query"}, {"prompt_name": "document"}),
    "LangChain's default prompt": ({"default_prompt_name": "document"}, {"prompt_name": "query"}, {}),
    "LlamaIndex's instructions": (
        {"prompts": {"query": "query: ", "text": "passage: "}},
        {"prompt_name": "query", "normalize_embeddings": True},
        {"prompt_name": "text", "normalize_embeddings": True},
    ),
    "instructions without the last space": ({}, {"prompt": "query:"}, {"prompt": "passage:"}),
    "tasks": ({}, {"task": "query"}, {"task": "document"}),
}


@pytest.mark.parametrize(("loading", "query", "document"), PROMPTED.values(), ids=PROMPTED)
def test_the_task_that_a_caller_tells(folder, model, caplog, loading, query, document):
    st = load(folder, **loading)
    same(st.encode(["áo"], **query), model.encode_query(["áo"]))
    same(st.encode(["áo"], **document), model.encode_document(["áo"]))
    assert "embedded as queries" not in caplog.text


@pytest.mark.parametrize("arguments", [{}, {"prompt": ""}], ids=["LangChain's default", "LlamaIndex's default"])
def test_a_task_that_nobody_tells_is_a_query_with_one_warning(folder, caplog, arguments):
    st = load(folder)
    for _ in range(2):
        st.encode(TEXTS, **arguments)
    assert caplog.text.count("embedded as queries") == 1
    assert "encode_document" in caplog.text


def test_langchain(folder, model):
    langchain = pytest.importorskip("langchain_huggingface")
    embeddings = langchain.HuggingFaceEmbeddings(
        model_name=str(folder),
        model_kwargs={"trust_remote_code": True, "device": "cpu"},
        encode_kwargs={"prompt_name": "document", "language": "vi"},
        query_encode_kwargs={"prompt_name": "query", "language": "vi"},
    )
    same(embeddings.embed_documents(["áo"]), model.encode_document(["áo"], "vi"))
    same(embeddings.embed_query("áo"), model.encode_query(["áo"], "vi")[0])


def test_llama_index(folder, model):
    huggingface = pytest.importorskip("llama_index.embeddings.huggingface")
    embeddings = huggingface.HuggingFaceEmbedding(
        str(folder),
        trust_remote_code=True,
        device="cpu",
        query_instruction="query: ",
        text_instruction="passage: ",
    )
    same(embeddings.get_text_embedding("áo"), model.encode_document(["áo"])[0])
    same(embeddings.get_query_embedding("áo"), model.encode_query(["áo"])[0])


# ---------------------------------------------------------------- evaluators and MTEB

QUERIES = {f"q{row}": text for row, text in enumerate(TEXTS[::2])}
CORPUS = {f"d{row}": text for row, text in enumerate(TEXTS)}
QRELS = {f"q{row}": {f"d{2 * row}": 2, f"d{2 * row + 1}": 1} for row in range(len(QUERIES))}


def gains() -> torch.Tensor:
    return torch.tensor([[float(QRELS[query].get(document, 0)) for document in CORPUS] for query in QUERIES])


def test_an_evaluator(st, model):
    evaluator = InformationRetrievalEvaluator(
        QUERIES,
        CORPUS,
        {query: set(relevant) for query, relevant in QRELS.items()},
        ndcg_at_k=[5],
        show_progress_bar=False,
    )
    scores = model.encode_query(list(QUERIES.values())) @ model.encode_document(list(CORPUS.values())).T
    expected = ndcg(scores, (gains() > 0).float(), k=5).mean()
    assert 0.1 < expected < 1
    assert evaluator(st)["cosine_ndcg@5"] == pytest.approx(float(expected), abs=1e-6)


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A folder in the layout of our corpora."""
    root = tmp_path_factory.mktemp("corpus")
    qrels = [
        {"query-id": query, "corpus-id": document, "score": score}
        for query, relevant in QRELS.items()
        for document, score in relevant.items()
    ]
    tables = {
        "vi-corpus": [{"_id": name, "title": "", "text": text} for name, text in CORPUS.items()],
        "vi-queries": [{"_id": name, "text": text} for name, text in QUERIES.items()],
        "vi-qrels": qrels,
    }
    for name, rows in tables.items():
        write_table(root / name / "test-00000-of-00001.parquet", rows)
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/test-*.parquet\n" for name in tables
    )
    (root / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return root


def test_it_is_a_model_of_mteb(st, model, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    import mteb
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Products(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Products",
            description="Products",
            dataset={"path": str(corpus), "revision": "main"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_langs={"vi": ["vie-Latn"]},
            main_score="ndcg_at_10",
        )

    result = mteb.evaluate(st, Products(), cache=None, co2_tracker=False, show_progress_bar=False)
    scores = model.encode_query(list(QUERIES.values())) @ model.encode_document(list(CORPUS.values())).T
    expected = float(ndcg(scores, gains()).mean())
    assert 0.1 < expected < 1
    assert result.task_results[0].scores["test"][0]["ndcg_at_10"] == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- a fresh process

FRESH = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "modeling_lira":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

order = json.loads(sys.argv[1])
tensors = {}
for name, source in order["sources"].items():
    model = SentenceTransformer(source, trust_remote_code=True, device="cpu")
    tensors[name] = torch.from_numpy(model.encode_query(order["texts"]))
    modules = [type(model[0]).__module__, type(model[0].model).__module__]
    assert all(module.startswith("transformers_modules.") for module in modules), modules
    model.save(order["output"] + "/" + name)
save_file(tensors, order["output"] + "/tensors.safetensors")
"""


def test_a_fresh_process_needs_nothing_but_the_folder_or_the_repository(folder, model, forks, tmp_path):
    put_on_hub(tmp_path / "hf" / "hub", "someone/lira", COMMIT, folder)
    order = {
        "sources": {"folder": str(folder), "repository": "someone/lira"},
        "texts": dictionaries(),
        "output": str(tmp_path),
    }
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = forks.run(FRESH, json.dumps(order), cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    expected = model.encode_query(TEXTS, CODES, CANDIDATES, SCORES)
    for name, embeddings in load_file(tmp_path / "tensors.safetensors").items():
        same(embeddings, expected)
        assert content(tmp_path / name).keys() == content(folder).keys() | {"README.md"}
