"""`lira train-reasoning`."""

from pathlib import Path
from typing import Annotated

import typer

REASONING_EXAMPLE = "Example: lira train-reasoning --questions runs/questions --output runs/reasoning"
CONFIGS = Path(__file__).with_name("configs")


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
    """Put LiRA in front of a frozen language model and train it to be read. Interrupted, it goes on when run again."""
    from .reasoning import read_reasoning_options
    from .reasoning import train_reasoning as run

    named = CONFIGS / f"{config}.yaml"
    changes = {"questions": questions, "language_model": language_model, "stream": stream, "seed": seed}
    run(read_reasoning_options(named if named.is_file() else config, **changes), output)
