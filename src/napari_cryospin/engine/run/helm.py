"""Where a run takes its commands: those given by hand, and those of another run given again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_cryospin.engine import events
from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.runfolder.commands import Command, Moment
from napari_cryospin.engine.switch_at import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.run.controls import Controls
    from napari_cryospin.engine.run.steering import Steering
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.runfolder.lock import RunLock
    from napari_cryospin.engine.switch_at import SwitchAt


class Helm:
    """Takes commands between batches, and writes down at which moment.

    Parameters
    ----------
    training
        What learns.
    lock
        The lock of the run folder.
    controls
        Commands that are given by hand.
    steering
        What is done by hand is written down there, and what was done before is done again.

    Attributes
    ----------
    n_batches
        Batches of the present epoch, where they are known.
    searching
        Whether the present epoch is in its search of poses.
    ended
        Whether the last stage has ended.
    """

    def __init__(
        self, training: Training, lock: RunLock, controls: Controls, steering: Steering
    ) -> None:
        self._training, self._lock = training, lock
        self._controls, self.steering = controls, steering
        self.n_batches: int | None = None
        self.searching = self.ended = self._switch_due = False

    @property
    def moment(self) -> Moment:
        """Where the run is now."""
        training, clock = self._training, self._training.clock
        begun = training.in_midst and not self.searching
        return Moment(
            epoch=clock.epoch + 1,
            # a choice that comes as the last map is judged had no part in that
            stage=clock.stage + 1 + self.ended,
            start=clock.start + 1,
            batch=clock.batch if begun else None,
            batches=self.n_batches if begun else None,
            searching=training.in_midst and self.searching,
        )

    def take_commands(self) -> Iterator[Event]:
        """Give the commands that are due again, and take the latest of those given by hand."""
        moment, training, controls = self.moment, self._training, self._controls
        for missed in self.steering.missed(moment):
            yield events.CommandMissed(missed.sentence())
        for command in self.steering.due(moment):
            if command.command == "particles":
                yield from self._choose(command.chosen())
            elif command.command == "members":
                yield from self._say_again(command.by_hand())
            elif command.command == "switch" and training.last_stage:
                yield events.CommandMissed(command.sentence())
            elif command.command == "switch":
                self._switch_due = True
            elif command.command == "schedule":
                yield from self._reschedule(command.said(), command)
            elif not controls.stopped:
                controls.stop()
        schedule = controls.take_schedule()
        if schedule is not None and not training.last_stage:
            command = Command.schedule_at(moment, schedule[0])
            self._write(command)
            yield from self._reschedule(schedule[0], command)
        used = controls.take_used()
        if used is not None:
            for chosen in self._choose(used):
                self._record("particles")
                yield chosen
        # the moments of a search are one to a repetition: what is said in it waits for its end
        if not self.searching or controls.stopped:
            yield from self._say(controls.take_said())

    def take_switch(self) -> bool:
        """Return whether a switch was asked for, by hand or by what is done again; once."""
        again, self._switch_due = self._switch_due, False
        by_hand = self._controls.take_switch()
        if by_hand and not again:
            self._record("switch")
        return by_hand or again

    def record_stop(self) -> None:
        """Write down that the run was stopped, where that has ended it."""
        if self._controls.stopped and not self.ended:
            self._record("stop")

    def _reschedule(self, at: SwitchAt | None, command: Command) -> Iterator[Event]:
        training, clock = self._training, self._training.clock
        if training.last_stage:
            yield events.CommandMissed(command.sentence())
            return
        training.schedule.say(clock.stage, at)
        ends = end_of(training.settings.stages[clock.stage])
        yield events.Rescheduled(
            at, ends, clock.stage, training.kind, clock.n_epochs(training.settings)
        )

    def _choose(self, used: NDArray[np.bool_]) -> Iterator[Event]:
        training = self._training
        if training.choose(used):
            yield events.ParticlesChosen(int(training.used.sum()), training.particles.n)

    def _say(self, said: list[tuple[NDArray[np.int64], int]]) -> Iterator[Event]:
        poses, changed = self._training.poses, False
        for rows, word in said:
            there = torch.from_numpy(rows[rows < self._training.particles.n])
            changed |= poses.say(there.to(poses.by_hand.device), word)
        if changed:
            by_hand = poses.by_hand.cpu().numpy()
            self._write(Command.members_at(self.moment, by_hand))
            yield _members(by_hand)

    def _say_again(self, by_hand: NDArray[np.int8]) -> Iterator[Event]:
        poses = self._training.poses
        for word in (OPEN, BELONGS, APART):
            rows = torch.from_numpy(np.flatnonzero(by_hand == word))
            poses.say(rows.to(poses.by_hand.device), word)
        yield _members(by_hand)

    def _record(self, command: Literal["switch", "particles", "stop"]) -> None:
        used = self._training.used.cpu().numpy() if command == "particles" else None
        self._write(Command.at(self.moment, command, used))

    def _write(self, command: Command) -> None:
        self._lock.require_held()
        self.steering.record(command)


def _members(by_hand: NDArray[np.int8]) -> Event:
    return events.MembersChosen(*(int((by_hand == word).sum()) for word in (BELONGS, APART)))
