"""Where an experiment may be run: an empty folder, or its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.plan import PLAN, Experiment
from napari_cryospin.engine.failures import why
from napari_cryospin.engine.files import is_left_over, replacing
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.lock import RunLock, is_claim

if TYPE_CHECKING:
    from pathlib import Path


def holds_experiment(folder: Path) -> bool:
    """Return whether a folder is that of an experiment."""
    return (folder / PLAN).is_file()


def require_place(folder: Path, experiment: Experiment) -> None:
    """Raise InputError where an experiment cannot be run in a folder.

    That is where the folder holds another experiment, or anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder.")
    if holds_experiment(folder):
        if Experiment.from_toml(folder / PLAN) != experiment:
            raise InputError(
                f"{folder} holds another experiment: choose another folder, or go on with its own "
                f"file, {folder / PLAN}."
            )
        return
    try:
        foreign = [path.name for path in folder.iterdir() if not _is_ours(path)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {why(error)}.") from error
    if foreign:
        raise InputError(f"{folder} is not empty: choose another folder.")


def claim(folder: Path, experiment: Experiment) -> RunLock:
    """Make the folder of an experiment, or take it up again, and lock it.

    Raises
    ------
    InputError
        If it is none of its own, another process runs it, or it cannot be written.
    """
    require_place(folder, experiment)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {why(error)}.") from error
    lock = RunLock.acquire(folder)
    try:
        # another may have begun here in the meantime
        require_place(folder, experiment)
        if not holds_experiment(folder):
            with replacing(folder / PLAN) as temporary:
                temporary.write_text(experiment.to_toml(), encoding="utf-8")
    except BaseException:
        lock.release()
        raise
    return lock


def _is_ours(path: Path) -> bool:
    """Whether a file is what a process that was killed early, or waits for the lock, has left."""
    return path.name == names.LOCK or is_left_over(path) or is_claim(path)
