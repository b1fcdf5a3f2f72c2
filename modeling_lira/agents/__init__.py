"""Agents: translators that make English candidates, critics that score them, and the store of their finished work."""

from modeling_lira.agents.calibration import Calibration
from modeling_lira.agents.candidate import Candidate, Critic, Translator
from modeling_lira.agents.chat_server import ChatServer
from modeling_lira.agents.critic import CausalLMCritic
from modeling_lira.agents.dictionary import DictionaryTranslator, read_dictionary
from modeling_lira.agents.resumable import critique_all, measure_all, translate_all
from modeling_lira.agents.seq2seq import Seq2SeqTranslator
from modeling_lira.agents.server_agents import ServerCritic, ServerTranslator
from modeling_lira.agents.store import CandidateStore, Record
from modeling_lira.agents.translator import CausalLMTranslator

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
