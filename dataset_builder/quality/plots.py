"""The plots of the quality report. Labels are language codes, since not every machine has fonts for all scripts."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modeling_lira.faces.extras import needs
from modeling_lira.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""Okabe and Ito's palette, whose colours are distinguishable with any kind of colour vision."""
LINES = ("-", "--", "-.", ":")
"""Line styles, so that lines differ without colours too."""
_SMALLEST_SHARE = 0.01
_BINS = 20
_LEGEND = {"frameon": False, "fontsize": 8, "loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "ncols": 4}
Panel = Callable[["Axes"], None]


@needs("matplotlib")
def draw(path: Path, panels: Sequence[Panel], same_scale: bool = False) -> None:
    """Draw panels side by side into a PNG file; with `same_scale` they share the vertical axis.

    Raises
    ------
    LiraError
        If matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (5.5 * len(panels), 4.2)
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False, sharey=same_scale)
    for axis, panel in zip(axes[0], panels, strict=True):
        panel(axis)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def length_panel(title: str, lengths: Mapping[str, Sequence[int]]) -> Panel:
    """Return a panel with one line a language: the share of texts by length in characters."""

    def panel(axis: "Axes") -> None:
        longest = max(float(np.percentile(texts, 99.5)) for texts in lengths.values() if len(texts))
        step = max(1, math.ceil(longest / _BINS))  # whole characters, or the bars beat against the numbers
        edges = np.arange(_BINS + 1) * step
        for number, (language, texts) in enumerate(lengths.items()):
            counts, _ = np.histogram(texts, edges)
            colour, line = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
            shares = 100 * counts / max(len(texts), 1)
            axis.plot(edges[:-1] + step / 2, shares, color=colour, linestyle=line, label=language)
        axis.set(title=title, xlabel="characters", ylabel=f"% of texts, by {step} characters", ylim=(0, None))
        axis.legend(**_LEGEND)

    return panel


def script_panel(title: str, shares: Mapping[str, Mapping[str, float]]) -> Panel:
    """Return a panel with one stacked bar a language: the share of letters by script."""

    def panel(axis: "Axes") -> None:
        scripts = sorted(
            {name for by_script in shares.values() for name, share in by_script.items() if share >= _SMALLEST_SHARE}
        )
        bottom = np.zeros(len(shares))
        for colour, script in zip(COLOURS, scripts, strict=False):
            heights = np.asarray([100 * by_script.get(script, 0) for by_script in shares.values()])
            axis.bar(list(shares), heights, bottom=bottom, color=colour, label=script)
            bottom += heights
        axis.set(title=title, xlabel="language", ylabel="% of letters", ylim=(0, 100))
        axis.legend(**_LEGEND)

    return panel


def bar_panel(
    title: str, labels: tuple[str, str], groups: Mapping[str, Mapping[str, float]], marks: Sequence[float] = ()
) -> Panel:
    """Return a panel with one bar a group and name, groups side by side.

    Parameters
    ----------
    title : str
    labels : (str, str)
        Of the horizontal and the vertical axis.
    groups : mapping of group to mapping of name to float
        Percentages, of equal names.
    marks : sequence of float
        Heights of dashed lines to compare with.
    """

    def panel(axis: "Axes") -> None:
        names = list(next(iter(groups.values())))
        width = 0.8 / len(groups)
        for number, (colour, (group, values)) in enumerate(zip(COLOURS, groups.items(), strict=False)):
            places = np.arange(len(names)) + (number - (len(groups) - 1) / 2) * width
            bars = axis.bar(places, [values[name] for name in names], width, color=colour, label=group)
            axis.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
        for height in marks:
            axis.axhline(height, color="black", linewidth=0.8, linestyle="--")
        axis.set_xticks(range(len(names)), names, fontsize=9, rotation=30 if max(map(len, names)) > 5 else 0)
        axis.set(title=title, xlabel=labels[0], ylabel=labels[1], ylim=(0, 100))
        legend = {**_LEGEND, "bbox_to_anchor": (0.5, -0.3 if max(map(len, names)) > 5 else -0.15)}
        axis.legend(**legend)

    return panel


def relevance_panel(title: str, counts: Mapping[str, Sequence[int]]) -> Panel:
    """Return a panel with one box a language: relevant products a query, on a logarithmic axis."""

    def panel(axis: "Axes") -> None:
        axis.boxplot(
            [numbers or [0] for numbers in counts.values()],
            tick_labels=list(counts),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": COLOURS[4]},
            medianprops={"color": "black", "linewidth": 2},
        )
        axis.set_yscale("symlog", linthresh=1)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set(title=title, xlabel="language", ylabel="relevant products a query")

    return panel
