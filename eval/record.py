"""One form for every result of `python -m eval`: what was measured, with what, on what, at which cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from modeling_lira.errors import LiraError
from modeling_lira.records.provenance import Clock, corpus_version, records_at, weights_of, write_record

from .options import RECORDS


@dataclass(frozen=True)
class Record:
    """A result and where it comes from.

    Attributes
    ----------
    name : str
        Of the measurement, such as "retrieval"; also the file's.
    payload : dict
        The figures, in the measurement's own form.
    seeds : tuple of int
        Of everything random in it.
    corpus : str, optional
        Version of the corpus, of `corpus_version`; None where no corpus was used.
    command : str
        What makes it again. Paths outside the working folder are given by their last part.
    revision : str
        Of the code; "+changes" where files differ from it.
    created : str
        ISO 8601, UTC.
    versions : dict of str
        Of Python and the packages that matter.
    hardware : dict
        CPU's name, threads used, RAM in GiB, system.
    seconds, cpu_seconds : float
        Of the process that finished it, child processes' CPU time included; a resumed run does not count earlier ones.
    peak_memory_gib : float
    subject : dict
        Whatever else the figures depend on, such as digests of weights and options: records of one name and different
        subjects are kept side by side.
    """

    name: str
    payload: dict[str, Any]
    seeds: tuple[int, ...]
    corpus: str | None
    command: str
    revision: str
    created: str
    versions: dict[str, str]
    hardware: dict[str, str | int | float]
    seconds: float
    cpu_seconds: float
    peak_memory_gib: float
    subject: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path = RECORDS) -> Path:
        """Write the record to `folder/<name>.json` and return that path; errors as in `write_record`.

        A record of something else that is there already is kept beside it.
        """
        return write_record(folder / f"{self.name}.json", asdict(self))


@dataclass
class Meter:
    """Measure one step from its construction to `record`."""

    name: str
    seeds: Sequence[int] = ()
    corpus: str | None = None
    subject: Mapping[str, object] = field(default_factory=dict)
    _clock: Clock = field(default_factory=Clock)

    def record(self, payload: Mapping[str, Any], **subject: object) -> Record:
        """Return what was measured, with the time since this meter was made.

        Parameters
        ----------
        payload : mapping
        **subject
            What else the figures depend on, where that is known only now.
        """
        seeds = tuple(self.seeds)
        return Record(
            name=self.name,
            payload=dict(payload),
            seeds=seeds,
            corpus=self.corpus,
            subject={"corpus": self.corpus, "seeds": list(seeds), **self.subject, **subject},
            **self._clock.provenance(),
        )


def read_record(path: Path, name: str | None = None, corpus: str | None = None) -> Record:
    """Read a record.

    Parameters
    ----------
    path : Path
    name : str, optional
        The measurement that it must be of.
    corpus : str, optional
        The corpus version that it must be of.

    Raises
    ------
    LiraError
        A file that is missing, is no record, or is of another measurement or corpus version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = name or path.stem
        raise LiraError(f"there is no run of {what!r}: {path} is missing; run `python -m eval {what}` first") from None
    except (OSError, ValueError) as error:
        raise LiraError(f"{path} is not a record: {error}") from error
    wrong = _wrong_fields(content)
    if wrong:
        raise LiraError(f"{path} is not a record of this version ({', '.join(wrong)}): run it again")
    record = Record(**{**content, "seeds": tuple(content["seeds"])})
    if name is not None and record.name != name:
        raise LiraError(f"{path} is a record of {record.name!r}, not of {name!r}")
    if corpus is not None and record.corpus != corpus:
        raise LiraError(f"{path} was measured on corpus version {record.corpus}, this is {corpus}: run it again")
    return record


def _wrong_fields(content: object) -> list[str]:
    """Return the names by which a file's content differs from a record."""
    if not isinstance(content, dict):
        return ["a dictionary was expected"]
    names = {one.name for one in fields(Record)}
    needed = {one.name for one in fields(Record) if one.default_factory is MISSING}
    wrong = sorted((needed - content.keys()) | (content.keys() - names))
    return wrong or ([] if isinstance(content["payload"], dict) else ["payload"])


def find_record(folder: Path, name: str, corpus: str | None = None, weights: Sequence[str | None] = ()) -> Record:
    """Return the newest record of a measurement that is of a corpus version and of a model's weights.

    Parameters
    ----------
    folder : Path
    name : str
    corpus : str, optional
        By default of any corpus.
    weights : sequence of str, optional
        Digests, of `weights_of`; by default of any.

    Raises
    ------
    LiraError
        None that fits.
    """
    records = [read_record(path, name) for path in records_at(folder / f"{name}.json")]
    fitting = [
        record
        for record in records
        if corpus in (None, record.corpus) and (not weights or record.payload.get("weights") == list(weights))
    ]
    if not fitting:
        raise LiraError(f"there is no run of {name!r} of this corpus and these weights in {folder}")
    return max(fitting, key=lambda record: record.created)


__all__ = ["RECORDS", "Meter", "Record", "corpus_version", "find_record", "read_record", "weights_of"]
