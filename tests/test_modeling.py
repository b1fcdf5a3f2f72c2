"""The model in memory: building it, its tensors, and texts in, embeddings out."""

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, SHAPES, disturb, save_backbone
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

import modeling_lira.modeling_lira as modeling
from modeling_lira import LiraConfig, LiraError, LiraModel, LiraModelOutput, LiraProcessor
from modeling_lira.arca import Arca
from modeling_lira.backbones.anchors import english_anchors

TEXTS = list(MULTILINGUAL_TEXTS)
CODES = [code for code in ("vi", "th", "id", "ms", "ur", "bn", "fil", "en") for _ in range(2)]
CANDIDATES = [[f"white shirt {row}", "phone", "old rice"][: row % 4] for row in range(len(TEXTS))]
ONE_EACH = [names[:1] for names in CANDIDATES]
"""No choice to make: in lower precision, another candidate may win by a hair."""
SCORES = [[[1 + row % 9, 3, 10 - column] for column in range(len(names))] for row, names in enumerate(CANDIDATES)]


def batch_of(model: LiraModel) -> dict[str, torch.Tensor]:
    """All texts with none to three candidates, the two English ones with at least themselves."""
    return dict(model.processor(TEXTS, CANDIDATES, CODES, critic_scores=SCORES))


# ---------------------------------------------------------------- from_backbones


def test_backbones_keep_their_weights_and_are_frozen(tiny_model, backbones):
    for name, encoder in (("xlm-roberta", tiny_model.multilingual_encoder), ("bert", tiny_model.english_encoder)):
        saved = load_file(backbones[name] / "model.safetensors")
        state = encoder.state_dict()
        assert state.keys() == {key for key in saved if not key.startswith("pooler.")}
        assert all(torch.equal(value, saved[key]) for key, value in state.items())
        assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_aligned_paths_bring_an_english_text_closer_to_itself(tiny_model):
    texts = [text for text in english_anchors()[::7] if "river" not in text] + ["a red bicycle for my teacher"]
    multilingual, english = (tiny_model.encode_streams(texts, path) for path in ("multilingual", "english"))
    arca = copy.deepcopy(tiny_model.arca)
    aligned = paired_cosine(arca, multilingual, english)
    arca.multilingual_projection.reset_parameters()
    arca.english_projection.reset_parameters()
    untouched = paired_cosine(arca, multilingual, english)
    assert aligned.mean() > untouched.mean() + 0.2
    assert (aligned > untouched).float().mean() > 0.95


def paired_cosine(arca: Arca, multilingual: torch.Tensor, english: torch.Tensor) -> torch.Tensor:
    """Cosine of each text's two embeddings, both centred over the texts."""
    first, second = arca.multilingual(multilingual)[1], arca.english(english)[1]
    return F.cosine_similarity(first - first.mean(0), second - second.mean(0))


@pytest.mark.parametrize("candidates", [None, [["a translation that says nothing"]] * len(TEXTS)])
def test_untrained_ranking_is_the_multilingual_backbones_own(build_model, backbones, candidates):
    model = build_model(english_weight_init=1e-4)
    embeddings = model.encode_query(TEXTS, candidates=candidates)
    expected = mean_pooled(backbones["xlm-roberta"], TEXTS)
    expected = F.normalize(expected - mean_pooled(backbones["xlm-roberta"], english_anchors()).mean(0), dim=-1)
    torch.testing.assert_close(embeddings @ embeddings.T, expected @ expected.T, atol=1e-5, rtol=0)
    assert torch.equal((embeddings @ embeddings.T).argsort(-1), (expected @ expected.T).argsort(-1))


def mean_pooled(folder: Path, texts: list[str]) -> torch.Tensor:
    """Mean over a backbone's real tokens, one text at a time."""
    encoder, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [encoder(**tokenizer(text, return_tensors="pt", return_token_type_ids=False))[0] for text in texts]
    return torch.cat([row.mean(1) for row in rows])


def test_own_anchor_texts_are_used(build_model):
    few = ["white shirt", "cheap phone", "old rice", "a red river"]
    model = build_model(anchor_texts=few)
    streams = model.encode_streams(few, "multilingual", "document")
    torch.testing.assert_close(model.arca.multilingual_projection.centre, streams.mean((0, 1)))


@pytest.mark.parametrize("prefixes", [{}, {"query_prefix": "q: ", "document_prefix": ""}], ids=["default", "own"])
def test_prefixes_of_an_e5_backbone(tmp_path, build_model, backbones, prefixes):
    folder = save_backbone("xlm-roberta", tmp_path / "x")
    (folder / "lira_backbone.json").write_text(json.dumps({"source": "intfloat/multilingual-e5-small"}))
    model = LiraModel.from_backbones(folder, backbones["bert"], anchor_texts=TEXTS, **prefixes)
    processor = model.processor
    actual = (processor.query_prefix, processor.document_prefix, processor.english_query_prefix)
    assert actual == (("q: ", "", "") if prefixes else ("query: ", "passage: ", ""))
    assert build_model().processor.query_prefix == ""


def test_a_converted_package_is_remembered_by_the_hub_id_of_its_source(tmp_path, backbones):
    folder = save_backbone("xlm-roberta", tmp_path / "converted")
    (folder / "lira_backbone.json").write_text(json.dumps({"source": "intfloat/multilingual-e5-base"}))
    model = LiraModel.from_backbones(folder, backbones["bert"], anchor_texts=TEXTS)
    assert model.config.multilingual_backbone == "intfloat/multilingual-e5-base"
    assert model.config.english_backbone == str(backbones["bert"])
    assert model.processor.query_prefix == "query: "


def test_a_folder_is_remembered_by_its_full_path(backbones, monkeypatch):
    monkeypatch.chdir(backbones["bert"].parent)
    model = LiraModel.from_backbones(backbones["bert"].name, backbones["bert"], anchor_texts=TEXTS)
    assert model.config.multilingual_backbone == str(backbones["bert"].resolve())


def test_a_backbone_that_is_not_there(backbones, tmp_path):
    with pytest.raises(LiraError, match="nowhere"):
        LiraModel.from_backbones(tmp_path / "nowhere", backbones["bert"])


def test_a_backbone_with_a_weight_missing_is_never_filled_up_at_random(tmp_path, backbones):
    folder = save_backbone("bert", tmp_path / "torn")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LiraError, match=r"torn.*encoder\.layer\.1\.output\.dense\.weight"):
        LiraModel.from_backbones(backbones["bert"], folder)


def test_a_backbone_file_that_was_cut_off(tmp_path, backbones):
    folder = save_backbone("bert", tmp_path / "short")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LiraError, match="short"):
        LiraModel.from_backbones(folder, backbones["bert"])


# ---------------------------------------------------------------- any pair of encoders


@pytest.mark.parametrize(("multilingual", "english"), list(itertools.product(SHAPES, SHAPES)))
def test_any_pair_of_encoders(build_model, tmp_path, multilingual, english):
    widths = SHAPES[multilingual].hidden_size, SHAPES[english].hidden_size
    for hidden_size in (16, 64):  # narrower and wider than every backbone
        model = build_model(multilingual, english, hidden_size=hidden_size, anchor_texts=english_anchors()[:80])
        disturb(model)
        assert model.arca.multilingual_projection.weight.shape == (hidden_size, widths[0])
        assert model.arca.english_projection.weight.shape == (hidden_size, widths[1])
        expected = model.encode_query(TEXTS, candidates=CANDIDATES)
        assert expected.shape == (len(TEXTS), 2 * hidden_size)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(model.encode_query(TEXTS, candidates=CANDIDATES), expected, atol=1e-5, rtol=1e-4)
    expected = model.encode_query(TEXTS, candidates=ONE_EACH)
    half = model.to(torch.bfloat16).encode_query(TEXTS, candidates=ONE_EACH)
    assert (F.cosine_similarity(half, expected) > 0.99).all()


@pytest.mark.parametrize("hidden_size", [None, 64])
def test_a_shared_width_as_wide_as_the_backbone_loses_nothing(build_model, backbones, hidden_size):
    model = build_model("mpnet", "modernbert", hidden_size=hidden_size, english_weight_init=1e-4)
    embeddings = model.encode_query(TEXTS)
    centre = mean_pooled(backbones["mpnet"], english_anchors()).mean(0)
    expected = F.normalize(mean_pooled(backbones["mpnet"], TEXTS) - centre, dim=-1)
    torch.testing.assert_close(embeddings @ embeddings.T, expected @ expected.T, atol=1e-5, rtol=0)


def test_no_unused_poolers(build_model):
    for name in SHAPES:
        model = build_model(name, name, anchor_texts=TEXTS)
        rebuilt = LiraModel(model.config)
        assert not [key for key, _ in model.named_parameters() if "pooler" in key]
        assert rebuilt.state_dict().keys() == model.state_dict().keys()


# ---------------------------------------------------------------- forward, streams, fuse


def test_forward_names_and_shapes(trained_model):
    batch = batch_of(trained_model)
    output = trained_model(**batch)
    width, bins, count = trained_model.config.width, trained_model.config.num_feature_bins, len(TEXTS)
    shapes = {
        "sentence_embedding": (count, 2 * width),
        "multilingual_embedding": (count, width),
        "english_embedding": (count, width),
        "similarities": (count, 3),
        "policy_logits": (count, 3),
        "selected": (count,),
        "fused_states": (count, 2 * bins, width),
        "fused_mask": (count, 2 * bins),
        "candidate_embeddings": (count, 3, width),
        "english_weight": (count,),
    }
    assert isinstance(output, LiraModelOutput)
    assert {name: tuple(value.shape) for name, value in output.items()} == shapes
    plain = trained_model(**batch, return_dict=False)
    assert all(torch.equal(*pair) for pair in zip(plain, output.to_tuple(), strict=True))


def test_streams_then_fuse_is_forward(trained_model):
    batch = batch_of(trained_model)
    names = ("input_ids", "attention_mask", "english_input_ids", "english_attention_mask")
    multilingual, english = trained_model.streams(*(batch.pop(name) for name in names))
    fused = trained_model.fuse(multilingual, english, **batch)
    forward = trained_model(**batch_of(trained_model))
    cached = trained_model(multilingual_states=multilingual, english_states=english, **batch)
    for name, value in forward.items():
        torch.testing.assert_close(fused[name], value)
        torch.testing.assert_close(cached[name], value)


def test_defaults_of_fuse(trained_model):
    multilingual, english = trained_model.streams(*all_tokens(trained_model))
    count, candidates = english.shape[:2]
    everything = trained_model.fuse(
        multilingual,
        english,
        torch.ones(count, candidates, dtype=torch.bool),
        torch.full((count, candidates, 3), float("nan")),
        torch.zeros(count, dtype=torch.long),
    )
    torch.testing.assert_close(trained_model.fuse(multilingual, english).to_tuple(), everything.to_tuple())


def all_tokens(model: LiraModel) -> list[torch.Tensor]:
    names = ("input_ids", "attention_mask", "english_input_ids", "english_attention_mask")
    batch = model.processor(["áo", "telepono"], [["red shirt", "shirt"], ["phone", "telephone"]])
    return [batch[name] for name in names]


def test_no_candidates_equal_an_all_false_mask(trained_model):
    batch = batch_of(trained_model)
    free = trained_model(batch["input_ids"], batch["attention_mask"], language_ids=batch["language_ids"])
    batch["candidate_mask"] = torch.zeros_like(batch["candidate_mask"])
    masked = trained_model(**batch)
    names = ("sentence_embedding", "multilingual_embedding", "english_embedding", "selected", "fused_states")
    for name in (*names, "fused_mask", "english_weight"):
        torch.testing.assert_close(free[name], masked[name], atol=1e-5, rtol=1e-5)
    assert free.selected.tolist() == [-1] * len(TEXTS)


def test_a_mixed_batch_equals_its_rows_one_by_one(trained_model):
    together = trained_model.encode_query(TEXTS, CODES, CANDIDATES, SCORES)
    rows = zip(TEXTS, CODES, CANDIDATES, SCORES, strict=True)
    alone = [trained_model.encode_query(text, code, [names], [scores]) for text, code, names, scores in rows]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_every_input_matters_to_a_trained_model(trained_model):
    arguments = {
        "texts": TEXTS[:1],
        "languages": "vi",
        "candidates": [["phone", "rice"]],
        "critic_scores": [[[9, 9, 9], [1, 1, 1]]],
    }
    first = trained_model.encode_query(**arguments)
    for name, value in {
        "texts": TEXTS[1:2],
        "languages": "th",
        "candidates": [["doctor", "volcano"]],
        "critic_scores": [[[1, 1, 1], [9, 9, 9]]],
    }.items():
        assert (trained_model.encode_query(**{**arguments, name: value}) - first).abs().max() > 1e-6, name


def test_half_of_a_row_of_left_padding_changes_nothing(trained_model):
    """Relative positions only: whatever is attended to in the padding would show."""
    encoder = trained_model.multilingual_encoder
    with torch.no_grad():
        encoder.embeddings.position_embeddings.weight.zero_()
    tokens = trained_model.processor.tokenize(TEXTS[:1], "query")
    padded = {name: F.pad(value, (5, 0)) for name, value in tokens.items()}
    plain, _ = trained_model.streams(**tokens)
    torch.testing.assert_close(trained_model.streams(**padded)[0], plain, atol=1e-5, rtol=1e-4)


def test_missing_input_is_named(trained_model):
    with pytest.raises(LiraError, match="input_ids or multilingual_states"):
        trained_model()
    ids = torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(LiraError, match="english_attention_mask"):
        trained_model(ids, english_input_ids=ids[None])


# ---------------------------------------------------------------- attention, precision, training


def test_eager_equals_sdpa(trained_model):
    embeddings = {}
    for name in ("eager", "sdpa"):
        trained_model.set_attn_implementation(name)
        assert trained_model.lasr.layers[0].config._attn_implementation == name
        embeddings[name] = trained_model.encode_query(TEXTS, CODES, CANDIDATES, SCORES)
    torch.testing.assert_close(embeddings["eager"], embeddings["sdpa"], atol=1e-5, rtol=0)


def test_bfloat16_is_close(trained_model):
    expected = trained_model.encode_query(TEXTS, CODES, ONE_EACH)
    free = trained_model.encode_query(TEXTS, CODES)
    trained_model.to(torch.bfloat16)
    embeddings = trained_model.encode_query(TEXTS, CODES, ONE_EACH)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(len(TEXTS)))
    assert F.cosine_similarity(embeddings, expected).min() > 0.99
    assert F.cosine_similarity(trained_model.encode_query(TEXTS, CODES), free).min() > 0.99


def test_from_backbones_in_bfloat16(build_model):
    model = build_model(dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    close = F.cosine_similarity(model.encode_query(TEXTS), build_model().encode_query(TEXTS))
    assert close.min() > 0.99


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(trained_model, reentrant):
    gradients = []
    for checkpointing in (False, True):
        model = copy.deepcopy(trained_model).train()
        if checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": reentrant})  # the latter is its older name
            assert model.lasr.layers[0].gradient_checkpointing
        target = torch.randn(model.config.embedding_size, generator=torch.Generator().manual_seed(3))
        (model(**batch_of(model)).sentence_embedding @ target).sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert any(name.startswith("lasr.layers.0") for name in gradients[0])
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_a_frozen_backbone_stays_in_evaluation_mode_while_the_rest_trains(trained_model):
    trained_model.train()
    assert trained_model.training and trained_model.lasr.training
    assert not trained_model.multilingual_encoder.training and not trained_model.english_encoder.training
    trained_model.english_encoder.requires_grad_(True)
    assert trained_model.train().english_encoder.training


def test_encoding_leaves_the_mode_as_it_was(trained_model):
    trained_model.train()
    trained_model.encode_query("áo")
    assert trained_model.training
    with pytest.raises(LiraError):
        trained_model.encode_query("áo", "xx")
    assert trained_model.training
    trained_model.english_encoder.forward = raising
    with pytest.raises(RuntimeError, match="out of order"):
        trained_model.encode_query("áo", candidates=[["shirt"]])
    assert trained_model.training


def test_a_part_in_training_mode_is_evaluated_too(trained_model, monkeypatch):
    trained_model.eval()
    monkeypatch.setattr(LiraModel, "train", raising)
    trained_model.encode_query("áo")  # a model in evaluation mode is not switched: that costs as much as small layers
    monkeypatch.undo()
    trained_model.lasr.train()
    trained_model.encode_query("áo")
    assert not trained_model.lasr.training


def raising(**_: object) -> None:
    raise RuntimeError("out of order")


# ---------------------------------------------------------------- encode_query, encode_document


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_batch_size_does_not_matter(trained_model, batch_size):
    expected = trained_model.encode_query(TEXTS, CODES, CANDIDATES, SCORES)
    embeddings = trained_model.encode_query(TEXTS, CODES, CANDIDATES, SCORES, batch_size=batch_size)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)


def test_long_lists_are_encoded_in_parts(trained_model, monkeypatch):
    arguments = (TEXTS * 2, CODES * 2, CANDIDATES[::-1] + CANDIDATES, SCORES[::-1] + SCORES)
    expected = trained_model.encode_query(*arguments)
    monkeypatch.setattr(modeling, "_CHUNK", 3)  # parts whose longest row of candidates differs
    torch.testing.assert_close(trained_model.encode_query(*arguments), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("candidates", [None, [[text, "another"] for text in TEXTS]])
def test_a_checkpoint_can_be_loaded_with_shorter_embeddings(trained_model, candidates, tmp_path):
    trained_model.save_pretrained(tmp_path)
    short = LiraModel.from_pretrained(tmp_path, truncate_dim=10)
    whole = trained_model.encode_query(TEXTS, candidates=candidates)
    expected = torch.nn.functional.normalize(whole[:, :10], dim=-1)
    torch.testing.assert_close(short.encode_query(TEXTS, candidates=candidates), expected)
    assert LiraModel.from_pretrained(tmp_path).config.embedding_size == whole.shape[1]


def test_order_is_kept_and_duplicates_are_equal(trained_model):
    order = torch.randperm(len(TEXTS))
    expected = trained_model.encode_document(TEXTS, CODES)
    shuffled = trained_model.encode_document([TEXTS[i] for i in order], [CODES[i] for i in order])
    torch.testing.assert_close(shuffled, expected[order], atol=1e-5, rtol=0)
    twice = trained_model.encode_document(["áo", "phone", "áo"])
    torch.testing.assert_close(twice[0], twice[2], atol=1e-6, rtol=0)
    assert (twice[0] - twice[1]).abs().max() > 1e-3


def test_encoding_equals_forward(trained_model):
    forward = trained_model(**batch_of(trained_model)).sentence_embedding
    torch.testing.assert_close(trained_model.encode_query(TEXTS, CODES, CANDIDATES, SCORES), forward, atol=1e-5, rtol=0)


def test_one_text_and_none(trained_model):
    size = trained_model.config.embedding_size
    assert trained_model.encode_query("áo").shape == (1, size)
    for nothing in ([], ()):
        assert trained_model.encode_query(nothing).shape == (0, size)
    assert trained_model.encode_document([], candidates=[], critic_scores=[]).shape == (0, size)


def test_embeddings_are_unit_float32_and_can_be_trained_on(trained_model):
    embeddings = trained_model.encode_query(TEXTS, candidates=CANDIDATES)
    assert embeddings.dtype == torch.float32 and not embeddings.requires_grad
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(len(TEXTS)))
    head = torch.nn.Linear(embeddings.shape[1], 1)
    head(embeddings).sum().backward()  # fails for tensors made in inference mode
    assert head.weight.grad.any()


def test_an_english_text_is_its_own_translation(trained_model):
    text = "white shirt for boys"
    embedding = trained_model.encode_query(text, "en")
    torch.testing.assert_close(embedding, trained_model.encode_query(text, "en", [[text]]))
    torch.testing.assert_close(embedding, trained_model.encode_query(text, "en", [[]]))
    assert (embedding - trained_model.encode_query(text)).abs().max() > 1e-3


def test_kind_chooses_the_prefix(trained_model):
    old = trained_model.processor
    same = trained_model.encode_query("áo") - trained_model.encode_document("áo")
    trained_model.processor = LiraProcessor(old.tokenizer, old.english_tokenizer, document_prefix="harga ")
    other = trained_model.encode_query("áo") - trained_model.encode_document("áo")
    assert not same.any() and other.abs().max() > 1e-3
    torch.testing.assert_close(trained_model.encode_query("harga áo"), trained_model.encode_document("áo"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["áo", ""]}, "text 1 is empty"),
        ({"texts": "áo", "languages": "tl"}, "'tl'"),
        ({"texts": "áo", "candidates": [["a"], ["b"]]}, "2 lists for 1 texts"),
        ({"texts": "áo", "candidates": [["a"]], "critic_scores": [[[0, 1, 2]]]}, "got 0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_computed(tiny_model, arguments, message, monkeypatch):
    monkeypatch.setattr(LiraModel, "encode_streams", raising)
    for encode in (tiny_model.encode_query, tiny_model.encode_document):
        with pytest.raises(LiraError) as caught:
            encode(**arguments)
        assert message in str(caught.value)


def test_streams_of_texts_are_pooled_tokens(tiny_model):
    tokens = tiny_model.processor.tokenize(TEXTS, "query")
    expected, _ = tiny_model.streams(**tokens)
    states = tiny_model.encode_streams(TEXTS, "multilingual", batch_size=4)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(LiraError, match="'german'"):
        tiny_model.encode_streams(TEXTS, "german")
    with pytest.raises(LiraError, match="'title'"):
        tiny_model.encode_streams(TEXTS, "english", "title")


def test_a_model_without_processor_says_so(tiny_model):
    with pytest.raises(LiraError, match="no processor"):
        LiraModel(tiny_model.config).encode_query("áo")


# ---------------------------------------------------------------- what transformers asks of custom code


def test_building_a_model_reads_no_files(tiny_model, monkeypatch):
    monkeypatch.setattr(AutoModel, "from_pretrained", raising)
    assert LiraModel(copy.deepcopy(tiny_model.config)).num_parameters() == tiny_model.num_parameters()


def test_initialisation_leaves_no_garbage_in_memory_that_held_some(tiny_model):
    """`from_pretrained` makes weights on the meta device; what a checkpoint lacks is whatever the memory held."""
    with torch.device("meta"):
        model = LiraModel(copy.deepcopy(tiny_model.config))
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.fill_(float("nan"))
        tensor._is_hf_initialized = False
    for module in model.modules():
        module._is_hf_initialized = False
    model.initialize_weights()
    ours = [*model.arca.named_parameters(), *model.arca.named_buffers(), *model.lasr.named_parameters()]
    assert all(tensor.isfinite().all() for _, tensor in ours)
    assert torch.equal(model.arca.multilingual_projection.weight, torch.eye(48))
    assert not model.arca.adaptor.up.weight.any() and not model.lasr.residual.weight.any()
    assert model.arca.actor.preference.tolist() == [1.0, 0.0, 0.0, 10.0, 0.0]
    assert model.lasr.gate.output.bias.sigmoid().item() == pytest.approx(0.5)


def test_every_buffer_is_saved(tiny_model):
    buffers = {name for part in ("arca", "lasr") for name, _ in tiny_model.get_submodule(part).named_buffers(part)}
    assert buffers == {"arca.multilingual_projection.centre", "arca.english_projection.centre"}
    assert buffers <= tiny_model.state_dict().keys()


def test_attention_and_precision_reach_the_backbones(tiny_model, tmp_path, build_model):
    tiny_model.save_pretrained(tmp_path / "tiny")
    model = LiraModel.from_pretrained(tmp_path / "tiny", attn_implementation="eager", dtype=torch.bfloat16)
    parts = (model.multilingual_encoder, model.english_encoder, model)
    assert [part.config._attn_implementation for part in parts] == ["eager"] * 3
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    mpnet = build_model("mpnet", "bert", anchor_texts=TEXTS)
    mpnet.save_pretrained(tmp_path / "mpnet")
    mixed = LiraModel.from_pretrained(tmp_path / "mpnet", attn_implementation="sdpa")
    implementations = [
        part.config._attn_implementation for part in (mixed.multilingual_encoder, mixed.english_encoder, mixed)
    ]
    assert implementations == ["eager", "sdpa", "sdpa"]  # MPNet has no SDPA attention
    torch.testing.assert_close(mixed.encode_query(TEXTS), mpnet.encode_query(TEXTS), atol=1e-5, rtol=0)


def test_config_of_the_model_names_the_languages_of_its_processor(build_model: Callable[..., LiraModel]):
    model = build_model(languages=["bn", "en"], num_candidates=2, anchor_texts=TEXTS)
    assert model.processor.languages == model.config.languages == ["bn", "en"]
    assert model.processor.num_candidates == 2
    assert model.lasr.language_embedding.num_embeddings == 3
    assert isinstance(model.config, LiraConfig)
    with pytest.raises(LiraError, match="up to 2"):
        model.encode_query("áo", candidates=[["a", "b", "c"]])


def test_a_narrower_width_keeps_the_directions_in_which_texts_differ_most(build_model):
    texts = list(MULTILINGUAL_TEXTS)
    model = build_model(hidden_size=8, anchor_texts=texts)
    streams = model.encode_streams(texts, "multilingual", "document").mean(1)
    leading = torch.linalg.svd(streams - streams.mean(0), full_matrices=False).Vh[:8]
    weight = model.arca.multilingual_projection.weight
    torch.testing.assert_close(weight.T @ weight, leading.T @ leading, atol=1e-4, rtol=0)
