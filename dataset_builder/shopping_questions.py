"""Questions with known answers about shopping, sizes, prices and quantities, the same ones in eight languages."""

import csv
import json
import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text

from .candidate_source import read_candidates
from .gloss import glosser
from .lexicon import ENGLISH, LANGUAGES, SIZE_GROUPS, Lexicon, load_lexicon
from .noise import add_noise

QUESTIONS_FOLDER = Path(__file__).parent / "questions"
TEMPLATES_FILE = QUESTIONS_FOLDER / "templates.tsv"
QUESTION_CANDIDATES = QUESTIONS_FOLDER / "candidates.jsonl.xz"
SPLITS = {"train": 960, "validation": 100, "test": 100}
"""Number of questions in each language, by split."""
NUM_CHOICES = 4
_TYPE_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
_SIZES = SIZE_GROUPS["size_clothing"]
_NEIGHBOURS = (
    {"groceries", "local_food"},
    {"home", "kitchen"},
    {"beauty", "health"},
    {"fashion", "shoes_bags", "religious_festive"},
    {"baby", "toys"},
    {"home", "religious_festive"},
)
"""Departments that shoppers may confuse: if one is the right answer, the others of its group are not offered."""
_SPOILED = ("wrong_sense", "drop", "truncated", "")
"""Kinds of noise for the English text of a question without a translation; of every fourth it stays unchanged."""
_NOISE = 0.5
_MATERIALS = (
    "cotton", "plastic", "glass", "wood", "stainless_steel", "rubber", "ceramic", "paper", "wool", "silk", "leather",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A question in one language, what it says in English, translations of it, English choices and the right one.

    Questions with the same `id` are the same question in different languages.
    """

    id: str
    split: str
    language: str
    task: str
    question: str
    english: str
    candidates: tuple[str, ...]
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class _Problem:
    """A question independent of language: slots and choices are keys of the lexicon, or plain texts such as numbers."""

    slots: Mapping[str, str]
    right: str
    wrong: tuple[str, ...]


Draw = Callable[[Lexicon, Sequence[str], random.Random], _Problem]


def _complement(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
    item = rng.choice([name for name in types if lexicon.types[name].complements])
    product_type = lexicon.types[item]
    right = rng.choice(product_type.complements)
    departments = {product_type.department, lexicon.types[right].department}
    others = [name for name, other in lexicon.types.items() if other.department not in departments]
    return _Problem({"item": f"type:{item}"}, f"type:{right}", _keys("type", rng.sample(others, NUM_CHOICES - 1)))


def _department(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
    item = rng.choice(types)
    right = lexicon.types[item].department
    near = {right}.union(*(group for group in _NEIGHBOURS if right in group))
    others = sorted({product_type.department for product_type in lexicon.types.values()} - near)
    return _Problem(
        {"item": f"type:{item}"}, f"department:{right}", _keys("department", rng.sample(others, NUM_CHOICES - 1))
    )


def _material(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
    made_of = {name: lexicon.types[name].attributes.get("material", ()) for name in types}
    item = rng.choice([name for name in types if set(made_of[name]) & set(_MATERIALS)])
    right = next(material for material in made_of[item] if material in _MATERIALS)
    others = [material for material in _MATERIALS if material not in made_of[item]]
    return _Problem(
        {"item": f"type:{item}"}, f"material:{right}", _keys("material", rng.sample(others, NUM_CHOICES - 1))
    )


def _size(step: int) -> Draw:
    def draw(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
        item = rng.choice([name for name in types if "size_clothing" in lexicon.types[name].attributes])
        position = rng.randrange(2, len(_SIZES) - 2)
        right = _SIZES[position + step]
        others = [size for size in _SIZES if size not in (right, _SIZES[position + 2 * step])]  # two up may fit as well
        return _Problem(
            {"item": f"type:{item}", "size": _SIZES[position]}, right, tuple(rng.sample(others, NUM_CHOICES - 1))
        )

    return draw


def _cheaper(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
    item, other, *rest = rng.sample(types, NUM_CHOICES)
    low, high = sorted(rng.sample(range(2, 100), 2))
    if rng.random() < 0.5:
        slots, right, wrong = {"a": str(low), "b": str(high)}, item, other
    else:
        slots, right, wrong = {"a": str(high), "b": str(low)}, other, item
    names = {"item": f"type:{item}", "other": f"type:{other}"}
    return _Problem({**names, **slots}, f"type:{right}", _keys("type", [wrong, *rest]))


def _packs(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
    sold_so = [name for name in types if "pack" in lexicon.types[name].attributes]
    each, packs = rng.randrange(2, 10), rng.randrange(2, 10)
    wrong = _near(each * packs, (each + packs, each * packs + each, each * packs - packs, each * packs + 1), rng)
    return _Problem({"item": f"type:{rng.choice(sold_so)}", "a": str(each), "b": str(packs)}, str(each * packs), wrong)


def _total(lexicon: Lexicon, types: Sequence[str], rng: random.Random) -> _Problem:
    item, other = rng.sample(types, 2)
    first, second = rng.randrange(2, 50), rng.randrange(2, 50)
    total = first + second
    wrong = _near(total, (abs(first - second), total + 10, total - 1, total + 2), rng)
    slots = {"item": f"type:{item}", "other": f"type:{other}", "a": str(first), "b": str(second)}
    return _Problem(slots, str(total), wrong)


def _near(right: int, wrong: Sequence[int], rng: random.Random) -> tuple[str, ...]:
    """Return wrong results of likely mistakes: positive, different from each other and from the right one."""
    distinct = sorted({number for number in (*wrong, right + 3, right + 5) if number > 0} - {right})
    return tuple(str(number) for number in rng.sample(distinct, NUM_CHOICES - 1))


def _keys(group: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{group}:{name}" for name in names)


TASKS: dict[str, tuple[int, Draw]] = {
    "complement": (7, _complement),
    "department": (5, _department),
    "material": (3, _material),
    "size_up": (1, _size(1)),
    "size_down": (1, _size(-1)),
    "cheaper": (1, _cheaper),
    "packs": (1, _packs),
    "total": (1, _total),
}
"""By name: how many of each twenty questions, and how one is drawn."""


def read_templates(path: Path = TEMPLATES_FILE) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Return, by task and split, the question patterns as one text a language.

    Raises
    ------
    LiraError
        A file whose columns are not task, split and the languages, an unknown task, or a pattern whose slots are not
        the same in every language.
    """
    columns = ["task", "split", ENGLISH, *LANGUAGES]
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or sorted(rows[0]) != sorted(columns):
        raise LiraError(f"{path.name}: the first line must be the columns {' '.join(columns)}")
    patterns: dict[tuple[str, str], list[dict[str, str]]] = {}
    for number, cells in enumerate(rows[1:], 2):
        row = dict(zip(rows[0], cells, strict=True))
        if row["task"] not in TASKS or row["split"] not in SPLITS:
            raise LiraError(f"{path.name} line {number}: task {row['task']!r} or split {row['split']!r} is unknown")
        slots = {language: sorted(_slots(row[language])) for language in columns[2:]}
        for language, language_slots in slots.items():
            if language_slots != slots[ENGLISH]:
                raise LiraError(
                    f"{path.name} line {number}: {language} has the slots {language_slots}, English {slots[ENGLISH]}"
                )
        patterns.setdefault((row["task"], row["split"]), []).append(row)
    return patterns


def _slots(pattern: str) -> list[str]:
    return [piece.split("}")[0] for piece in pattern.split("{")[1:]]


def split_types(lexicon: Lexicon, seed: int) -> dict[str, list[str]]:
    """Assign the product types that questions ask about to the splits; no type is in two."""
    names = sorted(lexicon.types)
    random.Random(f"{seed}:types").shuffle(names)
    dealt, start = {}, 0
    for split, share in _TYPE_SHARES.items():
        end = len(names) if split == "test" else start + round(share * len(names))
        dealt[split] = names[start:end]
        start = end
    return dealt


def questions(
    seed: int = 0, counts: Mapping[str, int] | None = None, candidates: Path = QUESTION_CANDIDATES
) -> Iterator[Question]:
    """Yield every question of every split in English and the seven languages.

    Every split has templates and product types to ask about of its own.

    Parameters
    ----------
    seed : int
    counts : mapping of split to questions a language, optional
        By default `SPLITS`.
    candidates : Path
        Translations of language models, by language and text. A question that is not there gets a spoiled rendering
        and the dictionary gloss.
    """
    lexicon, patterns = load_lexicon(), read_templates()
    translated = read_candidates(candidates)
    types = split_types(lexicon, seed)
    turns = [task for task, (share, _) in TASKS.items() for _ in range(share)]
    for split, count in (counts or SPLITS).items():
        rng = random.Random(f"{seed}:{split}")
        asked: set[str] = set()
        number = 0
        while number < count:
            task = turns[number % len(turns)]
            problem = TASKS[task][1](lexicon, types[split], rng)
            pattern = rng.choice(patterns[task, split])
            choices = [problem.right, *problem.wrong]
            rng.shuffle(choices)
            rows = _rendered(lexicon, f"{split}-{number}", split, task, pattern, problem, choices)
            if rows[0].question not in asked and len(set(rows[0].choices)) == NUM_CHOICES:
                asked.add(rows[0].question)
                number += 1
                for row in rows:
                    made = [candidate.text for candidate in translated.get((row.language, row.question), ())]
                    yield row if row.language == ENGLISH else replace(row, candidates=_with_gloss(lexicon, row, made))


def _rendered(
    lexicon: Lexicon,
    identity: str,
    split: str,
    task: str,
    pattern: Mapping[str, str],
    problem: _Problem,
    choices: Sequence[str],
) -> list[Question]:
    """Return one problem as a question in every language, English first, without candidates."""

    def name_of(key: str, language: str) -> str:
        return lexicon.vocabularies[language][key].name if ":" in key else key

    def asked(language: str) -> str:
        text = pattern[language].format(**{slot: name_of(key, language) for slot, key in problem.slots.items()})
        return text[:1].upper() + text[1:]

    english, names = asked(ENGLISH), tuple(name_of(key, ENGLISH) for key in choices)
    right = choices.index(problem.right)
    return [
        Question(identity, split, language, task, asked(language), english, (), names, right)
        for language in (ENGLISH, *LANGUAGES)
    ]


def _with_gloss(lexicon: Lexicon, row: Question, translations: Sequence[str]) -> tuple[str, ...]:
    """Return a language model's translations, or else a spoiled rendering, and the dictionary gloss of the question."""
    if not translations:
        hashed = zlib.crc32(f"{row.language}:{row.id}".encode())
        kind = _SPOILED[hashed % len(_SPOILED)]
        translations = add_noise([[row.english]], _NOISE, kind, seed=hashed)[0] if kind else [row.english]
    gloss = glosser(lexicon, row.language).gloss(row.question, 1)
    return tuple(dict.fromkeys([*translations, *gloss]))


def write_questions(folder: Path, seed: int = 0, candidates: Path = QUESTION_CANDIDATES) -> dict[str, int]:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`; return how many questions each holds."""
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for question in questions(seed, candidates=candidates):
        lines[question.split].append(json.dumps(asdict(question), ensure_ascii=False))
    for split, split_lines in lines.items():
        atomic_write_text(folder / f"{split}.jsonl", "".join(f"{line}\n" for line in split_lines))
    return {split: len(split_lines) for split, split_lines in lines.items()}


def write_texts(path: Path, seed: int = 0) -> int:
    """Write the questions that are not English as JSON lines of `text`, `language`: the input of `lira translate`.

    Test comes first, so that an interrupted translation has it.
    """
    asked = [question for question in questions(seed) if question.language != ENGLISH]
    asked.sort(key=lambda question: list(SPLITS).index(question.split), reverse=True)
    rows = dict.fromkeys((question.question, question.language) for question in asked)
    lines = (json.dumps({"text": text, "language": language}, ensure_ascii=False) for text, language in rows)
    atomic_write_text(path, "".join(f"{line}\n" for line in lines))
    return len(rows)
