"""What a study measures on, in the tests of several."""

from collections.abc import Mapping
from pathlib import Path

from tiny_corpus import write_corpus

from eval.studies.setting import Setting
from modeling_lira.training.options import ArcaOptions, LasrOptions, TrainingOptions, TuneOptions


def tuned_setting(backbones: Mapping[str, Path], folder: Path, seeds: tuple[int, ...]) -> Setting:
    """Return a setting on a tiny corpus in two languages, whose multilingual encoder is tuned for one pass."""
    write_corpus(folder / "corpus", ("vi", "th"))
    options = TrainingOptions(
        corpus=str(folder / "corpus"),
        multilingual=str(backbones["xlm-roberta"]),
        english=str(backbones["bert"]),
        model={"num_feature_bins": 1},
        arca=ArcaOptions(epochs=1, batch_size=8),
        lasr=LasrOptions(epochs=1, batch_size=4, doc_queue=0, corr_queue=0),
        tune=TuneOptions(epochs=1, batch_size=2, rank=4, learning_rate=0.02, shares=(0.5,)),
    )
    return Setting(options, folder / "out", folder / "streams", seeds, records=folder / "records")
