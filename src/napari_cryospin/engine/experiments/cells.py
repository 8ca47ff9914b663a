"""The cells of an experiment: one run each, and which of them have their beginning in common."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import encodes
from napari_cryospin.engine.switch_at import MOST_EPOCHS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_cryospin.engine.experiments.plan import Experiment
    from napari_cryospin.engine.stages import Stage

MOST_CELLS = 1000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.+-]+")


@dataclass(frozen=True)
class Cell:
    """One run of an experiment.

    Parameters
    ----------
    name
        Name of its run folder.
    stack, preset, seed, switch_at
        What it is made of; ``switch_at`` is None where the experiment names no switch.
    values
        Its further settings by dotted name.
    settings
        All settings of its run.
    """

    name: str
    stack: Path
    preset: str
    seed: int
    switch_at: int | str | None
    values: tuple[tuple[str, Any], ...]
    settings: Settings

    @property
    def trunk(self) -> tuple[object, ...] | None:
        """What it has in common with the cells that differ only in the switch.

        None where it has nothing in common: no switch, or several starts, the best of which is
        chosen when all have had their epochs.
        """
        if self.switch_at is None or self.settings.starts > 1:
            return None
        return (self.stack, self.preset, self.seed, self.values)

    @property
    def encoding(self) -> Stage:
        """Settings of its first stage with an encoder; it has one where it has a switch."""
        return next(stage for stage in self.settings.stages if stage.inference.has_heads)

    @property
    def encoded_first(self) -> bool:
        """Whether the run begins with auto-encoding."""
        return self.settings.stages[0].inference.has_heads

    @property
    def epochs(self) -> int:
        """Epochs that its run has, at most."""
        stages, starts = self.settings.stages, self.settings.n_starts
        return sum(stage.epochs for stage in stages) + (starts - 1) * stages[0].epochs


def cells_of(experiment: Experiment) -> list[Cell]:
    """Return the cells of an experiment, in the order in which they are run.

    Cells with the same trunk follow each other, the longest first: the others branch off from it.

    Raises
    ------
    InputError
        If a setting cannot be used, or there are too many cells.
    """
    _require_few(experiment)
    switches: list[int | str | None] = [*_longest_first(experiment.switch_at)] or [None]
    found = [
        _Made(stack, preset, seed, dict(zip(experiment.settings, values, strict=True)), switch)
        for stack, preset, values, seed, switch in itertools.product(
            range(len(experiment.stack)),
            experiment.preset,
            itertools.product(*experiment.settings.values()),
            experiment.seed,
            switches,
        )
    ]
    names = _unique([_name(experiment, made) for made in found])
    return [_cell(experiment, made, name) for made, name in zip(found, names, strict=True)]


@dataclass(frozen=True)
class _Made:
    """What a cell is made of; the stack by its place in the list."""

    stack: int
    preset: str
    seed: int
    values: dict[str, Any]
    switch_at: int | str | None


def _require_few(experiment: Experiment) -> None:
    number = len(experiment.stack) * len(experiment.preset) * len(experiment.seed)
    number *= max(len(experiment.switch_at), 1)
    for values in experiment.settings.values():
        number *= len(values)
    if number > MOST_CELLS:
        raise InputError(
            f"The experiment has {number:,} cells: at most {MOST_CELLS:,} are run as one."
        )


def _longest_first(switches: Sequence[int | str]) -> list[int | str]:
    """Return the switches in the order of their runs: each branches off from one before."""
    numbers = sorted((each for each in switches if isinstance(each, int)), reverse=True)
    return [
        *(each for each in switches if each == "auto"),
        *numbers,
        *(each for each in switches if each == "never"),
    ]


def _cell(experiment: Experiment, made: _Made, name: str) -> Cell:
    settings = Settings.from_preset(made.preset)
    settings.seed = made.seed
    settings.data.stack = experiment.stack[made.stack]
    if experiment.truth_star:
        settings.data.truth_star = experiment.truth_star[made.stack]
    if experiment.truth_map:
        settings.data.truth_map = experiment.truth_map[made.stack]
    for where, value in made.values.items():
        _set(settings, where, value, f"{where} with preset {made.preset}")
    if made.switch_at is not None:
        _switch(settings, made, experiment)
    return Cell(
        name,
        experiment.stack[made.stack],
        made.preset,
        made.seed,
        made.switch_at,
        tuple(made.values.items()),
        settings,
    )


def _set(settings: Settings, where: str, value: Any, asked: str) -> None:
    try:
        settings.get(where)
    except AttributeError:
        raise InputError(f"There is no setting {where}.") from None
    except InputError:
        # no stage has it; said better below
        pass
    settings.require_known(where, asked)
    try:
        settings.set(where, value)
    except InputError as error:
        name = where.rpartition(".")[2]
        raise InputError(str(error).replace(f"'{name}'", f"'{where}'", 1)) from error


def _switch(settings: Settings, made: _Made, experiment: Experiment) -> None:
    """Say in the settings when auto-encoding ends."""
    if not encodes(settings.stages):
        raise InputError(
            f"switch_at: preset {made.preset} has no auto-encoding; leave it out, or switch_at."
        )
    place = next(k for k, stage in enumerate(settings.stages) if stage.inference.has_heads)
    stage = settings.stages[place]
    if place + 1 == len(settings.stages):
        raise InputError(f"switch_at: nothing comes after auto-encoding in preset {made.preset}.")
    name = str(stage.inference)
    if f"{name}.until" in made.values:
        raise InputError(f"{name}.until is what switch_at says: leave one of them out.")
    told = f"{name}.epochs" in made.values
    longest = max((k for k in experiment.switch_at if isinstance(k, int)), default=0)
    switch = made.switch_at
    if isinstance(switch, int):
        stage.epochs, stage.until = switch, "epochs"
    elif switch == "auto":
        # the few epochs of a preset are not for a criterion to wait in
        if not told and stage.until != "criterion":
            stage.epochs = MOST_EPOCHS
        stage.until = "criterion"
    else:
        # as long as the longest of the cells that switch
        stage.epochs = longest or stage.epochs
        stage.until = "hand"
    if "branch_points" not in made.values:
        # cells that switch earlier branch off there
        settings.branch_points = max(settings.branch_points, longest)


def _name(experiment: Experiment, made: _Made) -> str:
    """Return a name that tells what varies."""
    return "_".join(_parts(experiment, made))


def _parts(experiment: Experiment, made: _Made) -> Iterator[str]:
    stack = experiment.stack[made.stack]
    if len(experiment.stack) > 1:
        alike = sum(other.stem == stack.stem for other in experiment.stack) > 1
        yield _word(f"{stack.parent.name}-{stack.stem}" if alike else stack.stem)
    if len(experiment.preset) > 1:
        yield _word(made.preset)
    for where, value in made.values.items():
        if len(experiment.settings[where]) > 1:
            yield _word(f"{where.rpartition('.')[2].replace('_', '-')}-{value}")
    yield f"seed-{made.seed}"
    if made.switch_at is not None:
        yield f"switch-{made.switch_at}"


def _word(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text).strip("-.") or "stack"


def _unique(names: list[str]) -> list[str]:
    """Give numbers to what would have the same name, also on a disk that knows no capitals."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        key = name.lower()
        seen[key] = seen.get(key, 0) + 1
        found.append(name if seen[key] == 1 else f"{name}~{seen[key]}")
    return found
