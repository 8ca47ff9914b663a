"""What teaches an encoder, and makes the map meanwhile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from napari_cryospin.engine.inference.interface import shuffled_batches
from napari_cryospin.engine.models.noise import NoiseSpectrum

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

    from napari_cryospin.engine.inference.asking import Measure
    from napari_cryospin.engine.inference.encoding import Encoding
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem


class Teacher(ABC):
    """Teaches an encoder by batches of particles.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    encoding
        The encoder that learns.
    start
        Number of the start.

    Attributes
    ----------
    remembers
        Numbers of 4 bytes that it keeps of every particle, beside poses and candidates.
    asks_about_all
        Whether every epoch records candidates of all its particles, not of some of them.
    finds_scales
        Whether it estimates scales of particles.
    ends_with_heads
        Whether it has no more to teach once the heads know the posteriors' modes.
    """

    remembers: ClassVar[int] = 0
    asks_about_all: ClassVar[bool] = False
    finds_scales: ClassVar[bool] = False
    ends_with_heads: ClassVar[bool] = True

    def __init__(
        self, problem: Problem, stage: AmortizedStage, encoding: Encoding, start: int
    ) -> None:
        self.problem, self.stage, self.encoding, self.start = problem, stage, encoding, start

    @classmethod
    @abstractmethod
    def memory_needed(
        cls, stage: AmortizedStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes that it computes with, beside images, poses, map and encoder."""

    @property
    @abstractmethod
    def measure(self) -> Measure:
        """What candidates are compared by at present."""

    @property
    @abstractmethod
    def radius(self) -> float:
        """Frequency radius that poses are judged by, in units of 1/box."""

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images as known so far."""
        return NoiseSpectrum.white(self.problem.particles.box, self.problem.device)

    def begin_warm(self) -> None:  # noqa: B027 (not every teacher does otherwise then)
        """Hear that encoder and map know the particles already."""

    def learned_from(self, rows: Tensor) -> Tensor:
        """Return which of the particles ``rows`` (m,) it needs, the held-out ones among them."""
        return rows

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Do what comes before the batches, as an inference does."""
        yield from ()

    def set_place(self, place: Place) -> None:  # noqa: B027 (not every teacher has a schedule)
        """Follow the stage's schedules; called before every batch."""

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: the held-out particles are in none."""
        learning = rows[~self.problem.held_out[rows]]
        return shuffled_batches(learning, self.stage.batch_size, order)

    @abstractmethod
    def train_batch(self, rows: Tensor) -> float:
        """Teach by particles ``rows``; return their mean error per Fourier coefficient."""

    def end_epoch(self, rows: Tensor) -> None:  # noqa: B027 (not every teacher has an end)
        """Do what comes after the batches of an epoch with particles ``rows`` (m,)."""

    def likely_poses(self) -> Tensor | None:
        """Return what :meth:`~.interface.PoseInference.likely_poses` does, where it knows better.

        None: the candidates are the best that is known.
        """
        return None

    def end_stage(self, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Teach what is left at the stage's end, by particles ``rows`` (m,); yield as a search."""
        yield from ()

    @property
    def over(self) -> bool | None:
        """Whether it has taught what it can; None where it has no measure of its own."""
        return None

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides map, poses and encoder."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""

    def adopt(self, state: dict[str, Any]) -> None:  # noqa: B027 (not every teacher knows more)
        """Take in what holds for another map or encoder of a state of the same teacher.

        What says when it has taught what it can begins anew.
        """
