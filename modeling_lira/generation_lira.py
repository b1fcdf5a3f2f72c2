"""Generate answers after soft tokens, which have no ids: lengths, stopping criteria and results are as without them."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar, cast

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.utils import GenerateOutput

from .configuration_lira_causal_lm import LiraCausalLMConfig
from .errors import LiraError
from .processing_lira_causal_lm import LiraCausalLMProcessor
from .soft_prompt import MergedPrompt

Answer = TypeVar("Answer", Tensor, GenerateOutput)

ENCODER_INPUTS = (
    "multilingual_input_ids",
    "multilingual_attention_mask",
    "english_input_ids",
    "english_attention_mask",
    "candidate_mask",
    "critic_scores",
    "language_ids",
    "multilingual_states",
    "english_states",
    "fused_states",
    "fused_mask",
)
"""Arguments of `forward` and `generate` that describe the question."""


class SoftPromptGeneration(GenerationMixin):
    """`generate` for a model with a `language_model`, before whose prompt it puts soft tokens."""

    config: LiraCausalLMConfig
    generation_config: GenerationConfig
    language_model: PreTrainedModel
    processor: LiraCausalLMProcessor
    soft_tokens: Callable[..., tuple[Tensor, Tensor] | None]
    _merge: Callable[..., MergedPrompt]

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Generate an answer: greedy, sampled or by beams, as the language model's own `generate`.

        Parameters
        ----------
        input_ids, attention_mask, inputs_embeds
            The prompt, as in `forward`; batches are padded on the left.
        **kwargs
            The question, as in `forward`; and whatever the language model's `generate` takes, but for other models that
            draft the answer. `max_length` and `min_length` count the prompt (padding too) and the answer, never the
            soft tokens, and stopping criteria see the same. Penalties on repetition see the answer only.

        Returns
        -------
        Tensor, [B * num_return_sequences, L + new], or new tokens alone for `inputs_embeds`
            Or what `return_dict_in_generate` asks for, its `sequences` being that.

        Raises
        ------
        LiraError
            A prompt that leaves no room for the answer in the language model's context or in `max_length`; a question
            whose answer another model is to draft.
        """
        question = {name: kwargs.pop(name) for name in ENCODER_INPUTS if name in kwargs}
        settings, kwargs = self._generation_settings(kwargs)
        generate = partial(cast(Callable[..., Tensor], self.language_model.generate), generation_config=settings)
        soft = self.soft_tokens(**question)
        if soft is None:
            prompt = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
            return generate(**prompt, attention_mask=attention_mask, **kwargs)
        _check_no_drafts(settings, kwargs)
        merged = self._merge(soft, input_ids, attention_mask, inputs_embeds)
        _count_new_tokens(settings, merged.embeds.shape[1] - soft[0].shape[1])
        self._check_length(int(merged.mask.sum(1).max()) + (settings.max_new_tokens or 1), soft[0].shape[1])
        if input_ids is not None and kwargs.get("stopping_criteria"):
            criteria = cast(StoppingCriteriaList, kwargs["stopping_criteria"])
            kwargs["stopping_criteria"] = StoppingCriteriaList(_AfterPrompt(one, input_ids) for one in criteria)
        if settings.pad_token_id is None:
            settings.pad_token_id = self.processor.tokenizer.pad_token_id
        result = generate(inputs_embeds=merged.embeds, attention_mask=merged.mask, **kwargs)
        return result if input_ids is None else _with_prompts(result, input_ids)

    def _check_length(self, length: int, soft: int) -> None:
        longest = getattr(self.config.text.get_text_config(), "max_position_embeddings", None)
        if isinstance(longest, int) and length > longest:
            raise LiraError(
                f"prompt and answer are too long: {length} tokens with LiRA's {soft}; the model takes {longest}"
            )

    def _generation_settings(self, kwargs: dict[str, object]) -> tuple[GenerationConfig, dict[str, object]]:
        """Return the settings of one call, the model's own where it says nothing, and the arguments that are none."""
        settings = copy.deepcopy(cast(GenerationConfig, kwargs.pop("generation_config", None) or GenerationConfig()))
        settings.update(**self.generation_config.to_dict(), defaults_only=True, allow_custom_entries=True)
        return settings, settings.update(**kwargs)


class _AfterPrompt(StoppingCriteria):
    """Show a stopping criterion the prompt before the new tokens, as a model without soft tokens does."""

    def __init__(self, criterion: StoppingCriteria, prompts: Tensor) -> None:
        self.criterion = criterion
        self.prompts = prompts

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """Return which rows [B] may stop, for new tokens [B, n]."""
        prompts = self.prompts.repeat_interleave(len(input_ids) // len(self.prompts), 0)
        return self.criterion(torch.cat([prompts, input_ids], 1), scores, **kwargs)


def _count_new_tokens(settings: GenerationConfig, prompt: int) -> None:
    """Turn lengths of prompt and answer into lengths of the answer, in place: `generate` would count soft tokens."""
    if settings.max_new_tokens is None and settings.max_length is not None:
        if settings.max_length <= prompt:
            raise LiraError(
                f"max_length {settings.max_length} leaves no room for an answer after a prompt of {prompt} tokens: "
                f"give at least {prompt + 1}, or max_new_tokens"
            )
        settings.max_new_tokens, settings.max_length = settings.max_length - prompt, None
    if settings.min_new_tokens is None and settings.min_length:
        settings.min_new_tokens, settings.min_length = max(0, settings.min_length - prompt), None


def _check_no_drafts(settings: GenerationConfig, arguments: Mapping[str, object]) -> None:
    """Raise `LiraError` for a way to generate that needs token ids where the soft tokens have none."""
    for name in ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit"):
        if arguments.get(name) is not None or getattr(settings, name, None) is not None:
            raise LiraError(f"{name} cannot be used with a question: soft tokens have no ids to draft an answer from")


def _with_prompts(result: Answer, prompts: Tensor) -> Answer:
    """Put the prompts [B, L] before the new tokens, as a model without soft tokens returns both."""
    answers = result if isinstance(result, Tensor) else result.sequences
    joined = torch.cat([prompts.repeat_interleave(len(answers) // len(prompts), 0), answers], 1)
    if isinstance(result, Tensor):
        return joined
    result.sequences = joined  # type: ignore[assignment]
    return result
