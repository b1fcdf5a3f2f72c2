"""`lira translate`, `critique` and `encode` as steps of datatrove: a task does files, each whole or not at all.

A step reads the files of a folder (`hf://` and other fsspec addresses too) and writes one Parquet file of the same name
for each. A file that is there is done: datatrove runs the tasks of a killed worker again, and they go on behind it.
What goes from step to step are the names of files, not texts, so a chain of steps in one pipeline does a file's stages
after each other, in one task.
"""

import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, cast

from datatrove.data import Document
from datatrove.io import DataFolderLike, get_datafolder
from datatrove.pipeline.base import PipelineStep

from ..agents import Calibration, Candidate, CandidateStore
from ..agents import critique as score
from ..agents import translate as make_candidates
from ..agents.candidate import with_new
from ..agents.tables import Table
from ..errors import LiraError
from ..files import atomic_path
from ..search.choices import DType, Format, Kind
from ..search.text_file import Columns

if TYPE_CHECKING:
    from ..modeling_lira import LiraModel

Made = TypeVar("Made")
Candidates = Sequence[Sequence[Candidate]]


class FileStep(PipelineStep):
    """Makes one Parquet file of each file of a folder.

    Parameters
    ----------
    input, output : str, tuple or DataFolder
        Folders, as datatrove takes them. A step behind another takes the files that the other has made, and needs no
        pattern.
    pattern : str
        Which files of the input to read.
    """

    type = "LiRA"
    _made: object = None

    def __init__(self, input: DataFolderLike, output: DataFolderLike, pattern: str = "*.parquet") -> None:
        super().__init__()
        self.input, self.output, self.pattern = get_datafolder(input), get_datafolder(output), pattern

    @abstractmethod
    def process(self, name: str, source: Path, target: Path) -> int:
        """Read a file and write another, both on this machine; return the number of rows."""

    def run(self, data: Iterator[Document] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Make the files of one task that are not there yet; yields the name of each, whenever it was made."""
        if data is None:
            names = iter(self.input.get_shard(rank, world_size, glob_pattern=self.pattern) or ())
        else:
            names = (document.id for document in data)
        for name in names:
            result = str(Path(name).with_suffix(".parquet"))
            if self.output.isfile(result):
                self.stat_update("files done before")
            else:
                with self.track_time("file"), TemporaryDirectory() as work:
                    self._make(name, result, Path(work))
            yield Document(text=result, id=result)

    def _make(self, name: str, result: str, work: Path) -> None:
        source, target = work / f"source{Path(name).suffix}", work / "result.parquet"
        self.input.get_file(name, str(source))
        self.stat_update("rows", value=self.process(name, source, target), unit="file")
        if self.output.is_local():
            path = Path(self.output.resolve_paths(result))
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                shutil.copyfile(target, temporary)
        else:
            self.output.put_file(str(target), result)

    def made(self, make: Callable[[], Made]) -> Made:
        """Return the agent or model, made when a task first needs it: it does not travel with the pipeline."""
        if self._made is None:
            self._made = make()
        return cast(Made, self._made)


class TextStep(FileStep):
    """A step whose files have a text and a language a row.

    Parameters
    ----------
    input, output, pattern
        As of `FileStep`.
    make : callable
        Returns the agent; called once a task, in the process that runs it.
    text_column, language_column : str
    store : Path or str, optional
        Folder of this machine in which finished batches are kept, so that a file goes on where its task was killed.
    """

    def __init__(
        self,
        input: DataFolderLike,
        output: DataFolderLike,
        make: Callable[[], Any],
        pattern: str = "*.parquet",
        text_column: str = "text",
        language_column: str | None = None,
        store: Path | str | None = None,
    ) -> None:
        super().__init__(input, output, pattern)
        self.make, self.store = make, store
        self.text_column, self.language_column = text_column, language_column

    def process(self, name: str, source: Path, target: Path) -> int:
        """Make the candidates of one file."""
        table = Table.read(source)
        texts = table.strings(self.text_column, "text_column")
        languages = table.languages(self.language_column, "language_column")
        store = target.with_name("store") if self.store is None else Path(self.store) / f"{name}.store"
        with CandidateStore(store) as finished:
            table.write(target, self.candidates(texts, table.candidates(), languages, finished))
        return len(texts)

    @abstractmethod
    def candidates(
        self, texts: list[str], before: Candidates, languages: list[str], finished: CandidateStore
    ) -> Candidates:
        """Return each text's candidates."""


class Translate(TextStep):
    """Adds English candidates to texts, as `lira translate` does; `make` returns a translator."""

    name = "translate"

    def candidates(
        self, texts: list[str], before: Candidates, languages: list[str], finished: CandidateStore
    ) -> Candidates:
        """Return the candidates that the texts had, and those that the translator makes."""
        return with_new(before, make_candidates(self.made(self.make), texts, languages, finished, progress=False))


class Critique(TextStep):
    """Scores the candidates of texts, as `lira critique` does; `make` returns a critic.

    Parameters
    ----------
    calibration : Path or str, optional
        A file that `lira critique --calibration` wrote. A critic that needs one needs this one: scores of files that
        were calibrated each by itself would not be comparable.
    """

    name = "critique"

    def __init__(self, *arguments: Any, calibration: Path | str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calibration = None if calibration is None else Calibration.load(Path(calibration))

    def candidates(
        self, texts: list[str], before: Candidates, languages: list[str], finished: CandidateStore
    ) -> Candidates:
        """Return the candidates with their scores."""
        critic = self.made(self.make)
        if critic.needs_calibration and self.calibration is None:
            raise LiraError(f"critic {critic.name!r} needs a calibration for all files: `lira critique` writes one")
        return score(critic, texts, before, languages, finished, self.calibration, progress=False)[0]


class Encode(FileStep):
    """Embeds texts, as `lira encode --format parquet` does: columns id, text, embedding and, for int8, scale.

    Parameters
    ----------
    input, output, pattern
        As of `FileStep`.
    make : callable
        Returns the model; called once a task.
    kind : Kind
        What the texts are.
    columns : Columns, optional
    dtype : DType
        How the numbers are stored.
    batch_size : int
    """

    name = "encode"

    def __init__(
        self,
        input: DataFolderLike,
        output: DataFolderLike,
        make: "Callable[[], LiraModel]",
        kind: Kind = Kind.document,
        columns: Columns | None = None,
        dtype: DType = DType.float16,
        pattern: str = "*.parquet",
        batch_size: int = 64,
    ) -> None:
        super().__init__(input, output, pattern)
        self.make, self.kind, self.columns, self.dtype, self.batch_size = make, kind, columns, dtype, batch_size

    def process(self, name: str, source: Path, target: Path) -> int:
        """Embed one file."""
        from ..search.encode import encode_file  # brings torch, which the other steps may do without

        rows = len(Table.read(source).content.numbers)
        model, folder = self.made(self.make), target.with_name("embeddings")
        encode_file(model, source, folder, self.kind, self.columns, self.dtype, Format.parquet, rows, self.batch_size)
        (shard,) = folder.glob("shard-*.parquet")
        shutil.move(shard, target)
        return rows
