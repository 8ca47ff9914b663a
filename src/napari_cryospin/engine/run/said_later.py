"""Who belongs, said by hand of a run that nobody writes any more: in its last checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.run.checkpoint_reading import (
    read_last_checkpoint,
    require_clock,
    require_poses,
)
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
from napari_cryospin.engine.runfolder.commands import Command, Moment, write_commands
from napari_cryospin.engine.runfolder.lock import RunLock

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.runfolder.folder import RunFolder


def say_later(folder: RunFolder, said: Iterable[tuple[NDArray[np.int64], int]]) -> None:
    """Say of particles of a run whether they belong.

    A branch from its end, an export, and the run itself where it goes on, heed it; what it has
    written stays as it is.

    Parameters
    ----------
    folder
        The run folder.
    said
        Rows of particles among those in use, from 0, (m,), each with BELONGS, APART or OPEN
        (:mod:`~napari_cryospin.engine.data.member`).

    Raises
    ------
    InputError
        If another process writes the run, or it has no checkpoint that can be read.
    """
    lock = RunLock.acquire(folder.path)
    try:
        state = read_last_checkpoint(folder, torch.device("cpu"))
        n = len(state["used"])
        poses = require_poses(state, n, folder.settings().model.classes)
        for rows, word in said:
            poses.say(torch.from_numpy(rows[rows < n]), word)
        state["poses"] = poses.state()
        moment = _moment(folder, state)
        present = moment.order, "members"
        commands = [one for one in folder.commands() if (one.order, one.command) != present]
        commands.append(Command.members_at(moment, poses.by_hand.numpy()))
        # a repetition comes to the same
        write_commands(folder.commands_path, sorted(commands, key=lambda one: one.order))
        write_checkpoint(folder, state, int(state["clock"]["epoch"]))
    finally:
        lock.release()


def _moment(folder: RunFolder, state: dict[str, Any]) -> Moment:
    """Return where a run has ended, as its commands tell moments."""
    settings = folder.settings()
    clock, last = require_clock(state, settings), folder.last_event() or {}
    stops = [one for one in folder.commands() if one.command == "stop"]
    if stops and stops[-1].epoch == clock.epoch + 1:
        return Moment.model_validate(stops[-1].model_dump(include=set(Moment.model_fields)))
    ended = last.get("event") == "Finished" and last.get("stopped") is False
    return Moment(
        epoch=clock.epoch + 1,
        stage=len(settings.stages) + 1 if ended else clock.stage + 1,
        start=clock.start + 1,
        batch=clock.batch if state.get("begun") == clock.epoch else None,
    )
