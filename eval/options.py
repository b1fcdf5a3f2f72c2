"""Options that several commands share."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", help="Folder or Hub id of a saved model.")]
Multilingual = Annotated[str | None, typer.Option(help="Multilingual backbone, in place of the model's own.")]
English = Annotated[str | None, typer.Option(help="English backbone, in place of the model's own.")]
Streams = Annotated[Path, typer.Option(help="Keeps the backbones' streams of every text; shared by all commands.")]
Languages = Annotated[str, typer.Option(help="Language codes, separated by commas; all that fit when left out.")]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline", help="Folder or Hub id of any sentence-transformers or PEFT model beside it; repeat for more."
    ),
]
Records = Annotated[Path, typer.Option(help="Gets the record.")]
STREAMS = Path("runs/streams")
RECORDS = Path("runs/records")
"""Where commands write their records by default, and where the report looks for them."""


def codes_of(languages: str) -> list[str] | None:
    """Return language codes separated by commas or spaces; None where there are none."""
    return languages.replace(",", " ").split() or None


def shares(options: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the fields of a dataclass as options of its own.

    The command takes them as one object, its first parameter; the command line sees each field, then the rest.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        whole = inspect.signature(options, eval_str=True).parameters
        _, *others = inspect.signature(command, eval_str=True).parameters.values()
        shown = [*whole.values(), *others]

        def run(**given: object) -> None:
            command(options(**{name: given.pop(name) for name in whole}), **given)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        plain = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in shown]
        run.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in plain}
        return run

    return decorate
