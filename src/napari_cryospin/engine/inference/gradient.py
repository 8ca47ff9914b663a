"""What auto-encoding and auto-decoding share: a loss, and a low-pass filter on a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.inference.interface import PoseInference
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.stages import Stage
    from napari_cryospin.engine.state.problem import Problem


class GradientInference(PoseInference):
    """Inference by gradient steps on the error of projections.

    Attributes
    ----------
    model
        The image model of the frequencies in use.
    """

    def __init__(self, problem: Problem, stage: Stage) -> None:
        super().__init__(problem)
        self.loss = problem.model.loss
        self._low_pass = (stage.low_pass_start, stage.low_pass_end)
        self._radius = self._radius_at(0)
        self.model = ImageModel.within(self.particles.box, self._radius, problem.device)

    @property
    def radius(self) -> float:
        """Frequency radius of the low-pass filter, in units of 1/box."""
        return self._radius

    def set_place(self, place: Place) -> None:
        """Follow the low-pass schedule."""
        radius = self._radius_at(place.done)
        if radius != self._radius:
            self._radius = radius
            self.model = ImageModel.within(self.particles.box, radius, self.problem.device)

    def observed(self, rows: Tensor, images: Tensor | None = None) -> Observed:
        """Return particles as they are, not centred; ``images`` are theirs if at hand already."""
        scales = self.poses.scales[rows]
        return self.particles.observed(rows, self.model, scales=scales, images=images)

    def _radius_at(self, done: float) -> float:
        """Return the frequency radius at a share of the stage, in units of 1/box."""
        half = self.particles.box / 2
        extent = self.particles.box * self.particles.pixel_size
        first, last = (half if limit is None else extent / limit for limit in self._low_pass)
        return round(min(first + min(done, 1.0) * (last - first), half), 2)
