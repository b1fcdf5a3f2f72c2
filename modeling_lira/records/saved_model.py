"""A saved model, loaded as every command loads it, and what tells it from another."""

import hashlib

import torch
from transformers import PreTrainedConfig

from ..errors import LiraError
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM


def load_model(name: str, multilingual: str | None = None, english: str | None = None) -> LiraModel:
    """Load a saved model, with this package's own code, onto the GPU if there is one.

    Parameters
    ----------
    name : str
        Folder or Hub id.
    multilingual, english : str, optional
        Backbones in place of those that the model names.

    Raises
    ------
    LiraError
        A folder or Hub id that does not hold a model.
    """
    given = {"multilingual_backbone": multilingual, "english_backbone": english}
    backbones = {option: backbone for option, backbone in given.items() if backbone is not None}
    try:
        model = LiraModel.from_pretrained(name, **backbones)  # type: ignore[arg-type]
        model.processor  # noqa: B018  # read now, so that what is missing is said now
    except LiraError:
        raise
    except (OSError, ValueError) as error:
        raise LiraError(f"model {name!r} cannot be loaded: {str(error).strip() or type(error).__name__}") from error
    torch.nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")
    return model


def fingerprint(model: LiraModel) -> str:
    """Return a digest of a model's trained weights, of a sample of its backbones' and of its prefixes and languages."""
    digest, frozen = hashlib.sha256(), model.backbone_keys()
    for name, value in sorted(model.state_dict().items()):
        read = value.flatten()[:8] if name in frozen else value
        digest.update(name.encode() + read.detach().float().cpu().contiguous().numpy().tobytes())
    processor = model.processor
    digest.update(repr((processor.languages, processor.query_prefix, processor.document_prefix)).encode())
    return digest.hexdigest()[:16]


def load_reasoner(
    name: str, text_model: str | None = None, multilingual: str | None = None, english: str | None = None
) -> LiraForCausalLM:
    """Load a saved reasoning model, with this package's own code, onto the GPU if there is one.

    Parameters
    ----------
    name : str
        Folder or Hub id.
    text_model, multilingual, english : str, optional
        Language model and encoders in place of those that it names.

    Raises
    ------
    LiraError
        Neither folder nor Hub id of a reasoning model, or one whose language model or encoders are not to be found.
    """
    try:
        kind = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
        if kind != LiraForCausalLM.config_class.model_type:
            raise LiraError(f"model {name!r} is of type {kind!r}, no reasoning model: `lira train-reasoning` makes one")
        model = LiraForCausalLM.from_pretrained(
            name, text_model=text_model, multilingual_backbone=multilingual, english_backbone=english
        )
        model.processor  # noqa: B018  # read now, so that what is missing is said now
    except LiraError:
        raise
    except (OSError, ValueError) as error:
        raise LiraError(f"model {name!r} cannot be loaded: {str(error).strip() or type(error).__name__}") from error
    return torch.nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu").eval()
