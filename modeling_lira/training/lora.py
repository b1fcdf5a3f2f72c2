"""Low-rank training of the backbones through PEFT."""

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from ..errors import LiraError
from ..modeling_lira import PATHS, LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .options import LanguageModelLora, LoraOptions, LowRankOptions


def _with_lora(backbone: nn.Module, options: LowRankOptions, what: str, dropout: float = 0.0) -> nn.Module:
    """Return the backbone with low-rank layers, which change nothing yet: one of the two factors starts at zero."""
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=dropout,
        target_modules=rf".*\.({options.target_modules})",
    )
    try:
        return get_peft_model(backbone, config)
    except ValueError as error:
        raise LiraError(f"lora: the {what} has no layer named {options.target_modules}") from error


def add_lora(model: LiraModel, options: LoraOptions) -> None:
    """Put low-rank layers into the chosen backbones of `model`, in place.

    Raises
    ------
    LiraError
        A backbone that is neither "multilingual" nor "english", or that has no layer of the targeted names.

    Source: Hu et al. (2021).
    """
    unknown = [path for path in options.backbones if path not in PATHS]
    if unknown or not options.backbones:
        raise LiraError(f"lora backbones must be among {', '.join(PATHS)}, got {', '.join(unknown) or 'none'}")
    for path in options.backbones:
        encoder = getattr(model, f"{path}_encoder")
        setattr(model, f"{path}_encoder", _with_lora(encoder, options, f"{path} backbone", options.dropout))


def merge_lora(model: LiraModel) -> None:
    """Merge the low-rank layers into the backbones' weights, in place, and freeze the model.

    Its backbones are then no longer those of the Hub, so it must be saved with `save_backbones=True`.
    """
    for path in PATHS:
        encoder = getattr(model, f"{path}_encoder")
        if isinstance(encoder, PeftModel):
            setattr(model, f"{path}_encoder", encoder.merge_and_unload())
    model.requires_grad_(False)


def lora_rates(options: LoraOptions) -> dict[str, float]:
    """Return the learning rates of the low-rank layers, by sub-module."""
    return {f"{path}_encoder": options.learning_rate for path in options.backbones}


def add_language_lora(model: LiraForCausalLM, options: LanguageModelLora) -> None:
    """Put low-rank layers into the language model, in place.

    Raises
    ------
    LiraError
        A language model without a layer of the targeted names.

    Source: Hu et al. (2021).
    """
    model.language_model = _with_lora(model.language_model, options, "language model")  # type: ignore[assignment]
