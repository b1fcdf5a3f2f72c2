"""What decides a training has a place of its own; finished work is found again, and only by the run that made it."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_corpus import make_split

from eval.studies import systems as systems_module
from eval.studies.systems import SYSTEMS, SilentCritic, TrainingPlan, Variant
from modeling_lira import LiraError, LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, Table, cache_split
from modeling_lira.evaluation.names import LIRA
from modeling_lira.training import checkpoints as checkpoints_module
from modeling_lira.training import digests, resumable
from modeling_lira.training.digests import code_version, digest_of, modules_of
from modeling_lira.training.options import ArcaOptions, LasrOptions, LasrWeights
from modeling_lira.training.resumable import run_stage, stage_inputs
from modeling_lira.training.run_folder import locked, run_folder


@pytest.fixture(scope="module")
def tables(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> list[SplitTables]:
    cache = StreamCache(tmp_path_factory.mktemp("streams"))
    return [cache_split(build_model(), cache, make_split(code, number)) for number, code in enumerate(("vi", "th"))]


def inputs(model: LiraModel, tables: list[SplitTables], **changes: object) -> dict[str, str]:
    given = {"train": tables, "validation": tables, "options": LasrOptions(), "seed": 0, **changes}
    return stage_inputs(model, **given)


def different(first: dict[str, str], second: dict[str, str]) -> set[str]:
    return {name for name in first if first[name] != second[name]}


# ------------------------------------------------------------------ the key


def table_changes() -> dict[str, Callable[[Table], Table]]:
    def changed(values: np.ndarray, value: float) -> np.ndarray:
        values = np.array(values)
        values.flat[-1] = value
        return values

    return {
        "rows": lambda table: replace(table, rows=changed(table.rows, 0)),
        "scores": lambda table: replace(table, scores=changed(table.scores, 3.0)),
        "others": lambda table: replace(table, others={"gloss": np.roll(table.rows, 1, 0)}),
        "language_ids": lambda table: replace(table, language_ids=changed(table.language_ids, 0)),
        "multilingual": lambda table: replace(table, multilingual=changed(table.multilingual, 9.0)),
        "english": lambda table: replace(table, english=changed(table.english, 9.0)),
    }


def test_every_field_of_a_table_is_tried() -> None:
    assert set(table_changes()) == {field.name for field in fields(Table)}


@pytest.mark.parametrize("part", ["queries", "local", "english"])
@pytest.mark.parametrize("field", table_changes())
def test_every_table_is_in_the_key(field: str, part: str, tiny_model: LiraModel, tables: list[SplitTables]) -> None:
    other = replace(tables[1], **{part: table_changes()[field](getattr(tables[1], part))})
    before = inputs(tiny_model, tables)
    assert different(before, inputs(tiny_model, tables, train=[tables[0], other])) == {"training data"}
    assert different(before, inputs(tiny_model, tables, validation=[tables[0], other])) == {"validation data"}


@pytest.mark.parametrize(
    "change",
    [
        {"gains": [{1: 1, 0: 3}, *make_split("th", 1).gains[1:]]},  # the order in which positives are drawn
        {"hard_negatives": [[3, 5], *make_split("th", 1).hard_negatives[1:]]},
        {"pairs": []},
    ],
)
def test_judgements_negatives_and_pairs_are_in_the_key(
    change: dict[str, object], tiny_model: LiraModel, tables: list[SplitTables]
) -> None:
    other = replace(tables[1], split=replace(tables[1].split, **change))
    assert different(inputs(tiny_model, tables), inputs(tiny_model, tables, train=[tables[0], other])) == {
        "training data"
    }


def test_options_and_seed_are_in_the_key(tiny_model: LiraModel, tables: list[SplitTables]) -> None:
    before = inputs(tiny_model, tables)
    for options in (
        LasrOptions(epochs=5),
        LasrOptions(weights=LasrWeights(hinge=0.1)),
        LasrOptions(learning_rates={"lasr": 0.1}),
    ):
        assert different(before, inputs(tiny_model, tables, options=options)) == {"options"}
    assert different(before, inputs(tiny_model, tables, seed=1)) == {"seed"}


def test_weights_modules_hooks_and_settings_are_in_the_key(
    build_model: Callable[..., LiraModel], tables: list[SplitTables]
) -> None:
    torch.manual_seed(0)
    model: Any = build_model()  # whose modules are replaced by what is none
    before = inputs(model, tables)
    model.encode_query(["áo"], ["vi"], [["shirt"]])
    assert not different(before, inputs(model, tables))  # use changes nothing
    words = model.multilingual_encoder.embeddings.word_embeddings.weight.data
    kept = float(words[-1, -1])
    words[-1, -1] += 1  # far from the first numbers
    assert different(before, inputs(model, tables)) == {"weights"}
    words[-1, -1] = kept
    usual = model.arca.embedding_critic
    model.arca.embedding_critic = SilentCritic()  # which has no parameters
    assert different(before, inputs(model, tables)) == {"modules"}
    model.arca.embedding_critic = usual
    handle = model.arca.register_forward_hook(lambda *_: None)
    assert different(before, inputs(model, tables)) == {"modules"}
    handle.remove()
    model.lasr.gate.hidden.forward = lambda states: states
    assert different(before, inputs(model, tables)) == {"modules"}
    del model.lasr.gate.hidden.forward
    model.lasr.embedding_size = 7
    assert different(before, inputs(model, tables)) == {"modules"}


def test_a_module_of_the_same_name_with_another_source_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(body: str) -> list[list[object]]:
        path = tmp_path / f"{body[-1]}" / "made_critic.py"
        path.parent.mkdir()
        path.write_text(
            f"from torch import nn\n\nclass Critic(nn.Module):\n    def forward(self, x):\n        {body}\n"
        )
        spec = spec_from_file_location("made_critic", path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "made_critic", module)
        spec.loader.exec_module(module)
        return modules_of(module.Critic())

    assert made("return x") != made("return x * 2")


def test_code_is_in_the_key_and_comments_are_not(tmp_path: Path) -> None:
    def version(source: str) -> str:
        code_version.cache_clear()
        (tmp_path / "losses.py").write_text(source)
        return code_version(tmp_path, ("*.py",))

    plain = version("def loss(x):\n    return x + 1\n")
    assert version('"""Losses."""\n\n\ndef loss(x):\n    """Add."""\n    return x + 1  # one\n') == plain
    assert version("def loss(x):\n    return x - 1\n") != plain
    code_version.cache_clear()
    assert all(list(digests.PACKAGE.glob(pattern)) for pattern in digests.CODE)


def test_what_could_decide_a_result_unseen_is_an_error() -> None:
    with pytest.raises(TypeError):
        digest_of(object())
    assert digest_of([1, "1"]) != digest_of(["1", 1])
    assert digest_of([np.zeros(2), np.zeros(1)]) != digest_of([np.zeros(1), np.zeros(2)])
    assert digest_of(torch.zeros(2, dtype=torch.bfloat16)) != digest_of(torch.zeros(2, dtype=torch.float16))


# ------------------------------------------------------------------ the ablations


@pytest.fixture(scope="module")
def stages(
    build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, dict[str, str]]]:
    """The inputs of both stages of every system that trains LiRA, by system and stage; nothing is trained."""
    seen: dict[str, dict[str, dict[str, str]]] = {}
    patch = pytest.MonkeyPatch()
    for name, system in SYSTEMS.items():
        if not isinstance(getattr(system.build, "__self__", None), Variant):
            continue
        seen[name] = {}

        def record(stage: str, model: LiraModel, train: list, validation: list, folder: Path, seed: int, options):
            seen[name][stage] = stage_inputs(model, train, validation, options, seed)  # noqa: B023
            return [{"seconds": 0.0}]

        patch.setattr(systems_module, "run_stage", record)
        plan = TrainingPlan(build_model, tables, tables, ArcaOptions(), LasrOptions(), tmp_path_factory.mktemp("none"))
        system.build(plan, 0)
    patch.undo()
    return seen


DATA = {"training data", "validation data"}
ABLATIONS: dict[str, tuple[set[str] | None, set[str]]] = {
    "no translation critic": (DATA, DATA),
    "no embedding critic": ({"modules"}, {"modules"}),
    "no actor (greedy candidate)": (DATA, DATA),
    "no translation": (None, DATA),
    "no multilingual path": ({"modules"}, {"modules", "options"}),
    "projections learn in stage 1": ({"options"}, set()),
    "projections learn in stage 1, no geometry": ({"options"}, set()),
    "no retrieval reward": (set(), {"options"}),
    "candidates of one quality": (set(), {"options"}),
    "no gate": (set(), {"options"}),
    "with consistency": (set(), {"options"}),
    "with hinge": (set(), {"options"}),
    "with DocQueue": (set(), {"options"}),
    "no decay, no average": (set(), {"options"}),
    "no stage 1": (None, set()),
}
"""What each ablation changes of LiRA's stage 1 and stage 2; None where stage 1 is not run."""


def test_every_ablation_is_tied_to_what_it_changes(stages: dict[str, dict[str, dict[str, str]]]) -> None:
    assert set(stages) == {LIRA, *ABLATIONS}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_what_it_says_and_nothing_else(
    name: str, stages: dict[str, dict[str, dict[str, str]]]
) -> None:
    first, second = ABLATIONS[name]
    whole, changed = stages[LIRA], stages[name]
    assert ("arca" in changed) == (first is not None)
    if first is not None:
        assert different(whole["arca"], changed["arca"]) == first
    assert different(whole["lasr"], changed["lasr"]) == second


def test_no_two_systems_share_their_stages(stages: dict[str, dict[str, dict[str, str]]]) -> None:
    """Stage 2 after a stage 1 of another key starts from that stage's weights, which its own key holds."""
    keys = {name: json.dumps(inputs, sort_keys=True) for name, inputs in stages.items()}
    assert len(set(keys.values())) == len(keys)


def test_systems_without_stages_are_kept_apart_by_their_names() -> None:
    """The others train a head anew or nothing at all: no two of them are the same on the same encoder."""
    others = [system for system in SYSTEMS.values() if not isinstance(getattr(system.build, "__self__", None), Variant)]
    made = {(repr(getattr(system.build, "args", system.build)), system.encoder) for system in others}
    assert len(made) == len(others) == 14


# ------------------------------------------------------------------ finished work


OPTIONS = LasrOptions(epochs=3, batch_size=4, patience=3)


def start(build_model: Callable[..., LiraModel]) -> LiraModel:
    torch.manual_seed(0)
    return build_model()


@pytest.fixture(scope="module")
def whole(
    build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """The weights after an uninterrupted stage 2."""
    model = start(build_model)
    run_stage("lasr", model, tables, tables, tmp_path_factory.mktemp("whole"), options=OPTIONS)
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_ends_as(
    whole: dict[str, torch.Tensor], build_model: Callable[..., LiraModel], tables: list[SplitTables], folder: Path
) -> list[dict[str, float]]:
    model = start(build_model)
    log = run_stage("lasr", model, tables, tables, folder, options=OPTIONS)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, whole[name], msg=name)
    (stage,) = folder.glob("lasr-*")
    assert {path.name for path in stage.iterdir()} - {".lock"} == {"best", "log.json"}
    assert {path.name for path in (stage / "best").iterdir()} == {"model.safetensors", "complete.json"}
    return log


class Killed(BaseException):
    """Ends a run as a kill would: nothing of the library catches it."""


def interrupted(
    build_model: Callable[..., LiraModel], tables: list[SplitTables], folder: Path, saves: int
) -> list[Path]:
    """Train until the checkpoint of the given number is complete, then be killed; return the checkpoints."""
    real, count = checkpoints_module.remove_checkpoints, []

    def kill(where: Path, kept: set[str]) -> None:
        count.extend([1] * bool(kept))  # nothing is kept by the sweep before a run
        if len(count) == saves:
            raise Killed
        real(where, kept)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints_module, "remove_checkpoints", kill)
        run_stage("lasr", start(build_model), tables, tables, folder, options=OPTIONS)
    return checkpoints_in(folder)


def checkpoints_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("lasr-*/checkpoints/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


@pytest.fixture(scope="module")
def killed(
    build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that was killed after its second checkpoint; read-only."""
    folder = tmp_path_factory.mktemp("killed")
    interrupted(build_model, tables, folder, 2)
    return folder


def killed_in(folder: Path, killed: Path) -> list[Path]:
    """Copy the killed run, and return its checkpoints."""
    shutil.copytree(killed, folder, dirs_exist_ok=True)
    return checkpoints_in(folder)


FILES = ("queues.safetensors", "model.safetensors", "trainer_state.json", "optimizer.pt", "complete.json")


@pytest.mark.parametrize("damage", ["missing", "cut off", "emptied", "other bytes"])
@pytest.mark.parametrize("name", FILES)
def test_a_partial_or_damaged_checkpoint_is_passed_over(
    name: str,
    damage: str,
    whole: dict[str, torch.Tensor],
    killed: Path,
    build_model: Callable[..., LiraModel],
    tables: list[SplitTables],
    tmp_path: Path,
) -> None:
    before, last = killed_in(tmp_path, killed)
    data = (last / name).read_bytes()
    if damage == "missing":
        (last / name).unlink()
    else:
        middle = len(data) // 2
        (last / name).write_bytes(
            {
                "cut off": data[:middle],
                "emptied": b"",
                "other bytes": data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :],
            }[damage]
        )
    (last / ".model.abc.safetensors").write_bytes(b"half")
    assert before.is_dir()
    assert_ends_as(whole, build_model, tables, tmp_path)


def test_without_any_whole_checkpoint_the_stage_begins_anew(
    whole: dict[str, torch.Tensor],
    killed: Path,
    build_model: Callable[..., LiraModel],
    tables: list[SplitTables],
    tmp_path: Path,
) -> None:
    for checkpoint in killed_in(tmp_path, killed):
        (checkpoint / "trainer_state.json").write_text("{")
    assert_ends_as(whole, build_model, tables, tmp_path)


def test_a_checkpoint_whose_best_epoch_is_damaged_is_passed_over(
    whole: dict[str, torch.Tensor],
    killed: Path,
    build_model: Callable[..., LiraModel],
    tables: list[SplitTables],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, last = killed_in(tmp_path, killed)
    state = json.loads((last / "trainer_state.json").read_text())
    best = first if state["best_global_step"] == int(first.name.split("-")[1]) else last
    (best / "model.safetensors").write_bytes(b"")
    assert_ends_as(whole, build_model, tables, tmp_path)


def test_a_run_goes_on_after_its_folder_was_moved(
    whole: dict[str, torch.Tensor], build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path: Path
) -> None:
    interrupted(build_model, tables, tmp_path / "here", 3)
    (tmp_path / "here").rename(tmp_path / "there")
    assert_ends_as(whole, build_model, tables, tmp_path / "there")


def test_what_earlier_runs_spent_is_counted(
    whole: dict[str, torch.Tensor],
    killed: Path,
    build_model: Callable[..., LiraModel],
    tables: list[SplitTables],
    tmp_path: Path,
) -> None:
    last = killed_in(tmp_path, killed)[-1]
    sealed = json.loads((last / "complete.json").read_text())
    sealed["facts"]["seconds"] += 1000
    (last / "complete.json").write_text(json.dumps(sealed))
    log = assert_ends_as(whole, build_model, tables, tmp_path)
    assert 1000 < log[-1]["seconds"] < 1300


@pytest.mark.parametrize("name", ["model.safetensors", "complete.json"])
def test_a_damaged_finished_stage_is_trained_again(
    name: str,
    whole: dict[str, torch.Tensor],
    build_model: Callable[..., LiraModel],
    tables: list[SplitTables],
    tmp_path: Path,
) -> None:
    assert_ends_as(whole, build_model, tables, tmp_path)
    (path,) = tmp_path.glob(f"lasr-*/best/{name}")
    path.write_bytes(path.read_bytes()[:-3])
    assert_ends_as(whole, build_model, tables, tmp_path)


def test_leftovers_of_a_finished_stage_are_swept(
    whole: dict[str, torch.Tensor], build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path: Path
) -> None:
    assert_ends_as(whole, build_model, tables, tmp_path)
    (stage,) = tmp_path.glob("lasr-*")
    (stage / "checkpoints" / "checkpoint-4").mkdir(parents=True)  # killed before they were removed
    (stage / ".log.x.json").write_text("[")
    assert_ends_as(whole, build_model, tables, tmp_path)


def test_two_processes_never_train_one_stage(
    build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(build_model, tables, tmp_path, 1)
    (stage,) = tmp_path.glob("lasr-*")
    with locked(stage), pytest.raises(LiraError, match="another process is training in"):
        run_stage("lasr", start(build_model), tables, tables, tmp_path, options=OPTIONS)
    run_stage("lasr", start(build_model), tables, tables, tmp_path, options=OPTIONS)
    monkeypatch.setattr(resumable, "TRAIN", {})
    with locked(stage):  # what is finished can be read meanwhile
        run_stage("lasr", start(build_model), tables, tables, tmp_path, options=OPTIONS)


# ------------------------------------------------------------------ the folder of a run


def test_a_folder_is_of_the_run_that_claimed_it(tmp_path: Path) -> None:
    identity = {"seed": 0, "lasr": {"epochs": 3}, "languages": ("vi",)}
    with run_folder(tmp_path, identity) as claim:
        claim()
    with run_folder(tmp_path, identity):
        pass
    with pytest.raises(LiraError) as caught, run_folder(tmp_path, {**identity, "seed": 1, "lasr": {"epochs": 4}}):
        pass
    assert "differs in seed (0 there, 1 here); lasr.epochs (3 there, 4 here)" in str(caught.value)


def test_a_run_that_ended_before_its_model_holds_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_folder(tmp_path, {"seed": 0}):
        raise KeyboardInterrupt
    with run_folder(tmp_path, {"seed": 1}):
        pass


@pytest.mark.parametrize("name", ["model", "training.json"])
def test_a_model_that_nobody_claimed_is_not_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(LiraError, match=r"not the run\.json"), run_folder(tmp_path, {"seed": 0}):
        pass


def test_the_second_process_in_a_folder_is_refused_and_leaves_the_first_ones_files(tmp_path: Path) -> None:
    with run_folder(tmp_path, {"seed": 0}):
        live = tmp_path / ".training.abc.json"
        live.write_text("{")
        with pytest.raises(LiraError, match="another process"), run_folder(tmp_path, {"seed": 0}):
            pass
        assert live.is_file()
    (tmp_path / "model" / ".saving-x").mkdir(parents=True)
    (tmp_path / "run.json").write_text('{"seed": 0}')
    (tmp_path / "evaluation.json").write_text("{}")
    with run_folder(tmp_path, {"seed": 0}):
        assert {path.name for path in tmp_path.rglob("*")} == {"model", "run.json", ".lock", "evaluation.json"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LiraError, match="cannot write to"), run_folder(tmp_path / "file", {"seed": 0}):
        pass
