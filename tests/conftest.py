"""Tiny random backbones with real tokenizers, made once a session: no test downloads anything."""

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fresh import Forks
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
)
from vocabularies import unigram_tokenizer, word_piece_tokenizer

from modeling_lira import LiraModel
from modeling_lira.backbones.anchors import english_anchors
from modeling_lira.backbones.building import copy_start

SLOW = (
    "e2e", "test_kill_points", "test_processes", "test_bare_install", "hub", "test_exporting", "test_export",
    "test_corpus", "test_tuning", "test_mteb", "test_gemma", "test_translator", "test_train_reasoning",
    "test_resumable", "test_checkpoint_gate", "test_averages", "test_ablations", "test_regret", "test_faces",
    "test_dataset_commands", "test_other_encoders", "test_code_of_each_folder", "test_training", "test_space",
    "test_serving", "test_studies", "test_other_languages", "test_options", "test_scale", "test_search",
    "test_server_commands", "test_log_benchmark", "test_linear_time", "test_databases", "test_hub_roundtrip",
    "test_reasoning", "test_sentence_transformers", "test_hostile", "test_damaged_models", "test_checkpoint",
    "test_export_benchmark", "test_markup", "test_mutations", "test_catalogue", "test_reasoning_eval",
    "test_log_corpus", "test_no_english_titles", "test_log_truth",
)  # fmt: skip
"""Folders and files whose tests start processes, train, or read real models, the longest first: they are begun in this
order, so that no worker is left with a long one in the end, and `make quick` leaves them out."""

MULTILINGUAL_TEXTS = (
    "áo sơ mi trắng cho bé trai",
    "điện thoại cũ giá rẻ ở Hà Nội",
    "เสื้อเชิ้ตสีขาวสำหรับเด็กผู้ชาย",
    "โทรศัพท์มือสองราคาถูก",
    "kemeja putih untuk anak laki-laki",
    "harga ponsel bekas murah",
    "baju kemeja putih untuk budak lelaki",
    "telefon terpakai murah di Kuala Lumpur",
    "لڑکوں کے لیے سفید قمیض",
    "سستا پرانا فون کہاں ملے گا",
    "ছেলেদের জন্য সাদা শার্ট",
    "পুরানো ফোনের দাম কত",
    "puting polo para sa batang lalaki",
    "murang segunda manong telepono",
    "white shirt for boys",
    "cheap used phone",
)
"""Two sentences in each language, English last."""

SHAPES = {
    "bert": BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=64
    ),
    "xlm-roberta": XLMRobertaConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, max_position_embeddings=66
    ),
    "mpnet": MPNetConfig(
        hidden_size=40, num_hidden_layers=2, num_attention_heads=4, intermediate_size=80, max_position_embeddings=66
    ),
    "modernbert": ModernBertConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        local_attention=16,
    ),
}
"""Four architectures of four widths."""

TOKENS = {
    "bert": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    "xlm-roberta": {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"},
    "mpnet": {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "[UNK]"},
    "modernbert": {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
}
"""Special tokens in the order of their ids."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave slow files unread where all their tests would be left out."""
    is_quick = config.getoption("markexpr") == "not slow"
    return True if is_quick and {collection_path.stem, collection_path.parent.name} & {*SLOW} else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(SLOW)}
    numbers = {
        item: min(order.get(name, len(SLOW)) for name in (item.path.stem, item.path.parent.name)) for item in items
    }
    for item, number in numbers.items():
        if number < len(SLOW):
            item.add_marker("slow")
    items.sort(key=numbers.__getitem__)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # half a second a collection, which the Trainer asks for again and again, is for the libraries alone


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Fresh processes that need not import torch."""
    forks = Forks()
    yield forks
    forks.stop()


@pytest.fixture(autouse=True)
def _same_numbers_every_run() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny random backbones by architecture."""
    return {name: save_backbone(name, tmp_path_factory.mktemp(name)) for name in SHAPES}


@pytest.fixture(scope="session")
def build_model(backbones: dict[str, Path]) -> Callable[..., LiraModel]:
    """Build an untrained model on two of the tiny backbones, by their names."""
    starts: dict[str, LiraModel] = {}

    def build(multilingual: str = "xlm-roberta", english: str = "bert", **config: object) -> LiraModel:
        config = {"adaptor_size": 16, "actor_size": 8, **config}
        sources = backbones[multilingual], backbones[english]
        if "anchor_texts" in config:
            return LiraModel.from_backbones(*sources, **config)
        name = repr((multilingual, english, sorted(config.items())))
        if name not in starts:
            model = LiraModel.from_backbones(*sources, **config)
            starts[name] = copy.deepcopy(model)
            return model
        # The start on all anchors is the same each time: only the first model has to encode them.
        model = LiraModel.from_backbones(*sources, anchor_texts=MULTILINGUAL_TEXTS, **config)
        copy_start(starts[name], model)
        return model

    return build


@pytest.fixture(scope="session")
def tiny_model(build_model: Callable[..., LiraModel]) -> LiraModel:
    """An untrained model on xlm-roberta (48 wide) and bert (32 wide); read-only."""
    return build_model()


@pytest.fixture
def trained_model(build_model: Callable[..., LiraModel]) -> LiraModel:
    """A model none of whose parts is at its start any more, so that every part matters."""
    return disturb(build_model())


def disturb(model: LiraModel, scale: float = 0.3) -> LiraModel:
    """Add noise to every trained weight, as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for part in (model.arca, model.lasr):
            for parameter in part.parameters():
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return model


def save_backbone(name: str, folder: Path, **changes: object) -> Path:
    """Save a tiny random backbone and its tokenizer; `changes` go to its config."""
    tokenizer = _tokenizer(name)
    config: PreTrainedConfig = type(SHAPES[name])(
        **{
            **SHAPES[name].to_dict(),
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            **changes,
        }
    )
    torch.manual_seed(sum(name.encode()))
    model = AutoModel.from_config(config)
    with torch.no_grad():  # as wide apart as trained embeddings are, so that different texts differ
        model.get_input_embeddings().weight.mul_(20)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    special = TOKENS[name]
    tokenizer = _trained(name, list(special.values()))
    start, end = special["cls_token"], special["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _trained(name: str, special: list[str]) -> Tokenizer:
    """Return a real tokenizer of the kind that this architecture uses, the same in every run."""
    texts = list(MULTILINGUAL_TEXTS) * 4 + english_anchors()
    if name == "xlm-roberta":
        tokenizer = unigram_tokenizer(texts, special, size=700)
        tokenizer.normalizer = normalizers.NFKC()
        return tokenizer
    if name == "modernbert":
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer
    return word_piece_tokenizer(texts, special, size=600)
