"""Models to a Hub and back over real HTTP: what arrives, who can load it, and what comes of faults."""

import hashlib
import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.utils.hub
from conftest import MULTILINGUAL_TEXTS, disturb
from fresh import Forks
from helpers import modules_beyond
from huggingface_hub import ModelCard, constants
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_language_models import opened, save_language_model
from torch.testing import assert_close
from transformers import TrainingArguments

from hub.conftest import ROOT, Client
from hub.faults import corrupted, dropped, refused, truncated
from hub.server import READER, WRITER, Hub
from modeling_lira import LiraError, LiraForCausalLM, LiraModel
from modeling_lira.cli import main
from modeling_lira.records.model_card import weights_digest
from modeling_lira.training.options import ArcaWeights
from modeling_lira.training.stages import ArcaStage
from modeling_lira.training.trainer import LiraTrainer

LANGUAGES = ["vi", "vi", "th", "th", "id", "id", "ms", "ms", "ur", "ur", "bn", "bn", "fil", "fil"]
TEXTS = list(MULTILINGUAL_TEXTS[: len(LANGUAGES)])
CANDIDATES = [["white shirt", "a shirt"][: row % 3] for row in range(len(TEXTS))]
REPO = "me/search"
RUN_FILES = {"config.json", "model.safetensors", "processor_config.json", "modules.json", "st_lira.py", "README.md"}


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    """A model that names its backbones by Hub ids, the second with a revision."""
    built = disturb(build_model(anchor_texts=TEXTS, query_prefix="query: ", document_prefix="passage: "))
    built.config.multilingual_backbone, built.config.english_backbone = "me/xlm-roberta", "me/bert"
    built.config.english_revision = "v1"
    return built


@pytest.fixture(scope="module")
def folders(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both layouts, the self-contained one in several shards, as runs with records."""
    root = tmp_path_factory.mktemp("runs")
    model.save_pretrained(root / "whole", save_backbones=True, max_shard_size="100KB")
    model.save_pretrained(root / "adapter", save_backbones=False)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def filled(hub: Hub, backbones: dict[str, Path]) -> Hub:
    """The Hub with both backbones; the main branch of the second is not the one that is pinned."""
    for name in ("xlm-roberta", "bert"):
        readme = hub.store.small_file(b"---\nlicense: mit\n---\n")
        files = {path.name: hub.store.small_file(path.read_bytes()) for path in backbones[name].iterdir()}
        weights = hashlib.sha256((backbones[name] / "model.safetensors").read_bytes()).hexdigest()
        files["model.safetensors"] = hub.store.large_file(weights)
        repo = hub.store.create("models", f"me/{name}", private=False)
        if name == "bert":
            repo.tags["v1"] = repo.commit("pinned", {**files, "README.md": readme}).oid
            del files["model.safetensors"]
        repo.commit("newest", {**files, "README.md": readme})
    return hub


@pytest.fixture
def as_writer(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Make this process a client of the Hub, with a token that may write and an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # it remembers endpoint and revisions
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", WRITER)
    yield monkeypatch


@pytest.fixture
def push(as_writer: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `lira push` here; return its one line of complaint, or nothing."""

    def run(*arguments: object, token: str = WRITER) -> str:
        as_writer.setenv("HF_TOKEN", token)
        with pytest.raises(SystemExit) as stop:
            main(["push", *map(str, arguments)])
        messages = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lira: ")]
        assert (stop.value.code, len(messages)) in ((0, 0), (2, 1)), messages
        return messages[0].removeprefix("lira: ") if messages else ""

    return run


# ---------------------------------------------------------------- loading elsewhere


def blocked_modules() -> list[str]:
    """Everything that is installed here and that no core dependency brings, and the project itself."""
    return [*modules_beyond(), "modeling_lira", "dataset_builder", "eval", "tests"]


def test_the_blocked_modules_are_what_the_extras_bring() -> None:
    blocked = set(blocked_modules())
    assert {"datasets", "peft", "accelerate", "sentence_transformers", "pyarrow", "sklearn", "pytest"} <= blocked
    assert not {"torch", "transformers", "huggingface_hub", "safetensors", "tokenizers", "numpy", "tqdm"} & blocked


def load_elsewhere(hub: Hub, root: Path, sources: dict[str, tuple[str, dict]], name: str, **environment: str):
    """Embed in a process of its own; return its tensors and its report."""
    output = root / f"{name}.safetensors"
    order = {
        "blocked": blocked_modules(),
        "sources": sources,
        "texts": TEXTS,
        "languages": LANGUAGES,
        "candidates": CANDIDATES,
        "output": str(output),
    }
    (root / "elsewhere").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-I", Path(__file__).with_name("loading_client.py"), json.dumps(order)],
        cwd=root / "elsewhere",
        env={"PATH": "", "OMP_NUM_THREADS": "1", **hub.environment("", root / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return load_file(output), json.loads(output.with_suffix(".json").read_text())


def test_a_stranger_loads_both_layouts_by_id_and_again_without_any_network(
    filled: Hub, folders: dict[str, Path], push: Callable[..., str], model: LiraModel, tmp_path: Path
) -> None:
    """An empty cache, no source tree, core dependencies only; then the server is gone."""
    assert push(folders["adapter"], "--to", "me/adapter") == ""
    assert push(folders["whole"], "--to", "me/whole") == ""
    pinned = filled.store.repo("models", "me/whole").at("main").oid
    sources: dict[str, tuple[str, dict]] = {
        "adapter": ("me/adapter", {}),
        "whole": ("me/whole", {"revision": pinned, "code_revision": pinned}),
    }
    expected = model.encode_query(TEXTS, LANGUAGES, CANDIDATES), model.encode_document(TEXTS, LANGUAGES)
    online = load_elsewhere(filled, tmp_path, sources, "online")
    filled.__exit__(None, None, None)
    before = len(filled.seen)
    offline = load_elsewhere(filled, tmp_path, sources, "offline", HF_HUB_OFFLINE="1")
    assert len(filled.seen) == before
    tokens = [
        tokenizer("white shirt")["input_ids"]
        for tokenizer in (model.processor.tokenizer, model.processor.tokenizer, model.processor.english_tokenizer)
    ]
    assert tokens[0] != tokens[2]
    for tensors, report in (online, offline):
        for name in sources:
            assert_close(tensors[name], expected[0], atol=1e-6, rtol=0)
            assert_close(tensors[f"{name} documents"], expected[1], atol=1e-6, rtol=0)
            assert all(module.startswith("transformers_modules.") for module in report[name]["modules"])
            assert report[name]["tokenizers"] == tokens  # offline, the second is easily taken for the first
            assert report[name]["loaded"] == []


def test_a_full_disk_while_loading_is_an_error_and_loading_again_completes(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], forks: Forks, tmp_path: Path
) -> None:
    assert push(folders["whole"], "--to", REPO) == ""
    script = (
        "import sys, resource; from transformers import AutoModel\n"
        "if sys.argv[1] != '0': resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\n"
        f"print(AutoModel.from_pretrained({REPO!r}, trust_remote_code=True).encode_query('áo').shape)"
    )
    known = {"PATH": "", **filled.environment("", tmp_path / "home")}
    results = [forks.run(script, limit, cwd=tmp_path, environment=known) for limit in ("90000", "0")]
    assert results[0].returncode == 1 and "File too large" in results[0].stderr.splitlines()[-1]
    assert results[1].returncode == 0 and results[1].stdout == "torch.Size([1, 96])\n", results[1].stderr


# ---------------------------------------------------------------- loading here


def test_a_download_cut_short_is_fetched_anew(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], model: LiraModel
) -> None:
    assert push(folders["adapter"], "--to", REPO) == ""
    plan = filled.inject(truncated(1_000), "GET", "/resolve/.*/model.safetensors", times=2)
    loaded = LiraModel.from_pretrained(REPO)
    assert plan.hits == 2
    assert_close(loaded.encode_query(TEXTS), model.encode_query(TEXTS))


@pytest.mark.parametrize(
    ("layout", "repo"), [("adapter", "me/search"), ("adapter", "me/xlm-roberta"), ("whole", "me/search")]
)
def test_weights_that_arrive_with_another_checksum_are_refused(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], layout: str, repo: str
) -> None:
    """The Hub client itself compares sizes only."""
    assert push(folders[layout], "--to", REPO) == ""
    plan = filled.inject(corrupted(), "GET", rf"/{repo}/resolve/.*\.safetensors$")
    with pytest.raises(LiraError, match=r"model.*\.safetensors was damaged on its way from the Hub .* delete (.*) and"):
        LiraModel.from_pretrained(REPO)
    assert plan.hits == 1
    with pytest.raises(LiraError, match=r"was damaged"):  # the cache has it now, and says so again
        LiraModel.from_pretrained(REPO)
    for blob in Path(constants.HF_HUB_CACHE).rglob("blobs/*"):
        blob.unlink()
    LiraModel.from_pretrained(REPO, force_download=True)


# ---------------------------------------------------------------- pushing


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_what_is_pushed(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    """The model and its card, not what happens to lie beside it, and no path of this machine."""
    extra = ["notes.txt~", ".env", "optimizer.pt", "training_args.bin", "checkpoint-3/model.safetensors", ".git/config"]
    for name in extra:
        (folders[layout] / name).parent.mkdir(exist_ok=True)
        (folders[layout] / name).write_text("mine")
    assert push(folders[layout], "--to", REPO, "--private", "--license", "apache-2.0") == ""
    files = filled.files("models", REPO)
    assert filled.store.repo("models", REPO).private
    names = {path.relative_to(folders[layout]).as_posix() for path in folders[layout].rglob("*") if path.is_file()}
    assert files.keys() == (names - set(extra)) | {"README.md"}
    assert (RUN_FILES if layout == "adapter" else RUN_FILES - {"model.safetensors"}) <= files.keys()
    weights = {name for name in files if name.endswith(".safetensors")}
    assert (len(weights) > 3) == (layout == "whole")
    text = b"".join(data for name, data in files.items() if name not in weights)
    assert str(tmp_path.parent.parent).encode() not in text
    data: Any = ModelCard(files["README.md"].decode()).data
    assert (data.license, data.base_model) == ("apache-2.0", ["me/xlm-roberta", "me/bert"])
    assert "me/xlm-roberta: mit; me/bert: mit" in files["README.md"].decode()


def test_pushing_another_layout_removes_the_weights_of_the_first(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path]
) -> None:
    repo = filled.store.create("models", REPO, private=False)
    repo.commit("theirs", {"README.md": filled.store.small_file(b"mine"), "LICENSE": filled.store.small_file(b"mine")})
    for layout in ("whole", "adapter", "adapter"):
        assert push(folders[layout], "--to", REPO, "--message", layout) == ""
    files = filled.files("models", REPO)
    assert [name for name in files if name.startswith("model") and "safetensors" in name] == ["model.safetensors"]
    assert files["LICENSE"] == b"mine"
    titles = [commit.title for commit in repo.commits.values()]
    assert titles == ["initial commit", "theirs", "whole", "adapter"]  # the same again is no commit


def test_branches_and_pull_requests_leave_main_alone(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert push(folders["adapter"], "--to", REPO) == ""
    repo = filled.store.repo("models", REPO)
    main_before = repo.at("main").oid
    assert push(folders["whole"], "--to", REPO, "--revision", "self-contained") == ""
    with caplog.at_level("INFO"):
        assert push(folders["whole"], "--to", REPO, "--create-pr") == ""
    assert caplog.messages[-1] == f"pushed: {filled.endpoint}/{REPO}/discussions/1"
    assert repo.at("main").oid == main_before
    assert repo.at("self-contained").tree == repo.at("refs/pr/1").tree != repo.at("main").tree
    assert "pull request goes to main" in push(folders["whole"], "--to", REPO, "--create-pr", "--revision", "x")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "no token for {endpoint}: run `hf auth login` or set HF_TOKEN"),
        ("hf_nobodys", "{endpoint} refused to push to {repo}: 401 Invalid credentials in Authorization header"),
        (READER, "{endpoint} refused to push to {repo}: 403 Forbidden: you must use a write token"),
    ],
)
def test_a_token_that_may_not_write_is_one_line(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], caplog: pytest.LogCaptureFixture, token, message
) -> None:
    with caplog.at_level("DEBUG"):
        line = push(folders["adapter"], "--to", REPO, token=token)
    assert line.startswith(message.format(endpoint=filled.endpoint, repo=REPO))
    assert not token or token not in line + caplog.text
    assert ("models", REPO) not in filled.store.repos


@pytest.mark.parametrize(
    ("content", "named"),
    [({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"}, "bert"), ({"data.csv": b"1"}, "data.csv")],
)
def test_a_repository_with_other_content_stays_as_it_is(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], content: dict[str, bytes], named: str
) -> None:
    repo = filled.store.create("models", REPO, private=False)
    repo.commit("theirs", {name: filled.store.small_file(data) for name, data in content.items()})
    assert push(folders["adapter"], "--to", REPO).startswith(f"{REPO} holds something else already ({named})")
    assert filled.files("models", REPO) == content
    assert push(folders["adapter"], "--to", REPO, "--create-pr") == ""
    assert filled.files("models", REPO) == content


def test_a_busy_server_and_lost_connections_are_survived(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path]
) -> None:
    plans = [
        filled.inject(refused(429, retry_after=0), "POST", "/repos/create", times=2),
        filled.inject(refused(500), "POST", "/commit/", times=2),
        filled.inject(dropped(), "PUT", "/lfs/"),
        filled.inject(refused(503), "PUT", "/lfs/", times=2),
        filled.inject(dropped(done=True), "POST", r"\.git/info/lfs"),
    ]
    assert push(folders["whole"], "--to", REPO) == ""
    assert [plan.hits for plan in plans] == [2, 2, 1, 2, 1]
    assert {path.name for path in folders["whole"].glob("model*")} <= filled.files("models", REPO).keys()


def test_an_answer_that_is_lost_opens_no_second_pull_request(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path]
) -> None:
    filled.inject(dropped(done=True), "POST", "/commit/")
    assert f"cannot reach {filled.endpoint}" in push(folders["adapter"], "--to", REPO, "--create-pr")
    assert set(filled.store.repo("models", REPO).branches) == {"main", "refs/pr/1"}


def test_an_upload_that_arrives_damaged_changes_nothing(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path]
) -> None:
    assert push(folders["adapter"], "--to", REPO) == ""
    before = filled.files("models", REPO)
    filled.inject(corrupted(), "PUT", "/lfs/", times=1_000)
    assert "the SHA-256 of what arrived is not the announced one" in push(folders["whole"], "--to", REPO)
    assert filled.files("models", REPO) == before


def test_ctrl_c_between_files_and_again_sends_only_the_rest(
    filled: Hub, client: Client, folders: dict[str, Path], tmp_path: Path
) -> None:
    shards = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folders["whole"].glob("*.safetensors")}
    stuck = sorted(shards)[0]
    plan = filled.inject(dropped(), "PUT", f"/lfs/{stuck}", times=1_000)
    command = ["-c", "from modeling_lira.cli import main; main()", "push", str(folders["whole"]), "--to", REPO]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": "", "OMP_NUM_THREADS": "1", **filled.environment(WRITER, tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores Ctrl-C
    )
    try:
        deadline = time.monotonic() + 120
        while not (plan.hits and shards - {stuck} <= filled.store.blobs.keys()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "lira: interrupted; run the same command again to go on"
    assert filled.files("models", REPO) == {}
    plan.times = 0
    before = len(filled.seen)
    done = client(*command)
    assert done.returncode == 0, done.stderr
    assert [seen.path for seen in filled.seen[before:] if seen.method == "PUT"] == [f"/lfs/{stuck}"]
    assert {path.name for path in folders["whole"].glob("model*")} <= filled.files("models", REPO).keys()


def test_a_model_pushes_itself(filled: Hub, as_writer: pytest.MonkeyPatch, model: LiraModel) -> None:
    made = model.push_to_hub(REPO, save_backbones=False, private=True, tags=["shop"], commit_message="mine")
    assert made.commit_url.startswith(f"{filled.endpoint}/{REPO}/commit/")
    files = filled.files("models", REPO)
    assert files.keys() >= RUN_FILES
    assert "shop" in ModelCard(files["README.md"].decode()).data.to_dict()["tags"]
    assert_close(LiraModel.from_pretrained(REPO).encode_query(TEXTS), model.encode_query(TEXTS))


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_a_reasoning_model_goes_there_and_comes_back(
    filled: Hub, push: Callable[..., str], model: LiraModel, tmp_path: Path, layout: str
) -> None:
    folder = save_language_model("llama", tmp_path / "llm")
    files = {path.name: filled.store.small_file(path.read_bytes()) for path in folder.iterdir()}
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    repo = filled.store.create("models", "me/llm", private=False)
    repo.commit("first", {**files, "model.safetensors": filled.store.large_file(weights)})
    local = opened(LiraForCausalLM.from_lira(model, folder, projector_size=8))
    local.config.text_model = "me/llm"
    local.save_pretrained(tmp_path / "run" / "model", save_backbones=layout == "whole")
    assert push(tmp_path / "run", "--to", "me/answers") == ""
    there = filled.files("models", "me/answers")
    tokenizers = {"multilingual_tokenizer/config.json", "english_tokenizer/config.json"}
    assert there.keys() >= {"modeling_lira_causal_lm.py"} | tokenizers
    card = ModelCard(there["README.md"].decode())
    assert card.data.to_dict()["base_model"] == ["me/xlm-roberta", "me/bert", "me/llm"]
    assert str(tmp_path) not in there["config.json"].decode()
    loaded = LiraForCausalLM.from_pretrained("me/answers")
    asked = loaded.processor(TEXTS[:2], languages="vi")
    settings = {"max_new_tokens": 5, "do_sample": False}
    assert torch.equal(loaded.generate(**asked, **settings), local.generate(**asked, **settings))
    assert local.push_to_hub("me/again", save_backbones=layout == "whole").commit_url
    assert filled.files("models", "me/again").keys() == there.keys()


def test_a_trainer_pushes_the_model_and_not_the_stage(
    filled: Hub, as_writer: pytest.MonkeyPatch, model: LiraModel, tmp_path: Path
) -> None:
    arguments = {"output_dir": str(tmp_path), "report_to": [], "use_cpu": True, "hub_private_repo": True}
    stage = ArcaStage(model, {"arca": 1e-4}, ArcaWeights())
    trainer = LiraTrainer(stage, TrainingArguments(**arguments, hub_model_id=REPO), lambda _: {"score": 0.0})
    made = trainer.push_to_hub("trained", save_backbones=False, training=None)
    assert made is not None and made.commit_message == "trained"
    assert filled.store.repo("models", REPO).private
    assert filled.files("models", REPO).keys() >= RUN_FILES
    assert_close(LiraModel.from_pretrained(REPO).encode_query(TEXTS), model.encode_query(TEXTS))
    nowhere = LiraTrainer(stage, TrainingArguments(**arguments), lambda _: {"score": 0.0})
    with pytest.raises(LiraError, match="hub_model_id"):
        nowhere.push_to_hub()


def test_lora_weights_of_a_repository_load_on_top_of_the_model_of_another(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path]
) -> None:
    assert push(folders["adapter"], "--to", REPO) == ""
    settings = LoraConfig(target_modules=r".*_encoder\..*\.(query|value)", task_type="FEATURE_EXTRACTION", r=2)
    peft: Any = get_peft_model(LiraModel.from_pretrained(REPO), settings)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=2.0)
    expected = peft.base_model.model.encode_query(TEXTS)
    peft.push_to_hub("me/lora")
    assert_close(LiraModel.from_pretrained("me/lora").encode_query(TEXTS), expected, atol=1e-5, rtol=0)
    plain = LiraModel.from_pretrained(REPO).encode_query(TEXTS)
    assert not torch.allclose(plain, expected, atol=1e-3)


# ---------------------------------------------------------------- a folder ready to push


def test_a_ready_folder_is_what_would_be_pushed(
    filled: Hub, push: Callable[..., str], folders: dict[str, Path], tmp_path: Path
) -> None:
    ready = tmp_path / "search"
    assert push(folders["whole"], "--output", ready) == ""
    assert push(folders["adapter"], "--output", ready) == ""
    assert push(folders["adapter"], "--to", "search") == ""
    files = {path.relative_to(ready).as_posix(): path.read_bytes() for path in ready.rglob("*") if path.is_file()}
    pushed = filled.files("models", REPO)
    del files["README.md"], pushed["README.md"]  # the one knows the Hub's licences and the whole name
    assert files == pushed
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert "holds something else" in push(folders["adapter"], "--output", other)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_a_full_disk_leaves_the_ready_folder_as_it_was(
    push: Callable[..., str], folders: dict[str, Path], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    assert push(folders["adapter"], "--output", ready) == ""
    before = {path: path.read_bytes() for path in ready.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        line = push(folders["adapter"], "--output", ready)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in line
    assert {path: path.read_bytes() for path in ready.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "say where to"),
        (["RUN", "--to", REPO, "--output", "x"], "say where to"),
        (["RUN", "--to", REPO, "--space", REPO], "say where to"),
        (["nowhere", "--to", REPO], "model 'nowhere': there is no such folder"),
        (["RUN", "--to", "a/b/c"], "cannot push to a/b/c: Repo id must"),
        (["RUN", "--to", REPO, "--evaluation", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_what_cannot_be_pushed_is_one_line(
    push: Callable[..., str], folders: dict[str, Path], arguments: list[str], message: str
) -> None:
    assert push(*(folders["adapter"] if word == "RUN" else word for word in arguments)).startswith(message)


def test_an_adapter_on_folders_is_not_pushed(
    push: Callable[..., str], build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    built = build_model(anchor_texts=TEXTS)
    built.save_pretrained(tmp_path / "adapter", save_backbones=False)
    line = push(tmp_path / "adapter", "--to", REPO)
    assert re.match(r"the multilingual backbone is '/.*', which nobody else has: save .* save_backbones=True", line)
    built.save_pretrained(tmp_path / "whole")
    assert push(tmp_path / "whole", "--output", tmp_path / "ready") == ""
    text = "".join(path.read_text() for path in (tmp_path / "ready").glob("*.json"))
    assert str(tmp_path.parent.parent) not in text
    loaded = LiraModel.from_pretrained(tmp_path / "ready")
    assert torch.equal(loaded.encode_query(TEXTS), built.encode_query(TEXTS))


# ---------------------------------------------------------------- a Space


def test_a_space_has_all_that_it_needs(
    push: Callable[..., str], hub: Hub, build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    built = build_model(languages=["th", "ur", "en"])
    built.save_pretrained(tmp_path / "run" / "model", save_backbones=True)
    assert push(tmp_path / "run", "--space", REPO, "--private") == ""
    assert hub.store.repo("spaces", REPO).private
    for name, content in hub.files("spaces", REPO).items():
        (tmp_path / "space" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / name).write_bytes(content)
    files = {path.name for path in (tmp_path / "space").iterdir()} - {".gitattributes"}
    assert files == {"README.md", "app.py", "requirements.txt", "showcase.json", "titles.safetensors", "model"}
    assert list(json.loads((tmp_path / "space" / "showcase.json").read_text(encoding="utf-8"))) == ["th", "ur"]
    vectors = load_file(tmp_path / "space" / "titles.safetensors")
    assert set(vectors) == {
        f"{language}.{titles}.{system}"
        for language in ("th", "ur")
        for titles in ("local", "english")
        for system in ("lira", "encoder")
    }
    loaded = LiraModel.from_pretrained(tmp_path / "space" / "model")
    assert torch.equal(loaded.encode_query(TEXTS[2:3], "th"), built.encode_query(TEXTS[2:3], "th"))
    assert push(tmp_path / "run", "--space", REPO, token=READER).startswith(f"{hub.endpoint} refused to push")
    assert push(tmp_path / "run", "--space", REPO) == ""  # again, onto itself


def test_another_space_is_not_overwritten(push: Callable[..., str], hub: Hub, folders: dict[str, Path]) -> None:
    repo = hub.store.create("spaces", REPO, private=False)
    repo.commit("theirs", {"app.py": hub.store.small_file(b"print()")})
    assert push(folders["whole"], "--space", REPO).startswith(f"{REPO} holds something else already (app.py)")


# ---------------------------------------------------------------- both routes of a push


def trained_run(root: Path, model: LiraModel) -> Path:
    """A run with records beside the model's folder, as `lira train` and `lira evaluate` leave it."""
    model.save_pretrained(root / "run" / "model", save_backbones=False)
    training = {
        "command": "lira train …",
        "options": {"corpus": "me/products", "seed": 3},
        "threads": 1,
        "processes": 1,
    }
    training |= {"versions": {}, "training": {"arca": [{"epoch": 1.0, "eval_score": 0.5}, {"seconds": 1.0}]}}
    row = {"system": "LiRA", "task": "search", "language": "vi", "metric": "ndcg@10", "value": 0.51239}
    weights = weights_digest(root / "run" / "model")
    (root / "run" / "training.json").write_text(json.dumps(training))
    (root / "run" / "evaluation.json").write_text(
        json.dumps({"results": [row], "dataset": "products", "weights": weights})
    )
    return root / "run"


def test_a_model_pushes_what_the_command_pushes(
    filled: Hub, push: Callable[..., str], model: LiraModel, tmp_path: Path
) -> None:
    run = trained_run(tmp_path, model)
    assert push(run, "--to", "me/command", "--license", "mit", "--dataset", "me/products") == ""
    LiraModel.from_pretrained(run / "model").push_to_hub("me/method", licence="mit", dataset="me/products")
    command, method = filled.files("models", "me/command"), filled.files("models", "me/method")
    assert command.keys() == method.keys() >= {"training.json", "evaluation.json"}
    assert {name for name in command if command[name] != method[name]} == {"README.md"}
    assert command["README.md"].replace(b"command", b"method") == method["README.md"].replace(b"command", b"method")
    text = method["README.md"].decode()
    assert "51.2" in text and "Seed 3" in text
    data: Any = ModelCard(text).data
    assert data.eval_results[0].metric_value == 0.51239


def test_a_model_that_was_just_built_leaves_the_hubs_backbones_out(
    filled: Hub, as_writer: pytest.MonkeyPatch, model: LiraModel
) -> None:
    model.push_to_hub(REPO)
    assert b"_encoder." not in filled.files("models", REPO)["model.safetensors"]
    assert not LiraModel.from_pretrained(REPO).config.backbones_included


def test_changed_weights_leave_the_records_behind(
    filled: Hub, as_writer: pytest.MonkeyPatch, model: LiraModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = disturb(LiraModel.from_pretrained(trained_run(tmp_path, model) / "model"))
    loaded.push_to_hub(REPO)
    assert not filled.files("models", REPO).keys() & {"training.json", "evaluation.json"}
    assert "its records are left out" in caplog.text


PUSHING = """
import json, sys
order = json.loads(sys.argv[1])

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"modeling_lira", "dataset_builder", "eval"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import torch
from transformers import AutoModel
model = AutoModel.from_pretrained(order["source"], trust_remote_code=True)
if order["change"]:
    with torch.no_grad():
        next(iter(model.lasr.parameters())).add_(1)
print(model.push_to_hub(order["to"], tags=["mine"], licence="mit").commit_url)
"""


@pytest.mark.parametrize("changed", [False, True])
def test_remote_code_pushes_the_card_that_lies_in_the_folder(
    filled: Hub, push: Callable[..., str], model: LiraModel, forks: Forks, tmp_path: Path, changed: bool
) -> None:
    assert push(trained_run(tmp_path, model), "--output", tmp_path / "ready") == ""
    card = tmp_path / "ready" / "README.md"
    card.write_text(card.read_text() + "\nA word of its author.\n")
    order = {"source": str(tmp_path / "ready"), "to": REPO, "change": changed}
    known = {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": filled.endpoint,
        "HF_TOKEN": WRITER,
        "HF_HUB_DISABLE_XET": "1",
    }
    done = forks.run(PUSHING, json.dumps(order), cwd=tmp_path, environment=known)
    assert done.returncode == 0, done.stderr[-3000:]
    files = filled.files("models", REPO)
    text = files["README.md"].decode()
    assert "A word of its author." in text and b"_encoder." not in files["model.safetensors"]
    data: Any = ModelCard(text).data
    assert "mine" in data.tags and data.license == "mit" and data.model_name == "search"
    assert bool(data.eval_results) is not changed
    assert (files.keys() >= {"training.json", "evaluation.json"}) is not changed
