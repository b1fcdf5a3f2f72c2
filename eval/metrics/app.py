"""The page of a Space that shows the metric beside it; each metric's folder links to this file."""

import json
from pathlib import Path
from typing import Any

import evaluate
import gradio as gr

HERE = Path(__file__).parent
METRIC = evaluate.load(str(next(path for path in HERE.glob("*.py") if path.name != "app.py")))
EXAMPLES = [["[[0.9, 0.8, 0.1]]", "[[0, 3, 1]]", 10], ["[[0.9, 0.8], [0.2, 0.7, 0.7]]", "[[0, 1], [2, 0, 1]]", 1]]


def compute(predictions: str, references: str, k: float) -> dict[str, Any]:
    """Return the metric of lists that were typed as JSON; what cannot be ranked becomes a message on the page."""
    try:
        lists = {"predictions": json.loads(predictions), "references": json.loads(references)}
        result = METRIC.compute(**lists, k=int(k), per_query=True)
    except (ValueError, TypeError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    return json.loads(json.dumps(result).replace("NaN", "null"))  # a browser's JSON has no NaN


def build() -> gr.Interface:
    """Lay the page out: two lists, k, the values, and the metric's card below."""
    return gr.Interface(
        compute,
        [
            gr.Textbox(label="predictions: each query's scores, as JSON", lines=2),
            gr.Textbox(label="references: the grades of the same documents", lines=2),
            gr.Number(10, label="k", precision=0, minimum=1),
        ],
        gr.JSON(label=METRIC.name),
        title=METRIC.name,
        description=METRIC.description,
        article=(HERE / "README.md").read_text(encoding="utf-8").split("---", 2)[2],
        examples=EXAMPLES,
        cache_examples=False,
        flagging_mode="never",
        analytics_enabled=False,
    )


if __name__ == "__main__":
    build().launch()
