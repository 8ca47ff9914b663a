"""Going on from a run with a symmetry that its map shows: another run, which begins there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.runfolder.branch_points import no_branch_point
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.symmetry_names import symmetry_name

if TYPE_CHECKING:
    from pathlib import Path


def make_symmetrised(run: Path, symmetry: str, out: Path) -> None:
    """Make the run folder that goes on from the end of a run with a symmetry; resuming it runs it.

    Map and poses are turned to the axes of the group, and auto-decoding begins anew, with a search
    of all poses in the asymmetric unit. The run itself stays as it is.

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
    make_branch(run, epochs[-1], out, symmetrise=symmetry)
