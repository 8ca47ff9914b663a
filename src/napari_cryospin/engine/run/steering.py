"""What was done by hand in a run, kept as it happens, and given again where a run repeats it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.commands import write_commands

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_cryospin.engine.runfolder.commands import Command, Moment


class Steering:
    """The commands that a run was given, and those that it is still to be given again.

    Who gives a command by hand to a run that repeats another takes it over: what was still to come
    is dropped. A stop drops nothing: a run that goes on after it is on its way as before.

    Parameters
    ----------
    path
        ``commands.jsonl`` of the run; it is there as soon as there is a command.
    commands
        Those to give again.
    """

    def __init__(self, path: Path, commands: Iterable[Command] = ()) -> None:
        self._path = path
        self._given: list[Command] = []
        self._unfinished: Command | None = None
        self._to_come = sorted(commands, key=lambda command: command.order)

    @property
    def n_to_come(self) -> int:
        """Number of commands that are still to be given again."""
        return len(self._to_come)

    def require_fits(self, n: int) -> None:
        """Raise InputError where particles are chosen among another number than ``n``."""
        for command in self._to_come:
            if command.particles not in (None, n):
                raise InputError(
                    f"The commands choose among {command.particles} particles, and the run has "
                    f"{n}: give them to a run of the same particles."
                )

    def go_on(self, moment: Moment, n_stages: int) -> None:
        """Take the commands before a moment as given: a run goes on from there.

        What was given by hand after it, and was lost with the work since, is given again. A stop
        that led to the moment is over.
        """
        ended = [command for command in self._to_come if command.stage > n_stages]
        rest = [command for command in self._to_come if command.stage <= n_stages]
        # the run had come to its end, and has more epochs now
        place = {"stage": moment.stage, "start": moment.start}
        rest += [command.model_copy(update=place) for command in ended]
        rest = [one for one in rest if one.command != "stop" or one.order > moment.order]
        rest.sort(key=lambda command: command.order)
        self._given = [command for command in rest if command.order < moment.order]
        self._to_come = rest[len(self._given) :]
        self.write()
        # an epoch that a switch ends is kept before the next stage, or start, begins
        here = moment.epoch - 1, moment.stage, moment.start
        ended_by = [one for one in self._given if one.command == "switch"][-1:]
        if moment.batch is None and [one.order[:3] for one in ended_by] == [here]:
            self._unfinished = ended_by[0]

    def take_unfinished(self) -> Command | None:
        """Return a switch that has ended its epoch, but begun nothing, once."""
        unfinished, self._unfinished = self._unfinished, None
        return unfinished

    def due(self, moment: Moment) -> list[Command]:
        """Return the commands to give at a moment, once; those before it are missed."""
        due = [command for command in self._to_come if command.order == moment.order]
        self._to_come = self._to_come[len(due) :]
        self._given += due
        return due

    def missed(self, moment: Moment) -> list[Command]:
        """Return the commands whose moment did not come, once; they are dropped."""
        missed = [command for command in self._to_come if command.order < moment.order]
        self._to_come = self._to_come[len(missed) :]
        if missed:
            self.write()
        return missed

    def record(self, command: Command) -> None:
        """Write down a command that was given by hand; of two of a kind at once the later wins."""
        same = command.order, command.command
        self._given = [one for one in self._given if (one.order, one.command) != same]
        self._given.append(command)
        if command.command != "stop":
            self._to_come = []
        self.write()

    def write(self) -> None:
        """Write ``commands.jsonl``; none where there is no command."""
        write_commands(self._path, [*self._given, *self._to_come])
