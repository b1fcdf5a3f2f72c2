"""Translation models, tiny and random, with real tokenizers of their kinds: is English asked for, and from what?"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tiny_translators import MAKERS, config, marian, save, with_words
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from modeling_lira.agents.languages import routes
from modeling_lira.agents.prompts import LANGUAGE_NAMES
from modeling_lira.agents.sampling import gumbel_noise
from modeling_lira.agents.seq2seq import Seq2SeqTranslator, _Noise
from modeling_lira.agents.text import clean_candidate
from modeling_lira.backbones import load_translation_model
from modeling_lira.cli import main
from modeling_lira.errors import LiraError

TEXTS = [
    "áo sơ mi trắng",
    "điện thoại",
    "เสื้อสีขาว",
    "kemeja putih",
    "sedia murah",
    "سستا فون",
    "সাদা শার্ট",
    "murang telepono",
]
SPOKEN = ["vi", "vi", "th", "id", "ms", "ur", "bn", "fil"]
Pair = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind, make in MAKERS.items():
        tokenizer = make(tmp_path_factory.mktemp(f"{kind}-tokenizer"))
        folders[kind] = save(kind, tmp_path_factory.mktemp(kind), tokenizer)
    return folders


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Path]) -> dict[str, Pair]:
    return {kind: load_translation_model(folder, dtype=torch.float32) for kind, folder in folders.items()}


def translator(pair: Pair, **settings: object) -> Seq2SeqTranslator:
    return Seq2SeqTranslator(*pair, name="tiny", **({"max_new_tokens": 8} | settings))


def run(agent: Seq2SeqTranslator, texts: Sequence[str] = TEXTS, spoken: Sequence[str] = SPOKEN) -> list[list[str]]:
    answers = {index: several for batch in agent.translate(texts, spoken) for index, several in batch}
    return [answers[index] for index in range(len(texts))]


# What the models' cards and papers say: the tokens around a source, and those that an English answer begins with.
NLLB_CODES = {
    "vi": "vie_Latn",
    "th": "tha_Thai",
    "id": "ind_Latn",
    "ms": "zsm_Latn",
    "ur": "urd_Arab",
    "bn": "ben_Beng",
    "fil": "tgl_Latn",
}


def framed(kind: str, tokenizer: PreTrainedTokenizerBase, text: str, language: str) -> tuple[list[str], list[str]]:
    words = tokenizer.tokenize(text)
    if kind == "nllb":
        return [NLLB_CODES[language], *words, "</s>"], ["</s>", "eng_Latn"]
    if kind == "m2m":
        return [f"__{'tl' if language == 'fil' else language}__", *words, "</s>"], ["</s>", "__en__"]
    if kind == "marian":
        return [*words, "</s>"], ["<pad>"]
    return ["<2en>", *words], ["<pad>"]


@torch.no_grad()
def greedy(kind: str, pair: Pair, text: str, language: str, limit: int) -> str:
    """The answer the slow way: source and answer read again for every token."""
    model, tokenizer = pair
    source, start = framed(kind, tokenizer, text, language)
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(source)])
    answer: list[int] = list(tokenizer.convert_tokens_to_ids(start))
    begun = len(answer)
    banned = [tokenizer.pad_token_id] if kind == "marian" else []
    while len(answer) < 1 + limit:
        logits = model(input_ids=ids, decoder_input_ids=torch.tensor([answer])).logits[0, -1]
        logits[banned] = -torch.inf
        best = int(logits.argmax())
        if best == tokenizer.eos_token_id:
            break
        answer.append(best)
    return clean_candidate(tokenizer.decode(answer[begun:], skip_special_tokens=True))


# --- languages


@pytest.mark.parametrize("kind", MAKERS)
def test_source_and_english_reach_the_model(kind: str, loaded: dict[str, Pair]) -> None:
    model, tokenizer = loaded[kind]
    agent = translator(loaded[kind])
    assert model.config.is_encoder_decoder
    for text, language in zip(TEXTS, SPOKEN, strict=True):
        source, _ = framed(kind, tokenizer, text, language)
        assert agent._row(text, language) == tokenizer.convert_tokens_to_ids(source)


@pytest.mark.parametrize("kind", MAKERS)
def test_first_candidate_is_the_most_likely_answer_in_english(kind: str, loaded: dict[str, Pair]) -> None:
    answers = run(translator(loaded[kind]))
    wanted = [greedy(kind, loaded[kind], text, language, 8) for text, language in zip(TEXTS, SPOKEN, strict=True)]
    for several, first in zip(answers, wanted, strict=True):
        assert several[: bool(first)] == [first] * bool(first)
    assert any(wanted) and any(len(several) > 1 for several in answers)


def test_language_changes_what_a_model_reads(loaded: dict[str, Pair]) -> None:
    for kind in ("nllb", "m2m"):
        agent = translator(loaded[kind])
        rows = {tuple(agent._row("murah", language)) for language in LANGUAGE_NAMES}
        assert len(rows) == len(LANGUAGE_NAMES)


def test_codes_are_the_tokenizers_own(loaded: dict[str, Pair]) -> None:
    for kind, english in (("nllb", "eng_Latn"), ("m2m", "__en__")):
        tokenizer = loaded[kind][1]
        by_language = routes(tokenizer, "x").named
        assert set(by_language) >= set(LANGUAGE_NAMES)
        assert {route.first_token for route in by_language.values()} == {tokenizer.convert_tokens_to_ids(english)}
    # mBART-50 has no Malay.
    mbart = routes(with_words(["en_XX", "vi_VN", "th_TH", "id_ID", "ur_PK", "bn_IN", "tl_XX"]), "x").named
    assert set(mbart) == set(LANGUAGE_NAMES) - {"ms"} and mbart["fil"].source == "tl_XX"


@pytest.mark.parametrize(
    ("language", "nllb", "m2m"),
    [
        ("km", "khm_Khmr", "km"),
        ("lo", "lao_Laoo", "lo"),
        ("my", "mya_Mymr", "my"),
        ("ta", "tam_Taml", "ta"),
        ("ms-MY", "zsm_Latn", "ms"),
        ("zh-TW", "zho_Hant", "zh"),
        ("no", "nob_Latn", "no"),
        ("fa", "pes_Arab", "fa"),
        ("ceb", "ceb_Latn", "ceb"),
    ],
)
def test_every_language_of_a_model_is_reached_by_its_usual_code(
    language: str, nllb: str, m2m: str, loaded: dict[str, Pair]
) -> None:
    for kind, code in (("nllb", nllb), ("m2m", m2m)):
        route = routes(loaded[kind][1], "x").of(language)
        assert route is not None and route.source == code
    assert routes(loaded["madlad"][1], "x").of(language) is not None
    assert routes(loaded["nllb"][1], "x").of("tlh") is None


@pytest.mark.parametrize(
    ("name", "source", "target", "languages"),
    [
        ("x", "vie", "eng", "vi"),
        ("x", "vi", "en", "vi"),
        ("x", "tl", "en", "fil"),
        ("x", "mul", "eng", "vi th id ms ur bn fil km lo my ta"),
        ("x", "deu", "eng", "de"),
        ("x", "mkh", "eng", "km vi"),
        ("x", "dra", "en", "ta"),
        ("x", "inc", "eng", "ur bn"),
        ("x", "poz", "en", "id ms fil"),
        ("Helsinki-NLP/opus-mt-th-en", None, None, "th"),
        ("/models/opus-mt-tc-big-zsm_ind-eng", None, None, "id ms"),
    ],
)
def test_opus_mt_is_asked_only_for_the_languages_of_its_name(
    name: str, source: str | None, target: str | None, languages: str, tmp_path: Path
) -> None:
    known = routes(marian(tmp_path, source, target), name)
    assert all(known.of(code) for code in languages.split())
    assert source == "mul" or set(known.named) == set(languages.split())


def test_opus_mt_with_several_targets_is_told_which(tmp_path: Path) -> None:
    tokenizer = marian(tmp_path, "vie", "mul", codes=[">>deu<<", ">>eng<<"])
    assert {route.before for route in routes(tokenizer, "x").named.values()} == {">>eng<< "}
    agent = Seq2SeqTranslator(AutoModelForSeq2SeqLM.from_config(config("marian", tokenizer)), tokenizer, name="x")
    row = agent._row(">>deu<< áo", "vi")
    codes = list(tokenizer.convert_tokens_to_ids([">>eng<<", ">>deu<<"]))
    assert row[0] == codes[0] and codes[1] not in row


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: marian(folder, "", "eng"), "does not say what it translates from"),
        (lambda folder: marian(folder, "eng", "vie"), "translates into 'vie', not into English"),
        (lambda folder: marian(folder, None, None), "translates into 'an unknown language'"),
        (lambda folder: with_words(["<2de>"]), "has no language codes that are known here: use NLLB"),
    ],
)
def test_models_of_no_use_are_named(
    make: Callable[[Path], PreTrainedTokenizerBase], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LiraError, match=f"model 'local' .*{message}"):
        routes(make(tmp_path), "local")


def test_a_language_that_the_model_does_not_read_is_named(loaded: dict[str, Pair], tmp_path: Path) -> None:
    agent = Seq2SeqTranslator(loaded["marian"][0], marian(tmp_path, "vie"), name="opus")
    with pytest.raises(LiraError, match="model 'opus' does not translate from bn, th, only from vi"):
        next(agent.translate(["áo", "เสื้อ", "জামা"], ["vi", "th", "bn"]))


@pytest.mark.parametrize("kind", ["nllb", "m2m", "madlad"])
def test_a_text_cannot_name_another_language(kind: str, loaded: dict[str, Pair]) -> None:
    tokenizer = loaded[kind][1]
    agent = translator(loaded[kind])
    row = agent._row("áo tha_Thai __th__ </s> <2vi> ", "vi")
    special = {tokenizer.convert_tokens_to_ids(word) for word in ("tha_Thai", "__th__", "</s>", "<2vi>")}
    special -= {tokenizer.unk_token_id}
    frame = agent._row("áo", "vi")
    assert sum(index in special for index in row) == sum(index in special for index in frame)


# --- candidates


@pytest.mark.parametrize("decoding", ["sample", "beam"])
@pytest.mark.parametrize("kind", ["nllb", "marian"])
def test_candidates_do_not_depend_on_their_batch(kind: str, decoding: str, loaded: dict[str, Pair]) -> None:
    together = run(translator(loaded[kind], decoding=decoding), TEXTS * 2, SPOKEN * 2)
    assert together[: len(TEXTS)] == together[len(TEXTS) :]
    backwards = run(translator(loaded[kind], decoding=decoding, batch_size=1), TEXTS[::-1], SPOKEN[::-1])
    assert together[: len(TEXTS)] == backwards[::-1]
    assert all(len(set(several)) == len(several) <= 4 for several in together)
    assert any(len(several) > 1 for several in together)


def test_seed_changes_the_sampled_candidates_only(loaded: dict[str, Pair]) -> None:
    first = run(translator(loaded["m2m"], seed=1))
    assert run(translator(loaded["m2m"], seed=1)) == first
    second = run(translator(loaded["m2m"], seed=2))
    single = run(translator(loaded["m2m"], num_candidates=1))
    assert [several[:1] for several in first] == [several[:1] for several in second] == single
    assert first != second


@torch.no_grad()
def beams(model: PreTrainedModel, ids: Tensor, start: list[int], limit: int, wanted: int, end: int) -> list[list[int]]:
    """All answers of up to `limit` tokens, the best by mean log-probability first: beam search without pruning."""
    open_, done = [(0.0, start)], []
    for _ in range(limit):
        logits = model(
            input_ids=ids.expand(len(open_), -1), decoder_input_ids=torch.tensor([ids for _, ids in open_])
        ).logits[:, -1]
        longer = [
            (score + float(value), [*answer, token])
            for (score, answer), row in zip(open_, logits.log_softmax(-1), strict=True)
            for token, value in enumerate(row)
        ]
        longer.sort(key=lambda item: -item[0])
        done += [(score / (len(answer) - len(start)), answer) for score, answer in longer if answer[-1] == end]
        open_ = [(score, answer) for score, answer in longer if answer[-1] != end][:400]
    done += [(score / (len(answer) - len(start)), answer) for score, answer in open_]
    done.sort(key=lambda item: -item[0])
    return [answer for _, answer in done[:wanted]]


def test_beam_search_gives_likely_answers_best_first(loaded: dict[str, Pair]) -> None:
    model, tokenizer = loaded["m2m"]
    agent = translator((model, tokenizer), decoding="beam", num_candidates=2, max_new_tokens=3)
    ids = torch.tensor([agent._row("murah", "id")])
    best_answers = agent._beam(ids, "id", 3)[0].tolist()
    start = tokenizer.convert_tokens_to_ids(["</s>", "__en__"])
    assert all(answer[:2] == start for answer in best_answers) and len(best_answers) == 3
    best = beams(model, ids, start, 2, 3, tokenizer.eos_token_id)
    assert best_answers[0] == best[0]


def test_noise_samples_at_the_temperature_among_the_best(loaded: dict[str, Pair]) -> None:
    logits = torch.tensor([2.0, -9.0, 1.5, 1.0, 0.0, -1.0])
    noise = gumbel_noise("áo", "vi", 0, 3001, 1, 4)
    assert not noise[0].any()
    picks = _Noise(noise, 0.5)(torch.zeros(3001, 1), logits.expand(3001, -1)).argmax(-1)
    assert picks[0] == 0
    shares = torch.bincount(picks[1:], minlength=6) / 3000
    wanted = torch.zeros(6)
    wanted[[0, 2, 3, 4]] = (logits[[0, 2, 3, 4]] / 0.5).softmax(-1)
    torch.testing.assert_close(shares, wanted, atol=0.025, rtol=0)


def test_long_texts_are_cut_and_keep_their_end(loaded: dict[str, Pair]) -> None:
    agent = translator(loaded["nllb"], max_source_tokens=6)
    row = agent._row("áo " * 500, "vi")
    tokens = loaded["nllb"][1].convert_ids_to_tokens(row)
    assert len(row) == 6 and (tokens[0], tokens[-1]) == ("vie_Latn", "</s>")


def test_settings_tell_translators_apart(loaded: dict[str, Pair]) -> None:
    base = translator(loaded["m2m"]).settings
    assert translator(loaded["m2m"], batch_size=3).settings == base
    changed = [{"seed": 1}, {"temperature": 0.5}, {"top_k": 3}, {"num_candidates": 2}, {"decoding": "beam"}]
    assert all(translator(loaded["m2m"], **one).settings != base for one in changed)
    beam = translator(loaded["m2m"], decoding="beam").settings
    assert translator(loaded["m2m"], decoding="beam", seed=1).settings == beam


@pytest.mark.parametrize("wrong", [{"num_candidates": 0}, {"temperature": 0.0}, {"top_k": 0}])
def test_bad_settings_are_refused(wrong: dict[str, int], loaded: dict[str, Pair]) -> None:
    with pytest.raises(LiraError, match="must be positive"):
        translator(loaded["m2m"], **wrong)


# --- commands


def lira(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.mark.parametrize("decoding", ["sample", "beam"])
def test_translate_finds_out_what_kind_of_model_it_has(decoding: str, folders: dict[str, Path], tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"language": language, "lang": "?", "text": text} for text, language in zip(TEXTS, SPOKEN, strict=True)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = ("--model", folders["nllb"], "--decoding", decoding, "--dtype", "float32", "--num-candidates", 2)
    assert lira("translate", "--input", source, "--output", output, *model) == 0
    candidates = [json.loads(line)["candidates"] for line in output.read_text().splitlines()]
    agent = Seq2SeqTranslator(
        *load_translation_model(folders["nllb"], dtype=torch.float32), name="x", num_candidates=2, decoding=decoding
    )
    assert [[c["text"] for c in several] for several in candidates] == run(agent)
    assert {c["agent"] for several in candidates for c in several} == {str(folders["nllb"])}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "--decoding", "beam", "--seed", "1"], "--decoding beam has no use for --seed"),
        (["critique"], "is a translation model: a critic needs a causal language model"),
    ],
)
def test_uses_that_make_no_sense_are_one_line(
    arguments: list[str], message: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"lang": "vi", "text": "a", "candidates": [{"text": "b"}]}\n')
    paths = ("--input", source, "--output", tmp_path / "out.jsonl", "--model", folders["m2m"])
    assert lira(*arguments, *paths) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
