"""Pooling, projections, actor and the collapse that the geometry loss prevents."""

import pytest
import torch
from conftest import SHAPES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_lira import LiraConfig
from modeling_lira.arca import (
    QUALITY_CENTRES,
    QUALITY_SCALES,
    SHARPNESS,
    Actor,
    Adaptor,
    Arca,
    EmbeddingCritic,
    Projection,
    critic_features,
    temporal_pool,
    translation_quality,
)
from modeling_lira.backbones.building import fit_procrustes
from modeling_lira.training.losses import anchor_loss, geometry_loss, policy_loss

# ---------------------------------------------------------------- temporal pooling


def pool_by_hand(tokens: list[list[float]], num_bins: int) -> list[list[float]]:
    """Bin s covers the stretch [s L/S, (s+1) L/S) of the text; a token counts by the part of it that lies inside."""
    length = len(tokens)
    bins = []
    for number in range(num_bins):
        start, end = number * length / num_bins, (number + 1) * length / num_bins
        parts = [max(0.0, min(end, index + 1) - max(start, index)) for index in range(length)]
        bins.append([sum(part * token[axis] for part, token in zip(parts, tokens, strict=True)) for axis in range(2)])
        bins[-1] = [value / (end - start) for value in bins[-1]]
    return bins


@settings(max_examples=80, deadline=None)
@given(mask=st.lists(st.booleans(), min_size=1, max_size=14), num_bins=st.integers(1, 10), seed=st.integers(0, 99))
def test_pooling_equals_brute_force_over_the_real_tokens(mask, num_bins, seed):
    states = torch.randn(len(mask), 2, generator=torch.Generator().manual_seed(seed))
    pooled = temporal_pool(states[None], torch.tensor([mask]), num_bins)[0]
    real = states[torch.tensor(mask)].tolist()
    expected = pool_by_hand(real, num_bins) if real else [[0.0, 0.0]] * num_bins
    torch.testing.assert_close(pooled, torch.tensor(expected), atol=1e-5, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 40), num_bins=st.integers(1, 16))
def test_mean_over_bins_is_mean_over_tokens(length, num_bins):
    states = torch.randn(1, length, 3, dtype=torch.float64)
    pooled = temporal_pool(states, torch.ones(1, length), num_bins)
    # The weights are float32, whatever the states are.
    torch.testing.assert_close(pooled.mean(1), states.mean(1), atol=1e-6, rtol=1e-6)


def test_pooling_hand_values():
    a, b, c = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0])
    states = torch.stack([a, b, c])[None]
    everything = torch.ones(1, 3)
    assert temporal_pool(states, everything, 3)[0, :, 0].tolist() == pytest.approx([1, 2, 4])
    assert temporal_pool(states, everything, 2)[0, :, 0].tolist() == pytest.approx([(1 + 1) / 1.5, (1 + 4) / 1.5])
    assert temporal_pool(states, everything, 6)[0, :, 0].tolist() == pytest.approx([1, 1, 2, 2, 4, 4])
    one = torch.tensor([[True, False, False]])
    assert temporal_pool(states, one, 4)[0, :, 0].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("junk", [1e30, float("nan"), float("inf")])
@pytest.mark.parametrize("positions", [[0, 1], [3, 4], [1, 3], [0, 4]], ids=["left", "right", "inner", "both"])
def test_padding_never_leaks(junk, positions):
    padded = torch.randn(1, 5, 4)
    mask = torch.ones(1, 5, dtype=torch.long)
    mask[:, positions] = 0
    real = padded[:, mask[0].bool()].clone()
    padded[:, positions] = junk
    pooled = temporal_pool(padded, mask, 4)
    torch.testing.assert_close(pooled, temporal_pool(real, torch.ones(1, 3), 4), atol=1e-6, rtol=1e-6)


def test_empty_text_pools_to_zeros():
    assert temporal_pool(torch.full((1, 3, 2), 7.0), torch.zeros(1, 3), 4).tolist() == [[[0.0, 0.0]] * 4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pooling_in_half_precision(dtype):
    states, mask = torch.randn(3, 11, 6), torch.rand(3, 11) > 0.3
    pooled = temporal_pool(states.to(dtype), mask, 4)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), temporal_pool(states, mask, 4), atol=3e-2, rtol=3e-2)


def test_pooling_takes_any_leading_dimensions():
    states, mask = torch.randn(2, 3, 7, 4), torch.rand(2, 3, 7) > 0.4
    pooled = temporal_pool(states, mask, 5)
    assert pooled.shape == (2, 3, 5, 4)
    torch.testing.assert_close(pooled[1, 2], temporal_pool(states[1, 2], mask[1, 2], 5))


# ---------------------------------------------------------------- projections


def centred(rows: int, width: int) -> torch.Tensor:
    points = torch.randn(rows, width, generator=torch.Generator().manual_seed(rows + width))
    return points - points.mean(0)


def orthogonal(rows: int, columns: int) -> torch.Tensor:
    """A map whose rows or columns (the fewer) are orthonormal."""
    wide = torch.linalg.qr(torch.randn(max(rows, columns), max(rows, columns))).Q
    return wide[:rows, :columns]


@pytest.mark.parametrize("width", [4, 6])
def test_procrustes_recovers_rotation_and_scale(width):
    source, rotation = centred(200, 4), orthogonal(width, 4)
    fitted = fit_procrustes(source, 2.5 * source @ rotation.T)
    torch.testing.assert_close(fitted, 2.5 * rotation, atol=1e-4, rtol=1e-4)


def test_procrustes_to_a_narrower_target_is_the_best_orthonormal_map():
    source = centred(200, 6)
    target = source @ orthogonal(6, 6)[:4].T + 0.1 * centred(200, 4)
    fitted = fit_procrustes(source, target)
    scale = target.norm() / source.norm()
    torch.testing.assert_close(fitted @ fitted.T, scale**2 * torch.eye(4), atol=1e-5, rtol=1e-4)
    overlap = (source @ fitted.T * target).sum()
    others = [(source @ (scale * torch.linalg.qr(torch.randn(6, 6)).Q[:4]).T * target).sum() for _ in range(200)]
    assert overlap > max(others)


def test_projection_starts_as_identity_and_centres():
    projection = Projection(3, 3)
    states = torch.tensor([[1.0, 2.0, 3.0]])
    assert projection(states).tolist() == states.tolist()
    projection.start_from(2 * torch.eye(3), torch.tensor([1.0, 1.0, 1.0]))
    assert projection(states).tolist() == [[0.0, 2.0, 4.0]]


def test_adaptor_is_the_identity_before_training():
    adaptor = Adaptor(6, 4)
    adaptor.up.reset_parameters()
    states = torch.randn(2, 3, 6)
    assert torch.equal(adaptor(states), states)


# ---------------------------------------------------------------- critics and actor


def test_embedding_critic_is_the_cosine():
    text = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]]])
    assert EmbeddingCritic()(text, candidates).tolist() == [pytest.approx([1.0, 0.0, -0.6])]


def test_critic_features_are_scaled_neutral_and_detached():
    similarities = torch.tensor([[0.25, -0.5]], requires_grad=True)
    scores = torch.tensor([[[10.0, 1.0, 5.5], [float("nan"), 7.75, float("nan")]]])
    embeddings = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]], requires_grad=True)
    features = critic_features(scores, similarities, embeddings, torch.ones(1, 2, dtype=torch.bool))
    expected = [[[1.0, -1.0, 0.0, 0.25, 0.6], [0.0, 0.5, 0.0, -0.5, 0.6]]]
    torch.testing.assert_close(features, torch.tensor(expected))
    assert not features.requires_grad


def test_agreement_is_the_mean_cosine_with_the_other_candidates_that_are_there():
    embeddings = F.normalize(torch.randn(2, 4, 6), dim=-1)
    mask = torch.tensor([[True, True, True, False], [False, True, False, False]])
    features = critic_features(torch.ones(2, 4, 3), torch.zeros(2, 4), embeddings, mask)[..., -1]
    first, second, third = embeddings[0, :3]
    expected = [(first @ second + first @ third) / 2, (first @ second + second @ third) / 2]
    torch.testing.assert_close(features[0, :2], torch.stack(expected))
    assert not features[0, 3] and not features[1].any()  # one candidate alone has nobody to agree with


def test_the_quality_of_a_translation_in_hand_values():
    features = torch.tensor([[[1.0, 0.0, -1.0, 0.4, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]]])
    policy, embeddings = torch.tensor([[0.75, 0.25]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    quality = translation_quality(features, policy, embeddings, torch.ones(1, 2, dtype=torch.bool))
    expected = [0.75, 0.0, -0.5, 0.3, 0.3 - 0.2, (0.75**2 + 0.25**2) ** 0.5, 0.5]
    scales, centres = torch.tensor(QUALITY_SCALES), torch.tensor(QUALITY_CENTRES)
    torch.testing.assert_close(quality, torch.tensor([expected]) * scales - centres)
    nothing = translation_quality(features * 0, policy * 0, embeddings * 0, torch.zeros(1, 2, dtype=torch.bool))
    torch.testing.assert_close(nothing, -centres[None])


def random_actor(seed: int = 0) -> Actor:
    """An actor in the middle of training: nothing in it is zero."""
    torch.manual_seed(seed)
    actor = Actor(8)
    for parameter in actor.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return actor


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(5)), mask=st.lists(st.booleans(), min_size=5, max_size=5), seed=st.integers(0, 50))
def test_actor_is_permutation_equivariant(order, mask, seed):
    actor = random_actor(seed)
    features, present, order = torch.randn(1, 5, 5), torch.tensor([mask]), torch.tensor(order)
    logits, permuted = actor(features, present), actor(features[:, order], present[:, order])
    torch.testing.assert_close(permuted, logits[:, order], atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(mask=st.lists(st.booleans(), min_size=4, max_size=4).filter(any), seed=st.integers(0, 50))
def test_missing_candidates_are_never_selected(mask, seed):
    features = torch.randn(1, 4, 5)
    features[0, ~torch.tensor(mask)] = 50.0  # as tempting as can be
    logits = random_actor(seed)(features, torch.tensor([mask]))
    assert mask[int(logits.argmax())]
    assert not logits.softmax(-1)[0, ~torch.tensor(mask)].any()


def test_missing_candidates_do_not_change_the_others():
    actor, features = random_actor(), torch.randn(1, 3, 5)
    alone = actor(features[:, :2], torch.ones(1, 2, dtype=torch.bool))
    padded = actor(features, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(padded[:, :2], alone)


def test_actor_starts_with_the_critics_word():
    actor = Actor(8)
    actor.score.reset_parameters()
    actor.reset_parameters()
    present = torch.ones(1, 2, dtype=torch.bool)
    more_similar = torch.tensor([[[0.0, 0, 0, 0.5, 0], [0.0, 0, 0, 0.6, 0]]])
    same_but_better = torch.tensor([[[0.5, 0, 0, 0.5, 0], [0.0, 0, 0, 0.5, 0]]])
    assert int(actor(more_similar, present).argmax()) == 1
    assert int(actor(same_but_better, present).argmax()) == 0
    features = torch.randn(2, 3, 5)
    expected = SHARPNESS * features @ torch.tensor([1.0, 0.0, 0.0, 10.0, 0.0])
    torch.testing.assert_close(actor(features, torch.ones(2, 3, dtype=torch.bool)), expected)


@pytest.mark.parametrize("action", [0, 1])
@pytest.mark.parametrize("better", [0, 1])
def test_one_reinforce_step_raises_the_better_candidate_whichever_was_sampled(action, better):
    actor, features = random_actor(3), torch.randn(1, 2, 5) / 3  # no policy so sure that nothing moves it
    present = torch.ones(1, 2, dtype=torch.bool)
    rewards = torch.tensor([[0.2, 0.2]])
    rewards[0, better] = 0.9
    before = actor(features, present).softmax(-1)[0, better].item()
    step_down(actor, policy_loss(actor(features, present), torch.tensor([action]), rewards, present))
    assert actor(features, present).softmax(-1)[0, better].item() > before


def test_one_expected_reinforce_step_raises_the_expected_reward():
    actor, features = random_actor(4), torch.randn(6, 4, 5)
    present = torch.tensor([[True] * 4, [True, True, True, False]] * 3)
    rewards = torch.rand(6, 4)
    policy = actor(features, present).softmax(-1).detach()
    every = torch.arange(4).expand(6, 4)
    logits = actor(features, present)
    losses = []  # of each action, row by row, weighted by how often the policy takes it
    for row, action in present.nonzero().tolist():
        loss = policy_loss(logits[row, None], every[row, action, None], rewards[row, None], present[row, None])
        losses.append(policy[row, action] * loss)
    step_down(actor, torch.stack(losses).sum())
    after = actor(features, present).softmax(-1)
    assert (after * rewards).sum() > (policy * rewards).sum()
    assert (after.detach() - policy)[torch.arange(6), rewards.masked_fill(~present, -1).argmax(-1)].sum() > 0


def step_down(actor: Actor, loss: torch.Tensor) -> None:
    actor.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in actor.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.02 * parameter.grad)


# ---------------------------------------------------------------- the whole of Arca


def small_arca(seed: int = 0) -> Arca:
    """Arca from 6-wide streams and 5-wide ones to 8, every weight random."""
    config = LiraConfig(
        multilingual_config={**SHAPES["bert"].to_dict(), "hidden_size": 6},
        english_config={**SHAPES["bert"].to_dict(), "hidden_size": 5},
        hidden_size=8,
        adaptor_size=32,
        actor_size=8,
    )
    torch.manual_seed(seed)
    arca = Arca(config)
    for parameter in arca.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return arca


def test_order_of_candidates_does_not_matter():
    arca, order = small_arca(), torch.tensor([2, 0, 3, 1])
    multilingual, english = torch.randn(5, 4, 6), torch.randn(5, 4, 4, 5)
    mask, scores = torch.rand(5, 4) > 0.3, 1 + 9 * torch.rand(5, 4, 3)
    mask[:, 0] = True
    first = arca(multilingual, english, mask, scores)
    second = arca(multilingual, english[:, order], mask[:, order], scores[:, order])
    torch.testing.assert_close(second.policy_logits, first.policy_logits[:, order])
    assert torch.equal(order[second.selected], first.selected)
    for name in ("english_stream", "english_embedding", "multilingual_embedding", "quality"):
        torch.testing.assert_close(getattr(second, name), getattr(first, name))


def test_arca_selects_the_most_likely_candidate_and_hands_on_its_stream():
    mask, scores = torch.ones(3, 2, dtype=torch.bool), torch.ones(3, 2, 3)
    output = small_arca()(torch.randn(3, 4, 6), torch.randn(3, 2, 4, 5), mask, scores)
    assert torch.equal(output.selected, output.policy_logits.argmax(-1))
    unit = F.normalize(output.english_stream.mean(1), dim=-1)
    torch.testing.assert_close(output.candidate_embeddings[torch.arange(3), output.selected], unit)


def test_the_english_embedding_is_the_mean_as_the_policy_weighs_it():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    output = small_arca()(torch.randn(2, 4, 6), torch.randn(2, 3, 4, 5), mask, torch.ones(2, 3, 3))
    policy = output.policy_logits[0, :2].softmax(-1)
    mean = policy @ output.candidate_embeddings[0, :2]
    torch.testing.assert_close(output.english_embedding[0], F.normalize(mean, dim=-1))
    torch.testing.assert_close(output.english_embedding[1], output.candidate_embeddings[1, 0])
    expected = torch.tensor([float(output.similarities[1, 0]), 0.0, 1.0, 0.25])
    torch.testing.assert_close(
        output.quality[1, 3:], expected * torch.tensor(QUALITY_SCALES[3:]) - torch.tensor(QUALITY_CENTRES[3:])
    )


def test_a_missing_score_is_the_neutral_score():
    arca, mask = small_arca(), torch.ones(2, 3, dtype=torch.bool)
    multilingual, english = torch.randn(2, 4, 6), torch.randn(2, 3, 4, 5)
    silent = arca(multilingual, english, mask, torch.full((2, 3, 3), float("nan")))
    neutral = arca(multilingual, english, mask, torch.full((2, 3, 3), 5.5))
    assert silent.policy_logits.isfinite().all()
    torch.testing.assert_close(silent.policy_logits, neutral.policy_logits)


@pytest.mark.parametrize("junk", [1e30, float("nan")])
def test_a_text_without_candidates_falls_back_to_itself(junk):
    arca = small_arca()
    multilingual = torch.randn(2, 4, 6)
    english = torch.full((2, 3, 4, 5), junk)
    english[1, 0] = 1.0
    mask = torch.tensor([[False] * 3, [True, False, False]])
    output = arca(multilingual, english, mask, torch.full((2, 3, 3), float("nan")))
    assert output.selected.tolist() == [-1, 0]
    assert output.has_english.tolist() == [False, True]
    assert torch.equal(output.english_embedding[0], output.multilingual_embedding[0])
    assert not output.english_stream[0].any() and output.quality[0].equal(-torch.tensor(QUALITY_CENTRES))
    assert all(value.isfinite().all() for value in vars(output).values())
    (output.english_embedding.sum() + output.similarities[mask].sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in arca.parameters() if parameter.grad is not None)


def mean_cosine(embeddings: torch.Tensor) -> float:
    """Mean cosine of different rows."""
    cosines = embeddings @ embeddings.T
    return ((cosines.sum() - cosines.trace()) / (len(cosines) * (len(cosines) - 1))).item()


@pytest.mark.parametrize(("geometry_weight", "collapses"), [(0.0, True), (5.0, False)])
def test_the_geometry_loss_keeps_the_anchor_loss_from_collapsing_the_space(geometry_weight, collapses):
    """Translations that say nothing about their texts: to anchor them, all that helps is to make all texts one."""
    arca, random = small_arca(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(arca.parameters(), lr=1e-2)

    def losses() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        multilingual, english = torch.randn(32, 4, 6, generator=random), torch.randn(32, 1, 4, 5, generator=random)
        _, text = arca.multilingual(multilingual)
        _, translation = arca.english(english)
        frozen = [F.normalize(states.mean(-2), dim=-1) for states in (multilingual, english[:, 0])]
        geometry = geometry_loss(text, frozen[0]) + geometry_loss(translation[:, 0], frozen[1])
        return anchor_loss(text, translation[:, 0]), geometry, text.detach()

    for _ in range(400):
        anchor, geometry, _ = losses()
        optimizer.zero_grad()
        (anchor + geometry_weight * geometry).backward()
        optimizer.step()
    anchor, _, text = losses()
    assert (mean_cosine(text) > 0.95) == collapses
    assert collapses or mean_cosine(text) < 0.3
    assert (anchor.item() < 0.05) == collapses
