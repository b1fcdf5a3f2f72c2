"""Serve queries one at a time and in batches, each way in a process of its own: latency, texts per second, memory."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from modeling_lira.agents.critic import CausalLMCritic
from modeling_lira.agents.translator import CausalLMTranslator
from modeling_lira.backbones import load_translation_model, resolve
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import ENCODER, LIRA, LIRA_FREE, TRANSLATE
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.provenance import ROOT, peak_memory_gib

BATCH = 64
TRANSLATED_COUNTED = f"{TRANSLATE}; translator counted"
COUNTED = f"{LIRA}; translator counted"
CRITIC_COUNTED = f"{LIRA}; translator and critic counted"
Serve = Callable[[Sequence[int]], object]


@dataclass(frozen=True)
class Job:
    """What to serve, and how.

    `way` is a key of `WAYS`; `singles` of the texts are timed one by one, then all of them in batches.
    """

    way: str
    multilingual: str
    english: str
    translator: str
    languages: list[str]
    texts: list[str]
    codes: list[str]
    candidates: list[list[str]]
    num_candidates: int
    singles: int
    threads: int

    @property
    def first(self) -> list[str]:
        """Each text's first candidate, the text itself where there is none."""
        return [row[0] if row else text for text, row in zip(self.texts, self.candidates, strict=True)]


def probe(job: Job) -> dict[str, list[float]]:
    """Serve a job in a process of its own.

    Returns
    -------
    dict
        `latencies` in seconds, `rate` in texts/second, `memory` at its peak in GiB; lists, the last two of one number.

    Raises
    ------
    LiraError
        What the process could not do, a model that is not there for one.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "eval.studies.serving"],
        input=json.dumps(asdict(job)), capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip() or "it was killed").splitlines()[-1]
        raise LiraError(f"serving {job.way!r} failed: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def serve(job: Job) -> dict[str, list[float]]:
    """Serve a job in this process; see `probe`."""
    torch.set_num_threads(job.threads)
    answer = WAYS[job.way](job)
    answer(range(min(4, len(job.texts))))
    latencies = []
    for number in range(min(job.singles, len(job.texts))):
        start = time.perf_counter()
        answer([number])
        latencies.append(time.perf_counter() - start)
    start = time.perf_counter()
    answer(range(len(job.texts)))
    rate = len(job.texts) / (time.perf_counter() - start)
    return {"latencies": latencies, "rate": [rate], "memory": [_peak_memory_gib()]}


def _peak_memory_gib() -> float:
    """Return this program's peak; what `getrusage` says includes the process that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return peak_memory_gib()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kilobytes) / 2**20


def _sentence_encoder(name: str, texts: Sequence[str], prompt: str) -> Serve:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(resolve(name)), device="cpu")
    return lambda rows: model.encode(
        [texts[row] for row in rows], prompt=prompt, batch_size=BATCH, normalize_embeddings=True
    )


def _encoder(job: Job) -> Serve:
    return _sentence_encoder(job.multilingual, job.texts, "query: " if "e5" in job.multilingual else "")


def _translated(job: Job) -> Serve:
    return _sentence_encoder(job.english, job.first, "")


def _lira(job: Job) -> LiraModel:
    return LiraModel.from_backbones(job.multilingual, job.english, languages=[*job.languages, "en"])


def _free(job: Job) -> Serve:
    model = _lira(job)
    return lambda rows: model.encode_query(
        [job.texts[row] for row in rows], [job.codes[row] for row in rows], batch_size=BATCH
    )


def _given(job: Job) -> Serve:
    model = _lira(job)
    return lambda rows: _encode(model, job, rows, [job.candidates[row] for row in rows])


def _encode(model: LiraModel, job: Job, rows: Sequence[int], candidates: list[list[str]]) -> Tensor:
    texts, codes = [job.texts[row] for row in rows], [job.codes[row] for row in rows]
    return model.encode_query(texts, codes, candidates=candidates, batch_size=BATCH)


Translate = Callable[[Sequence[int]], list[list[str]]]


def _translate(job: Job, num_candidates: int) -> tuple[Translate, CausalLMCritic]:
    """Return a translator of the job's texts, and a critic on the same weights."""
    model, tokenizer = load_translation_model(job.translator)
    if model.config.is_encoder_decoder:
        raise LiraError(f"translator {job.translator!r} is not a causal language model")
    translator = CausalLMTranslator(model, tokenizer, name=job.translator, num_candidates=num_candidates)

    def translate(rows: Sequence[int]) -> list[list[str]]:
        translations: list[list[str]] = [[] for _ in rows]
        for batch in translator.translate([job.texts[row] for row in rows], [job.codes[row] for row in rows]):
            for position, candidates in batch:
                translations[position] = candidates
        return translations

    return translate, CausalLMCritic(model, tokenizer, name=job.translator)


def _translated_counted(job: Job) -> Serve:
    from sentence_transformers import SentenceTransformer

    translate, _ = _translate(job, 1)
    model = SentenceTransformer(str(resolve(job.english)), device="cpu")
    return lambda rows: model.encode(
        [row[0] if row else "" for row in translate(rows)], batch_size=BATCH, normalize_embeddings=True
    )


def _counted(job: Job) -> Serve:
    translate, _ = _translate(job, job.num_candidates)
    model = _lira(job)
    return lambda rows: _encode(model, job, rows, translate(rows))


def _critic_counted(job: Job) -> Serve:
    translate, critic = _translate(job, job.num_candidates)
    model = _lira(job)

    def answer(rows: Sequence[int]) -> Tensor:
        candidates = translate(rows)
        pairs = [
            (job.texts[row], text, job.codes[row])
            for row, texts in zip(rows, candidates, strict=True)
            for text in texts
        ]
        for _ in critic.measure(*(list(column) for column in zip(*pairs, strict=True))):
            pass  # the mapping to [1, 10] that follows costs nothing
        return _encode(model, job, rows, candidates)

    return answer


WAYS: dict[str, Callable[[Job], Serve]] = {
    ENCODER: _encoder,
    TRANSLATE: _translated,
    LIRA_FREE: _free,
    LIRA: _given,
    TRANSLATED_COUNTED: _translated_counted,
    COUNTED: _counted,
    CRITIC_COUNTED: _critic_counted,
}
"""By name, from the cheapest."""
DIMENSIONS = {ENCODER: 1, TRANSLATE: 1, LIRA_FREE: 2, LIRA: 2}
"""Embedding width in multiples of an encoder's own."""


def main() -> None:
    """Serve the job on standard input."""
    try:
        measured = serve(Job(**json.load(sys.stdin)))
    except LiraError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
