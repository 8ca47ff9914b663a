"""What a run tells of the commands that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cryospin.engine.event import Event
from napari_cryospin.engine.switch_at import when

if TYPE_CHECKING:
    from napari_cryospin.engine.stages import Inference
    from napari_cryospin.engine.switch_at import SwitchAt


@dataclass(frozen=True)
class Rescheduled(Event):
    """The present stage ends otherwise from now on: ``at`` as for :meth:`.Controls.set_switch`.

    ``stage`` counts from 0, and ``ends`` says when that is, also where its settings do; the run
    will have had ``n_epochs`` epochs at its end, at most.
    """

    at: SwitchAt | None
    ends: SwitchAt
    stage: int
    inference: Inference
    n_epochs: int

    def sentence(self) -> str:
        """Return that in words."""
        return f"Stage {self.stage + 1}, {self.inference.label}, ends {when(self.at)} from now on."


@dataclass(frozen=True)
class CommandMissed(Event):
    """A command that was to be given again was not: the run is not the one it was given to."""

    command: str

    def sentence(self) -> str:
        """Return that in words."""
        return f"{self.command}, was not repeated: this run has other stages or batches."


@dataclass(frozen=True)
class ParticlesChosen(Event):
    """Other particles were chosen: ``n_used`` of ``n`` are used from the next epoch on."""

    n_used: int
    n: int

    def sentence(self) -> str:
        """Return that in words."""
        return f"{self.n_used:,} of {self.n:,} particles are used from the next epoch on."


@dataclass(frozen=True)
class MembersChosen(Event):
    """It was said by hand of ``n_belong`` particles that they belong, of ``n_apart`` otherwise."""

    n_belong: int
    n_apart: int

    def sentence(self) -> str:
        """Return that in words."""
        if not self.n_belong + self.n_apart:
            return "By hand nothing is said any more of who belongs."
        return (
            f"By hand {self.n_belong:,} particles belong from now on, and {self.n_apart:,} do not."
        )


@dataclass(frozen=True)
class Paused(Event):
    """Training rests; nothing changes until :class:`Resumed` or the end."""


@dataclass(frozen=True)
class Resumed(Event):
    """Training goes on."""
