"""Build untrained models on pretrained ones: what a loaded model never needs, and its repository does not carry."""

import copy
import sys
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..configuration_lira import PATHS
from ..frozen_backbone import FrozenBackbone
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .anchors import english_anchors
from .own_settings import pooling_of, prompts_of
from .resolution import check_backbone

Model = TypeVar("Model", bound=LiraModel)
Reasoner = TypeVar("Reasoner", bound=LiraForCausalLM)


def build(
    model_class: type[Model],
    multilingual: FrozenBackbone,
    english: FrozenBackbone,
    *,
    anchor_texts: Sequence[str] | None = None,
    prefixes: tuple[str | None, str | None] = (None, None),
    dtype: torch.dtype = torch.float32,
    **config: object,
) -> Model:
    """Build a model with its processor; parameters and errors as in `LiraModel.from_backbones`.

    Parameters
    ----------
    model_class : type
        `LiraModel`, that of this package or that of a model repository's own code.
    prefixes : pair of str
        What stands before queries and documents; None for what the multilingual backbone asks for.
    """
    sources = multilingual, english
    for source in sources:
        check_backbone(str(source.name))
    encoders = [source.load_encoder(dtype) for source in sources]
    poolings = {f"{path}_pooling": pooling_of(source) for path, source in zip(PATHS, sources, strict=True)}
    lira_config = model_class.config_class(
        multilingual_config=encoders[0].config.to_dict(),
        english_config=encoders[1].config.to_dict(),
        multilingual_backbone=multilingual.pinned,
        english_backbone=english.pinned,
        multilingual_revision=multilingual.revision,
        english_revision=english.revision,
        **(poolings | config),  # type: ignore[arg-type]
    )
    model = model_class(lira_config, *encoders)
    # Only the trained parts: the encoders were loaded in this dtype.
    model.arca.to(dtype)
    model.lasr.to(dtype)
    model.eval()
    prompts, english_prompts = (prompts_of(source) for source in sources)
    query_prefix, document_prefix = (
        prompt if prefix is None else prefix for prefix, prompt in zip(prefixes, prompts, strict=True)
    )
    model.processor = model_class.processor_type(
        multilingual.load_tokenizer(longest_input(encoders[0])),
        english.load_tokenizer(longest_input(encoders[1])),
        num_candidates=lira_config.num_candidates,
        languages=lira_config.languages,
        query_prefix=query_prefix,
        document_prefix=document_prefix,
        english_query_prefix=english_prompts[0],
        english_document_prefix=english_prompts[1],
        english_model_type=lira_config.backbone("english").model_type,
    )
    align_paths(model, anchor_texts or english_anchors())
    model._remember_frozen(trained_on=True)
    return model


def build_reasoner(
    model_class: type[Reasoner], lira: LiraModel, language_model: FrozenBackbone, dtype: torch.dtype, **config: object
) -> Reasoner:
    """Put a LiRA model in front of a language model; parameters and errors as in `LiraForCausalLM.from_lira`."""
    check_backbone(str(language_model.name))
    loaded = language_model.load_language_model(dtype)
    joined = model_class.config_class(
        lira_config=lira.config.to_dict(),
        text_config=loaded.config.to_dict(),
        text_model=language_model.pinned,
        text_revision=language_model.revision,
        **config,  # type: ignore[arg-type]
    )
    model = model_class(joined, lira, loaded)
    model.generation_config = copy.deepcopy(loaded.generation_config)
    model.eval()
    multilingual_type = lira.config.backbone("multilingual").model_type
    model.processor = model_class.processor_type.join(
        lira.processor, language_model.load_tokenizer(), multilingual_type
    )
    model.align_projector(english_anchors())
    model._remember_frozen(trained_on=True)
    return model


@torch.no_grad()
def align_paths(model: LiraModel, anchor_texts: Sequence[str]) -> None:
    """Start the projections: centre both paths, and rotate the English one onto the multilingual one.

    The embedding critic's map starts as the same rotation.

    The multilingual projection is the identity, or the leading principal directions where the shared width is
    smaller. English anchors [N] give both encoders the same content.

    Source: METHOD.md, Arca 2.
    """
    multilingual = model.encode_streams(anchor_texts, "multilingual", "document").mean(1).float()  # [N, dg]
    english = model.encode_streams(anchor_texts, "english", "document").mean(1).float()  # [N, dh]
    centres = multilingual.mean(0), english.mean(0)
    weight = _leading_directions(multilingual - centres[0], model.config.width)
    shared = (multilingual - centres[0]) @ weight.T
    model.arca.multilingual_projection.start_from(weight, centres[0])
    model.arca.english_projection.start_from(fit_procrustes(english - centres[1], shared), centres[1])
    model.arca.critic_map.weight.copy_(fit_procrustes(english - centres[1], multilingual - centres[0]))


def copy_start(source: LiraModel, target: LiraModel) -> None:
    """Start the projections of `target` as `align_paths` started those of `source`, on the same backbones."""
    for name in ("multilingual_projection", "english_projection", "critic_map"):
        target.arca.get_submodule(name).load_state_dict(source.arca.get_submodule(name).state_dict())


def _leading_directions(centred: Tensor, count: int) -> Tensor:
    """Return a start [count, H] for rows [N, H]: the identity, or the `count` leading principal directions."""
    width = centred.shape[1]
    if count >= width or len(centred) < count:
        return torch.eye(count, width, dtype=centred.dtype)
    return torch.linalg.svd(centred, full_matrices=False)[2][:count]


def fit_procrustes(source: Tensor, target: Tensor) -> Tensor:
    """Find the orthogonal map, times one scale, that brings centred `source` closest to centred `target`.

    Parameters
    ----------
    source : Tensor, [N, a]
    target : Tensor, [N, b]
        Rows correspond; both are already centred.

    Returns
    -------
    Tensor, [b, a]
        The weight W of `target ~ source @ W.T`; `W / scale` has orthonormal rows or columns.

    Source: METHOD.md, Arca 2, after Schönemann (1966).
    """
    left, _, right = torch.linalg.svd(source.double().T @ target.double(), full_matrices=False)
    scale = target.norm() / source.norm().clamp_min(1e-12)
    return ((left @ right).T * scale).to(source.dtype)


def longest_input(encoder: PreTrainedModel) -> int:
    """Return the largest number of tokens for which the encoder has positions."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    positions = getattr(encoder.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else sys.maxsize
