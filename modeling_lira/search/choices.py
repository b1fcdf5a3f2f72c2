"""What users choose between when they embed and search; light, so that `--help` loads nothing else."""

from enum import StrEnum


class Kind(StrEnum):
    """What a text is: each kind has its own prefix."""

    query = "query"
    document = "document"


class DType(StrEnum):
    """How a number of an embedding is stored."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


class Format(StrEnum):
    """What a shard of embeddings is."""

    parquet = "parquet"
    safetensors = "safetensors"


class Method(StrEnum):
    """HNSW is a graph: it looks at few of the rows and finds nearly all of the nearest. Exact looks at all rows."""

    hnsw = "hnsw"
    exact = "exact"
