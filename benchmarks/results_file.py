"""Results that are kept line by line, so that a benchmark that was ended goes on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from machine import RESULTS, description

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class ResultsFile:
    """A CSV file in ``results/``.

    Parameters
    ----------
    name
        Its name, without suffix.
    keys
        Columns that tell one result from another.
    figures
        The other columns; the machine is added to them.
    """

    name: str
    keys: Sequence[str]
    figures: Sequence[str]

    def rows(self) -> list[dict[str, str]]:
        """Return all results so far."""
        path = RESULTS / f"{self.name}.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def has(self, key: Sequence[str]) -> bool:
        """Return whether a result is there."""
        return any([row[name] for name in self.keys] == list(key) for row in self.rows())

    def add(self, key: Sequence[str], figures: Mapping[str, object]) -> None:
        """Add a result, and print it."""
        path = RESULTS / f"{self.name}.csv"
        row = {**dict(zip(self.keys, key, strict=True)), **figures, "machine": description()}
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, [*self.keys, *self.figures, "machine"])
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
