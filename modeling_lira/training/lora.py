"""Low-rank training of the backbones through PEFT."""

from peft import LoraConfig, PeftModel, get_peft_model

from ..errors import LiraError
from ..modeling_lira import PATHS, LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .options import LanguageModelLora, LoraOptions


def add_lora(model: LiraModel, options: LoraOptions) -> None:
    """Put low-rank layers into the chosen backbones of `model`, in place; before training they change nothing.

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
        config = LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=options.dropout,
            target_modules=rf".*\.({options.target_modules})",
        )
        try:
            setattr(model, f"{path}_encoder", get_peft_model(getattr(model, f"{path}_encoder"), config))
        except ValueError as error:
            raise LiraError(f"lora: the {path} backbone has no layer named {options.target_modules}") from error


def merge_lora(model: LiraModel) -> None:
    """Merge the low-rank layers into the backbones' weights, in place: `model` is then to be saved self-contained.

    Source: ours.
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
    """Put low-rank layers into the language model, in place; before training they change nothing.

    Raises
    ------
    LiraError
        A language model without a layer of the targeted names.

    Source: Hu et al. (2021).
    """
    config = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=rf".*\.({options.target_modules})")
    try:
        model.language_model = get_peft_model(model.language_model, config)  # type: ignore[assignment]
    except ValueError as error:
        raise LiraError(f"lora: the language model has no layer named {options.target_modules}") from error
