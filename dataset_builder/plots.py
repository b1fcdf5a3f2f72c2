"""The plots of the quality report. Labels are language codes: fonts for every script are not everywhere."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""Okabe and Ito's palette: told apart with any kind of colour vision."""
_SMALLEST_SHARE = 0.01


def draw(path: Path, size: tuple[float, float], panels: Sequence[Callable[["Axes"], None]]) -> None:
    """Draw panels side by side into a PNG file.

    Raises
    ------
    LiraError
        matplotlib is missing.

    Source: ours.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise LiraError('the report draws with matplotlib: pip install "modeling-lira[data]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        panel(axis)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def length_panel(title: str, lengths: Mapping[str, Sequence[int]]) -> Callable[["Axes"], None]:
    """Return a panel with one line a language: the share of texts by length in characters."""

    def panel(axis: "Axes") -> None:
        every = np.concatenate([np.asarray(own) for own in lengths.values()])
        step = max(1, int(np.percentile(every, 99.5)) // 20)  # whole characters, or the bars beat against the numbers
        edges = np.arange(0, 22) * step
        for colour, (language, own) in zip(_colours(lengths), lengths.items(), strict=True):
            counts, _ = np.histogram(np.minimum(own, edges[-1]), edges)
            axis.plot(edges[:-1] + step / 2, 100 * counts / max(len(own), 1), color=colour, label=language)
        axis.set(title=title, xlabel="characters", ylabel="% of texts")
        axis.legend(frameon=False, fontsize=8)

    return panel


def script_panel(title: str, shares: Mapping[str, Mapping[str, float]]) -> Callable[["Axes"], None]:
    """Return a panel with one stacked bar a language: the share of letters by script."""

    def panel(axis: "Axes") -> None:
        scripts = sorted({name for own in shares.values() for name, share in own.items() if share >= _SMALLEST_SHARE})
        bottom = np.zeros(len(shares))
        for colour, script in zip(COLOURS, scripts, strict=False):
            heights = np.asarray([100 * own.get(script, 0) for own in shares.values()])
            axis.bar(list(shares), heights, bottom=bottom, color=colour, label=script)
            bottom += heights
        axis.set(title=title, ylabel="% of letters", ylim=(0, 100))
        axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, -0.28), ncols=4)

    return panel


def bar_panel(title: str, label: str, groups: Mapping[str, Mapping[str, float]]) -> Callable[["Axes"], None]:
    """Return a panel with one bar a group and language, groups side by side."""

    def panel(axis: "Axes") -> None:
        width = 0.8 / len(groups)
        for number, (colour, (group, values)) in enumerate(zip(COLOURS, groups.items(), strict=False)):
            places = np.arange(len(values)) + (number - (len(groups) - 1) / 2) * width
            axis.bar(places, [values[name] for name in values], width, color=colour, label=group)
        names = list(next(iter(groups.values())))
        axis.set_xticks(range(len(names)), names)
        axis.set(title=title, ylabel=label, ylim=(0, 100))
        if len(groups) > 1:
            axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, -0.28), ncols=4)

    return panel


def relevance_panel(title: str, counts: Mapping[str, Sequence[int]]) -> Callable[["Axes"], None]:
    """Return a panel with one box a language: relevant products a query, on a logarithmic axis."""

    def panel(axis: "Axes") -> None:
        boxes = axis.boxplot(
            [own or [0] for own in counts.values()], tick_labels=list(counts), showfliers=False, patch_artist=True
        )
        for box in boxes["boxes"]:
            box.set_facecolor(COLOURS[4])
        axis.set_yscale("symlog", linthresh=1)
        axis.set(title=title, ylabel="relevant products a query")

    return panel


def _colours(items: Mapping[str, object]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(len(items))]
