"""Curves with intervals, in colours that every kind of colour vision tells apart."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_lira.faces.extras import needs
from modeling_lira.files import atomic_path

from .significance import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""Okabe and Ito's palette."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")


@needs("matplotlib")
@contextmanager
def figure_of(
    path: Path,
    rows: int,
    columns: int,
    width: float = 4.6,
    height: float = 3.6,
    legend_each: bool = False,
    **kwargs: Any,
) -> Iterator:
    """Yield a figure and its axes [rows, columns]; on leaving, put the legend below and write a PNG file.

    One legend stands below all panels, or with `legend_each` one below each.

    Raises
    ------
    LiraError
        matplotlib is missing.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **kwargs)
    try:
        yield figure, axes
        for axis in axes.flat:
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.25)
            axis.set_axisbelow(True)
        if legend_each:
            for axis in axes.flat:
                axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, frameon=False, fontsize=8)
            figure.tight_layout()
        else:
            _legend_below(figure, axes)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=130, metadata={"Software": None})
    finally:
        pyplot.close(figure)


def _legend_below(figure: "Figure", axes: np.ndarray) -> None:
    """Put one legend under the axes, outside the data, and leave room for it."""
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if not handles:
        figure.tight_layout()
        return
    inches = figure.get_size_inches()
    columns = max(1, min(len(handles), int(inches[0] / 2.4)))
    lines = -(-len(handles) // columns)
    figure.tight_layout(rect=(0, (0.1 + 0.22 * lines) / inches[1], 1, 1))
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=columns, frameon=False, fontsize=8)


def curves(axis: "Axes", places: Sequence[float], series: Mapping[str, Sequence[Point]], scale: float = 100.0) -> None:
    """Draw one line a series with its interval as a band; a line's look follows from its place in `series`."""
    for number, (name, points) in enumerate(series.items()):
        values = np.asarray([[point.mean, point.low, point.high] for point in points]) * scale
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(
            places, values[:, 0], LINES[number % len(LINES)], color=colour, marker=MARKERS[number % len(MARKERS)],
            markersize=4.5, linewidth=1.5, label=name,
        )  # fmt: skip
        axis.fill_between(places, values[:, 1], values[:, 2], color=colour, alpha=0.13, linewidth=0)
