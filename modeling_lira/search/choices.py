"""The choices that users have when they embed and search; without other imports, so that `--help` is quick."""

from enum import StrEnum


class Kind(StrEnum):
    """What a text is; a backbone may want another prefix for each kind."""

    query = "query"
    document = "document"


class DType(StrEnum):
    """How each number of an embedding is stored."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


class Format(StrEnum):
    """The file format of a shard of embeddings."""

    parquet = "parquet"
    safetensors = "safetensors"


class Method(StrEnum):
    """How rows are searched: HNSW, a graph, compares few of them and finds nearly all nearest; exact compares all."""

    hnsw = "hnsw"
    exact = "exact"
