"""The fusion of both paths: its start, its masks and its attention."""

import math

import pytest
import torch
from conftest import SHAPES
from torch.nn import functional as F

from modeling_lira import LiraConfig, LiraModel
from modeling_lira.arca import NUM_QUALITIES
from modeling_lira.lasr import FusionLayer, LaSR, LasrOutput, QualityGate

BATCH, BINS, WIDTH, FUSION = 5, 4, 8, 6
LANGUAGES = 8


def small_config(**changes: object) -> LiraConfig:
    fields = {
        "multilingual_config": SHAPES["xlm-roberta"].to_dict(),
        "english_config": SHAPES["bert"].to_dict(),
        "hidden_size": WIDTH,
        "num_feature_bins": BINS,
        "fusion_size": FUSION,
        "num_attention_heads": 2,
        "num_fusion_layers": 2,
    }
    return LiraConfig(**{**fields, **changes})


def small_lasr(**changes: object) -> LaSR:
    """LaSR with every weight random, as in the middle of training."""
    lasr = LaSR(small_config(**changes)).eval()
    torch.manual_seed(5)
    for parameter in lasr.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return lasr


def inputs(batch: int = BATCH) -> dict[str, torch.Tensor]:
    """Random streams and embeddings; the second and fourth text have no translation."""
    random = torch.Generator().manual_seed(11)
    has_english = torch.arange(batch) % 2 == 0
    multilingual = F.normalize(torch.randn(batch, WIDTH, generator=random), dim=-1)
    english = F.normalize(torch.randn(batch, WIDTH, generator=random), dim=-1)
    present = has_english[:, None]
    return {
        "multilingual_stream": torch.randn(batch, BINS, WIDTH, generator=random),
        "english_stream": torch.randn(batch, BINS, WIDTH, generator=random) * present[..., None],
        "multilingual_embedding": multilingual,
        "english_embedding": torch.where(present, english, multilingual),
        "quality": torch.randn(batch, NUM_QUALITIES, generator=random) * present,
        "has_english": has_english,
        "language_ids": torch.arange(batch) % LANGUAGES,
    }


# ---------------------------------------------------------------- the start


def test_untrained_embedding_is_both_paths_at_45_degrees(tiny_model: LiraModel):
    config = tiny_model.config
    multilingual, english = (F.normalize(torch.randn(3, config.width), dim=-1) for _ in range(2))
    streams = torch.randn(2, 3, config.num_feature_bins, config.width)
    present, ids = torch.ones(3, dtype=torch.bool), torch.tensor([0, 1, 2])
    output = tiny_model.lasr(*streams, multilingual, english, torch.randn(3, NUM_QUALITIES), present, ids)
    expected = F.normalize(torch.cat([multilingual, english], -1), dim=-1)
    torch.testing.assert_close(output.sentence_embedding, expected)
    torch.testing.assert_close(output.english_weight, torch.full((3,), 0.5))


@pytest.mark.parametrize("start", [0.01, 0.2, 0.9])
def test_gate_starts_at_its_share_of_a_right_angle_whatever_it_sees(start):
    gate = QualityGate(small_config(english_weight_init=start))
    gate.output.reset_parameters()
    torch.testing.assert_close(gate(10 * torch.randn(6, NUM_QUALITIES)), torch.full((6,), start))


def halves(output: LasrOutput) -> torch.Tensor:
    """The norms of the multilingual and of the English half of each embedding, [B, 2]."""
    return output.sentence_embedding.unflatten(-1, (2, WIDTH)).norm(dim=-1)


@pytest.mark.parametrize("weight", [1e-4, 0.25, 0.5, 0.9999])
def test_the_gate_turns_a_query_from_one_path_to_the_other(weight):
    """At nothing the English half is gone, at everything the multilingual one: neither has the last word."""
    lasr, batch = small_lasr(), inputs()
    for name in ("gate.output.weight", "residual.weight", "residual.bias"):
        torch.nn.init.zeros_(lasr.get_parameter(name))
    torch.nn.init.constant_(lasr.gate.output.bias, math.log(weight / (1 - weight)))
    translated = halves(lasr(**batch))[batch["has_english"]]
    angle = math.pi / 2 * weight
    expected = torch.tensor([math.cos(angle), math.sin(angle)]).expand_as(translated)
    torch.testing.assert_close(translated, expected, atol=1e-5, rtol=0)


def test_a_query_without_a_translation_has_no_english_half():
    output, without = small_lasr()(**inputs()), ~inputs()["has_english"]
    assert torch.equal(output.english_weight[without], torch.zeros(2))
    assert not output.sentence_embedding[without, WIDTH:].any()


def test_an_english_text_stands_at_45_degrees_whatever_the_gate_thinks():
    lasr, batch = small_lasr(), inputs()
    batch["language_ids"] = torch.full((BATCH,), LANGUAGES)  # English is the last
    output = lasr(**batch)
    assert torch.equal(output.english_weight, batch["has_english"] / 2)
    batch["quality"] = batch["quality"] + 1.0
    torch.testing.assert_close(lasr(**batch).sentence_embedding, output.sentence_embedding)


def test_trained_gate_depends_on_the_quality_alone():
    lasr, batch = small_lasr(), inputs()
    weights, translated = lasr(**batch).english_weight, batch["has_english"]
    assert ((weights[translated] > 0) & (weights[translated] < 1)).all()
    content = {**batch, "english_embedding": batch["english_embedding"].flip(0)}
    assert torch.equal(lasr(**content).english_weight, weights)
    batch["quality"] = batch["quality"] + 1.0
    assert not torch.allclose(lasr(**batch).english_weight[translated], weights[translated])


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_no_english_stream_equals_an_all_false_mask(attention):
    lasr, batch = small_lasr(attn_implementation=attention), inputs()
    nothing = torch.zeros(BATCH, dtype=torch.bool)
    names = ("multilingual_stream", "multilingual_embedding", "language_ids")
    shared = {name: batch[name] for name in names}
    without = lasr.without_translation(**shared)
    shared |= {"english_embedding": batch["english_embedding"], "quality": batch["quality"], "has_english": nothing}
    masked = lasr(english_stream=torch.randn(BATCH, BINS, WIDTH), **shared)
    for name in ("sentence_embedding", "fused_states", "english_weight"):
        torch.testing.assert_close(getattr(without, name), getattr(masked, name), atol=1e-6, rtol=1e-5)
    assert torch.equal(without.fused_mask, masked.fused_mask)
    assert without.fused_mask.tolist() == [[True] * BINS + [False] * BINS] * BATCH


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_mixed_batch_equals_its_rows_one_by_one(attention):
    lasr, batch = small_lasr(attn_implementation=attention), inputs()
    together = lasr(**batch)
    for row in range(BATCH):
        alone = lasr(**{name: value[row, None] for name, value in batch.items()})
        for name in ("sentence_embedding", "fused_states", "fused_mask", "english_weight"):
            torch.testing.assert_close(getattr(together, name)[row, None], getattr(alone, name), atol=1e-5, rtol=1e-5)


def test_what_stands_where_a_translation_is_missing_does_not_matter():
    lasr, batch = small_lasr(), inputs()
    first = lasr(**batch)
    batch["english_stream"][~batch["has_english"]] = 1e3
    torch.testing.assert_close(lasr(**batch).sentence_embedding, first.sentence_embedding)


def test_fused_states_have_both_halves_and_zeros_where_nothing_is():
    batch = inputs()
    output = small_lasr()(**batch)
    assert output.fused_states.shape == (BATCH, 2 * BINS, WIDTH)
    assert torch.equal(output.fused_mask[:, BINS:].any(-1), batch["has_english"])
    assert output.fused_mask[:, :BINS].all()
    assert torch.equal(output.fused_states.abs().sum(-1) > 0, output.fused_mask)


def test_fused_states_are_both_streams_plus_the_transformers_share():
    batch, lasr = inputs(), small_lasr()
    streams = batch["multilingual_stream"], batch["english_stream"]
    both = torch.cat(streams, 1)
    seen, mask = lasr._fuse(*streams, batch["has_english"], batch["language_ids"])
    expected = (both + seen / WIDTH) * mask[..., None]
    torch.testing.assert_close(lasr(**batch).fused_states, expected)
    torch.nn.init.zeros_(lasr.leave.weight)
    torch.nn.init.zeros_(lasr.leave.bias)
    torch.testing.assert_close(lasr(**batch).fused_states, both * mask[..., None])


def test_tokens_are_marked_with_the_path_that_they_come_from():
    """Moving the second path's mark moves the texts with a translation alone; moving the first path's moves all."""
    for path, expected in ((0, torch.ones(BATCH, dtype=torch.bool)), (1, inputs()["has_english"])):
        lasr, batch = small_lasr(), inputs()
        first = lasr(**batch).sentence_embedding
        with torch.no_grad():
            lasr.path_embedding.weight[path] += torch.randn(FUSION)
        moved = (lasr(**batch).sentence_embedding - first).abs().amax(-1) > 1e-4
        assert torch.equal(moved, expected), path


def test_the_transformers_part_of_each_half_is_divided_by_the_width():
    lasr, batch = small_lasr(), inputs()
    torch.nn.init.zeros_(lasr.residual.weight)
    output, translated = lasr(**batch), batch["has_english"]
    parts = lasr.residual.bias.view(2, WIDTH) / WIDTH
    angle = output.english_weight[:, None] * math.pi / 2
    multilingual = angle.cos() * (batch["multilingual_embedding"] + parts[0])
    english = angle.sin() * (batch["english_embedding"] + parts[1])
    expected = F.normalize(torch.cat([multilingual, english], -1), dim=-1)
    torch.testing.assert_close(output.sentence_embedding[translated], expected[translated])


# ---------------------------------------------------------------- attention


def test_eager_equals_sdpa():
    batch = inputs()
    outputs = [small_lasr(attn_implementation=name)(**batch) for name in ("eager", "sdpa")]
    torch.testing.assert_close(outputs[0].sentence_embedding, outputs[1].sentence_embedding, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs[0].fused_states, outputs[1].fused_states, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_standard_multi_head_attention(attention):
    layer = FusionLayer(small_config(attn_implementation=attention))
    states = torch.randn(3, 6, FUSION)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [True, False] * 3])
    attended = layer.attention_output(layer._attend(states, mask))
    expected, _ = F.multi_head_attention_forward(
        *[states.transpose(0, 1)] * 3,
        FUSION,
        2,
        layer.query_key_value.weight,
        layer.query_key_value.bias,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=layer.attention_output.weight,
        out_proj_bias=layer.attention_output.bias,
        key_padding_mask=~mask,
    )
    torch.testing.assert_close(attended, expected.transpose(0, 1), atol=1e-5, rtol=1e-5)


def test_a_token_alone_is_attended_as_one_beside_a_token_that_is_not_there():
    layer = FusionLayer(small_config())
    alone, pair = torch.randn(3, 1, FUSION), torch.randn(3, 2, FUSION)
    pair[:, :1] = alone
    expected = layer._attend(pair, torch.tensor([[True, False]] * 3))[:, :1]
    torch.testing.assert_close(layer._attend(alone, None), expected, atol=1e-6, rtol=1e-5)


# ---------------------------------------------------------------- awareness and precision


@pytest.mark.parametrize("changed", ["language_ids", "english_stream"])
def test_trained_fusion_sees_language_and_translation(changed):
    lasr, batch = small_lasr(), inputs()
    first = lasr(**batch).sentence_embedding
    batch[changed] = (batch[changed] + 1) % LANGUAGES if changed == "language_ids" else batch[changed].flip(-1)
    moved = (lasr(**batch).sentence_embedding - first).abs().amax(-1) > 1e-4
    expected = batch["has_english"] if changed == "english_stream" else torch.ones(BATCH, dtype=torch.bool)
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding_is_unit_float32_in_any_precision(dtype):
    lasr = small_lasr().to(dtype)
    batch = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs().items()}
    embedding = lasr(**batch).sentence_embedding
    assert embedding.dtype == torch.float32 and embedding.shape == (BATCH, 2 * WIDTH)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(BATCH))
    close = F.cosine_similarity(embedding, small_lasr()(**inputs()).sentence_embedding)
    assert (close > 0.999).all()
