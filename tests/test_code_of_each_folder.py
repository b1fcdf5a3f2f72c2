"""Two folders in one process, of one last name and with other code: each runs its own."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fresh import TORCH, Forks
from tiny_language_models import save_language_model

from modeling_lira import LiraForCausalLM, LiraModel

LIBRARIES = (*TORCH, "transformers.modeling_utils", "transformers.models.auto.modeling_auto")
MARK = '\n\ndef mark() -> str:\n    """Say whose code this is."""\n    return "{}"\n'
CHILD = '''
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"modeling_lira", "dataset_builder", "eval"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import importlib, shutil
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor

def mark_of(thing, file):
    """What the code beside a thing's own module says."""
    return importlib.import_module(type(thing).__module__.rpartition(".")[0] + "." + file).mark()

def load(kind, folder):
    if kind == "AutoProcessor":
        return AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    if kind == "SentenceTransformer":
        from sentence_transformers import SentenceTransformer
        return SentenceTransformer(folder, trust_remote_code=True)[0]
    auto = AutoModelForCausalLM if kind == "AutoModelForCausalLM" else AutoModel
    return auto.from_pretrained(folder, trust_remote_code=True)

order, marks = json.loads(sys.argv[1]), []
for folder, replacement in order["folders"]:
    if replacement:
        shutil.rmtree(folder)
        shutil.copytree(replacement, folder)
    thing = load(order["kind"], folder)
    marks.append(mark_of(thing, order["file"]))
    if order["kind"] == "SentenceTransformer":
        thing = thing.model
        marks[-1] += mark_of(thing, order["file"])
    if order["kind"].startswith("AutoModel"):
        marks[-1] += mark_of(thing.processor, order["file"])
print(json.dumps(marks))
'''


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[str]]]:
    """Load folders one after the other in a process without the package; return what their code says."""
    root = tmp_path_factory.mktemp("home")
    forks = Forks(LIBRARIES, HF_HOME=str(root), HF_HUB_OFFLINE="1")

    def run(kind: str, file: str, folders: list[tuple[Path, Path | None]]) -> list[str]:
        order = {"kind": kind, "file": file, "folders": [[str(a), b and str(b)] for a, b in folders]}
        done = forks.run(CHILD, json.dumps(order), cwd=root)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    yield run
    forks.stop()


def marked(source: Path, folder: Path, file: str, says: str) -> Path:
    """Copy a model; one of its files says another word."""
    shutil.copytree(source, folder)
    path = folder / f"{file}.py"
    path.write_text(path.read_text() + MARK.format(says))
    return folder


@pytest.fixture(scope="module")
def saved(tiny_model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    tiny_model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reasoner(tiny_model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasoner") / "model"
    language_model = save_language_model("llama", tmp_path_factory.mktemp("llama"))
    LiraForCausalLM.from_lira(tiny_model, language_model, projector_size=16).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("file", ["modeling_lira", "lasr", "arca", "processing_lira", "pretrained_lira"])
def test_each_folder_runs_its_own_code(saved, tmp_path, marks, file):
    folders = [(marked(saved, tmp_path / run / "model", file, run), None) for run in ("A", "B")]
    assert marks("AutoModel", file, folders) == ["AA", "BB"]


def test_each_folder_has_its_own_processor(saved, tmp_path, marks):
    folders = [(marked(saved, tmp_path / run / "model", "processing_lira", run), None) for run in ("A", "B")]
    assert marks("AutoProcessor", "processing_lira", folders) == ["A", "B"]


@pytest.mark.parametrize("file", ["st_lira", "lasr"])
def test_each_folder_has_its_own_module_of_sentence_transformers(saved, tmp_path, marks, file):
    pytest.importorskip("sentence_transformers")
    folders = [(marked(saved, tmp_path / run / "model", file, run), None) for run in ("A", "B")]
    assert marks("SentenceTransformer", file, folders) == ["AA", "BB"]


def test_a_folder_that_was_saved_again_runs_its_new_code(saved, tmp_path, marks):
    first, second = (marked(saved, tmp_path / run / "model", "modeling_lira", run) for run in ("A", "B"))
    assert marks("AutoModel", "modeling_lira", [(first, None), (first, second)]) == ["AA", "BB"]


@pytest.mark.parametrize("file", ["modeling_lira_causal_lm", "soft_prompt", "lasr", "processing_lira_causal_lm"])
def test_each_reasoning_model_runs_its_own_code(reasoner, tmp_path, marks, file):
    folders = [(marked(reasoner, tmp_path / run / "model", file, run), None) for run in ("A", "B")]
    assert marks("AutoModelForCausalLM", file, folders) == ["AA", "BB"]
