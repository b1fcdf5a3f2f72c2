"""The studies on a tiny corpus and by hand: intervals, reduced corpora, noise, bound, cost, few-shot, sensitivity."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, astuple, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from tiny_corpus import make_split

from dataset_builder.generator.queries import Query
from dataset_builder.generator.reference import english_reference
from dataset_builder.lexicon import load_lexicon
from eval.__main__ import app
from eval.significance import point_of, points_of
from eval.studies import cost, sensitivity
from eval.studies.backbones import _measured, _pair
from eval.studies.bound import (
    FARTHEST,
    _summary,
    anchor_log_probabilities,
    divergence,
    edited,
    lipschitz_ratios,
    measure_bound,
    right_side,
    shares_of,
)
from eval.studies.conditions import CRITIC, REFERENCE, SAMPLED, conditions_of, stacked
from eval.studies.few_shot import measure_few_shot, options_for
from eval.studies.noise import measure_noise
from eval.studies.sensitivity import (
    changed_tables,
    decision,
    default_choice,
    first_choices,
    halvings,
    measure_sensitivity,
)
from eval.studies.serving import WAYS, Job, serve
from eval.studies.setting import Setting, few_queries, known_systems, reduced_rows, reduced_split
from eval.studies.systems import AS_IT_COMES, ENGLISH_MAPPING, LINEAR, SYSTEMS
from modeling_lira import LiraError, LiraModel
from modeling_lira.backbones.anchors import english_anchors
from modeling_lira.cli import run
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_split
from modeling_lira.evaluation.embedded import embed_split
from modeling_lira.evaluation.names import ENCODER, LIRA, LIRA_FREE, TRANSLATE
from modeling_lira.training.options import ArcaOptions, LasrOptions, TrainingOptions

LANGUAGES = ("vi", "th")


@pytest.fixture(scope="module")
def setting(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """A setting whose corpus is eight queries and products a language, whose references are English titles."""
    folder = tmp_path_factory.mktemp("setting")
    options = TrainingOptions(
        corpus="tiny",
        arca=ArcaOptions(epochs=1, batch_size=8),
        lasr=LasrOptions(epochs=1, batch_size=4, doc_queue=0, corr_queue=0),
    )
    setting = Setting(options, folder / "out", folder / "streams", (0,), records=folder / "records")
    model = build_model()
    splits = [make_split(code, numberion) for numberion, code in enumerate(LANGUAGES)]
    tables = [cache_split(model, StreamCache(folder / "streams"), split) for split in splits]
    setting.__dict__.update(
        languages=LANGUAGES,
        corpus="0" * 12,
        _templates={AS_IT_COMES: model},
        _parts={AS_IT_COMES: dict.fromkeys(("train", "validation", "test"), tables)},
    )
    return setting


def payload_of(path: Path) -> dict:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["corpus"] == "0" * 12
    assert record["seeds"] == [0]
    return record["payload"]


# ---------------------------------------------------------------------- what the studies share


def test_a_point_is_the_mean_over_languages_and_seeds_whatever_their_sizes() -> None:
    many, few = torch.tensor([[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]]), torch.tensor([1.0])
    point = point_of([many, few])
    assert point.mean == pytest.approx((0.3 + 1.0) / 2)
    assert point.low < point.mean < point.high
    constant = point_of([torch.full((5,), 0.5), torch.tensor([0.5, float("nan")])])
    assert constant.mean == 0.5
    assert math.isnan(point_of([torch.tensor([float("nan")]), few]).mean)


def test_the_interval_of_a_point_is_that_of_the_mean() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    point = point_of([values])
    error = float(values.std() / 20)
    assert point.low == pytest.approx(point.mean - 1.96 * error, abs=0.2 * error)
    assert point.high == pytest.approx(point.mean + 1.96 * error, abs=0.2 * error)


def test_a_reduced_split_keeps_a_best_document_of_each_query_and_all_judgements_between_what_stays() -> None:
    split = make_split("vi", 0)
    rows, places = reduced_rows(split, 3, 5)
    smaller = reduced_split(split, rows, places)
    assert (len(smaller.queries), len(smaller.titles)) == (3, 5)
    for new, old in enumerate(rows):
        assert smaller.queries.texts[new] == split.queries.texts[old]
        assert smaller.queries.candidates[new] == split.queries.candidates[old]
        named = {smaller.document_ids[position]: grade for position, grade in smaller.gains[new].items()}
        assert named == {
            split.document_ids[position]: grade for position, grade in split.gains[old].items() if position in places
        }
        assert 3 in named.values()
        assert {smaller.titles[position] for position, _ in smaller.pairs[new]} <= set(split.titles)


def test_few_queries_of_a_seed_are_among_more_of_them(setting: Setting) -> None:
    tables = setting.tables["train"][0]

    def kept(count: int, seed: int) -> set[int]:
        few = few_queries(tables, count, seed)
        assert not few.queries.has_english[[not gains for gains in few.split.gains]].any()
        return {row for row, gains in enumerate(few.split.gains) if gains}

    assert kept(2, 0) < kept(5, 0)
    assert len(kept(5, 0)) == 5
    assert kept(3, 0) != kept(3, 1)
    assert all(tables.split.gains)  # the tables themselves stay


def test_a_step_is_computed_once_and_anew_for_what_it_depends_on(setting: Setting) -> None:
    calls: list[int] = []

    def compute() -> dict[str, torch.Tensor]:
        calls.append(len(calls))
        return {"value": torch.tensor([len(calls)])}

    first = setting.step("a step", compute, level=1)["value"]
    assert torch.equal(setting.step("a step", compute, level=1)["value"], first)
    assert not torch.equal(setting.step("a step", compute, level=2)["value"], first)
    assert calls == [0, 1]


def test_models_of_a_setting_share_backbones_but_nothing_else(setting: Setting) -> None:
    one, two = setting.start(), setting.start()
    assert one.multilingual_encoder is two.multilingual_encoder
    with torch.no_grad():
        one.arca.multilingual_projection.weight.zero_()
    assert two.arca.multilingual_projection.weight.any()
    texts = ["áo thun", "nồi cơm"]
    assert torch.allclose(
        two.encode_query(texts, "vi"), setting._templates[AS_IT_COMES].encode_query(texts, "vi"), atol=1e-6
    )


def test_a_model_starts_the_same_whether_it_is_the_first_or_not(backbones: dict[str, Path], tmp_path: Path) -> None:
    options = TrainingOptions("none", str(backbones["xlm-roberta"]), str(backbones["bert"]), ("vi",))
    other = Setting(options, tmp_path, tmp_path, (0,))
    weights = []
    for _ in range(2):
        torch.manual_seed(5)
        weights.append(other.start().lasr.enter.weight)
    assert torch.equal(*weights)


# ---------------------------------------------------------------------- noise


def test_an_english_reference_says_what_the_query_asks_for() -> None:
    lexicon = load_lexicon(languages=("th",))
    asked = (("colour", "red"), ("volume", "350ml"), ("gender", "boys"))
    query = Query("1", "ขวดนม", "th", "test", "bare", "head", "baby_bottle", (), asked, False)
    assert english_reference(lexicon, query) == "red baby bottle for boys 350ml"
    wishes = (("fits:gender", "men"), ("price_up_to", "8.5714"))
    need = next(need for need in lexicon.needs if need.name == "gift_father")
    assert english_reference(lexicon, replace(query, type="", types=need.types, constraints=wishes)) == (
        "gift for father under 8.57 dollars"
    )


def test_stacked_conditions_have_their_own_candidates_and_critics(setting: Setting) -> None:
    tables = setting.tables["test"][0]
    conditions = conditions_of(tables, ["untranslated"], [0.0, 1.0], 0)
    queries = stacked(setting, tables, conditions).queries
    names, count = list(conditions), len(tables.queries)
    texts = sorted({text for rows in conditions.values() for row in rows for text in row})

    def shown(name: str) -> list[list[str]]:
        rows = queries.rows[names.index(name) * count :][:count]
        return [[texts[position] for position in row if position >= 0] for row in rows]

    clean = tables.split.queries.candidates
    assert shown(SAMPLED) == shown("untranslated 0") == clean
    assert shown("untranslated 1") == [
        [text] * len(row) for text, row in zip(tables.split.queries.texts, clean, strict=True)
    ]
    scored = ~np.isnan(queries.scores.reshape(len(names), count, -1)).all(-1)
    split = stacked(setting, tables, conditions).split
    assert split.queries.candidates[count : 2 * count] == conditions[names[1]]
    assert split.gains == tables.split.gains * len(names)
    assert scored[names.index(CRITIC)].tolist() == [bool(row) for row in clean]
    assert not np.delete(scored, names.index(CRITIC), 0).any()


def test_noise_measures_what_it_says(setting: Setting) -> None:
    path = measure_noise(setting, [LIRA, ENCODER], ["swap", "drop"], [0.0, 1.0])
    payload = payload_of(path)
    sampled = payload["translators"][LIRA][SAMPLED]
    assert payload["noise"]["swap"][LIRA][0] == payload["noise"]["drop"][LIRA][0] == sampled
    alone = payload["translators"][ENCODER]
    assert all(scores == alone["none"] for scores in alone.values())
    embed, _ = SYSTEMS[ENCODER].build(setting.plan(), 0)
    expected = [embed(tables).ndcg() for tables in setting.tables["test"]]
    assert alone["none"]["mean"]["mean"] == pytest.approx(float(torch.stack([mean.mean() for mean in expected]).mean()))
    for name in ("noise.png", "translators.png"):
        assert (setting.output / name).stat().st_size > 10_000
    assert set(payload["translators"][LIRA][REFERENCE]) == {"mean", *LANGUAGES}


@pytest.mark.parametrize(
    ("systems", "kinds", "levels", "message"),
    [
        (["magic"], ["swap"], [0.0], "system 'magic' is unknown"),
        ([LIRA], ["fog"], [0.0], "noise 'fog' is unknown"),
        ([LIRA], ["swap"], [1.5], "levels in \\[0, 1\\], got 1.5"),
    ],
)
def test_wrong_noise_is_named(
    setting: Setting, systems: list[str], kinds: list[str], levels: list[float], message: str
) -> None:
    with pytest.raises(LiraError, match=message):
        measure_noise(setting, systems, kinds, levels)


# ---------------------------------------------------------------------- the bound


def test_divergence_and_the_bound_by_hand() -> None:
    """Two anchors at a right angle: p = (e, 1) / (e + 1) for a text on the first, (1, 1) / 2 for one between them."""
    bank = torch.eye(2)
    on, between = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    log_p, log_q = (anchor_log_probabilities(point, bank, 1.0) for point in (on, between))
    first = math.e / (math.e + 1)
    expected = first * math.log(2 * first) + (1 - first) * math.log(2 * (1 - first))
    assert float(divergence(log_p, log_q)) == pytest.approx(expected)
    assert float(divergence(log_p, log_p)) == 0.0
    bound = right_side(torch.tensor([0.5]), torch.tensor([0.02]), kernel=0.7, times=2.0)
    assert float(bound) == pytest.approx(0.5 + 2 * 0.7 * 0.2)


def test_lipschitz_ratios_of_a_linear_map_are_between_its_singular_values() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.diag(torch.tensor([3.0, 2.0, 0.5]))
    z, near = (torch.randn(200, 3, generator=generator) for _ in range(2))
    near[0] = z[0]
    ratios = lipschitz_ratios(z @ matrix, z, near @ matrix, near)
    assert bool(ratios[0].isnan())
    assert float(ratios[1:].min()) >= 0.5 and float(ratios[1:].max()) <= 3.0
    axis = lipschitz_ratios(
        torch.tensor([[3.0, 0, 0]]), torch.tensor([[1.0, 0, 0]]), torch.zeros(1, 3), torch.zeros(1, 3)
    )
    assert float(axis) == pytest.approx(3.0)


def test_shares_say_where_the_inequalities_hold() -> None:
    values = {
        "eps1": torch.tensor([1.0, 1.0, 3.0]),
        "eps2": torch.tensor([0.0, 0.5, 0.0]),  # C sqrt(2 eps2) is 0, 1 and 0 for C = 1
        "distance": torch.tensor([1.5, 2.0, 2.0]),
        "downstream": torch.tensor([0.4, 0.5, 2.0]),
    }
    shares = shares_of(values, kernel=1.0, lipschitz=0.5)
    assert shares["holds"].tolist() == [0, 1, 1]
    assert shares["holds_twice"].tolist() == [0, 1, 1]
    assert shares["holds_downstream"].tolist() == [1, 1, 0]
    assert shares["says_something"].tolist() == [1, 1, 0]
    assert pytest.approx(float(torch.tensor([1.0, 0, 1, 0]).sub(torch.tensor([-1.0, 0, -1, 0])).norm())) == FARTHEST


def test_an_edit_changes_one_word() -> None:
    rng = random.Random(0)
    for _ in range(50):
        before, after = ["red", "cotton", "shirt"], edited("red cotton shirt", ["zebra"], rng).split()
        assert abs(len(after) - len(before)) <= 1
        assert [word for word in after if word != "zebra"] in (
            before, *([word for position, word in enumerate(before) if position != out] for out in range(3)),
        )  # fmt: skip
        assert after != before
    assert {edited("shirt", ["zebra"], rng) for _ in range(20)} == {"zebra", "shirt zebra"}


def test_the_bound_is_measured_in_every_state(setting: Setting) -> None:
    payload = payload_of(measure_bound(setting, 0.1))
    assert list(payload["states"]) == ["untrained", "after Arca", "LaSR, epoch 1"]
    for state in payload["states"].values():
        state_mean = state["mean"]
        assert state_mean["C"] == pytest.approx(1.0, abs=1e-4)
        assert 0 <= state_mean["distance"]["mean"] <= FARTHEST
        assert state_mean["eps1"]["mean"] <= state_mean["bound"]["mean"]
        assert state_mean["L_p95"] > 0
        assert all(0 <= share["mean"] <= 1 for share in state_mean["shares"].values())
    assert (setting.output / "bound.png").stat().st_size > 10_000
    with pytest.raises(LiraError, match="temperature must be positive, got 0"):
        measure_bound(setting, 0)


# ---------------------------------------------------------------------- cost


def _tiny_job(backbones: dict[str, Path], way: str, translator: str = "none") -> Job:
    return Job(
        way, str(backbones["xlm-roberta"]), str(backbones["bert"]), translator, ["vi"],
        ["áo sơ mi", "điện thoại cũ"], ["vi", "vi"], [["shirt", "white shirt"], []], 4, 2, 1,
    )  # fmt: skip


@pytest.mark.parametrize("way", [ENCODER, TRANSLATE, LIRA_FREE, LIRA])
def test_ways_to_serve_are_timed(backbones: dict[str, Path], way: str) -> None:
    threads = torch.get_num_threads()
    try:
        latencies = serve(_tiny_job(backbones, way))
    finally:
        torch.set_num_threads(threads)
    assert len(latencies["latencies"]) == 2
    assert all(latency > 0 for values in latencies.values() for latency in values)


def test_a_failed_process_is_one_line(backbones: dict[str, Path]) -> None:
    with pytest.raises(LiraError, match=r"^serving 'LiRA; translator counted' failed: .*nowhere"):
        cost.probe(_tiny_job(backbones, "LiRA; translator counted", "pypi:nowhere"))


def test_cost_counts_what_is_trained(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Job] = []

    def probe(job: Job) -> dict[str, list[float]]:
        served.append(job)
        return {"latencies": [0.01, 0.03], "rate": [50.0], "memory": [1.5]}

    monkeypatch.setattr(cost, "probe", probe)
    payload = payload_of(cost.measure_cost(setting, [LIRA, LINEAR], 2, 3, "none"))
    assert [job.way for job in served] == list(WAYS)
    assert served[0].texts[:2] == [tables.split.queries.texts[0] for tables in setting.tables["test"]]
    width = setting.start().config.width
    linear = payload["training"][LINEAR]
    assert linear["parameters_trained"] == width * width + width
    encoder = payload["training"][ENCODER]["parameters"]
    assert linear["parameters"] == encoder + width * width + width
    assert encoder == sum(parameter.numel() for parameter in setting.start().multilingual_encoder.parameters())
    assert 0 < payload["training"][LIRA]["parameters_trained"] < payload["training"][LIRA]["parameters"]
    assert payload["training"][LIRA]["cpu_seconds"] > 0
    serving = payload["serving"][LIRA]
    assert (serving["p50_ms"], serving["texts_per_second"]) == (pytest.approx(20.0), 50.0)
    assert serving["index_bytes_per_document"] == 4 * 2 * width
    assert payload["serving"][ENCODER]["index_bytes_per_document"] == 4 * width
    assert (setting.output / "cost.png").stat().st_size > 10_000


def test_encoding_the_texts_is_no_part_of_the_training_time(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    plan = Setting.plan

    def planned(self: Setting, **changed: Any) -> Any:
        order.append("texts")
        return plan(self, **changed)

    def clock() -> float:
        order.append("clock")
        return 1.0

    monkeypatch.setattr(Setting, "plan", planned)
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=clock))
    assert cost._train(setting, LINEAR)["seconds"][0] == 0
    assert order == ["texts", "clock", "clock"]


# ---------------------------------------------------------------------- few queries, other backbones


def test_small_training_sets_are_read_more_often_in_smaller_batches() -> None:
    options = LasrOptions(epochs=3, batch_size=24)
    shapes = [(size.batch_size, size.epochs) for size in (options_for(options, count) for count in (16, 64, 256, 1024))]
    assert shapes == [(16, 12), (24, 12), (24, 3), (24, 3)]


def test_few_shot_goes_from_none_to_all(setting: Setting) -> None:
    payload = payload_of(measure_few_shot(setting, [LIRA, ENGLISH_MAPPING, ENCODER], ["0", "4", "all"]))
    assert payload["training_queries_per_language"] == [0, 4, 8]
    curves = payload["ways"]["English titles"]
    untrained = [embed_split(setting.start(), tables).ndcg() for tables in setting.tables["test"]]
    expected = float(torch.stack([row.mean() for row in untrained]).mean())
    assert curves[LIRA][0]["mean"]["mean"] == pytest.approx(expected)
    assert curves[ENGLISH_MAPPING][0] is None and curves[ENGLISH_MAPPING][1] is not None
    assert curves[ENCODER][0] == curves[ENCODER][2]
    assert (setting.output / "few-shot.png").stat().st_size > 10_000


@pytest.mark.parametrize("size", ["3", "-1", "many", ""])
def test_wrong_sizes_are_named(setting: Setting, size: str) -> None:
    with pytest.raises(LiraError, match=f"size '{size}': expected 0"):
        measure_few_shot(setting, [LIRA], [size])


def test_a_pair_of_backbones_is_scored_with_paired_gains(setting: Setting) -> None:
    payload = _measured(setting, [LIRA, ENCODER, TRANSLATE])
    systems, gains = payload["systems"]["English titles"], payload["gains"]["English titles"]
    assert gains[ENCODER]["mean"] == pytest.approx(systems[LIRA]["mean"] - systems[ENCODER]["mean"])
    assert TRANSLATE not in payload["gains"]["local titles"]
    assert _pair("a/b+c/d") == ("a/b", "c/d")
    with pytest.raises(LiraError, match="pair 'alone': expected MULTILINGUAL"):
        _pair("alone")


# ---------------------------------------------------------------------- sensitivity


def test_fewer_bins_are_those_of_a_model_with_fewer(setting: Setting, build_model: Callable[..., LiraModel]) -> None:
    tables = setting.tables["test"][0]
    choice = replace(default_choice(setting), bins=2, candidates=1)
    changed = changed_tables(tables, choice)
    expected = build_model(num_feature_bins=2).encode_streams(tables.split.titles, "multilingual", "document")
    noisy = torch.from_numpy(changed.local.multilingual.astype(np.float32))
    assert torch.allclose(noisy, expected, atol=2e-2 * float(expected.abs().max()))
    assert (changed.queries.rows[:, 1:] == -1).all()
    assert halvings(8) == [8, 4, 2, 1]
    assert halvings(6) == [6, 3]


def test_a_search_begins_with_the_default_and_one_change_at_a_time(setting: Setting) -> None:
    start = replace(default_choice(setting), bins=1, candidates=4)
    first = first_choices(start, 8)
    assert first[0] == start
    assert [choice.bins for choice in first[1:4]] == [8, 4, 2]
    assert [choice.candidates for choice in first[4:6]] == [2, 1]
    assert [choice.gate for choice in first[6:]] == [not start.gate]
    assert all(
        sum(old != new for old, new in zip(astuple(start), astuple(choice), strict=True)) == 1 for choice in first[1:]
    )


def test_the_default_stays_unless_the_best_wins_again() -> None:
    assert decision([0.50, 0.52, 0.51], [0.54, 0.54, 0.54])[0] == "best"
    assert decision([0.50, 0.52, 0.51], [0.52, 0.52, 0.52])[0] == "default"
    assert decision([0.50], [0.90])[0] == "default"


def test_a_search_goes_on_where_it_was(setting: Setting) -> None:
    payload_of(measure_sensitivity(setting, 2, 8))
    payload = payload_of(measure_sensitivity(setting, 3, 8))
    assert len(payload["trials"]) == 3
    start = payload["default"]
    usual = default_choice(setting)
    finest = usual.bins * -(-8 // usual.bins)
    for trial, choice in zip(payload["trials"], first_choices(usual, finest)[:3], strict=True):
        assert {name: trial[name] for name in start} == pytest.approx(asdict(choice))
    assert payload["best"] == {name: max(payload["trials"], key=lambda trial: trial["score"])[name] for name in start}
    assert payload["scores_over_seeds"]["default"] == pytest.approx([payload["trials"][0]["score"]])
    assert payload["values"] == start  # one seed decides nothing
    assert (setting.output / "sensitivity.png").stat().st_size > 10_000
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    with pytest.raises(LiraError, match="needs two trials"):
        measure_sensitivity(setting, 1, 8)


def test_an_interrupted_trial_is_tried_again(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, queries = default_choice(setting), 7  # another study than that of other tests

    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(sensitivity, "_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(setting, 2, queries)
    monkeypatch.setattr(sensitivity, "_score", lambda *_: 0.5)
    choices = first_choices(usual, usual.bins * -(-8 // usual.bins))
    tried = payload_of(measure_sensitivity(setting, len(choices), queries))["trials"]
    assert all(any(trial == {"score": 0.5, **asdict(choice)} for trial in tried) for choice in choices)


# ---------------------------------------------------------------------- the commands


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noise", "--seeds", "0,x"], "--seeds '0,x': expected whole numbers separated by commas"),
        (["noise", "--levels", "low"], "--levels 'low': expected numbers separated by commas"),
        (["noise", "--corpus", "no/corpus"], "corpus 'no/corpus': there is no such folder"),
        (["bound", "--temperature", "-1"], "temperature must be positive, got -1"),
        (["few-shot", "--corpus", "no/corpus", "--sizes", "2"], "size '2': expected 0"),
        (["backbones", "--corpus", "no/corpus", "--pairs", "one"], "pair 'one': expected MULTILINGUAL+ENGLISH"),
        (["sensitivity", "--trials", "1"], "a search needs two trials at least, got 1"),
        (["cost", "--systems", "magic"], "system 'magic' is unknown"),
    ],
)
def test_wrong_arguments_are_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit) as stop:
        run(app, "python -m eval", arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_unknown_systems_and_missing_stages_are_named(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match="system 'magic' is unknown: choose from LiRA"):
        known_systems(["magic"])
    with pytest.raises(LiraError, match="at least one seed"):
        Setting(TrainingOptions(corpus="x"), tmp_path, tmp_path, ())
    with pytest.raises(LiraError, match="must not leave one out"):
        Setting(TrainingOptions(corpus="x", arca=None), tmp_path, tmp_path, (0,))
    assert len(english_anchors()) > 100


def test_a_question_of_several_languages_counts_once_in_the_studies_intervals() -> None:
    codes = ("vi", "th", "id")
    scores = torch.rand(1, 40, generator=torch.Generator().manual_seed(0))
    shared = {code: [f"q{row}" for row in range(40)] for code in codes}
    apart = {code: [f"{code} {row}" for row in range(40)] for code in codes}
    points = points_of(dict.fromkeys(codes, scores), shared)
    assert points["mean"] == pytest.approx(points["vi"])
    assert points["mean"] == pytest.approx(points["th"])
    assert points_of(dict.fromkeys(codes, scores), apart)["mean"] == vars(point_of([scores] * 3))
    run = {
        f"{name}/{code}": scores[0].double()
        for name in ("eps1", "eps2", "distance", "downstream", "lipschitz")
        for code in codes
    }
    run["C"] = torch.ones(1)
    together, one = _summary([run], shared), _summary([run], {"vi": shared["vi"]})
    assert together["eps1"] == pytest.approx(one["eps1"])
    assert together["shares"]["holds"] == pytest.approx(one["shares"]["holds"])
    assert _summary([run], apart)["eps1"]["low"] > one["eps1"]["low"]
