"""Particles that are not used because of their images: which ones, and why."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_cryospin.engine.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable

# share of the particles beyond which those that are set aside are a warning
MANY = 0.05


class Reason(IntEnum):
    """Why an image is set aside; ``NONE``: it is not."""

    NONE = 0
    BLANK = 1
    NOT_FINITE = 2
    DUST = 3
    BEAD = 4

    @property
    def words(self) -> str:
        """The reason, in words that can follow a number of images."""
        return _WORDS[self]


_WORDS = {
    Reason.NONE: "fine",
    Reason.BLANK: "blank",
    Reason.NOT_FINITE: "with NaN or infinite values",
    Reason.DUST: "with too many wild pixels",
    Reason.BEAD: "with a gold bead or the like",
}


@dataclass(frozen=True)
class SetAside:
    """Particles that are not used because of their images.

    Parameters
    ----------
    rows
        Rows of the particle table, ascending, shape (m,).
    reasons
        A :class:`Reason` for each, shape (m,).
    asked
        Number of particles that were to be used.
    """

    rows: NDArray[np.int64]
    reasons: NDArray[np.int64]
    asked: int

    @classmethod
    def none(cls) -> Self:
        """Return that nothing is set aside."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)

    @property
    def warning(self) -> str | None:
        """A sentence for the user where so many are set aside that it should be looked into."""
        if len(self.rows) <= MANY * self.asked:
            return None
        return (
            f"{100 * len(self.rows) / self.asked:.0f} % of the images cannot be used: look at them "
            "before you trust the map. set_aside.csv in the run folder names them."
        )

    def sentence(self) -> str:
        """Return how many there are, and why, without the full stop."""
        counts = [(int((self.reasons == reason).sum()), reason.words) for reason in Reason]
        kinds = ", ".join(f"{number} {words}" for number, words in counts if number)
        verb = "is" if len(self.rows) == 1 else "are"
        return f"{len(self.rows)} of {self.asked} images {verb} set aside ({kinds})"

    def write(self, path: Path, table: ParticleTable) -> None:
        """Write a line for each, with its place in the table and its image, as CSV.

        Parameters
        ----------
        path
            The file.
        table
            The particle table.
        """
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("particle", "image", "stack", "reason"))
            for row, reason in zip(self.rows.tolist(), self.reasons.tolist(), strict=True):
                stack = table.stacks[table.stack_index[row]]
                image = int(table.image_index[row]) + 1
                writer.writerow((row + 1, image, stack, Reason(reason).words))
