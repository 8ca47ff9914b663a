"""Everything that a run depends on: one validated, serialisable object, and its presets."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cryospin.engine.errors import InputError


class Stage(StrEnum):
    """The two stages of cryoSPIN."""

    AUTO_ENCODING = "auto-encoding"
    AUTO_DECODING = "auto-decoding"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class DataSettings(_Section):
    """What to reconstruct from."""

    stack: Path | None = Field(None, description="Particle table or stack: .star, .cs or .mrcs.")
    passthrough: Path | None = Field(None, description="cryoSPARC passthrough .cs file.")
    truth_star: Path | None = Field(None, description="STAR file with the true poses, if known.")
    truth_map: Path | None = Field(None, description="MRC file of the true map, if known.")
    box: Annotated[int, Field(ge=32, le=512, multiple_of=2)] = Field(
        64, description="Working box, pixels: images are Fourier-cropped to it."
    )
    max_particles: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Use only the first so many particles."
    )
    contrast: Literal["as table", "white", "black"] = Field(
        "as table", description="Contrast of the particles on disk."
    )
    mask_diameter: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Diameter of the soft circular mask, Å; by default the box."
    )


class ModelSettings(_Section):
    """The encoder with its heads."""

    heads: Annotated[int, Field(ge=1, le=64)] = Field(
        7, description="Pose heads of the encoder (M)."
    )
    encoder_width: Annotated[int, Field(ge=4, le=256)] | None = Field(
        None, description="Channels of the first encoder block; by default by box and device."
    )
    shifts: bool = Field(False, description="Estimate in-plane shifts as well as rotations.")
    loss: Literal["squared", "absolute"] = Field(
        "squared", description="Error of the Fourier coefficients."
    )


class EncodeSettings(_Section):
    """Auto-encoding: the encoder proposes poses."""

    epochs: Annotated[int, Field(ge=0)] = Field(7, description="Epochs of auto-encoding.")
    batch_size: Annotated[int, Field(ge=1)] = Field(64, description="Particles per batch.")
    learning_rate_encoder: Annotated[float, Field(gt=0)] = Field(1e-4, description="Adam, encoder.")
    learning_rate_volume: Annotated[float, Field(gt=0)] = Field(5e-3, description="Adam, volume.")


class DecodeSettings(_Section):
    """Auto-decoding: the pose of each particle is optimised directly."""

    epochs: Annotated[int, Field(ge=0)] = Field(13, description="Epochs of auto-decoding.")
    batch_size: Annotated[int, Field(ge=1)] = Field(64, description="Particles per batch.")
    learning_rate_pose: Annotated[float, Field(gt=0)] = Field(5e-2, description="Adam, poses.")
    learning_rate_volume: Annotated[float, Field(gt=0)] = Field(2e-3, description="Adam, volume.")
    pose_steps: Annotated[int, Field(ge=1)] = Field(5, description="Pose steps per volume step.")
    final_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Share of the learning rates left at the end (cosine decay; 1: constant)."
    )


class SearchSettings(_Section):
    """Re-search of all poses on the posterior grid at the start of auto-decoding epochs."""

    epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="Auto-decoding epochs that begin with a pose search (0: never)."
    )
    starts: Annotated[int, Field(ge=1, le=20)] = Field(
        2, description="Starts of the first search: the present map, then random ones."
    )
    nside: Literal[2, 4, 8] = Field(8, description="HEALPix nside of the finest pose grid.")


class Settings(_Section):
    """All settings of a run, as stored in ``settings.toml``.

    The rule of the switch: auto-encoding lasts until epoch ``switch_at`` (by default its number of
    epochs) or until the user switches by hand; auto-decoding then lasts its own number of epochs.
    With ``switch_at = "never"`` only the user switches; if nobody does, the run ends after as many
    epochs as both stages have together.
    """

    preset: str = Field("cpu", description="Preset that these settings started from.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Random seed.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:1.")
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="CPU threads; by default all cores but one in the dock, all in a terminal.",
    )
    switch_at: Annotated[int, Field(ge=0)] | Literal["never"] | None = Field(
        None, description="Epoch of the switch; 'never': by hand; by default after auto-encoding."
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    encode: EncodeSettings = Field(default_factory=EncodeSettings)
    decode: DecodeSettings = Field(default_factory=DecodeSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)

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
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not a valid TOML file: {error}.") from error
        except ValidationError as error:
            raise InputError(f"{path}: {first_problem(error)}") from error

    def to_toml(self) -> str:
        """Return the settings as TOML; fields that are unset are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def first_problem(error: ValidationError) -> str:
    """Return the first complaint of a validation as one sentence."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"setting '{where}' is not usable: {problem['msg']} (got {problem['input']!r})."


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "data": {"box": 32, "max_particles": 3000},
        "model": {"heads": 4},
        "encode": {"epochs": 3, "learning_rate_encoder": 1e-3, "learning_rate_volume": 2e-2},
        "decode": {"epochs": 6, "learning_rate_volume": 1e-2, "final_rate": 0.02},
        "search": {"epochs": 1},
    },
    "cpu": {
        "data": {"box": 32},
        "model": {"heads": 7},
        "encode": {"epochs": 7, "learning_rate_encoder": 1e-3, "learning_rate_volume": 2e-2},
        "decode": {"epochs": 10, "learning_rate_volume": 1e-2, "final_rate": 0.02},
        "search": {"epochs": 1},
    },
    "paper-synthetic": {
        "data": {"box": 128},
        "model": {"heads": 7, "encoder_width": 64, "loss": "absolute"},
        "encode": {"epochs": 7},
        "decode": {"epochs": 13},
    },
    "paper-experimental": {
        "data": {"box": 128},
        "model": {"heads": 15, "encoder_width": 64, "shifts": True, "loss": "absolute"},
        "encode": {"epochs": 15},
        "decode": {"epochs": 15},
    },
}
