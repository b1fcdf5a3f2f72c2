"""What clients send: OpenAI's fields for embeddings, and four of ours."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]


class EmbeddingsRequest(BaseModel):
    """The body of POST /v1/embeddings.

    `input`, `model`, `encoding_format`, `dimensions` and `user` are OpenAI's. `input_type` says what the texts are,
    `language` is their language code (one for all or one each), `candidates` are English translations of each text, and
    `translate` may forbid the server to translate.
    """

    model_config = ConfigDict(extra="forbid")

    input: Text | Annotated[list[Text], Field(min_length=1)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
    input_type: Literal["query", "document"] = "query"
    language: str | list[str | None] | None = None
    candidates: list[list[str]] | None = None
    translate: bool = True

    def texts(self) -> list[str]:
        """Return the texts, of which a single one needs no list."""
        return [self.input] if isinstance(self.input, str) else self.input

    def languages(self) -> list[str | None]:
        """Return one language code a text, None where it is not told."""
        return list(self.language) if isinstance(self.language, list) else [self.language] * len(self.texts())
