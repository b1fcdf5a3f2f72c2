"""Agents: translators that make English candidates, critics that score them, and the store of their finished work."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .calibration import Calibration
    from .candidate import Candidate, Critic, Translator
    from .chat_server import ChatServer
    from .critic import CausalLMCritic
    from .dictionary import DictionaryTranslator, read_dictionary
    from .encoder_critic import EncoderCritic
    from .resumable import critique, measure_all, translate
    from .seq2seq import Seq2SeqTranslator
    from .server_agents import ServerCritic, ServerTranslator
    from .store import CandidateStore, Record
    from .translator import CausalLMTranslator

__all__ = [
    "Calibration",
    "Candidate",
    "CandidateStore",
    "CausalLMCritic",
    "CausalLMTranslator",
    "ChatServer",
    "Critic",
    "DictionaryTranslator",
    "EncoderCritic",
    "Record",
    "Seq2SeqTranslator",
    "ServerCritic",
    "ServerTranslator",
    "Translator",
    "critique",
    "measure_all",
    "read_dictionary",
    "translate",
]

lazy_face(
    __name__,
    {
        "Calibration": "calibration",
        "Candidate": "candidate",
        "CandidateStore": "store",
        "CausalLMCritic": "critic",
        "CausalLMTranslator": "translator",
        "ChatServer": "chat_server",
        "Critic": "candidate",
        "DictionaryTranslator": "dictionary",
        "EncoderCritic": "encoder_critic",
        "Record": "store",
        "Seq2SeqTranslator": "seq2seq",
        "ServerCritic": "server_agents",
        "ServerTranslator": "server_agents",
        "Translator": "candidate",
        "critique": "resumable",
        "measure_all": "resumable",
        "read_dictionary": "dictionary",
        "translate": "resumable",
    },
)
