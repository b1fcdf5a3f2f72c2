"""Read a Parquet file row by row; dates and times become texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import LiraError

_BATCH = 4096
"""Rows that are decoded at once."""


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise LiraError(f"{str(path)!r} is not a Parquet file or is damaged: {_first_line(error)}") from error


def parquet_names(path: Path) -> list[str]:
    """Return the names of a file's columns."""
    with _opened(path) as file:
        return file.schema_arrow.names


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, object]]:
    """Yield the rows of a file, with these columns only if any are named.

    Raises
    ------
    LiraError
        If the file is damaged, two columns have one name, or Python cannot represent a value.
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        wanted = [name for name in (names if columns is None else columns) if name in names]
        if doubled := [name for name in wanted if names.count(name) > 1]:
            raise LiraError(f"{str(path)!r} has two columns {doubled[0]!r}: rename one")
        try:
            for batch in file.iter_batches(_BATCH, columns=wanted):
                values = [plain_values(column) for column in batch.columns]
                yield from (dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*values, strict=True))
        except (pa.ArrowException, OSError, OverflowError, ValueError) as error:
            raise LiraError(f"{str(path)!r} is not a Parquet file or is damaged: {_first_line(error)}") from error


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[object]:
    """Return a column's values; dates and times as ISO texts, since Python cannot represent all of Arrow's."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        texts = _trimmed(column.cast(pa.timestamp(kind.unit)).cast(pa.string()))
        return texts if kind.tz is None else [text and f"{text}Z" for text in texts]
    if pa.types.is_temporal(kind):
        return _trimmed(column.cast(pa.string()))
    values = column.to_pylist()
    return [_decoded(value) for value in values] if _is_binary(kind) else values


def _trimmed(times: pa.Array | pa.ChunkedArray) -> list[object]:
    """Remove the zeros at the end of a second's fraction, so that a time is the same text in every unit."""
    return [text.rstrip("0").rstrip(".") if text and "." in text else text for text in times.to_pylist()]


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _decoded(value: bytes | None) -> object:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
