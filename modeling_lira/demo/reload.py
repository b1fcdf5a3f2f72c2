"""Load a saved LiRA model in a process that cannot import this package, check its embeddings and answer queries.

`lira demo` runs this file as a script: python -P reload.py TASK.json
"""

import json
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

HIDDEN = ("modeling_lira", "dataset_builder")


class Hide(MetaPathFinder):
    """Make this repository's packages impossible to import, as on a machine where they are not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for a hidden package; leave every other one to the next finder."""
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"{name} is hidden in this process", name=name)


def answer(task: dict) -> dict:
    """Return the largest difference from the expected embeddings, and the best three titles of each query."""
    import torch
    import transformers
    from safetensors.torch import load_file

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(task["model"], trust_remote_code=True)
    processor = transformers.AutoProcessor.from_pretrained(task["model"], trust_remote_code=True)
    expected = load_file(task["expected"])
    texts, languages, candidates = task["texts"], task["languages"], task["candidates"]
    embeddings = model.encode_query(texts, languages, candidates=candidates)
    inputs = processor(texts[:1], candidates=candidates[:1], languages=languages[:1])
    with torch.inference_mode():
        one = model(**inputs).sentence_embedding[0]
    answers = []
    for query in task["queries"]:
        embedding = model.encode_query([query["text"]], query["language"])[0]
        best = (expected[f"documents.{query['language']}"].float() @ embedding).topk(3)
        titles = task["titles"][query["language"]]
        answers.append(
            [{"title": titles[i], "score": s} for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        )
    gap = max(float((embeddings - expected["texts"]).abs().max()), float((one - expected["texts"][0]).abs().max()))
    return {"largest_gap": gap, "module": type(model).__module__, "answers": answers}


if __name__ == "__main__":
    sys.meta_path.insert(0, Hide())
    task_file = Path(sys.argv[1])
    result = answer(json.loads(task_file.read_text(encoding="utf-8")))
    task_file.with_name("reload_answer.json").write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
