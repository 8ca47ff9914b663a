"""A low-pass filter that follows a schedule over a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.stages import Stage


class LowPass:
    """The frequencies in use, from those at a stage's beginning to those at its end.

    Parameters
    ----------
    particles
        The particles, whose box and pixel size tell frequencies in Å.
    stage
        Settings of the stage.

    Attributes
    ----------
    radius
        Frequency radius in use, in units of 1/box.
    model
        The image model of the frequencies in use.
    """

    def __init__(self, particles: Particles, stage: Stage) -> None:
        self._particles = particles
        self._limits = (stage.low_pass_start, stage.low_pass_end)
        self.radius = self._radius_at(0)
        self.model = ImageModel.within(particles.box, self.radius, particles.device)

    def follow(self, done: float) -> None:
        """Come to a share of the stage."""
        self.come_to(self._radius_at(done))

    def come_to(self, radius: float) -> None:
        """Come to a frequency radius, in units of 1/box: that of a checkpoint."""
        if radius != self.radius:
            self.radius = radius
            self.model = ImageModel.within(self._particles.box, radius, self._particles.device)

    def _radius_at(self, done: float) -> float:
        half = self._particles.box / 2
        extent = self._particles.box * self._particles.pixel_size
        first, last = (half if limit is None else extent / limit for limit in self._limits)
        return round(min(first + min(done, 1.0) * (last - first), half), 2)
