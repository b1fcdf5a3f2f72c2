"""What the card of a reasoning model says that the card of an embedding model does not."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..faces.markup import markdown_text
from .embedding_card import COMMON

REASONING_PIPELINE, REASONING_TASK = "text-generation", "question-answering"
REASONING_TAGS = ("text-generation", "question-answering")


def reasoning_training(record: Mapping[str, Any]) -> list[str]:
    """Return paragraphs on what `lira train-reasoning` recorded."""
    options = record["options"]
    versions = markdown_text(", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    changed = "with low-rank changes of the language model" if options.get("lora") else "the language model frozen"
    return [
        f"{record['questions']:,} questions of the train split, {changed}. Seed {options['seed']}.",
        *(_phase(name, log) for name, log in record["logs"].items()),
        f"In all {record['seconds']:.0f} s, of the last part where a run was interrupted; {versions}.",
    ]


def _phase(name: str, log: Sequence[Mapping[str, float]]) -> str:
    losses = [entry["loss_answer"] for entry in log if "loss_answer" in entry]
    course = f": loss of the answer {losses[0]:.2f} to {losses[-1]:.2f}" if losses else ""
    return f"- {markdown_text(name)}{course}, {log[-1]['seconds']:.0f} s"


REASONING_FETCHED = """Behind a firewall, give folders in place of the models: `AutoModelForCausalLM.from_pretrained(…,
text_model="/models/a", multilingual_backbone="/models/b", english_backbone="/models/c")`.
"""
REASONING_TEMPLATE = (
    """# $repo

Answers questions in $languages: LiRA
([arXiv:2510.14466](https://arxiv.org/abs/2510.14466)) in front of a language model. A multilingual encoder reads the
question; an English encoder reads machine translations of it, as many as there are, or none; what both say stands
before the prompt as soft tokens. An independent implementation, not by the paper's authors. $layout

## How to use

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("$repo", trust_remote_code=True)
inputs = model.processor(["…"], languages="$example", candidates=[["an English translation", "another"]])
print(model.processor.tokenizer.batch_decode(model.generate(**inputs, max_new_tokens=16), skip_special_tokens=True))
```

"""
    + COMMON
    + """- It answers as well as its language model can: what that does not know in English, LiRA does not add.
- Good translations help; without any it answers less well. Figures on one set of questions say little about another.
- It inherits the biases of its backbones and of its training questions.

## Licence

$licence
"""
)
