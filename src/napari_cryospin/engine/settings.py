"""Everything that a run depends on: one validated, serialisable object."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.stages import Count, Inference, Number, Section, StageSettings, encodes
from napari_cryospin.engine.symmetry_names import symmetry_name

_STAGES: TypeAdapter[list[Any]] = TypeAdapter(list[StageSettings])

# maps that may be looked for in one stack
MOST_CLASSES = 10
# characters of a value that is refused
_LONGEST_SHOWN = 100


def _of_text(path: Path) -> Path:
    """Return a path that a settings file, which holds UTF-8, can tell."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(
            "its name holds bytes that are no UTF-8; rename it, or name a link to it"
        ) from None
    return path


_File = Annotated[Path, AfterValidator(_of_text)]


def _known_symmetry(name: str) -> str:
    """Return the name of a point group."""
    try:
        return symmetry_name(name)
    except InputError as error:
        raise ValueError(str(error).rstrip(".")) from None


class DataSettings(Section):
    """What to reconstruct from."""

    stack: _File | None = Field(None, description="Particle table or stack: .star, .cs or .mrcs.")
    passthrough: _File | None = Field(None, description="cryoSPARC passthrough .cs file.")
    datadir: _File | None = Field(
        None, description="Folder to look for the image files of the table in, first."
    )
    voltage: Annotated[float, Field(gt=0, lt=10_000)] | None = Field(
        None, description="Acceleration voltage, kV, instead of the table's."
    )
    spherical_aberration: Annotated[float, Field(ge=0, lt=100)] | None = Field(
        None, description="Spherical aberration, mm, instead of the table's."
    )
    amplitude_contrast: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Amplitude contrast, between 0 and 1, instead of the table's."
    )
    pixel_size: Annotated[float, Field(ge=0.01, le=1000)] | None = Field(
        None, description="Å per pixel of the images on disk, instead of the table's."
    )
    truth_star: _File | None = Field(None, description="STAR file with the true poses, if known.")
    truth_map: _File | None = Field(None, description="MRC file of the true map, if known.")
    box: Annotated[int, Field(ge=32, le=512, multiple_of=2)] = Field(
        64,
        title="Working box (px)",
        description="Working box, pixels: images are Fourier-cropped to it.",
        json_schema_extra={"step": 16},
    )
    max_particles: Count | None = Field(
        None,
        title="Particles to use",
        description="Use only the first so many particles.",
        json_schema_extra={"unset": "all"},
    )
    contrast: Literal["as table", "white", "black"] = Field(
        "as table", title="Contrast on disk", description="Contrast of the particles on disk."
    )
    particles_in: Literal["auto", "memory", "disk"] = Field(
        "auto",
        title="Working images in",
        description="Where the working images live: in memory, or on disk in a working file; by "
        "default on disk where they would take more than half of the free memory.",
    )
    mask_diameter: Annotated[float, Field(gt=0)] | None = Field(
        None,
        title="Mask diameter (Å)",
        description="Diameter of the soft circular mask, Å; by default the box.",
        json_schema_extra={"unset": "box"},
    )


class ModelSettings(Section):
    """The encoder with its heads, and what is estimated of each particle."""

    encoder: Literal["polar", "vgg"] = Field(
        "polar",
        description="Encoder: a small network on polar Fourier rings, or the paper's convolutions.",
    )
    heads: Annotated[int, Field(ge=1, le=64)] = Field(
        8, description="Pose heads of the encoder (M)."
    )
    turns: Literal[1, 2, 4, 8, 16, 32] = Field(
        8, description="In-plane turns at which the polar encoder is asked (S)."
    )
    encoder_width: Annotated[int, Field(ge=4, le=2048)] | None = Field(
        None,
        description="Units of a hidden layer (polar), or channels of the first block (vgg); by "
        "default by box and device.",
        json_schema_extra={"unset": "by box"},
    )
    shifts: bool = Field(
        True,
        title="Estimate shifts",
        description="Estimate in-plane shifts as well as rotations.",
    )
    scales: bool = Field(
        True,
        title="Estimate scales",
        description="Estimate a scale of each particle (marginalisation).",
    )
    symmetry: Annotated[str, AfterValidator(_known_symmetry)] = Field(
        "C1",
        description="Point group of the molecule, with RELION's name and axes: C4, D2, T, O, I and "
        "the like.",
        examples=["C1", "C2", "C3", "C4", "C5", "C6", "D2", "D3", "D4", "D7", "T", "O", "I"],
    )
    classes: Annotated[int, Field(ge=1, le=MOST_CLASSES)] = Field(
        1,
        description="Maps that are looked for in the stack: structures, or states of one (K).",
    )
    outliers: bool = Field(
        True,
        title="Find outliers",
        description="Estimate how probable it is that each image shows the particle, and weigh it "
        "by that.",
    )
    halves: bool | None = Field(
        None,
        title="Independent halves",
        description="Refine two halves of the particles that share nothing beyond a low frequency, "
        "which tells the resolution; by default from 1,000 particles on.",
        json_schema_extra={"unset": "from 1,000 on"},
    )
    loss: Literal["squared", "absolute"] = Field(
        "squared", description="Error of the Fourier coefficients."
    )


class Settings(Section):
    """All settings of a run, as stored in ``settings.toml``.

    A value is looked at when it is given. Out of range, it raises pydantic's ``ValidationError``;
    given by :meth:`set`, an :class:`~napari_cryospin.engine.errors.InputError`.
    """

    preset: str = Field("default", description="Preset that these settings started from.")
    seed: Number = Field(0, description="Random seed.")
    device: str = Field(
        "auto", description="auto, cpu, cuda or cuda:1.", examples=["auto", "cpu", "cuda"]
    )
    threads: Count | None = Field(
        None,
        title="CPU threads",
        description="CPU threads; by default all cores but one in the dock, all in a terminal.",
        json_schema_extra={"unset": "all but one"},
    )
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(
        3.0, description="Minutes between checkpoints in the course of an epoch, at least."
    )
    starts: Annotated[int, Field(ge=1, le=20)] = Field(
        2,
        title="Starts of the first stage",
        description="Runs of the first stage, each from another random map; the best goes on.",
    )
    warm_start: _File | None = Field(
        None,
        title="Warm start",
        description="Run folder whose encoder and map auto-encoding begins with; it then has one "
        "start.",
    )
    held_out: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.05,
        title="Share held out",
        description="Share of the particles that no map learns from in training: they judge it. "
        "At least 50 and at most 256 particles; 0: none.",
    )
    branch_points: Annotated[int, Field(ge=0, le=10_000)] = Field(
        20,
        title="Branch points kept",
        description="Epochs of auto-encoding that other runs can be branched from, at most: the "
        "first and the last one stay, and of the others as many as lie evenly; 0: none.",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    stages: list[StageSettings] = Field(
        default_factory=lambda: _STAGES.validate_python(PRESETS["default"]["stages"]),
        min_length=1,
        description="What the run does, in order.",
    )

    def first(self, inference: Inference) -> Any:
        """Return the settings of the first stage with an inference.

        Raises
        ------
        InputError
            If no stage has it.
        """
        for stage in self.stages:
            if stage.inference is inference:
                return stage
        raise InputError(
            f"The run has no stage of {inference.label}; {_with_presets(f'{inference}.epochs')}."
        )

    @property
    def n_starts(self) -> int:
        """Starts that there are: what is begun from another run's map has one.

        Several starts of several classes are one more: each may leave two structures in one class.
        """
        more = self.model.classes > 1 and self.starts > 1
        return self.starts + more if self.warm_start is None else 1

    def knows(self, where: str) -> bool:
        """Return whether a stage heeds a setting, by its dotted name as for :meth:`get`."""
        section, _, name = where.partition(".")
        if section in Inference.registered():
            return any(stage.inference == section for stage in self.stages)
        if where == "warm_start":
            return encodes(self.stages[:1])
        return section != "model" or any(stage.heeds(name) for stage in self.stages)

    def require_known(self, where: str, asked: str) -> None:
        """Raise InputError where no stage heeds a setting that was asked for, by such an option."""
        if not self.knows(where):
            raise InputError(f"{asked}: no stage of the run knows it; {_with_presets(where)}.")

    def get(self, where: str) -> Any:
        """Return a setting by its dotted name, such as "data.box" or "amortized.epochs".

        The name of an inference stands for the first stage that has it, a number for a stage.
        """
        section, name = self._section_of(where)
        return getattr(section, name)

    def set(self, where: str, value: Any) -> None:
        """Set a setting by its dotted name.

        Raises
        ------
        InputError
            If the value cannot be used, or no stage has the inference.
        """
        section, name = self._section_of(where)
        try:
            setattr(section, name, value)
        except ValidationError as error:
            raise InputError(first_problem(error)) from error

    def _section_of(self, where: str) -> tuple[Any, str]:
        *path, name = where.split(".")
        section: Any = self
        for part in path:
            if part in Inference.registered():
                section = self.first(Inference(part))
                continue
            try:
                section = section[int(part)] if part.isdecimal() else getattr(section, part)
            except (AttributeError, IndexError, TypeError) as error:
                raise InputError(f"There is no setting {where}.") from error
        return section, name

    @classmethod
    def from_preset(cls, name: str) -> Self:
        """Return the settings of a preset.

        Raises
        ------
        InputError
            If there is no preset of that name.
        """
        if name not in PRESETS:
            raise InputError(f"There is no preset '{name}'; choose one of {', '.join(PRESETS)}.")
        return cls.model_validate({"preset": name, **PRESETS[name]})

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read ``settings.toml``.

        Raises
        ------
        InputError
            If the file is missing, is no TOML, or holds a field that is unknown or out of range.
        """
        try:
            # neither a folder, nor a pipe, nor what has no end
            if path.exists() and not path.is_file():
                raise InputError(f"{path} cannot be read: it is no ordinary file.")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not a valid TOML file: {error}.") from error
        return cls.of_text(text, path)

    @classmethod
    def of_text(cls, text: str, path: Path) -> Self:
        """Return the settings that the text of a file holds; errors as :meth:`from_toml`."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except ValidationError as error:
            raise InputError(f"{path}: {first_problem(error)}") from error
        # besides its own errors: numbers of thousands of digits, brackets within brackets
        except (ValueError, RecursionError) as error:
            words = " ".join(str(error).split())
            raise InputError(f"{path} is not a valid TOML file: {words}.") from error

    def to_toml(self) -> str:
        """Return the settings as TOML; fields that are unset are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def _with_presets(where: str) -> str:
    """Return words that say which presets have a stage that heeds a setting."""
    known = [name for name in PRESETS if Settings.from_preset(name).knows(where)]
    if not known:
        return "no preset has such a stage, so name one in a settings file"
    *others, last = known
    names = f"{', '.join(others)} or {last}" if others else last
    return f"choose a preset that has such a stage: {names}"


def first_problem(error: ValidationError) -> str:
    """Return the first complaint of a validation as one sentence."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    got = repr(problem["input"])
    got = got if len(got) <= _LONGEST_SHOWN else f"{got[:_LONGEST_SHOWN]}…"
    words = " ".join(problem["msg"].split())
    return f"setting '{where}' is not usable: {words} (got {got})."
