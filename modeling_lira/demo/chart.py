"""Charts of the demo's results."""

from pathlib import Path

from ..evaluation.comparison import ENCODER, LIRA, LIRA_FREE, TRANSLATE, TUNED, UNTRAINED, Comparison
from ..faces.extras import needs
from ..files import atomic_path

# Okabe and Ito's palette, which people with any kind of colour vision can distinguish; hatches do so in grey.
STYLES = {
    ENCODER: ("#999999", ""),
    TRANSLATE: ("#E69F00", "//"),
    UNTRAINED: ("#56B4E9", ".."),
    LIRA: ("#0072B2", ""),
    LIRA_FREE: ("#009E73", "xx"),
    TUNED: ("#CC79A7", "\\\\"),
}


@needs("matplotlib")
def bar_chart(comparisons: dict[str, Comparison], path: Path) -> None:
    """Draw nDCG@10 by language and system, one panel a comparison, with 95% bootstrap intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(comparisons), 1, figsize=(11, 4.2 * len(comparisons)), squeeze=False, sharex=True
    )
    handles = {}
    for axis, (title, comparison) in zip(axes[:, 0], comparisons.items(), strict=True):
        languages = list(next(iter(comparison.scores.values())))
        width = 0.8 / len(comparison.scores)
        for number, system in enumerate(comparison.scores):
            colour, hatch = STYLES[system]
            means = [100 * comparison.mean(system, language) for language in [*languages, None]]
            bounds = [comparison.interval(system, language) for language in [*languages, None]]
            errors = [
                [max(0.0, mean - 100 * low) for mean, (low, _) in zip(means, bounds, strict=True)],
                [max(0.0, 100 * high - mean) for mean, (_, high) in zip(means, bounds, strict=True)],
            ]
            places = [position + (number - (len(comparison.scores) - 1) / 2) * width for position in range(len(means))]
            handles[system] = axis.bar(
                places,
                means,
                width,
                yerr=errors,
                label=system,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                error_kw={"elinewidth": 0.8},
            )
        axis.set_ylabel("nDCG@10 × 100")
        axis.set_ylim(0, 100)
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xticks(range(len(languages) + 1), [*languages, "mean"])
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("query language; bars are means over test queries, whiskers 95% bootstrap intervals")
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.6 / figure.get_figheight()))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130)
    pyplot.close(figure)
