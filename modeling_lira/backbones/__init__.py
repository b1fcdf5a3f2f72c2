"""Pretrained backbones by Hub id, folder or `pypi:` name."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .registry import BACKBONES, quantised_backbones
    from .resolution import PREFIX, describe, is_encoder, list_backbones, load_translation_model, resolve, verify

__all__ = [
    "BACKBONES",
    "PREFIX",
    "describe",
    "is_encoder",
    "list_backbones",
    "load_translation_model",
    "quantised_backbones",
    "resolve",
    "verify",
]

lazy_face(
    __name__,
    {
        "BACKBONES": "registry",
        "PREFIX": "resolution",
        "describe": "resolution",
        "is_encoder": "resolution",
        "list_backbones": "resolution",
        "load_translation_model": "resolution",
        "quantised_backbones": "registry",
        "resolve": "resolution",
        "verify": "resolution",
    },
)
