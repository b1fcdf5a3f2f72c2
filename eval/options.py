"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", help="Folder or Hub id of a saved model.")]


Multilingual = Annotated[str | None, typer.Option(help="Multilingual backbone, in place of the model's own.")]


English = Annotated[str | None, typer.Option(help="English backbone, in place of the model's own.")]


Streams = Annotated[Path, typer.Option(help="Keeps the backbones' streams of every text; shared by all commands.")]


Languages = Annotated[str, typer.Option(help="Language codes, separated by commas; all that fit when left out.")]


Records = Annotated[Path, typer.Option(help="Gets the record.")]


STREAMS = Path("runs/streams")
RECORDS = Path("runs/records")
"""Where commands write their records by default, and where the report looks for them."""


def _codes(languages: str) -> list[str] | None:
    return languages.replace(",", " ").split() or None
