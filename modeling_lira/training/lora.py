"""Low-rank training of the language model through PEFT."""

from peft import LoraConfig, get_peft_model

from ..errors import LiraError
from ..modeling_lira_causal_lm import LiraForCausalLM
from .options import LanguageModelLora


def add_language_lora(model: LiraForCausalLM, options: LanguageModelLora) -> None:
    """Put low-rank layers into the language model, in place; they change nothing yet.

    Raises
    ------
    LiraError
        A language model without a layer of the targeted names.

    Source: Hu et al. (2021).
    """
    targets = rf".*\.({options.target_modules})"
    config = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=targets)
    try:
        model.language_model = get_peft_model(model.language_model, config)  # type: ignore[assignment]
    except ValueError as error:
        raise LiraError(f"lora: the language model has no layer named {options.target_modules}") from error
