"""The state of a training run: map, poses, the present inference; and how it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cryospin.engine.geometry.fourier import hartley_2d
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.poses import PoseTable
from napari_cryospin.engine.models.volume import HartleyVolume, frequency_radius, map_of_grid
from napari_cryospin.engine.settings import Settings, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack

CHECKPOINT_VERSION = 2
# generators of one run are numbered below this
_SEEDS = 100_003


@dataclass
class Clock:
    """Where a run is: ``batch`` batches into ``epoch``; ``switched_at`` is None before a switch."""

    epoch: int = 0
    batch: int = 0
    switched_at: int | None = None

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return Stage.AUTO_ENCODING if self.switched_at is None else Stage.AUTO_DECODING

    def n_epochs(self, settings: Settings) -> int:
        """Return the planned number of epochs (see the rule of the switch in Settings)."""
        if self.switched_at is not None:
            return self.switched_at + settings.decode.epochs
        if settings.switch_at == "never" or settings.switch_at is None:
            return settings.encode.epochs + settings.decode.epochs
        return settings.switch_at + settings.decode.epochs

    def switch_due(self, settings: Settings) -> bool:
        """Return whether the schedule asks for the switch now."""
        if self.switched_at is not None or settings.switch_at == "never":
            return False
        planned = settings.encode.epochs if settings.switch_at is None else settings.switch_at
        return self.epoch >= planned


class Training:
    """Everything that learns, and the clock.

    Parameters
    ----------
    stack
        The working stack, on the training device.
    settings
        Settings of the run. The random start is drawn from their seed.

    Attributes
    ----------
    used
        Particles that were chosen to be used, bool, (n,); all of them at first.
    in_epoch
        Particles that the present epoch is made of, bool, (n,); a choice comes in with the next.
    """

    def __init__(self, stack: WorkingStack, settings: Settings) -> None:
        self.stack, self.settings = stack, settings
        self.clock = Clock()
        device = stack.images.device
        self.used = self.in_epoch = torch.ones(stack.n, dtype=torch.bool, device=device)
        # the encoder's weights come from torch's own generator
        torch.manual_seed(settings.seed)
        self._amplitude = signal_amplitude(stack.images)
        self.volume = self._random_volume(0)
        self.poses = PoseTable.empty(stack.n, settings.model.heads, device)
        self.inference: AmortizedInference | DirectInference = AmortizedInference(
            stack, self.volume, self.poses, settings
        )

    def random_map(self, start: int) -> Tensor:
        """Return the Hartley grid (D+1)³ of another random map, the same for the same number."""
        grid: Tensor = self._random_volume(start)().detach()
        return grid

    def _random_volume(self, start: int) -> HartleyVolume:
        generator = torch.Generator().manual_seed(_SEEDS * self.settings.seed + start)
        volume = HartleyVolume(self.stack.box, self._amplitude, generator)
        return volume.to(self.stack.images.device)

    def choose(self, used: NDArray[np.bool_]) -> bool:
        """Use other particles from the next epoch on; return whether that changes anything.

        Parameters
        ----------
        used
            True where the particle is used, (n,), or a single True for all.
        """
        chosen = torch.from_numpy(np.broadcast_to(used, self.stack.n).copy()).to(self.used.device)
        changed = not torch.equal(chosen, self.used)
        self.used = chosen
        return changed

    def begin_epoch(self) -> None:
        """Let the chosen particles in; an epoch that is gone on with keeps those it began with."""
        if self.clock.batch == 0:
            self.in_epoch = self.used

    @property
    def rows_in_epoch(self) -> Tensor:
        """Rows of the particles that the present epoch is made of, (≤ n,), ascending."""
        return self.in_epoch.nonzero().flatten()

    def batches(self) -> list[Tensor]:
        """Return the rows of all batches of the present epoch.

        They are shuffled by seed and epoch alone. Particles that are dropped or taken back in the
        course of an epoch are so from the next one on: a resumed epoch finds the same batches.
        """
        stage = (
            self.settings.encode
            if self.clock.stage is Stage.AUTO_ENCODING
            else self.settings.decode
        )
        generator = torch.Generator().manual_seed(_SEEDS * self.settings.seed + self.clock.epoch)
        rows = self.rows_in_epoch
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        batches = list(rows[order].split(stage.batch_size))
        # batch normalisation cannot learn from one image: the last batch takes it in
        if len(batches) > 1 and len(batches[-1]) == 1:
            last = batches.pop()
            batches[-1] = torch.cat((batches[-1], last))
        return batches

    def switch(self) -> None:
        """Give up the encoder; each image's pose starts at its winning head."""
        self.clock.switched_at, self.clock.batch = self.clock.epoch, 0
        self.inference = DirectInference(self.stack, self.volume, self.poses, self.settings)

    def map(self) -> NDArray[np.float32]:
        """Return a copy of the map, (z, y, x), in the unit of the normalised images."""
        with torch.no_grad():
            result: NDArray[np.float32] = map_of_grid(self.volume()).cpu().numpy().copy()
        return result

    def state(self) -> dict[str, Any]:
        """Return all that a run needs to go on along the same trajectory."""
        return {
            "version": CHECKPOINT_VERSION,
            "clock": vars(self.clock),
            "volume": self.volume.state_dict(),
            "poses": self.poses.state(),
            "used": self.used,
            "in_epoch": self.in_epoch,
            "inference": self.inference.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.volume.load_state_dict(state["volume"])
        self.poses = PoseTable(**state["poses"])
        self.used, self.in_epoch = state["used"], state["in_epoch"]
        self.clock = Clock(**state["clock"])
        kind = AmortizedInference if self.clock.stage is Stage.AUTO_ENCODING else DirectInference
        self.inference = kind(self.stack, self.volume, self.poses, self.settings)
        self.inference.load_state(state["inference"])


def signal_amplitude(images: Tensor) -> Tensor:
    """Return the expected amplitude of a map's coefficients at radius 0 to D, from its images.

    The mean power of the images less the noise's 1, over the mean CTF² of one half.
    """
    box = images.shape[-1]
    sample = images[: min(len(images), 2000)]
    power = hartley_2d(sample).square().mean(0).flatten()
    radius = frequency_radius(box)[box // 2, :box, :box].flatten().to(images.device)
    mean = torch.bincount(radius, power) / torch.bincount(radius)
    # a hundredth of the noise keeps shells without signal alive
    signal = (2 * (mean - 1)).clamp(min=1e-2)
    return signal.sqrt().cpu()
