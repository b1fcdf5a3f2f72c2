"""Options that several commands share."""

from typing import Annotated

import typer

MultilingualOption = Annotated[str | None, typer.Option(help="Multilingual backbone; by default as in training.")]
EnglishOption = Annotated[str | None, typer.Option(help="English backbone; by default as in training.")]
