"""A server of embeddings that OpenAI's client can talk to."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .app import Limits, create_app
    from .live_translator import LiveTranslator

__all__ = ["Limits", "LiveTranslator", "create_app"]

lazy_face(__name__, {"Limits": "app", "LiveTranslator": "live_translator", "create_app": "app"})
