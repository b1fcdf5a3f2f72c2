"""The Space of `space/`: started on this machine, or put on a Hub with a model of the user's."""

import json
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from huggingface_hub import CommitInfo
from safetensors.torch import save

from ..errors import LiraError
from ..files.hub_client import Content, push_files, require_token
from ..modeling_lira import LiraModel
from ..records.model_card import CardSources
from ..records.repository import prepare
from ..records.saved_model import load_model, model_folder

SPACE = Path(__file__).with_name("space")
SHOWCASE, VECTORS = "showcase.json", "titles.safetensors"


def load_app() -> ModuleType:
    """Import the Space's app, which on a Space stands alone and so belongs to no package."""
    spec = spec_from_file_location("lira_space", SPACE / "app.py")
    assert spec is not None and spec.loader is not None
    app = module_from_spec(spec)
    sys.modules[spec.name] = app  # where dataclasses look their annotations up
    spec.loader.exec_module(app)
    return app


def serve_space(model: LiraModel, **options: Any) -> None:
    """Start the app with a model on this machine; options as in its `start`."""
    app, showcase = load_app(), showcase_for(model)
    app.start(app.Shop(model.eval(), showcase, app.OnFirstUse(model, showcase)), **options)


def showcase_for(model: LiraModel) -> Mapping[str, Any]:
    """Return the titles, examples and words of those languages that a model knows."""
    showcase = json.loads((SPACE / SHOWCASE).read_text(encoding="utf-8"))
    known = {language: part for language, part in showcase.items() if language in model.processor.languages}
    if not known:
        raise LiraError(f"the Space shows {', '.join(showcase)}; the model knows none of them")
    return known


def push_space(run: Path, repo: str, sources: CardSources, **arguments: Any) -> CommitInfo:
    """Put the app, a run's model and its embeddings of the titles into a Space.

    Parameters
    ----------
    run : Path
    repo : str
        `organisation/name`.
    sources : CardSources
        As in `prepare`.
    **arguments
        As in `push_files`.
    """
    model_folder(run)  # says what is wrong with the run before it asks for a token
    require_token(arguments.get("token"))
    return push_files(space_files(run, repo, sources), repo, kind="space", **arguments)


def space_files(run: Path, repo: str, sources: CardSources) -> dict[str, Content]:
    """Return what a Space consists of: path there -> file or bytes; errors as in `prepare`."""
    prepared = prepare(model_folder(run), repo, sources)
    files: dict[str, Content] = {f"model/{name}": content for name, content in prepared.items()}
    files |= {name: SPACE / name for name in ("README.md", "app.py", "requirements.txt")}
    model = load_model(run)
    showcase = showcase_for(model)
    files[SHOWCASE] = json.dumps(showcase, ensure_ascii=False).encode()
    files[VECTORS] = save(load_app().title_vectors(model, showcase))
    return files
