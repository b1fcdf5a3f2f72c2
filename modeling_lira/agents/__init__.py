"""Agents: translators that make English candidates, critics that score them, and the store of their finished work."""

from .calibration import Calibration
from .candidate import Candidate, Critic, Translator
from .chat_server import ChatServer
from .critic import CausalLMCritic
from .dictionary import DictionaryTranslator, read_dictionary
from .resumable import critique_all, measure_all, translate_all
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
    "Record",
    "Seq2SeqTranslator",
    "ServerCritic",
    "ServerTranslator",
    "Translator",
    "critique_all",
    "measure_all",
    "read_dictionary",
    "translate_all",
]
