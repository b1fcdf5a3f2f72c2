"""Load models by id and embed: `python -I loading_client.py ORDER`; nothing but core dependencies can be imported."""

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

order = json.loads(sys.argv[1])
blocked = set(order["blocked"])


class Only:
    """Finds what the finders before it find, but for what is blocked: as if that were not installed."""

    def __init__(self, finders: list) -> None:
        self.finders = finders

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in blocked:
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec is not None), None)

    def find_distributions(self, context: object) -> Iterator:
        for finder in self.finders:
            if hasattr(finder, "find_distributions"):
                yield from finder.find_distributions(context)


sys.meta_path[:] = [Only(list(sys.meta_path))]

from safetensors.torch import save_file  # noqa: E402
from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer  # noqa: E402

tensors, report = {}, {}
for name, (repo, arguments) in order["sources"].items():
    model = AutoModel.from_pretrained(repo, trust_remote_code=True, **arguments)
    tensors[name] = model.encode_query(order["texts"], order["languages"], order["candidates"])
    tensors[f"{name} documents"] = model.encode_document(order["texts"], order["languages"])
    config = AutoConfig.from_pretrained(repo, trust_remote_code=True, **arguments)
    processor = AutoProcessor.from_pretrained(repo, trust_remote_code=True, **arguments)
    tokenizer = AutoTokenizer.from_pretrained(repo, trust_remote_code=True, **arguments)
    report[name] = {
        "modules": [type(part).__module__ for part in (model, config, processor)],
        "tokenizers": [
            made("white shirt")["input_ids"] for made in (tokenizer, processor.tokenizer, processor.english_tokenizer)
        ],
        "loaded": sorted({module.partition(".")[0] for module in sys.modules} & blocked),
    }
save_file(tensors, order["output"])
Path(order["output"]).with_suffix(".json").write_text(json.dumps(report))
