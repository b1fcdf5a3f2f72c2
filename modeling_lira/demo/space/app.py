"""The Space: one query searched by the encoder alone, by LiRA without translations and by LiRA with them.

Only the page needs gradio: titles are embedded without it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

if TYPE_CHECKING:
    import gradio as gr

HERE = Path(__file__).parent
NAMES = {
    "vi": "Tiếng Việt · Vietnamese",
    "th": "ไทย · Thai",
    "id": "Bahasa Indonesia · Indonesian",
    "ms": "Bahasa Melayu · Malay",
    "ur": "اردو · Urdu",
    "bn": "বাংলা · Bengali",
    "fil": "Filipino",
}
RIGHT_TO_LEFT = ("ur",)
UNSPACED = ("th",)
CRITICS = ("meaning", "tone", "purpose")
RESULTS, MOST_CHARACTERS = 5, 500
LOCAL, ENGLISH = "titles in the query's language", "English titles"
Model = Any
"""A LiRA model: the Space has its class only beside the weights."""
Scores = Sequence[float | None]
Showcase = Mapping[str, Mapping[str, Any]]
"""Language -> titles, examples and words, as `python -m dataset_builder showcase` writes them."""
CSS = """
.lira { display: flex; flex-wrap: wrap; gap: 1rem }
.lira section { flex: 1 1 17rem; min-width: 0 }
.lira h3 { margin: 0 0 .4rem; font-size: 1rem }
.lira ol { margin: 0; padding: 0; list-style: none }
.lira li { padding: .4rem .6rem; margin-bottom: .4rem; border-radius: 6px }
.lira li { border: 1px solid var(--border-color-primary) }
.lira li > div { overflow-wrap: anywhere; unicode-bidi: plaintext; text-align: start }
.lira small { opacity: .75 }
.lira .chosen { border-color: #16803c; border-width: 2px }
.lira .bar { height: .6rem; border-radius: 4px; background: var(--border-color-primary) }
.lira .bar > div { height: 100%; border-radius: 4px; background: #16803c }
"""


@dataclass(frozen=True)
class Worth:
    """What LiRA made of a query and its translations; lists by translation."""

    embedding: Tensor
    similarities: list[float]
    probabilities: list[float]
    selected: int
    english_weight: float


@torch.no_grad()
def examine(model: Model, text: str, language: str, candidates: Sequence[str], scores: Sequence[Scores]) -> Worth:
    """Run LiRA on one query with its translations; a score of None is one that no critic gave."""
    processor = model.processor
    numbers = [[float("nan") if score is None else score for score in row] for row in scores]
    batch = processor([text], languages=language, candidates=[list(candidates)], critic_scores=[numbers])
    output = model(**{name: torch.as_tensor(value).to(model.device) for name, value in batch.items()})
    if not candidates:
        return Worth(output.sentence_embedding[0], [], [], -1, 0.0)
    return Worth(
        output.sentence_embedding[0],
        output.similarities[0].tolist(),
        output.policy_logits[0].softmax(-1).tolist(),
        int(output.selected[0]),
        float(output.english_weight[0]),
    )


def encoder_alone(model: Model, texts: Sequence[str], kind: str) -> Tensor:
    """Return the embeddings [N, H] of the multilingual encoder alone: the mean of its states, unit length."""
    return F.normalize(model.encode_streams(texts, "multilingual", kind).float().mean(1), dim=-1)


def title_vectors(model: Model, showcase: Showcase) -> dict[str, Tensor]:
    """Embed all titles: what the app searches, by `{language}.{local or english}.{lira or encoder}`."""
    vectors = {}
    for language, part in showcase.items():
        for column, (kind, code) in enumerate((("local", language), ("english", "en"))):
            titles = [pair[column] or pair[0] for pair in part["titles"]]
            vectors[f"{language}.{kind}.lira"] = model.encode_document(titles, code)
            vectors[f"{language}.{kind}.encoder"] = encoder_alone(model, titles, "document")
    return vectors


class OnFirstUse(dict[str, Tensor]):
    """The embeddings of a language's titles, made when they are first asked for: the app starts at once."""

    def __init__(self, model: Model, showcase: Showcase) -> None:
        super().__init__()
        self._model, self._showcase = model, showcase

    def __missing__(self, name: str) -> Tensor:
        language = name.partition(".")[0]
        self.update(title_vectors(self._model, {language: self._showcase[language]}))
        return self[name]


def word_for_word(text: str, words: Mapping[str, str], language: str) -> str:
    """Return the English of the longest known words of a text, from left to right; other words are left out."""
    joint = "" if language in UNSPACED else " "
    pieces = list(text.casefold()) if language in UNSPACED else text.casefold().split()
    english, position = [], 0
    while position < len(pieces):
        ends = range(min(len(pieces), position + 40), position, -1)
        end = next((end for end in ends if joint.join(pieces[position:end]) in words), position)
        if end > position:
            english.append(words[joint.join(pieces[position:end])])
        elif joint and pieces[position].isascii():
            english.append(pieces[position])
        position = max(end, position + 1)
    return " ".join(filter(None, english))


# ---------------------------------------------------------------- what is shown; texts only ever as escaped text


def results(heading: str, scores: Tensor, titles: Sequence[Sequence[str]]) -> str:
    """Return a list of the best products as HTML."""
    best = scores.topk(min(RESULTS, len(titles)))
    rows = "".join(
        f"<li><div dir='auto'>{escape(titles[row][0])}</div>"
        f"<div dir='auto'><small>{escape(titles[row][1])}</small></div><small>{score:.3f}</small></li>"
        for score, row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    return f"<section><h3>{escape(heading)}</h3><ol>{rows}</ol></section>"


def worths(worth: Worth, candidates: Sequence[str], scores: Sequence[Scores]) -> str:
    """Return what each translation is worth as HTML, and the weight of them all as a bar."""
    if not candidates:
        return "<section><h3>No translation: the query alone counts</h3></section>"
    rows = "".join(
        f"<li class='{'chosen' if row == worth.selected else ''}'><div dir='auto'>{escape(text)}</div>"
        f"<small>{'✓ preferred by LiRA · ' if row == worth.selected else ''}sure {worth.probabilities[row]:.0%} · "
        f"similarity {worth.similarities[row]:.3f} · {said_by_critics(scores[row])}</small></li>"
        for row, text in enumerate(candidates)
    )
    share = f"{100 * worth.english_weight:.0f}%"
    bar = f"<div class='bar'><div style='width:{share}'></div></div>"
    return (
        f"<section><h3>What each translation is worth</h3><ol>{rows}</ol></section>"
        f"<section><h3>LiRA gives the translations a weight of {share}</h3>{bar}</section>"
    )


def said_by_critics(scores: Scores) -> str:
    """Return the critics' scores of one translation as text."""
    given = [f"{name} {score:.1f}" for name, score in zip(CRITICS, scores, strict=True) if score is not None]
    return "critics, of 10: " + ", ".join(given) if given else "no critic has scored it"


# ---------------------------------------------------------------- the app


@dataclass(frozen=True)
class Shop:
    """A model, what is shown, and the embeddings of its titles."""

    model: Model
    showcase: Showcase
    vectors: Mapping[str, Tensor]

    def search(self, language: str, text: str, written: str, searched: str) -> str:
        """Search in all three ways; returns HTML."""
        text = (text or "").strip()[:MOST_CHARACTERS]
        if not text or language not in self.showcase:
            return "<p>Type a query, or choose an example.</p>"
        candidates = self.candidates(language, text, written or "")
        scores = [self.critics(language, text, candidate) for candidate in candidates]
        try:
            plain = examine(self.model, text, language, [], [])
            whole = examine(self.model, text, language, candidates, scores)
            alone = encoder_alone(self.model, [text], "query")[0]
        except ValueError as error:  # what the processor says of a text that nobody can see, for example
            return f"<p>{escape(str(error))}</p>"
        kind, titles = "english" if searched == ENGLISH else "local", self.showcase[language]["titles"]
        lira, encoder = (self.vectors[f"{language}.{kind}.{system}"] for system in ("lira", "encoder"))
        columns = [
            results("Encoder alone", encoder @ alone, titles),
            results("LiRA without translations", lira @ plain.embedding.float().cpu(), titles),
            results("LiRA with translations", lira @ whole.embedding.float().cpu(), titles),
        ]
        return f"<div class='lira'>{''.join(columns)}{worths(whole, candidates, scores)}</div>"

    def candidates(self, language: str, text: str, written: str) -> list[str]:
        """Return the translations that a visitor wrote, one a line, or else the word-for-word one."""
        lines = [line.strip()[:MOST_CHARACTERS] for line in written.splitlines()]
        lines = list(dict.fromkeys(filter(None, lines)))
        words = self.showcase[language]["words"]
        return (lines or list(filter(None, [word_for_word(text, words, language)])))[: self.model.config.num_candidates]

    def critics(self, language: str, text: str, candidate: str) -> Scores:
        """Return the critics' scores of an example's translation; nobody has scored any other."""
        for example in self.showcase[language]["examples"]:
            if example["text"] == text and candidate in example["candidates"]:
                return example["scores"][example["candidates"].index(candidate)]
        return [None] * len(CRITICS)

    def examples(self, language: str) -> list[list[str]]:
        """Return the example queries of a language, each with its translations, one a line."""
        return [[one["text"], "\n".join(one["candidates"])] for one in self.showcase[language]["examples"]]


def build(shop: Shop) -> "gr.Blocks":
    """Lay the page out."""
    import gradio as gr

    first = next(iter(shop.showcase))
    languages = [(NAMES.get(code, code), code) for code in shop.showcase]
    with gr.Blocks(title="LiRA product search", analytics_enabled=False) as page:
        gr.Markdown("# LiRA product search\nOne query, three ways of searching, and what each translation is worth.")
        with gr.Row():
            language = gr.Dropdown(languages, value=first, label="Language", elem_id="language", filterable=False)
            searched = gr.Radio([LOCAL, ENGLISH], value=LOCAL, label="Search", elem_id="searched")
        text = gr.Textbox(label="Query", max_length=MOST_CHARACTERS, elem_id="query")
        written = gr.Textbox(
            label="English translations, one a line", lines=3, elem_id="translations",
            info="Good or bad, your own or the example's. Left empty: word for word.",
        )  # fmt: skip
        samples = gr.Dataset(
            components=[text, written], samples=shop.examples(first), headers=["Query", "Translations"],
            label="Examples", elem_id="examples", sample_labels=[one[0] for one in shop.examples(first)],
        )  # fmt: skip
        button = gr.Button("Search", variant="primary", elem_id="search")
        shown = gr.HTML(elem_id="results")
        inputs = [language, text, written, searched]
        language.change(lambda code: _in_language(shop, code), language, [text, written, samples, shown])
        samples.click(lambda sample: sample, samples, [text, written]).then(shop.search, inputs, shown)
        gr.on([button.click, text.submit, searched.change], shop.search, inputs, shown)
    return page


def _in_language(shop: Shop, code: str) -> tuple[Any, ...]:
    """Return what the fields become in another language: empty, in its direction, with its examples."""
    import gradio as gr

    examples = shop.examples(code)
    samples = gr.Dataset(samples=examples, sample_labels=[one[0] for one in examples])
    return gr.Textbox("", rtl=code in RIGHT_TO_LEFT), "", samples, ""


def start(shop: Shop, **options: Any) -> None:
    """Serve the page; options as in `gradio.Blocks.launch`."""
    build(shop).queue(max_size=32).launch(css=CSS, **options)


if __name__ == "__main__":
    start(
        Shop(
            AutoModel.from_pretrained(HERE / "model", trust_remote_code=True).eval(),
            json.loads((HERE / "showcase.json").read_text(encoding="utf-8")),
            load_file(HERE / "titles.safetensors"),
        )
    )
