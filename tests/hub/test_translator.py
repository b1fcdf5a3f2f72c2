"""A translation model by its name on the Hub, over real HTTP: its SentencePiece files come along, pickles never."""

import json
from pathlib import Path

from tiny_translators import marian, save

from hub.conftest import Client
from hub.server import Hub


def test_opus_mt_by_name_and_revision(hub: Hub, client: Client, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    folder = save("marian", tmp_path / "model", marian(made, "vie", "eng"))
    files = {path.name: hub.store.small_file(path.read_bytes()) for path in folder.iterdir()}
    pickled = {name: file for name, file in files.items() if not name.endswith(".safetensors")}
    repo = hub.store.create("models", "me/opus-mt-vi-en", private=False)
    repo.commit("as most are", {**pickled, "pytorch_model.bin": hub.store.small_file(b"never read")})
    repo.commit("converted", files, branch="refs/pr/1")
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"language": "vi", "text": "áo sơ mi trắng"}) + "\n")
    run = ("-c", "from modeling_lira.cli import main; main()", "translate", "--input", source, "--output", output)

    refused = client(*run, "--model", "me/opus-mt-vi-en")
    assert refused.returncode == 2
    assert "holds no safetensors weights" in refused.stderr and "refs/pr/NUMBER" in refused.stderr

    done = client(*run, "--model", "me/opus-mt-vi-en", "--revision", "refs/pr/1")
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, output.read_text().splitlines())
    assert {c["agent"] for c in row["candidates"]} == {"me/opus-mt-vi-en@refs/pr/1"}
    fetched = {seen.path.rpartition("/")[2] for seen in hub.seen if "/resolve/" in seen.path}
    assert {"source.spm", "target.spm", "model.safetensors"} <= fetched and "pytorch_model.bin" not in fetched
