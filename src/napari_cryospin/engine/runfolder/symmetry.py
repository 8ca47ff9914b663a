"""The symmetry that a run has found, and the run that goes on with it: what its folder tells."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.branch_points import points_of
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent, run_id

if TYPE_CHECKING:
    from pathlib import Path


def found_symmetry(run: Path) -> str:
    """Return the point group that the verdict on a run names.

    Raises
    ------
    InputError
        If it names none, or there is no verdict, or the folder holds no run.
    """
    folder = RunFolder(run)
    # a folder that is no run will never have a verdict
    folder.settings()
    verdict = folder.verdict() if folder.verdict_path.is_file() else None
    if verdict is None:
        raise InputError(
            f"{run} has no verdict yet, which names a symmetry: wait for its end, or name one."
        )
    if verdict.symmetry is None:
        near = verdict.pseudo_symmetry
        but = "" if near is None else f" but {near}, nearly, which the particles have not"
        several = verdict.class_shares is not None
        where = f"that all classes of {run} have" if several else f"in the map of {run}"
        raise InputError(f"No symmetry was found {where}{but}: name one to impose it.")
    return verdict.symmetry


def symmetrised_name(run: Path, symmetry: str) -> Path:
    """Return what the run that goes on with a symmetry is called where nobody says: RUN_C4."""
    return run.with_name(f"{run.name}_{symmetry}")


def require_goes_on(out: Path, run: Path, symmetry: str) -> None:
    """Raise InputError unless a folder holds the run that goes on from the end of another.

    Parameters
    ----------
    out
        The folder.
    run
        Folder of the run that has ended.
    symmetry
        The point group to go on with.

    Raises
    ------
    InputError
        If it holds anything else: a branch of another run, or of an earlier end of this one.
    """
    folder, branch, parent = RunFolder(run), RunFolder(out), None
    with suppress(InputError):
        parent = read_parent(branch)
    end = max(points_of(run), default=0)
    told = None if parent is None else (parent.run, parent.symmetrise, parent.epoch)
    # a run that was made again with other epochs or learning rates is told by its figures alone
    if told != (run_id(folder), symmetry, end) or _passed(branch, end) != _passed(folder, end):
        raise InputError(
            f"{out} is there already and does not go on with {symmetry} from the end of {run}: "
            f"move it away, or let napari-cryospin symmetrise {run} --out NEW do so elsewhere."
        )


def _passed(run: RunFolder, epochs: int) -> list[tuple[str | None, ...]]:
    """Return how so many epochs of a run have passed, which no other run repeats."""
    rows = [row for row in run.metrics() if int(row["epoch"]) < epochs]
    return [tuple(row.get(name) for name in ("epoch", "loss", "seconds")) for row in rows]
