"""``results.csv`` of an experiment: one row per cell that has ended."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.runfolder.reading import Unreadable, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.experiments.records import RunRecord

TABLE = "results.csv"

_OF_CELL = ("cell", "stack", "preset", "seed", "switch_at")
FIGURES = (
    "state",
    "switched_after",
    "mean_pose_error_deg",
    "median_pose_error_deg",
    "resolution_angstrom",
    "held_out_gain_nats",
    "verdict",
    "epochs",
    "seconds",
    "seconds_alone",
    "branch_of",
    "branched_at",
    "message",
)
_LARGEST = 10 * 2**20


class CellState(StrEnum):
    """What has become of a cell."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Parameters
    ----------
    cell
        The cell.
    state
        What has become of it.
    record
        What its run folder tells, where there is one.
    message
        Why it failed.
    """

    cell: Cell
    state: CellState
    record: RunRecord | None = None
    message: str = ""

    def row(self) -> dict[str, str]:
        """Return it as a row of the table."""
        cell = self.cell
        switch = "" if cell.switch_at is None else str(cell.switch_at)
        own = (cell.name, str(cell.stack), cell.preset, str(cell.seed), switch)
        row = dict(zip(_OF_CELL, own, strict=True))
        row |= {name: str(value) for name, value in cell.values}
        return row | dict.fromkeys(FIGURES, "") | self._figures()

    def _figures(self) -> dict[str, str]:
        found = {"state": str(self.state), "message": self.message}
        record = self.record
        return found if record is None else found | figures_of(record)

    def sentence(self) -> str:
        """Return it in a line."""
        row = self.row()
        if self.state is not CellState.FINISHED:
            return " · ".join(filter(None, (self.cell.name, str(self.state), self.message)))
        words = (
            ("mean_pose_error_deg", "{}° mean"),
            ("median_pose_error_deg", "{}° median"),
            ("resolution_angstrom", "{} Å"),
            ("held_out_gain_nats", "held-out gain {} nats"),
            ("verdict", "{}"),
            ("switched_after", "switched after {}"),
            ("epochs", "{} epochs"),
            ("seconds", "{} s"),
            ("seconds_alone", "{} s as if alone"),
        )
        told = [words.format(row[name]) for name, words in words if row[name]]
        return " · ".join((self.cell.name, *told))


def figures_of(record: RunRecord) -> dict[str, str]:
    """Return the figures of a run, as strings by column."""
    last = record.last
    error = (None, None) if last is None else (last.mean_pose_error, last.median_pose_error)
    return {
        "switched_after": _figure(record.switched_after, "{:g}"),
        "mean_pose_error_deg": _figure(error[0], "{:.4f}"),
        "median_pose_error_deg": _figure(error[1], "{:.4f}"),
        "resolution_angstrom": _figure(None if last is None else last.resolution, "{:.3f}"),
        "held_out_gain_nats": _figure(record.held_out_gain, "{:.2f}"),
        "verdict": "" if record.verdict is None else str(record.verdict.outcome),
        "epochs": str(len(record.history)),
        "seconds": f"{record.own_seconds:.1f}",
        "seconds_alone": f"{record.seconds:.1f}",
        "branch_of": "" if record.parent is None else record.parent.name,
        "branched_at": "" if record.parent is None else str(record.shared),
    }


def write_results(path: Path, settings: Iterable[str], results: Iterable[CellResult]) -> None:
    """Write the table of an experiment.

    Parameters
    ----------
    path
        The file.
    settings
        Dotted names of the settings that the experiment names.
    results
        What came of its cells.
    """
    columns = (*_OF_CELL, *settings, *FIGURES)
    write_table(path, columns, [result.row() for result in results])


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write columns of rows as CSV, or, where the name ends with .tsv, parted by tabs."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        # rows have figures as well that no run of the table has, and it no column for
        writer = csv.DictWriter(
            file, list(columns), restval="", extrasaction="ignore", delimiter=delimiter
        )
        writer.writeheader()
        writer.writerows(rows)


def read_results(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a table by the name of their cell; none where it cannot be read."""
    try:
        text = read_small(path, _LARGEST)
        rows = list(csv.DictReader(io.StringIO(text)))
    except (FileNotFoundError, Unreadable, csv.Error):
        return {}
    # half a row has None for what is missing
    return {row["cell"]: row for row in rows if row.get("cell") and None not in row.values()}


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
