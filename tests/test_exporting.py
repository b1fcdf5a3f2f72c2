"""Models exported for ONNX Runtime and OpenVINO: the same embeddings, found again, never stale, never trusted."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import disturb
from helpers import lira, write_lines

from modeling_lira import LiraError, LiraModel
from modeling_lira.records.publishing import card_sources, write_ready
from modeling_lira.records.saved_model import fingerprint, load_model

pytest.importorskip("transformers.exporters")
pytest.importorskip("onnxruntime")

from modeling_lira.exporting.folded import FoldedTextPath
from modeling_lira.exporting.graphs import quantised

TEXTS = ["white shirt", "áo sơ mi trắng cho bé trai", "ซื้อเสื้อ", "harga ponsel bekas murah", "puting polo"]
LANGUAGES = ["en", "vi", "th", "id", None]
CANDIDATES = [["shirt", "a white shirt"], ["white shirt for boys"], ["buy", "a shirt", "buy a shirt"], [], ["polo"]]
SCORES = [[[9, 8, 7], [3, 2, 1]], [[1, 1, 1]], None, [], [[5, 5, 5]]]


@pytest.fixture(scope="module")
def model(build_model) -> LiraModel:
    return disturb(build_model(query_prefix="query: ", document_prefix="passage: ")).eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    model.save_pretrained(folder)
    for precision in ("float32", "int8"):
        assert lira("export", folder, "--precision", precision) == 0
    return folder


@pytest.fixture
def copied(exported, tmp_path) -> Iterator[Path]:
    shutil.copytree(exported, tmp_path / "model")
    yield tmp_path / "model"


def assert_same(model: LiraModel, other: LiraModel) -> None:
    for count, batch in ((1, 64), (5, 2), (5, 64)):
        part = slice(0, count)
        for encode in ("encode_query", "encode_document"):
            for given in ((None, None), (CANDIDATES[part], None), (CANDIDATES[part], SCORES[part])):
                rows = (TEXTS[part], LANGUAGES[part], *given, batch)
                torch.testing.assert_close(
                    getattr(other, encode)(*rows), getattr(model, encode)(*rows), atol=1e-5, rtol=0
                )


def test_onnx_gives_the_same_embeddings(model, exported):
    loaded = LiraModel.from_pretrained(exported, backend="onnx")
    assert loaded.export.precision == "float32"
    assert_same(model, loaded)


def test_int8_is_near_and_smaller(model, exported):
    loaded = LiraModel.from_pretrained(exported, backend="onnx", precision="int8")
    for candidates in (None, CANDIDATES):
        near = loaded.encode_query(TEXTS, LANGUAGES, candidates)
        assert (near * model.encode_query(TEXTS, LANGUAGES, candidates)).sum(-1).min() > 0.999


def test_int8_keeps_small_numbers_beside_one_that_is_large():
    ir, random = pytest.importorskip("onnx_ir"), np.random.default_rng(0)
    import onnxruntime

    weight = ir.tensor(random.standard_normal((128, 8), np.float32), name="weight")
    held = ir.Value(name="weight", shape=weight.shape, type=ir.TensorType(weight.dtype), const_value=weight)
    given = ir.Value(name="given", shape=ir.Shape(["rows", 128]), type=ir.TensorType(weight.dtype))
    product = ir.node("MatMul", [given, held], name="product")
    result = ir.node("Identity", product.outputs)
    result.outputs[0].name, result.outputs[0].type = "result", ir.TensorType(weight.dtype)
    graph = ir.Graph([given], result.outputs, nodes=[product, result], initializers=[held], opset_imports={"": 21})
    model = quantised(ir.Model(graph, ir_version=10))
    assert "weight" not in model.graph.initializers
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    rows = random.standard_normal((4, 128), np.float32)
    rows[0, 0] = 100
    error = session.run(None, {"given": rows})[0] - rows @ weight.numpy()
    assert np.abs(error[1:]).max() < 0.3  # with one scale for all, a step would be 0.4 of each number


def test_no_reshape_of_what_was_reshaped(exported):
    import onnx_ir as ir

    def copies_batch(node) -> bool:
        sizes = node.inputs[1].const_value if node is not None and node.op_type == "Reshape" else None
        return sizes is not None and sizes.numpy().tolist()[:2] == [0, 0]

    for name in ("text", "candidates"):
        nodes = list(ir.load(exported / "onnx" / "float32" / f"{name}.onnx").graph)
        assert not [node for node in nodes if copies_batch(node) and copies_batch(node.inputs[0].producer())]


@pytest.mark.parametrize("dimensions", [None, 20, 60])
def test_the_folded_path_gives_what_the_model_gives(build_model, dimensions):
    one_bin = disturb(build_model(num_feature_bins=1, num_fusion_layers=2, truncate_dim=dimensions)).eval()
    inputs = dict(one_bin.processor(TEXTS[1:], None, LANGUAGES[1:]))
    with torch.no_grad():
        folded = FoldedTextPath(one_bin).eval()(**inputs).sentence_embedding
        torch.testing.assert_close(folded, one_bin(**inputs).sentence_embedding, atol=1e-6, rtol=0)


def test_a_graph_of_tokens_alone_runs_in_bare_onnxruntime(model, exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / "onnx" / "float32" / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["input_ids", "attention_mask"]
    tokens = model.processor.tokenize(TEXTS, "document")
    embeddings = session.run(None, {name: value.numpy() for name, value in tokens.items()})[0]
    np.testing.assert_allclose(embeddings, model.encode_document(TEXTS).numpy(), atol=1e-5)


def test_fastembed_runs_the_graph_of_tokens_alone(model, exported):
    fastembed = pytest.importorskip("fastembed")
    from fastembed.common.model_description import ModelSource, PoolingType

    graph = "onnx/float32/model.onnx"
    fastembed.TextEmbedding.add_custom_model(
        "shop/search",
        PoolingType.DISABLED,
        False,
        ModelSource(hf="shop/search"),
        model.config.embedding_size,
        graph,
        additional_files=[f"{graph}.data"],
    )
    engine = fastembed.TextEmbedding("shop/search", specific_model_path=str(exported))
    prefixed = [model.processor.query_prefix + text for text in TEXTS]
    np.testing.assert_allclose(np.stack(list(engine.embed(prefixed))), model.encode_query(TEXTS), atol=1e-5)


def test_openvino_gives_the_same_embeddings(model, exported):
    pytest.importorskip("openvino")
    for precision in ("float32", "bfloat16"):
        assert lira("export", exported, "--format", "openvino", "--precision", precision) == 0
    assert_same(model, LiraModel.from_pretrained(exported, backend="openvino"))
    rounded = LiraModel.from_pretrained(exported, backend="openvino", precision="bfloat16")
    assert rounded.export.precision == "bfloat16"
    for candidates in (None, CANDIDATES):
        near = rounded.encode_query(TEXTS, LANGUAGES, candidates)
        assert (near * model.encode_query(TEXTS, LANGUAGES, candidates)).sum(-1).min() > 0.99


def test_an_export_knows_its_model_and_backend(model, exported):
    names = {
        precision: fingerprint(load_model(exported, backend="onnx", precision=precision))
        for precision in ("float32", "int8")
    }
    assert names == {precision: f"{fingerprint(load_model(exported))}-onnx-{precision}" for precision in names}


def test_finished_exports_are_kept(exported, caplog):
    before = (exported / "onnx" / "int8" / "export.json").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        assert lira("export", exported, "--precision", "int8") == 0
    assert "exported already" in caplog.text
    assert (exported / "onnx" / "int8" / "export.json").stat().st_mtime_ns == before


def test_sentence_transformers_runs_it_by_the_folders_own_code(model, exported):
    from sentence_transformers import SentenceTransformer

    for backend, precision, tolerance in (("onnx", "float32", 1e-5), ("onnx", "int8", 0.1)):
        st = SentenceTransformer(
            str(exported), backend=backend, model_kwargs={"precision": precision}, trust_remote_code=True
        )
        rows = [{"text": text, "candidates": row} for text, row in zip(TEXTS, CANDIDATES, strict=True)]
        near = torch.as_tensor(st.encode_query(rows, batch_size=2))
        torch.testing.assert_close(near, model.encode_query(TEXTS, None, CANDIDATES), atol=tolerance, rtol=0)


def test_graphs_hold_their_backbones(exported):
    with pytest.raises(LiraError, match="hold their backbones: leave out --multilingual"):
        load_model(exported, multilingual="intfloat/multilingual-e5-small", backend="onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tensorrt"}, "backend must be torch or one of onnx, openvino, got 'tensorrt'"),
        ({"backend": "onnx", "precision": "int4"}, "precision must be one of float32, bfloat16, int8, got 'int4'"),
        (
            {"backend": "onnx", "precision": "bfloat16"},
            "no such export: make it by .*--format onnx --precision bfloat16",
        ),
        ({"precision": "int8"}, "precision 'int8' is of an export: give a backend"),
    ],
)
def test_what_is_not_there_is_one_clear_error(exported, arguments, message):
    with pytest.raises(LiraError, match=message):
        load_model(exported, **arguments)


def test_an_export_of_other_weights_is_refused_and_not_pushed(copied, tmp_path):
    changed = disturb(LiraModel.from_pretrained(copied), 0.1)
    changed.save_pretrained(copied)
    with pytest.raises(LiraError, match=r"changed since they were exported: run `lira export .*--precision float32`"):
        LiraModel.from_pretrained(copied, backend="onnx")
    write_ready(copied, "shop/search", card_sources(copied), tmp_path / "ready")
    assert not (tmp_path / "ready" / "onnx").exists()


def test_exports_go_along_with_a_push_and_old_ones_go_away(copied, tmp_path):
    old = tmp_path / "ready" / "onnx" / "float16" / "model.onnx"
    write_ready(copied, "shop/search", card_sources(copied), tmp_path / "ready")
    old.parent.mkdir()
    old.touch()
    write_ready(copied, "shop/search", card_sources(copied), tmp_path / "ready")
    assert not old.exists()
    expected = LiraModel.from_pretrained(copied, backend="onnx").encode_query(TEXTS)
    torch.testing.assert_close(
        LiraModel.from_pretrained(tmp_path / "ready", backend="onnx").encode_query(TEXTS), expected
    )


def test_graphs_run_from_links_as_the_hubs_cache_has_them(copied, tmp_path):
    """The client keeps files as blobs, to which the names in a snapshot link."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for path in sorted((copied / "onnx").rglob("*.*")):
        if path.is_file():
            blob = blobs / "-".join(path.relative_to(copied).parts)
            path.rename(blob)
            path.symlink_to(blob)
    assert LiraModel.from_pretrained(copied, backend="onnx").encode_query(TEXTS).isfinite().all()


@pytest.mark.parametrize("name", ["text.onnx", "model.onnx.data", "export.json"])
def test_damage_is_one_line(copied, name):
    path = copied / "onnx" / "float32" / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LiraError, match=r"again|damaged") as caught:
        LiraModel.from_pretrained(copied, backend="onnx")
    assert "\n" not in str(caught.value)


def test_a_damaged_export_is_made_again_when_it_is_asked_for(copied):
    path = copied / "onnx" / "int8" / "text.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert lira("export", copied, "--precision", "int8") == 0
    assert path.stat().st_size == len(whole)


def test_garbage_of_the_right_size_is_one_line(copied):
    path = copied / "onnx" / "float32" / "text.onnx"
    path.write_bytes(b"\x80" * path.stat().st_size)
    with pytest.raises(LiraError, match=r"does not run: .*; export the model again") as caught:
        LiraModel.from_pretrained(copied, backend="onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("location", ["../../../secret", "{outside}/secret", "sub/../../../../secret"])
def test_weights_outside_the_folder_are_not_read(copied, tmp_path, location):
    """A hostile graph names any file of the machine as its weights."""
    import onnx

    folder = copied / "onnx" / "float32"
    (tmp_path / "secret").write_bytes((folder / "model.onnx.data").read_bytes())
    graph = onnx.load(folder / "text.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location.format(outside=tmp_path)
    onnx.save(graph, folder / "text.onnx")
    manifest = json.loads((folder / "export.json").read_text())
    manifest["sizes"]["text.onnx"] = (folder / "text.onnx").stat().st_size
    (folder / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(LiraError, match="does not run"):
        LiraModel.from_pretrained(copied, backend="onnx")


@pytest.mark.parametrize("field", ["sizes", "weights", "format"])
def test_a_hostile_manifest_names_no_other_file(copied, field):
    path = copied / "onnx" / "float32" / "export.json"
    manifest = json.loads(path.read_text())
    manifest[field] = {"../../../etc/passwd": 1} if field != "format" else "../.."
    path.write_text(json.dumps(manifest))
    with pytest.raises(LiraError, match=r"again|changed since"):
        LiraModel.from_pretrained(copied, backend="onnx")


def test_it_embeds_texts_and_does_nothing_else(exported, tmp_path):
    loaded = LiraModel.from_pretrained(exported, backend="onnx")
    for call in (lambda: loaded.encode_streams(["áo"], "english"), lambda: loaded.save_pretrained(tmp_path / "again")):
        with pytest.raises(LiraError, match="backend='torch'"):
            call()
    with pytest.raises(LiraError, match="takes the processor's tensors"):
        loaded(multilingual_states=torch.zeros(1, 8, 48))
    with pytest.raises(LiraError, match="text 0 is empty"):
        loaded.encode_query([""])


def test_embeddings_on_disk_know_their_backend(exported, tmp_path, capsys, caplog):
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    encode = ("encode", "--input", texts, "--model", exported, "--output")
    int8 = ("--backend", "onnx", "--precision", "int8")
    assert lira(*encode, tmp_path / "torch") == lira(*encode, tmp_path / "int8", *int8) == 0
    assert lira(*encode, tmp_path / "torch", *int8) == 2
    assert "holds embeddings of another model" in capsys.readouterr().err
    search = ("search", "--index", tmp_path / "index")
    assert lira(*search, "--add", tmp_path / "int8") == 0
    assert lira(*search, "--add", tmp_path / "torch") == 2
    assert "embeddings that onnx in int8 made, not torch: encode all" in capsys.readouterr().err
    assert lira(*search, "shirt", *int8) == 0
    assert "the query is embedded by" not in caplog.text
    assert lira(*search, "shirt") == 0
    assert "the index was made by onnx in int8, the query is embedded by torch" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere"),
        (("MODEL", "--format", "openvino", "--precision", "int8"), "int8 is for ONNX Runtime: take --format onnx, or"),
        (("MODEL", "--precision", "bfloat16"), "ONNX Runtime has no bfloat16 on CPUs: take --precision int8, or"),
    ],
)
def test_the_command_ends_in_one_line(exported, capsys, arguments, message):
    assert lira("export", *(exported if argument == "MODEL" else argument for argument in arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
