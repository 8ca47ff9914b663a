"""The plan of an experiment: lists of switch epochs, seeds, stacks, presets and settings."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.failures import one_line
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.runfolder.reading import Unreadable, read_small
from napari_cryospin.engine.settings import first_problem
from napari_cryospin.engine.stages import Number, Section

PLAN = "experiment.toml"
"""The plan in the folder of an experiment."""

# a plan is a page; one that is larger is none
_LARGEST = 2**20

SwitchAt = Annotated[int, Field(ge=1, le=10_000)] | Literal["auto", "never"]
"""After how many epochs of auto-encoding a cell switches, by its criterion, or never."""


def _listed(value: Any) -> Any:
    """Return what stands alone as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _flat(value: Any, before: str = "") -> Any:
    """Return tables within tables as one, with dotted names."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    for name, each in value.items():
        inner = _flat(each, f"{before}{name}.")
        flat |= inner if isinstance(each, dict) else {f"{before}{name}": _listed(inner)}
    return flat


_Paths = Annotated[list[Path], BeforeValidator(_listed)]
# named at the top of a plan, or said by the switch
_ELSEWHERE = {
    "preset": "preset",
    "seed": "seed",
    "data.stack": "stack",
    "data.truth_star": "truth_star",
    "data.truth_map": "truth_map",
}


class Experiment(Section):
    """What an experiment varies; its cells are all that these lists multiply out to.

    What is told once may stand without brackets. ``truth_star`` and ``truth_map`` go with the
    stacks: one each, or none.
    """

    stack: _Paths = Field(min_length=1, description="Particle tables or stacks.")
    truth_star: _Paths = Field(default_factory=list, description="Their true poses, where known.")
    truth_map: _Paths = Field(default_factory=list, description="Their true maps, where known.")
    preset: Annotated[list[str], BeforeValidator(_listed)] = Field(
        default_factory=lambda: ["default"], min_length=1, description="Presets."
    )
    seed: Annotated[list[Number], BeforeValidator(_listed)] = Field(
        default_factory=lambda: [0], min_length=1, description="Random seeds."
    )
    switch_at: Annotated[list[SwitchAt], BeforeValidator(_listed)] = Field(
        default_factory=list,
        description="Epochs of auto-encoding before the switch, 'auto' or 'never'; without any the "
        "presets' own.",
    )
    settings: Annotated[dict[str, list[Any]], BeforeValidator(_flat)] = Field(
        default_factory=dict, description="Further settings by dotted name, each with its values."
    )

    @field_validator("preset")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in PRESETS:
                raise ValueError(f"there is no preset '{name}': choose of {', '.join(PRESETS)}")
        return names

    @field_validator("stack", "preset", "seed", "switch_at")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        # 1 and True are one to Python, "1" is another
        for place, value in enumerate(values):
            if value in values[:place]:
                raise ValueError(f"it names {value} twice")
        return values

    @field_validator("settings")
    @classmethod
    def _own(cls, settings: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in settings.items():
            if name in _ELSEWHERE:
                raise ValueError(f"{name} stands before [settings], as {_ELSEWHERE[name]}")
            if not values:
                raise ValueError(f"{name} has no value")
            if any(value in values[:place] for place, value in enumerate(values)):
                raise ValueError(f"{name} names a value twice")
        return settings

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("truth_star", "truth_map"):
            known = getattr(self, name)
            if known and len(known) != len(self.stack):
                raise ValueError(f"{name} names {len(known)} files for {len(self.stack)} stacks")
        if self.truth_map and not self.truth_star:
            raise ValueError("a true map is aligned by the true poses: name them by truth_star")
        return self

    @classmethod
    def of(cls, **lists: Any) -> Self:
        """Return the experiment of some lists.

        Raises
        ------
        InputError
            If one of them cannot be used.
        """
        try:
            return cls.model_validate(lists)
        except ValidationError as error:
            raise InputError(_problem(error)) from error

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a plan; the files that it names by relative paths are looked for beside it.

        Raises
        ------
        InputError
            If the file is missing, is no TOML, or holds what no experiment has.
        """
        try:
            text = read_small(path, _LARGEST)
        except FileNotFoundError:
            raise InputError(f"{path} cannot be read: there is no such file.") from None
        except Unreadable as error:
            raise InputError(f"{path} {error}.") from error
        try:
            return cls.model_validate(tomllib.loads(text)).beside(path.absolute().parent)
        except ValidationError as error:
            raise InputError(f"{path}: {_problem(error)}") from error
        # besides its own errors: numbers of thousands of digits, brackets within brackets
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not a valid TOML file: {one_line(str(error))}.") from error

    def beside(self, folder: Path) -> Self:
        """Return the same experiment with full names of its files, relative ones in a folder."""

        def full(paths: list[Path]) -> list[Path]:
            return [Path(os.path.normpath(folder / path)) for path in paths]

        files = {name: full(getattr(self, name)) for name in ("stack", "truth_star", "truth_map")}
        return self.model_copy(update=files)

    def to_toml(self) -> str:
        """Return the experiment as TOML."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_defaults=False))


def values_of(text: str) -> list[Any]:
    """Return the values that a text lists, parted by commas: numbers, true, false, or words.

    Examples
    --------
    >>> values_of("1, 0.5, auto, true")
    [1, 0.5, 'auto', True]
    """
    return [_value(word.strip()) for word in text.split(",") if word.strip()]


def _value(word: str) -> Any:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word.strip("\"'")


def _problem(error: ValidationError) -> str:
    """Return the first complaint as one sentence."""
    problem = error.errors()[0]
    words = " ".join(problem["msg"].removeprefix("Value error, ").split())
    where = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
    if problem["type"] == "value_error":
        return f"{where}: {words}." if where else f"{words}."
    if problem["loc"] and problem["loc"][0] == "switch_at":
        got = problem["input"]
        return f"switch_at takes numbers of epochs from 1, 'auto' and 'never', not {got!r}."
    return first_problem(error).replace("setting '", "'", 1)
