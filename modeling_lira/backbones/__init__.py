"""Pretrained backbones by Hub id, folder or `pypi:` name."""

from .registry import BACKBONES
from .resolution import PREFIX, describe, list_backbones, load_translation_model, resolve, verify

__all__ = ["BACKBONES", "PREFIX", "describe", "list_backbones", "load_translation_model", "resolve", "verify"]
