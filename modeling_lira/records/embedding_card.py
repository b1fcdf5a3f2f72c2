"""What the card of an embedding model says; `model_card` fills it in."""

WHOLE = "**Self-contained**: the weight file holds the backbones too."
ADAPTER = (
    "**Adapter-only**: the weight file holds the trained parts; the backbones are fetched from the Hub by the ids in\n"
    "`config.json`, and by revisions where it has any."
)
FETCHED = """Behind a firewall, give folders in place of the backbones: `AutoModel.from_pretrained(…,
multilingual_backbone="/models/a", english_backbone="/models/b")`.
"""
COMMON = """\
Without translations the multilingual path runs alone. The code in this repository imports `torch`, `transformers` and
what these bring; pin it with `revision=`. After the first load everything works offline (`HF_HUB_OFFLINE=1`).
$fetched
## What it is made of

$backbones

$training

## Evaluation

$evaluation

## Limits

- Trained for $languages; other languages have whatever the multilingual backbone knows of them.
"""
"""What every card says of the code, of what a model is made of and of how it was measured."""
TEMPLATE = (
    """# $repo

Sentence embeddings for search in $languages: LiRA
([arXiv:2510.14466](https://arxiv.org/abs/2510.14466)) on two encoders. A multilingual encoder reads the text; an
English encoder reads machine translations of it, as many as there are, or none. An independent implementation, not by
the paper's authors. $layout

## How to use

```python
from transformers import AutoModel

model = AutoModel.from_pretrained("$repo", trust_remote_code=True)
queries = model.encode_query(["…"], languages="$example", candidates=[["an English translation", "another"]])
documents = model.encode_document(["…", "…"], languages="$example")
print(queries @ documents.T)
```

With sentence-transformers; plain `encode` takes every text for a query:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("$repo", trust_remote_code=True)
print(model.encode_query(["…"], language="$example") @ model.encode_document(["…", "…"]).T)
```

LangChain and LlamaIndex must be told which text is a query:

```python
from langchain_huggingface import HuggingFaceEmbeddings
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

tasks = {"encode_kwargs": {"prompt_name": "document"}, "query_encode_kwargs": {"prompt_name": "query"}}
HuggingFaceEmbeddings(model_name="$repo", model_kwargs={"trust_remote_code": True}, **tasks)
instructions = {"query_instruction": "$query", "text_instruction": "$document"}
HuggingFaceEmbedding("$repo", trust_remote_code=True, **instructions)
```

"""
    + COMMON
    + """- Good translations help; bad ones are weighed down, not ignored. Try it with and without on your own texts.
- Figures on one corpus say little about another: evaluate on your own.
- It inherits the biases of its backbones and of the corpus.

## Licence

$licence
"""
)
