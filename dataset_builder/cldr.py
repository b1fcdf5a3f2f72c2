"""Read the annotations of Unicode CLDR: a short name and keywords of each character, one language a folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from modeling_lira.errors import LiraError


@dataclass(frozen=True)
class Annotation:
    """A character's short name and keywords in one language."""

    name: str
    keywords: tuple[str, ...]


def read_annotations(folder: Path, language: str) -> dict[str, Annotation]:
    """Read a language's annotations by character; characters without a name are left out.

    Parameters
    ----------
    folder : Path
        Holds `{language}/annotations.json`, as the `annotations` folder of cldr-annotations-full does.
    language : str

    Raises
    ------
    LiraError
        If the file is missing or is not a CLDR annotations file.
    """
    path = annotations_path(folder, language)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]["annotations"]
        return {
            character: Annotation(row["tts"][0], tuple(row.get("default", ())))
            for character, row in rows.items()
            if row.get("tts")
        }
    except FileNotFoundError:
        raise LiraError(f"{path} does not exist: give the folder that holds a folder for each language") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise LiraError(f"{path} is not a CLDR annotations file ({type(error).__name__}: {error})") from error


def annotations_path(folder: Path, language: str) -> Path:
    """Return where a language's file is, whether `folder` is the `annotations` folder or the one around it."""
    around = folder / "annotations"
    return (around if around.is_dir() else folder) / language / "annotations.json"
