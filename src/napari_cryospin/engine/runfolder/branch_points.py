"""From where a run can be branched: what its folder alone tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.reading import numbered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def points_of(run: Path) -> dict[int, Path]:
    """Return the files that a run can be branched from, by the epochs done then, ascending.

    A branch point is what a run was right after the epoch, and goes before a checkpoint, which may
    have been written after the switch, or in the midst of the next epoch.
    """
    points = dict(numbered(run, names.CHECKPOINTS)) | dict(numbered(run, names.BRANCH_POINTS))
    return dict(sorted(points.items()))


def no_branch_point(run: Path, at: int | None, epochs: Sequence[int]) -> str:
    """Return a sentence that says which epochs a run can be branched from.

    Parameters
    ----------
    run
        The run folder.
    at
        The epoch that was asked for; None where none was.
    epochs
        Those that can be, ascending.
    """
    asked = f"{run} cannot be branched from after epoch {at}" if at is not None else ""
    if not epochs:
        return f"{asked or f'{run} cannot be branched from'}: it has no checkpoint yet."
    known = f"after epoch{'s' if len(epochs) > 1 else ''} {in_words(epochs)}"
    return f"{asked}: it can be {known}." if asked else f"Say where: {run} can be branched {known}."


def in_words(epochs: Sequence[int]) -> str:
    """Return ascending numbers in words, such as "1 to 4, 7 or 9"."""
    spans: list[list[int]] = []
    for epoch in epochs:
        if spans and epoch == spans[-1][-1] + 1:
            spans[-1].append(epoch)
        else:
            spans.append([epoch])
    words = []
    for span in spans:
        words += [f"{span[0]} to {span[-1]}"] if len(span) > 2 else [str(one) for one in span]
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
