"""`lira train` and `lira train-reasoning`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LiraError
from ..faces.extras import needs
from ..training.options import TrainingOptions, read_options, read_reasoning_options

logger = logging.getLogger(__name__)

TRAIN_EXAMPLE = "Example: lira train --config tuned --corpus runs/corpus --output runs/mine"
CONFIGS = Path(__file__).parents[1] / "training" / "configs"


OLD_NAMES = {"retrieval": "frozen", "lora": "tuned"}
"""Configs that have another name since the second release."""


@needs("datasets", "accelerate", "peft", "sentence_transformers")
def train(
    output: Annotated[Path, typer.Option(help="Folder for streams, checkpoints, logs and the trained model.")],
    config: Annotated[
        str, typer.Option(help="A YAML file, or one that comes with the package: tuned, frozen, ranking, joint.")
    ] = "tuned",
    corpus: Annotated[str | None, typer.Option(help="Corpus folder or Hub dataset, in place of the config's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, in place of the config's.")] = None,
    push_to_hub: Annotated[str | None, typer.Option(help="Push the model to ORGANISATION/NAME; needs a token.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Tune the encoder, train the head on a corpus and save the model. Run an interrupted command again to continue it.

    A folder is for one run: a command with another seed, option or corpus stops with an error.

    On several processes: torchrun --nproc_per_node 2 -m modeling_lira.cli train …
    """
    from accelerate import PartialState

    from ..files.hub_client import require_token
    from ..records.publishing import card_sources, push_run
    from ..training.train import train as run

    options = named_options(config, corpus=corpus, seed=seed)
    if push_to_hub:
        require_token()  # now, not after hours of training
    run(options, output)
    if push_to_hub and PartialState().is_main_process:
        made = push_run(output, push_to_hub, card_sources(output), private=private or None)
        logger.info("pushed: %s", made.commit_url)


def named_options(config: str, **changes: object) -> TrainingOptions:
    """Read the options of a YAML file, or of one that comes with the package; errors as in `read_options`."""
    if config in OLD_NAMES:
        logger.warning("config %s is now called %s", config, OLD_NAMES[config])
    return read_options(config_file(OLD_NAMES.get(config, config)), **changes)


def config_file(config: str) -> Path:
    """Return the file of a config that comes with the package, or the user's own; LiraError if it is neither."""
    named = CONFIGS / f"{config}.yaml"
    if not named.is_file() and not Path(config).is_file():
        names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
        raise LiraError(f"there is no config {config!r}: name a YAML file or one of {names}")
    return named if named.is_file() else Path(config)


REASONING_EXAMPLE = "Example: lira train-reasoning --questions runs/questions --output runs/reasoning"


@needs("accelerate", "peft")
def train_reasoning(
    output: Annotated[Path, typer.Option(help="Folder for streams, checkpoints, log and the trained model.")],
    config: Annotated[str, typer.Option(help="A YAML file, or the one that comes with the package.")] = "reasoning",
    questions: Annotated[
        str | None, typer.Option(help="Folder or dataset of questions, in place of the config's.")
    ] = None,
    language_model: Annotated[str | None, typer.Option(help="Language model, in place of the config's.")] = None,
    stream: Annotated[
        str | None, typer.Option(help="fused, or multilingual: the baseline without Arca and LaSR.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, in place of the config's.")] = None,
) -> None:
    """Train LiRA to give soft tokens to a frozen language model. Run an interrupted command again to continue it."""
    from ..training.reasoning import train_reasoning as run

    changes = {"questions": questions, "language_model": language_model, "stream": stream, "seed": seed}
    run(read_reasoning_options(config_file(config), **changes), output)
