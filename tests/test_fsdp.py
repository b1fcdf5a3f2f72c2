"""The configuration for encoders that no single GPU holds: it parses, and each layer of the encoder is a unit."""

from pathlib import Path

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from transformers import AutoModel, Qwen3Config

import modeling_lira.training

CONFIG = Path(modeling_lira.training.__file__).with_name("launch") / "fsdp.yaml"


def test_every_layer_of_a_qwen3_encoder_is_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config_from_file(str(CONFIG))
    assert config.distributed_type == DistributedType.FSDP and config.num_processes == 8
    given = config.fsdp_config
    monkeypatch.setenv("FSDP_TRANSFORMER_CLS_TO_WRAP", given["fsdp_transformer_layer_cls_to_wrap"])
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=given["fsdp_version"],
        auto_wrap_policy=given["fsdp_auto_wrap_policy"].lower(),
        reshard_after_forward=given["fsdp_reshard_after_forward"],
        activation_checkpointing=given["fsdp_activation_checkpointing"],
        state_dict_type=given["fsdp_state_dict_type"],
    )
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    with torch.device("meta"):
        encoder = AutoModel.from_config(Qwen3Config(**shape, num_key_value_heads=1, head_dim=8, vocab_size=32))
    plugin.set_auto_wrap_policy(encoder)
    wrap = plugin.auto_wrap_policy
    assert wrap is not None
    units = [name for name, part in encoder.named_modules() if wrap(module=part, recurse=False, nonwrapped_numel=0)]
    assert units == [f"layers.{number}" for number in range(3)]
