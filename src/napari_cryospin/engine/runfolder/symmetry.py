"""The symmetry that a run has found, and the run that goes on with it: what its folder tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


def found_symmetry(run: Path) -> str:
    """Return the point group that the verdict on a run names.

    Raises
    ------
    InputError
        If it names none, or there is no verdict.
    """
    verdict = RunFolder(run).verdict() if RunFolder(run).verdict_path.is_file() else None
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
