"""Going on from a run with a symmetry that its map shows: another run, which begins there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.runfolder.branch_points import no_branch_point
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.symmetry_names import symmetry_name

if TYPE_CHECKING:
    from pathlib import Path


def make_symmetrised(run: Path, symmetry: str, out: Path) -> None:
    """Make the run folder that goes on from the end of a run with a symmetry; resuming it runs it.

    Map and poses are turned to the axes of the group: where the verdict has them if it names the
    group, and where they are found otherwise. Auto-decoding begins anew, with a search of all poses
    in the asymmetric unit. The run itself stays as it is.

    Parameters
    ----------
    run
        Folder of the run.
    symmetry
        The point group: that of the verdict, a part of it, or any other.
    out
        Folder to make; there must be nothing in it.

    Raises
    ------
    InputError
        If there is no such group, or the run has it or cannot be gone on from.
    """
    symmetry, settings = symmetry_name(symmetry), RunFolder(run).settings()
    if symmetry == "C1":
        raise InputError("C1 is no symmetry to go on with.")
    if symmetry == settings.model.symmetry:
        raise InputError(f"{run} has the symmetry {symmetry} already.")
    epochs = branch_epochs(run)
    if not epochs:
        raise InputError(no_branch_point(run, None, epochs))
    make_branch(run, epochs[-1], out, symmetrise=symmetry, frame=_told_frame(run, symmetry))


def _told_frame(run: Path, symmetry: str) -> SymmetryFrame | None:
    """Return the frame of a group that the verdict on a run tells; None where it tells none."""
    verdict = None
    with suppress(InputError):
        verdict = RunFolder(run).verdict()
    if verdict is None or verdict.symmetry != symmetry:
        return None
    numbers = np.array(verdict.symmetry_frame or (), dtype=np.float64)
    if len(numbers) != 12:
        return None
    turn, middle = numbers[:9].reshape(3, 3), numbers[9:]
    right = np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) and np.linalg.det(turn) > 0
    return SymmetryFrame(turn, middle, verdict.symmetry_correlation or 0.0) if right else None
