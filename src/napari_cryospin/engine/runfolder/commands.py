"""What was done by hand in a run, and where: ``commands.jsonl``, from which it is done again.

A line holds one command. Epochs, stages, starts and particles count from 1; ``batch`` is how many
of the ``batches`` of the epoch were done. Without it the epoch had not begun yet, or, with
``searching``, it was in its search of poses.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_cryospin.engine.data.member import APART, BELONGS, OPEN
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.runfolder.reading import Unreadable, read_small
from napari_cryospin.engine.settings import first_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.switch_at import SwitchAt

# a choice among a million particles, none beside another of the same kind, takes 7 MB
_LARGEST = 200 * 2**20
_RANGES = re.compile(r"[0-9]{1,12}(-[0-9]{1,12})?(,[0-9]{1,12}(-[0-9]{1,12})?)*")
_NOT_BEGUN, _SEARCHING = -2, -1
# a map from fewer particles has no halves
_FEWEST = 2

_FromOne = Annotated[int, Field(ge=1)]
Kind = Literal["switch", "particles", "members", "stop", "schedule"]


class Moment(BaseModel):
    """A place in a run at which it takes commands.

    Parameters
    ----------
    epoch, stage, start
        From 1. After the run's last epoch ``stage`` is one more than there are stages.
    batch, batches
        Batches done in the epoch, and how many it has; None before the first.
    searching
        Whether the epoch is in its search of poses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: _FromOne
    stage: _FromOne
    start: _FromOne
    batch: Annotated[int, Field(ge=0)] | None = None
    batches: _FromOne | None = None
    searching: bool = False

    @property
    def order(self) -> tuple[int, int, int, int]:
        """What moments are sorted by."""
        step = _SEARCHING if self.searching else _NOT_BEGUN
        return self.epoch, self.stage, self.start, step if self.batch is None else self.batch


class Command(Moment):
    """A command that was given by hand, and when.

    Parameters
    ----------
    command
        "switch": the stage, or start, ends. "particles": others are used from the next epoch on.
        "members": from now on it is said by hand which particles belong, and which do not.
        "stop": the run ends, and what was computed is kept. "schedule": the stage ends otherwise
        from now on.
    switch_at
        When it does: after so many epochs of the stage, "auto", "never"; "settings": as these say.
    used
        The particles that are used from then on, such as "1-120,133".
    belong, apart
        The particles that are said to belong, and those that are said not to; None: there are none.
    particles
        How many they were chosen from.
    """

    command: Kind
    switch_at: _FromOne | Literal["auto", "never", "settings"] | None = None
    used: str | None = None
    belong: str | None = None
    apart: str | None = None
    particles: _FromOne | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.command == "schedule" and self.switch_at is None:
            raise ValueError("a change of the schedule needs 'switch_at'")
        if self.command == "particles":
            if self.used is None or self.particles is None:
                raise ValueError("a choice of particles needs 'used' and 'particles'")
            if _count(self.used, self.particles) < _FEWEST:
                raise ValueError(f"at least {_FEWEST} particles must remain in use")
        if self.command == "members":
            if self.particles is None:
                raise ValueError("who belongs is said among a number of 'particles'")
            for text in (self.belong, self.apart):
                if text is not None:
                    _count(text, self.particles)
        return self

    @classmethod
    def at(
        cls,
        moment: Moment,
        command: Kind,
        used: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Return a command that is given at a moment; ``used`` (n,) is its choice of particles."""
        chosen = {} if used is None else {"used": ranges(used), "particles": len(used)}
        return cls(command=command, **moment.model_dump(), **chosen)

    @classmethod
    def members_at(cls, moment: Moment, by_hand: NDArray[np.int8]) -> Self:
        """Return the command that says, at a moment, who belongs by hand and who does not, (n,)."""
        belong, apart = (ranges(by_hand == said) or None for said in (BELONGS, APART))
        return cls(
            command="members",
            **moment.model_dump(),
            belong=belong,
            apart=apart,
            particles=len(by_hand),
        )

    @classmethod
    def schedule_at(cls, moment: Moment, at: SwitchAt | None) -> Self:
        """Return the command that changes, at a moment, when the stage ends; None as it began."""
        said = "settings" if at is None else at
        return cls(command="schedule", **moment.model_dump(), switch_at=said)

    def said(self) -> SwitchAt | None:
        """Return when the stage ends; None: as the settings say."""
        return None if self.switch_at == "settings" else self.switch_at

    def chosen(self) -> NDArray[np.bool_]:
        """Return the choice of particles, (n,)."""
        assert self.used is not None and self.particles is not None
        return _chosen(self.used, self.particles)

    def by_hand(self) -> NDArray[np.int8]:
        """Return what is said of each particle: BELONGS, APART or OPEN, (n,)."""
        assert self.particles is not None
        result = np.full(self.particles, OPEN, dtype=np.int8)
        for text, said in ((self.belong, BELONGS), (self.apart, APART)):
            if text is not None:
                result[_chosen(text, self.particles)] = said
        return result

    def figures(self) -> dict[str, str | int]:
        """Return plain values, for JSON; what does not matter is left out."""
        return {"command": self.command, **self.model_dump(exclude_defaults=True)}

    def sentence(self) -> str:
        """Return in words which command it is, and when it was given."""
        what = {
            "switch": "The switch",
            "particles": "The choice of particles",
            "members": "The word on who belongs",
            "stop": "The stop",
            "schedule": "The change of the schedule",
        }
        when = f"before epoch {self.epoch}"
        if self.batch is not None:
            when = f"after batch {self.batch} of epoch {self.epoch}"
        elif self.searching:
            when = f"in the pose search of epoch {self.epoch}"
        return f"{what[self.command]} {when}, in stage {self.stage}"


def read_commands(path: Path) -> list[Command]:
    """Read the commands in a ``commands.jsonl``.

    Raises
    ------
    InputError
        If the file is missing, or a line of it is no command.
    """
    try:
        text = read_small(path, _LARGEST)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except Unreadable as error:
        raise InputError(f"{path} {error}.") from error
    commands = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            commands.append(Command.model_validate_json(line))
        except ValidationError as error:
            raise InputError(f"{path}: line {number} is no command: {_why(error)}") from error
    return commands


def write_commands(path: Path, commands: Sequence[Command]) -> None:
    """Write a ``commands.jsonl``; where there is no command there is none."""
    if not commands:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        lines = (f"{json.dumps(one.figures())}\n" for one in commands)
        temporary.write_text("".join(lines), encoding="utf-8")


def ranges(used: NDArray[np.bool_]) -> str:
    """Return a choice (n,) as ranges of particles that count from 1, such as "1-120,133"."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], used, [False])).astype(np.int8)))
    pairs = ((first + 1, last) for first, last in edges.reshape(-1, 2).tolist())
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pairs)


def _bounds(text: str) -> Iterable[tuple[int, int]]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def _chosen(text: str, n: int) -> NDArray[np.bool_]:
    """Return which of ``n`` particles are in ranges, (n,)."""
    result = np.zeros(n, dtype=bool)
    for first, last in _bounds(text):
        result[first - 1 : last] = True
    return result


def _count(text: str, n: int) -> int:
    """Return how many particles of ``n`` are in ranges; ValueError where they are none of them."""
    if _RANGES.fullmatch(text) is None:
        raise ValueError("particles are ranges such as 1-120,133")
    count = before = 0
    for first, last in _bounds(text):
        if not before < first <= last <= n:
            raise ValueError(f"the ranges of particles do not ascend from 1 to {n}")
        count, before = count + last - first + 1, last
    return count


def _why(error: ValidationError) -> str:
    # of what is no JSON there is no setting to name
    problem = error.errors()[0]
    if not problem["loc"]:
        return " ".join(problem["msg"].removeprefix("Value error, ").split()) + "."
    return first_problem(error)
