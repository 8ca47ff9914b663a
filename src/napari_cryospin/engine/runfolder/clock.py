"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Inference


@dataclass
class Clock:
    """Where a run is: ``batch`` batches into ``epoch``.

    Parameters
    ----------
    epoch
        Epochs done in the run.
    batch
        Batches done in the present epoch.
    stage
        Index of the present stage.
    stage_epoch
        Epochs done in the present stage (and start).
    start
        Which start of the first stage this is.
    """

    epoch: int = 0
    batch: int = 0
    stage: int = 0
    stage_epoch: int = 0
    start: int = 0

    def inference(self, settings: Settings) -> Inference:
        """Return the inference of the present stage."""
        inference: Inference = settings.stages[self.stage].inference
        return inference

    def more_starts(self, settings: Settings) -> bool:
        """Return whether the first stage is begun anew after the present start."""
        return self.stage == 0 and self.start + 1 < settings.n_starts

    def last_stage(self, settings: Settings) -> bool:
        """Return whether nothing comes after the present stage."""
        return self.stage + 1 == len(settings.stages) and not self.more_starts(settings)

    def n_epochs(self, settings: Settings) -> int:
        """Return the number of epochs that the run will have had at its end, at most."""
        return self.epoch + self.stage_left(settings) + self.epochs_after(settings)

    def stage_left(self, settings: Settings) -> int:
        """Return the epochs left in the present stage, at most."""
        stage = settings.stages[self.stage]
        left = max(stage.epochs - self.stage_epoch, 0)
        if stage.until == "hand":
            # nobody has ended it: its epochs are followed by those of the other stages
            total = sum(each.epochs for each in settings.stages[self.stage :])
            left = max(total - self.stage_epoch, 0)
        return left

    def epochs_after(self, settings: Settings) -> int:
        """Return the epochs of what comes after the present stage, at most."""
        if settings.stages[self.stage].until == "hand":
            return 0
        later = sum(stage.epochs for stage in settings.stages[self.stage + 1 :])
        again = settings.n_starts - 1 - self.start if self.stage == 0 else 0
        return later + again * settings.stages[0].epochs
