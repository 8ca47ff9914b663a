"""The encoder of a run on disk: weights, which only torch reads, and what they are of."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import writing
from napari_cryospin.engine.models.encoders.choice import Shape, made, shape_of
from napari_cryospin.engine.runfolder.encoder import SavedEncoder
from napari_cryospin.engine.runfolder.reading import reason, require_file

if TYPE_CHECKING:
    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.run.training import Training
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.lock import RunLock


@dataclass(frozen=True)
class Encoded:
    """The encoder with which a stage of auto-encoding has ended, or stands where it is.

    Parameters
    ----------
    encoder
        The encoder.
    radius
        Frequency radius that its candidates are judged by, in units of 1/box.
    epoch
        Epochs of the run by then.
    """

    encoder: Encoder
    radius: float
    epoch: int

    @classmethod
    def of(cls, inference: PoseInference, epoch: int) -> Self | None:
        """Return the encoder of an inference; None where it has none."""
        if inference.encoder is None:
            return None
        return cls(inference.encoder, inference.radius, epoch)


def write_encoder(folder: RunFolder, training: Training, lock: RunLock | None = None) -> None:
    """Write the encoder of the present stage, or of the last stage that had one.

    ``lock`` is looked at first: it must still be held.

    A run that was resumed after that stage has it on disk alone: then what is said of the noise is
    brought up to date.
    """
    if lock is not None:
        lock.require_held()
    noise = tuple(training.inference.noise.variance.tolist())
    encoded = Encoded.of(training.inference, training.clock.epoch) or training.encoded
    if encoded is None:
        with suppress(InputError):
            known = SavedEncoder.read(folder.path)
            if len(known.noise) == len(noise):
                known.model_copy(update={"noise": noise}).write(folder.path)
        return
    particles, model = training.particles, training.settings.model
    shape = shape_of(model, particles.box, particles.device)
    folder.encoder_weights_path.parent.mkdir(exist_ok=True)
    with writing(folder.encoder_weights_path) as file:
        torch.save(encoded.encoder.state_dict(), file)
    SavedEncoder(
        **vars(shape),
        scales=model.scales,
        box=particles.box,
        pixel_size=particles.pixel_size,
        radius=encoded.radius,
        epoch=encoded.epoch,
        noise=noise,
    ).write(folder.path)


def read_encoder(
    folder: RunFolder, device: torch.device, box: int | None = None
) -> tuple[SavedEncoder, Encoder]:
    """Read the encoder of a run, in evaluation mode.

    Parameters
    ----------
    folder
        The run folder.
    device
        Where it is to be.
    box
        Side of the images that it will see, pixels; by default that of the run.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    saved, path = SavedEncoder.read(folder.path), folder.encoder_weights_path
    try:
        require_file(path)
        shape = Shape(saved.kind, saved.heads, saved.turns, saved.width, saved.shifts)
        encoder = made(shape, box or saved.box)
        encoder.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:
        raise InputError(
            f"The encoder {path} cannot be read ({reason(error)}): it is damaged, or another run's."
        ) from error
    return saved, encoder.to(device).eval()
