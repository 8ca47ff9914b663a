"""Who belongs, said by hand of a run that nobody writes any more: in its last checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.checkpoint_reading import (
    read_checkpoint,
    read_last_checkpoint,
    require_clock,
    require_poses,
)
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint, write_state
from napari_cryospin.engine.runfolder.commands import Command, Moment, write_commands
from napari_cryospin.engine.runfolder.lock import RunLock
from napari_cryospin.engine.runfolder.reading import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.runfolder.folder import RunFolder

_MEMBERS = "members"


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
    lock, said = RunLock.acquire(folder.path), list(said)
    try:
        state = read_last_checkpoint(folder, torch.device("cpu"))
        moment, epoch = _moment(folder, state), int(state["clock"]["epoch"])
        by_hand = _say(folder, state, said)
        commands = [_rebased(one, moment, said) for one in folder.commands()]
        commands = [one for one in commands if (one.order, one.command) != (moment.order, _MEMBERS)]
        commands.append(Command.members_at(moment, by_hand))
        # a branch from the end begins there
        point = folder.branch_points().get(epoch)
        if point is not None:
            state_there = read_checkpoint(point, torch.device("cpu"))
            _say(folder, state_there, said)
        # a repetition comes to the same
        write_commands(folder.commands_path, sorted(commands, key=lambda one: one.order))
        write_checkpoint(folder, state, epoch)
        if point is not None:
            write_state(point, state_there)
    except Unreadable as error:
        raise InputError(f"{folder.path} cannot be told who belongs: {error}.") from error
    finally:
        lock.release()


def _say(
    folder: RunFolder, state: dict[str, Any], said: list[tuple[NDArray[np.int64], int]]
) -> NDArray[np.int8]:
    """Say of particles whether they belong, in a state; return what is said of all, (n,)."""
    n = len(state["used"])
    poses = require_poses(state, n, folder.settings().model.classes)
    for rows, word in said:
        poses.say(torch.from_numpy(rows[rows < n]), word)
    state["poses"] = poses.state()
    result: NDArray[np.int8] = poses.by_hand.numpy()
    return result


def _rebased(
    command: Command, moment: Moment, said: list[tuple[NDArray[np.int64], int]]
) -> Command:
    """Return a command with what is said at an earlier moment, where it tells all that is said.

    A run that was killed repeats what was said after its last checkpoint.
    """
    if command.command != _MEMBERS or command.order <= moment.order:
        return command
    by_hand = command.by_hand()
    for rows, word in said:
        by_hand[rows[rows < len(by_hand)]] = word
    return Command.members_at(_moment_of(command), by_hand)


def _moment_of(command: Command) -> Moment:
    return Moment.model_validate(command.model_dump(include=set(Moment.model_fields)))


def _moment(folder: RunFolder, state: dict[str, Any]) -> Moment:
    """Return where a run has ended, as its commands tell moments."""
    settings = folder.settings()
    clock, last = require_clock(state, settings), folder.last_event() or {}
    stops = [one for one in folder.commands() if one.command == "stop"]
    if stops and stops[-1].epoch == clock.epoch + 1:
        return _moment_of(stops[-1])
    ended = last.get("event") == "Finished" and last.get("stopped") is False
    return Moment(
        epoch=clock.epoch + 1,
        stage=len(settings.stages) + 1 if ended else clock.stage + 1,
        start=clock.start + 1,
        batch=clock.batch if state.get("begun") == clock.epoch else None,
    )
