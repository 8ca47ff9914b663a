"""Writing a checkpoint, and keeping some of them as branch points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.files import linked, writing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_cryospin.engine.runfolder.folder import RunFolder

_KEPT = 2


def write_checkpoint(folder: RunFolder, state: dict[str, Any], epoch: int) -> Path:
    """Write a checkpoint; the last few are kept."""
    path = folder.checkpoint_path(epoch)
    write_state(path, state)
    for old in folder.checkpoints()[:-_KEPT]:
        old.unlink()
    return path


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state in place of a file; other links to that file keep what they were."""
    with writing(path) as file:
        torch.save(state, file)


def keep_branch_point(
    folder: RunFolder, state: dict[str, Any] | None, epoch: int, most: int
) -> Path:
    """Keep what a run is after so many epochs, for branches; of too many some go.

    Parameters
    ----------
    folder
        The run folder.
    state
        The state, in few bytes; None where the checkpoint of the epoch is all that is needed.
    epoch
        Epochs done.
    most
        Branch points to keep, at least one.
    """
    path = folder.branch_point_path(epoch)
    # of an earlier version, or lost
    path.parent.mkdir(exist_ok=True)
    if state is None:
        linked(folder.checkpoint_path(epoch), path)
    else:
        write_state(path, state)
    points = folder.branch_points()
    kept = evenly(sorted(number for number in points if number <= epoch), most)
    for number, old in points.items():
        # what comes after an epoch that was redone does not belong to the run any more
        if number not in kept:
            old.unlink(missing_ok=True)
    return path


def evenly(numbers: Iterable[int], most: int) -> list[int]:
    """Return at most so many of ascending numbers, the last one and, of several, the first.

    One after the other those go whose neighbours lie closest together: what is added bit by bit
    comes to lie evenly.
    """
    kept = list(numbers)
    while len(kept) > most:
        inner = range(1, len(kept) - 1)
        kept.pop(min(inner, key=lambda i: kept[i + 1] - kept[i - 1], default=0))
    return kept
