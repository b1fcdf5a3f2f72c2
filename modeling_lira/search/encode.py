"""Embed the texts of a file into a folder, one shard after the other."""

import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from ..faces.progress import Progress
from ..modeling_lira import LiraModel
from ..records.saved_model import fingerprint
from .choices import DType, Format, Kind
from .embeddings import EmbeddingFolder, Settings, holding, positive
from .text_file import Columns, TextFile, TextRows

logger = logging.getLogger(__name__)

_STEP = 16
"""How many batches are encoded in one call, which sorts their texts by length; the progress bar moves after each."""


def encode_file(
    model: LiraModel,
    path: Path,
    folder: Path,
    kind: Kind = Kind.document,
    columns: Columns | None = None,
    dtype: DType = DType.float16,
    format: Format = Format.parquet,
    shard_size: int = 8192,
    batch_size: int = 64,
) -> EmbeddingFolder:
    """Embed every text of a file; shards that are in the folder already are not computed again.

    Parameters
    ----------
    model : LiraModel
    path : Path
        A table: JSON lines, CSV, TSV or Parquet.
    folder : Path
        Where the shards are written; it is created if it is missing.
    kind : Kind
        What the texts are.
    columns : Columns, optional
        Which columns to read; by default those with the usual names.
    dtype : DType
        How the numbers are stored.
    format : Format
        The file format of the shards.
    shard_size : int
        Rows a shard.
    batch_size : int
        Texts a batch.

    Raises
    ------
    LiraError
        If a row is bad, the folder has other settings or is used by another process, a size is not a positive whole
        number, or an embedding is not finite.
    """
    shard_size, batch_size = positive("shard_size", shard_size), positive("batch_size", batch_size)
    file = TextFile(path, columns or Columns(), model.processor.languages, model.processor.num_candidates)
    settings = Settings(
        model.name_or_path or "",
        fingerprint(model),
        file.digest,
        kind,
        dtype,
        format,
        file.rows,
        shard_size,
        model.config.embedding_size,
    )
    with holding(folder):
        output = EmbeddingFolder.create(folder, settings)
        _write_missing(model, file, output, batch_size)
    return output


def _write_missing(model: LiraModel, file: TextFile, output: EmbeddingFolder, batch_size: int) -> None:
    """Encode and write every shard that the folder does not have yet."""
    shard_size, kind = output.settings.shard_size, Kind(output.settings.kind)
    missing = [number for number in range(output.shards) if not output.done(number)]
    done = file.rows - sum(min(shard_size, file.rows - number * shard_size) for number in missing)
    if done:
        logger.info("encode: %d of %d rows are in the folder already", done, file.rows)
    with Progress(total=file.rows, initial=done, desc="encode", unit="row") as bar:
        for number, rows in enumerate(file.batches(shard_size)):
            if number not in missing:
                continue
            parts = []
            for part in _split(rows, _STEP * batch_size):
                parts.append(_encode(model, part, kind, batch_size))
                bar.update(len(part))
            output.write(number, rows.ids, rows.texts, torch.cat(parts).numpy())


def _encode(model: LiraModel, rows: TextRows, kind: Kind, batch_size: int) -> torch.Tensor:
    encode = model.encode_query if kind is Kind.query else model.encode_document
    return encode(rows.texts, rows.languages, rows.candidates, rows.scores, batch_size)


def _split(rows: TextRows, size: int) -> Iterator[TextRows]:
    for start in range(0, len(rows), size):
        yield TextRows(**{name: value[start : start + size] for name, value in vars(rows).items()})
