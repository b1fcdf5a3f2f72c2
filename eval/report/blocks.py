"""Measured figures as Markdown: one function a block of the README, from the JSON that the measurement wrote."""

from collections.abc import Callable, Iterator, Mapping
from statistics import fmean

from modeling_lira.evaluation.names import LIRA, TRANSLATE
from modeling_lira.faces.markup import Markdown, markdown_code, markdown_head, markdown_row, markdown_text

from ..benchmarks import gate
from ..markdown import KEYS, interval, negated, scaled
from ..studies import averages
from ..studies.backbones import shown_pair
from ..studies.conditions import CRITIC, GLOSS, LOCAL, NONE, REFERENCE, UNSEEN, noise_name


def demo_block(results: dict) -> str:
    """Render the demo's tables."""
    lines = []
    for title, numbers in results["ndcg@10"].items():
        languages = list(numbers["systems"][LIRA])
        lines += [
            markdown_text(f"nDCG@10 × 100 on test, searching {title}:"),
            "",
            *markdown_head(["system", *languages]),
        ]
        for system, values in numbers["systems"].items():
            lines.append(markdown_row([system, *(f"{100 * values[language]:.1f}" for language in languages)]))
        for rival, gains in numbers["gains"].items():
            lines.append(
                markdown_row([_bold(f"gain over {rival}"), *(f"{100 * mean:+.1f}" for mean, _, _ in gains.values())])
            )
            bounds = (f"{100 * low:+.1f} … {100 * high:+.1f}" for _, low, high in gains.values())
            lines.append(markdown_row(["95% interval", *bounds]))
        lines.append("")
    seconds = results["seconds"]
    training = sum(value for name, value in seconds.items() if name.startswith(("tune ", "train stage")))
    total, threads = sum(seconds.values()), results["threads"]
    note = f"One run, seed {results['seed']}: {total:.0f} s on {threads} threads, {training:.0f} s of it training; "
    note += f"peak memory {results['peak_memory_gib']:.1f} GiB. Intervals: paired bootstrap over test queries."
    lines.append(markdown_text(note))
    return "\n".join(lines)


def throughput_block(results: dict) -> str:
    """Render the throughput table."""
    lines = markdown_head(["system", "texts/s", "ratio"])
    for system, ratio in results["ratio"].items():
        lines.append(markdown_row([system, f"{results['texts_per_second'][system]:.0f}", f"{ratio:.2f}"]))
    note = f"{results['texts']} corpus queries on {results['threads']} threads, batches of {results['batch_size']}."
    lines += ["", markdown_text(note)]
    return "\n".join(lines)


def check_block(results: dict) -> str:
    """Render how often the critic in use puts a true translation above an unrelated one."""
    languages = results["languages"]
    shares = [f"{values['share']:.3f}" for values in languages.values()]
    counts = [str(values["count"]) for values in languages.values()]
    return "\n".join(
        [
            *markdown_head(["", *languages]),
            markdown_row(["share", *shares]),
            markdown_row(["comparisons", *counts]),
        ]
    )


def ablations_block(results: dict) -> str:
    """Render every system's means on test, and LiRA's gain over it."""
    ways = list(next(iter(results["systems"].values()))["ndcg@10"])
    columns = ["system", *ways, "unseen types", "Pearson", "Spearman", "LiRA's gain, English titles (95%)"]
    lines = markdown_head(columns)
    for name, figures in results["systems"].items():
        cells = [
            scaled(figures["ndcg@10"][way])
            + (f" ± {100 * spread:.1f}" if (spread := figures["deviation_over_seeds"][way]) else "")
            for way in ways
        ]
        unseen = scaled(figures["ndcg@10_unseen_types"]["English titles"])
        correlations = [scaled(value, 1, 3) for value in figures["correlation"].values()]
        gain = results["gains"].get(f"English titles against {name}")
        shown = "" if gain is None else "{:+.1f} ({:+.1f} … {:+.1f})".format(*(100 * v for v in gain["all"]["mean"]))
        lines.append(markdown_row([name, *cells, unseen, *correlations, shown]))
    seeds = ", ".join(str(seed) for seed in results["seeds"])
    note = f"nDCG@10 × 100 on test, mean of {len(results['corpus']['languages'])} languages; seeds {seeds}."
    lines += ["", markdown_text(note)]
    return "\n".join(lines)


def generalisation_block(results: dict) -> str:
    """Render what a saved model reaches on texts unlike its training's."""
    lines = []
    for name, figures in results["payload"]["sets"].items():
        languages = list(next(iter(figures["ndcg@10"].values())))
        lines += [markdown_text(f"{name}, nDCG@10 × 100:"), "", *markdown_head(["system", *languages])]
        for system, values in figures["ndcg@10"].items():
            lines.append(markdown_row([system, *(scaled(values.get(language)) for language in languages)]))
        for pair, values in figures["differences"].items():
            if TRANSLATE not in pair:
                lines += ["", markdown_text(f"{pair}: {interval(values['mean'])}.")]
        lines += [*_too_narrow(figures["differences"]), ""]
    return "\n".join(lines)


def _too_narrow(pairs: Mapping[str, Mapping[str, Mapping]]) -> Iterator[str]:
    """Yield a warning where a record's intervals were drawn row by row although its rows are parallel.

    Records made since then count the different `questions` of every difference.
    """
    if any("questions" not in difference for values in pairs.values() for difference in values.values()):
        yield ""
        yield (
            "**These intervals of means over languages are too narrow**: they count the same question in several "
            "languages as so many independent ones. Measured again, they are drawn question by question."
        )


def retrieval_block(results: dict) -> str:
    """Render how a saved model searches the corpus, mean of languages, and its gains over the encoder alone."""
    payload = results["payload"]
    searches = payload["search"]
    systems = list(dict.fromkeys(system for rows in searches.values() for system in rows))
    lines = markdown_head(["nDCG@10 × 100", *searches])
    for system in systems:
        cells = [scaled(rows[system]["ndcg@10"]["mean"]) if system in rows else "–" for rows in searches.values()]
        lines.append(markdown_row([system, *cells]))
    for pair in list(dict.fromkeys(pair for rows in payload["differences"].values() for pair in rows)):
        gains = [pairs.get(pair, {}).get("mean") for pairs in payload["differences"].values()]
        cells = ["–" if pairs is None else _gain(pairs) for pairs in gains]
        lines.append(markdown_row([_bold(pair), *cells]))
    languages, queries = len(payload["languages"]), sum(payload["queries"].values())
    note = f"Mean of {languages} languages, {queries:,} {payload['split']} queries; paired 95% intervals, * at 5% "
    lines += ["", _note(note + "by paired randomisation after Holm's correction.", results)]
    return "\n".join(lines)


def _gain(difference: dict) -> Markdown:
    star = "*" if difference["corrected_p"] < 0.05 else ""
    mean, low, high = (100 * difference[key] for key in KEYS)
    return Markdown(f"{mean:+.1f}{star} ({low:+.1f} … {high:+.1f})")


def _bold(text: str) -> Markdown:
    return Markdown(f"**{markdown_text(text)}**")


def _note(text: str, results: Mapping) -> str:
    """Return a sentence and the command that made what it is about."""
    return f"{markdown_text(text)} {markdown_code(results['command'])}"


def index_block(results: dict) -> str:
    """Render recall, latency and size of the search index."""
    columns = ["index", "recall@10", "p50 ms", "p95 ms", "bytes a row", "built in s"]
    lines = markdown_head(columns)
    for method, figures in results["methods"].items():
        cells = [f"{figures[name]:.1f}" for name in ("p50_ms", "p95_ms", "bytes_a_row")]
        lines.append(markdown_row([method, f"{figures['recall']:.3f}", *cells, f"{figures['build_seconds']:.0f}"]))
    note = f"{results['rows']:,} embeddings of {results['width']} numbers, {results['real_titles']:,} of them of real "
    note += f"titles; {results['queries']:,} queries, one at a time, on {results['threads']} threads."
    lines += ["", markdown_text(note)]
    return "\n".join(lines)


def answers_block(results: dict) -> str:
    """Render the share of questions that every system answers right, and LiRA's gain over it."""
    payload = results["payload"]
    measures = payload["measures"][payload["main"]]
    languages = list(next(iter(measures.values())))
    lines = markdown_head(["accuracy × 100", *languages, "LiRA's gain, mean (95%)"])
    for system, accuracies in measures.items():
        cells = [scaled(accuracies[code]) for code in languages]
        gain = payload["differences"].get(f"LiRA against {system}", {}).get("mean")
        lines.append(markdown_row([system, *cells, "" if gain is None else _gain(gain)]))
    spread = payload["deviation_over_models"].get(LIRA) or 0.0
    english = payload["english"].get("LiRA against language model alone", {}).get("en")
    note = (
        f"{', '.join(f'{count} {code}' for code, count in payload['questions'].items())} questions; mean of "
        f"{len(payload['languages'])} languages without English; standard deviation of LiRA's over seeds "
        f"{100 * spread:.1f}{'' if english is None else f'; English against the model alone {_gain(english)}'}."
    )
    lines += [
        "",
        _note(note, results),
        *_by_other_rule(payload),
        *_too_narrow(payload["differences"]),
    ]
    return "\n".join(lines)


def _by_other_rule(payload: Mapping) -> Iterator[str]:
    """Yield what the same answers come to when a choice's likelihood is counted in the other way."""
    for rule, pairs in payload.get("by_other_rule", {}).items():
        gains = [
            f"{pair.removeprefix('LiRA ')} {_gain(languages['mean'])}"
            for pair, languages in pairs.items()
            if pair.startswith("LiRA against")
        ]
        if gains:
            lira = payload["measures"][rule][LIRA]["mean"]
            mean = f"instead, LiRA's mean is {scaled(lira)}; "
            yield from ("", f"With {markdown_code(f'--rule {rule}')} {mean}{markdown_text(', '.join(gains))}.")


def few_shot_block(results: dict) -> str:
    """Render nDCG@10 by the number of labelled queries, for every way to search."""
    payload = results["payload"]
    sizes = payload["training_queries_per_language"]
    lines = markdown_head(["training queries a language", *(f"{size:,}" for size in sizes)])
    for way, systems in payload["ways"].items():
        for system, points in systems.items():
            cells = ["–" if point is None else _spread(point["mean"]) for point in points]
            if set(cells) != {"–"}:
                lines.append(markdown_row([f"{system}; {way}", *cells]))
    return _studied(lines, results, "nDCG@10 × 100 on test with its 95% interval")


def noise_block(results: dict) -> str:
    """Render nDCG@10 under noise of every kind, and by translator."""
    payload = results["payload"]
    levels = payload["levels"]
    lines = markdown_head(["kind of noise, system", *(f"{100 * level:g}% spoiled" for level in levels)])
    for kind, systems in payload["noise"].items():
        for system, points in systems.items():
            lines.append(
                markdown_row([f"{kind.replace('_', ' ')}, {system}", *(_spread(point["mean"]) for point in points)])
            )
    translators = list(next(iter(payload["translators"].values())))
    lines += ["", *markdown_head(["translator", *translators])]
    for system, points in payload["translators"].items():
        lines.append(markdown_row([system, *(_spread(point["mean"]) for point in points.values())]))
    return _studied(lines, results, "nDCG@10 × 100 on test, English titles, with its 95% interval")


KEY_CONDITIONS = (NONE, NONE + UNSEEN, LOCAL, CRITIC, GLOSS, REFERENCE, noise_name("swap", 1))
"""Of the translations, as regret names them: those whose figures every system shows."""


def regret_block(results: dict) -> str:
    """Render LiRA beside the best rival for every translator, and every system on the most telling ones."""
    payload = results["payload"]
    rows = payload["conditions"]
    lines = markdown_head(["translations", "LiRA", "best rival", "its nDCG@10", "LiRA's lead (95%)"])
    for condition, row in rows.items():
        best, lead = row["best rival"], interval(negated(row["behind"]["mean"]))
        first, second = (scaled(row["systems"][name]["mean"]["mean"]) for name in (LIRA, best))
        lines.append(markdown_row([condition, first, best, second, lead]))
    shown = [name for name in KEY_CONDITIONS if name in rows]
    lines += ["", *markdown_head(["system", *shown])]
    for system in next(iter(rows.values()))["systems"]:
        lines.append(markdown_row([system, *(scaled(rows[name]["systems"][system]["mean"]["mean"]) for name in shown)]))
    regret = payload["regret"]
    note = f"nDCG@10 × 100 on test, mean of {len(payload['languages'])} languages. Regret, the most that a rival is "
    note += f"ahead: {interval(regret)}, where the translations are {regret['condition']}"
    return _studied(lines, results, note)


def averages_block(results: dict) -> str:
    """Render what each share of the trained changes does."""
    rows = results["payload"]["rows"]
    lines = markdown_head(["encoder's change", "head's start", *rows[0]["ndcg@10"]])
    lines += [markdown_row(averages.cells_of(row)) for row in rows]
    note = "nDCG@10 × 100, mean of languages, on validation queries and on text unlike the corpus (names, questions)"
    return _studied(lines, results, note + ": shares of the encoder's change and of the head's start in its average")


def gate_block(results: dict) -> str:
    """Render how far a saved model's gate opens by quality of translation, and what its actor finds."""
    lines = markdown_head(["language", *gate.SHOWN.values(), "actor finds", "similarity finds", "by chance"])
    for code, values in results["payload"]["languages"].items():
        lines.append(markdown_row([code, *gate.cells_of(values)]))
    note = "The gate's share of a right angle, median (10% … 90% of queries): 0 is the multilingual path alone, 1 the "
    note += "English one. Then how often the reference is found among three other queries' translations"
    return "\n".join([*lines, "", _note(f"{note}.", results)])


def backbones_block(results: dict) -> str:
    """Render every system's nDCG@10 on every pair of backbones, and LiRA's gain over it."""
    payload = results["payload"]
    ways = list(next(iter(payload["pairs"].values()))["systems"])
    lines = markdown_head(["multilingual + English encoder", "system", *ways])
    for pair, figures in payload["pairs"].items():
        for system in next(iter(figures["systems"].values())):
            cells = []
            for way in ways:
                gain = figures["gains"][way].get(system)
                cells.append(scaled(figures["systems"][way][system]["mean"]) + (f"; {interval(gain)}" if gain else ""))
            lines.append(markdown_row([shown_pair(pair), system, *cells]))
    return _studied(lines, results, "nDCG@10 × 100 on test; LiRA's gain over it with its paired 95% interval")


def sensitivity_block(results: dict) -> str:
    """Render the default and the best trial's settings, how much each matters, and which is taken."""
    payload = results["payload"]
    columns = ["setting", "default", "best trial", "importance"]
    lines = markdown_head(columns)
    for name, value in payload["default"].items():
        importance = payload["importances"].get(name)
        shown = "–" if importance is None else f"{100 * importance:.0f}%"
        lines.append(markdown_row([name, f"{value:.3g}", f"{payload['best'][name]:.3g}", shown]))
    for name, scores in payload["scores_over_seeds"].items():
        shown = ", ".join(f"{100 * score:.2f}" for score in scores)
        lines.append(markdown_row([f"validation score × 100, {name}", shown, "", ""]))
    count = f"{len(payload['trials'])} trials, {payload['training_queries']} training queries a language"
    return _studied(lines, results, f"Taken: {payload['chosen']}; {payload['why']}. {count}")


def bound_block(results: dict) -> str:
    """Render the bound's quantities and how often it holds, by state of training."""
    payload = results["payload"]
    columns = ["state", "ε₁", "ε₂", "C", "L (95th percentile)", "‖z − z*‖", "ε₁ + C√(2ε₂)", "holds", "L·bound holds"]
    columns.append("below 2√2")
    lines = markdown_head(columns)
    for state, languages in payload["states"].items():
        means = languages["mean"]
        cells = [f"{means[name]['mean']:.3f}" for name in ("eps1", "eps2")]
        cells += [f"{means[name]:.3f}" for name in ("C", "L_p95")]
        cells += [f"{means[name]['mean']:.3f}" for name in ("distance", "bound")]
        cells += [
            f"{100 * means['shares'][name]['mean']:.1f}%" for name in ("holds", "holds_downstream", "says_something")
        ]
        lines.append(markdown_row([state, *cells]))
    return _studied(lines, results, "Means over test queries and languages; 2√2 is the largest distance there is")


def cost_block(results: dict) -> str:
    """Render what training and serving take, beside the quality that they buy."""
    payload = results["payload"]
    columns = ["system", "nDCG@10 × 100", "trained parameters", "all parameters", "training CPU-seconds"]
    lines = markdown_head(columns)
    for system, figures in payload["training"].items():
        quality = _spread(payload["quality"][system])
        counts = [f"{figures[name]:,}" for name in ("parameters_trained", "parameters")]
        lines.append(markdown_row([system, quality, *counts, f"{figures['cpu_seconds']:,.0f}"]))
    columns = ["serving a query", "p50 ms", "p95 ms", "texts/s", "peak memory GiB", "index bytes a document"]
    lines += ["", *markdown_head(columns)]
    for way, figures in payload["serving"].items():
        times = [f"{figures[name]:.1f}" for name in ("p50_ms", "p95_ms", "texts_per_second", "peak_memory_gib")]
        lines.append(markdown_row([way, *times, f"{figures['index_bytes_per_document']:,}"]))
    encoded = "; ".join(
        f"{path} encoder {figures['texts_per_second']:.0f} texts/s, {figures['texts']:,} texts"
        for path, figures in payload["streams"].items()
    )
    threads = results["hardware"]["threads"]
    note = f"Threads: {threads}; {payload['candidates']} candidates by {payload['translator']}; once before training: "
    return _studied(lines, results, note + encoded)


def export_block(results: dict) -> str:
    """Render the CPU time and the quality of every engine and precision, beside the bare encoder's."""
    payload = results["payload"]
    columns = ["system", "query, CPU ms", "speed", "of the encoder's", "texts/CPU-s", "speed", "nDCG@10 × 100"]
    lines = markdown_head([*columns, "worst language"])
    for system, figures in payload["systems"].items():
        ms, speed, of_encoder, rate, batch_speed = (figures[name] for name in EXPORT_FIGURES)
        cells = [f"{ms:.1f}", f"{speed:.2f}", f"{of_encoder:.2f}", f"{rate:.0f}", f"{batch_speed:.2f}"]
        values = list(figures.get("ndcg@10", {}).values())
        cells += [f"{100 * fmean(values):.1f}", f"{100 * figures['worst_change']:+.1f}"] if values else ["", ""]
        lines.append(markdown_row([system, *cells]))
    has = [name for name, there in payload["instructions"].items() if there]
    note = (
        f"One thread of {results['hardware']['cpu']} ({', '.join(has) or 'no instructions for int8 or bfloat16'}); "
        f"{payload['singles']} queries one at a time, {payload['batched']} in batches of {payload['batch_size']}, all "
        "systems in turn. Speed is to the encoder in sentence-transformers on torch in float32, "
        '"of the encoder\'s" to the bare encoder in the same engine and precision; "worst language" is the largest '
        "loss of nDCG@10 to float32."
    )
    return "\n".join([*lines, "", _note(note, results)])


EXPORT_FIGURES = ("query_ms", "query_speed", "query_speed_of_encoder", "texts_per_second", "batch_speed")


def serving_block(results: dict) -> str:
    """Render the server's latency by number of clients, and what became of requests when it was stopped."""
    payload = results["payload"]
    lines = markdown_head(["clients", "requests", "p50 ms", "p95 ms", "requests/s", "failed"])
    lines += [markdown_row([str(value) for value in load.values()]) for load in payload["loads"]]
    stopped = payload["stopped"]
    note = f"Stopped in the middle of {stopped['asked']} requests, the server answered {stopped['answered']} of them."
    return "\n".join([*lines, "", _note(note, results)])


def workers_block(results: dict) -> str:
    """Render the texts a second of each number of workers, and their CPU time a text."""
    payload = results["payload"]
    lines = markdown_head(["workers", "texts/s", "speed", "CPU ms a text"])
    first = next(iter(payload["workers"].values()))["texts_per_second"]
    for count, figures in payload["workers"].items():
        rate = figures["texts_per_second"]
        lines.append(markdown_row([count, f"{rate:.0f}", f"{rate / first:.2f}", f"{figures['cpu_ms']:.1f}"]))
    note = f"{payload['texts']:,} titles in as many files as there are workers at most; each file loads the model anew."
    return "\n".join([*lines, "", _note(note, results)])


def _spread(point: dict) -> str:
    if point["mean"] is None:  # a record's NaN: nothing was measured
        return "–"
    return "{:.1f} ({:.1f} … {:.1f})".format(*(100 * point[key] for key in KEYS))


def _studied(lines: list[str], results: dict, note: str) -> str:
    seeds = ", ".join(str(seed) for seed in results["seeds"])
    many = "seeds" if len(results["seeds"]) > 1 else "seed"
    return "\n".join([*lines, "", _note(f"{note}; {many} {seeds}.", results)])


BLOCKS: dict[str, Callable[[dict], str]] = {
    "questions": answers_block,
    "mgsm": answers_block,
    "ablations": ablations_block,
    "generalisation": generalisation_block,
    "retrieval": retrieval_block,
    "few-shot": few_shot_block,
    "noise": noise_block,
    "gate": gate_block,
    "regret": regret_block,
    "regret-tuned": regret_block,
    "averages": averages_block,
    "backbones": backbones_block,
    "sensitivity": sensitivity_block,
    "bound": bound_block,
    "cost": cost_block,
    "export": export_block,
    "serving": serving_block,
    "workers": workers_block,
    "index": index_block,
    "demo": demo_block,
    "throughput": throughput_block,
    "critic-check": check_block,
}
