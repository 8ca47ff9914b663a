"""``encoder/encoder.toml``: what the encoder of a run is, and how it is to be used.

Its weights lie beside it; who reads them needs torch (:mod:`~.run.encoder_file`).
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.reading import Unreadable, read_small
from napari_cryospin.engine.settings import first_problem

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 2**20
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=2**20)]


class SavedEncoder(BaseModel):
    """An encoder as it lies in a run folder.

    Parameters
    ----------
    kind, heads, turns, width, shifts
        What it is, as the model's settings say; ``shifts``: whether shifts are estimated.
    scales
        Whether a scale is estimated of each particle.
    box, pixel_size
        Side of the images that it has learned from, pixels, and Å per pixel.
    radius
        Frequency radius that its candidates are judged by, in units of 1/box.
    epoch
        Epochs of the run at the end of which it was as it is.
    noise
        Variance of the noise in each frequency shell, as the run knew it last, (box/2,).
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal["polar", "vgg"]
    heads: _Count
    turns: _Count
    width: _Count
    shifts: bool
    scales: bool
    box: Annotated[int, Field(ge=32, le=512, multiple_of=2)]
    pixel_size: _Positive
    radius: _Positive
    epoch: Annotated[int, Field(ge=0)]
    noise: tuple[_Positive, ...]

    @property
    def extent(self) -> float:
        """Width of the images, Å."""
        return self.box * self.pixel_size

    def write(self, folder: Path) -> None:
        """Write it into a run folder, in place of an earlier one; its folder is there."""
        with replacing(folder / names.ENCODER / names.ENCODER_SETTINGS) as temporary:
            temporary.write_text(tomli_w.dumps(self.model_dump()), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what a run folder says of its encoder.

        Raises
        ------
        InputError
            If there is none, or the file is damaged.
        """
        path = folder / names.ENCODER / names.ENCODER_SETTINGS
        try:
            found = cls.model_validate(tomllib.loads(read_small(path, _LARGEST)))
        except FileNotFoundError:
            raise InputError(
                f"{folder} holds no encoder: it is written when auto-encoding ends, and stages "
                "without auto-encoding have none."
            ) from None
        except Unreadable as error:
            raise InputError(f"{path} {error}.") from error
        except ValidationError as error:
            raise InputError(f"{path}: {first_problem(error)}") from error
        except (ValueError, RecursionError) as error:
            words = " ".join(str(error).split())
            raise InputError(f"{path} is damaged: {words}.") from error
        if len(found.noise) != found.box // 2:
            raise InputError(f"{path} is damaged: its noise is not that of its box.")
        return found
