"""What the tests of agents behind a server share: texts, rules by which a server answers, and calls of both agents."""

from collections.abc import Sequence

from llm_server import LLMServer

from modeling_lira.agents.candidate import Scores
from modeling_lira.agents.chat_server import (
    ChatServer,
)
from modeling_lira.agents.server_agents import ServerCritic, ServerTranslator

KEY = "sk-secret-4711"
TEXTS = ["áo đỏ", "เสื้อสีแดง", "kaus merah", "لال قمیض"]
SPOKEN = ["vi", "th", "id", "ur"]


def translations(fields: dict[str, str], body: object = None) -> object:
    return {"translations": [f"{fields['text']} one", f"{fields['text']} two"]}


def scores(fields: dict[str, str], body: object = None) -> dict[str, float]:
    """A fixed rule on the decoded fields: how many words of the translation the text's true one has."""
    true = {"áo đỏ": "red shirt", "giày": "shoes"}[fields["text"]]
    shared = set(true.split()) & set(fields["translation"].split())
    semantic = 1 + 9 * len(shared) / max(len(set(fields["translation"].split())), len(true.split()))
    return {"semantic": semantic, "emotional": 5, "pragmatic": 2.5}


def chat(server: LLMServer, **options: object) -> ChatServer:
    return ChatServer("tiny", server.url, **({"timeout": 10.0, "first_pause": 0.01} | options))


def translate(
    server: LLMServer, texts: Sequence[str] = TEXTS, spoken: Sequence[str] = SPOKEN, **options: object
) -> dict[int, list[str]]:
    agent = ServerTranslator(chat(server, **options))
    return {row: candidates for batch in agent.translate(texts, spoken) for row, candidates in batch}


def score(server: LLMServer, pairs: Sequence[tuple[str, str]], **options: object) -> dict[int, Scores]:
    critic = ServerCritic(chat(server, **options))
    texts, candidates = [text for text, _ in pairs], [candidate for _, candidate in pairs]
    return {p: s for batch in critic.measure(texts, candidates, ["vi"] * len(pairs)) for p, s in batch}


WHOLE = {row: [f"{text} one", f"{text} two"] for row, text in enumerate(TEXTS)}
