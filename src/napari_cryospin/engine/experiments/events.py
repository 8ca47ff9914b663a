"""What an experiment tells: typed, frozen events, as those of a reconstruction.

Exactly one terminal event, :class:`ExperimentFinished` or :class:`~..events.Failed`, ends every
stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cryospin.engine.events import Event

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.experiments.cells import Cell
    from napari_cryospin.engine.experiments.results import CellResult


@dataclass(frozen=True)
class ExperimentStarted(Event):
    """The folder is claimed, and the cells are known; ``results`` are those of earlier sittings."""

    folder: Path
    cells: tuple[Cell, ...]
    results: tuple[CellResult, ...]

    def sentence(self) -> str:
        """Return it in words."""
        done = len(self.results)
        words = f"{len(self.cells)} cells in {self.folder}"
        return f"{words}, {done} of them finished before" if done else words


@dataclass(frozen=True)
class CellStarted(Event):
    """A cell begins, or goes on: number ``number`` of ``of``, from 1.

    ``branch_of`` names the cell that it branches off from after ``at`` epochs, None without one;
    ``resumed`` says that it goes on from its own checkpoint.
    """

    cell: Cell
    number: int
    of: int
    branch_of: str | None = None
    at: int = 0
    resumed: bool = False

    def sentence(self) -> str:
        """Return it in words."""
        how = "goes on" if self.resumed else "begins"
        if self.branch_of is not None:
            how = f"branches off from {self.branch_of} after epoch {self.at}"
        return f"Cell {self.number} of {self.of}, {self.cell.name}, {how}."


@dataclass(frozen=True)
class CellEvent(Event):
    """An event of the reconstruction of the present cell; its end comes as :class:`CellDone`."""

    cell: Cell
    event: Event


@dataclass(frozen=True)
class CellProgress(Event):
    """How far the experiment is.

    ``epoch`` of at most ``n_epochs`` epochs of the present cell are done; ``seconds_left`` is what
    is left of the experiment by what its cells have taken so far, None where nothing is known.
    """

    cell: Cell
    number: int
    of: int
    epoch: int
    n_epochs: int
    seconds_left: float | None


@dataclass(frozen=True)
class CellDone(Event):
    """A cell has ended; its row is in the table."""

    result: CellResult
    number: int
    of: int


@dataclass(frozen=True)
class ExperimentFinished(Event):
    """The experiment has ended in order; ``stopped`` when the user ended it."""

    folder: Path
    stopped: bool
    n_cells: int
    n_finished: int
    n_failed: int

    def sentence(self) -> str:
        """Return it in words."""
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        words = f"{self.n_finished} of {self.n_cells} cells finished{failed}"
        if self.stopped:
            return f"Stopped: {words}; the experiment in {self.folder} can be resumed."
        return f"{words}; the results are in {self.folder}."
