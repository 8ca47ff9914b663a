"""What all inferences have in common: one pass over the particles after the other."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.refining.candidate_modes import best_distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import Inference
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.switch_figures import SwitchFigures

# what comes before the batches of most epochs, if anything
SEARCHING = "Searching poses"
# poses of a particle that starts are compared by
MOST_LIKELY = 4


@dataclass(frozen=True)
class Place:
    """Where an inference stands: the epochs done in its stage, and the share of all of them."""

    stage_epoch: int
    done: float


class PoseInference(ABC):
    """A way to get poses; it trains map and poses of a problem.

    Making one changes nothing of the problem: it then either begins its stage, by :meth:`begin`, or
    goes on where another stood, by :meth:`load_state`. An epoch is :meth:`begin_epoch`,
    :meth:`train_batch` for every one of :meth:`batches`, and :meth:`end_epoch`; the loop of it
    stands in :mod:`napari_cryospin.engine.run.epoch`.

    Attributes
    ----------
    kind
        Its name in the registry.
    remembers
        Numbers of 4 bytes that it keeps of every particle, beside poses and candidates.
    preparing
        What it does before the batches of an epoch, in words.
    """

    kind: ClassVar[Inference]
    remembers: ClassVar[int] = 0

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.preparing = SEARCHING
        self.particles, self.volume, self.poses = problem.particles, problem.volume, problem.poses

    @classmethod
    @abstractmethod
    def of_stage(
        cls, problem: Problem, stage: Any, before: PoseInference | None, start: int
    ) -> PoseInference:
        """Return the inference of a stage.

        Parameters
        ----------
        problem
            Particles, map and poses.
        stage
            Settings of the stage, of the type that is registered for the inference.
        before
            Inference of the stage before, to go on from what it knows; None where there was none.
        start
            Number of the start: what is drawn at random is drawn anew for each.
        """

    @classmethod
    @abstractmethod
    def memory_needed(
        cls, stage: Any, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes that a stage computes with, beside images, poses, map and what it keeps.

        Parameters
        ----------
        stage
            Settings of the stage.
        model
            Model settings of the run.
        box
            Working box, pixels.
        device
            Where it trains.
        """

    @classmethod
    def memory_kept(cls, stage: Any, model: ModelSettings, box: int) -> float:
        """Return the bytes of the maps that it keeps all the time beside the problem's.

        Parameters are those of :meth:`memory_needed`.
        """
        return 0.0

    def begin(self) -> None:  # noqa: B027 (not every inference has something to make ready)
        """Make poses and map ready for the stage that begins; called once, before its epochs."""

    def begin_warm(self, weights: dict[str, Tensor]) -> None:
        """Begin with the weights of an encoder, and with a map that shows the particles.

        Called after :meth:`begin`; who has no encoder cannot.
        """
        raise NotImplementedError

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Do what comes before the batches; yield what is done of it, and its total.

        Parameters
        ----------
        place
            Where the run stands.
        rows
            Particles of the epoch, (m,).
        """
        yield from ()

    @property
    def searches_left(self) -> int:
        """How many later epochs of the stage are known to begin with a search of poses."""
        return 0

    def set_place(self, place: Place) -> None:  # noqa: B027 (not every inference has a schedule)
        """Follow the stage's schedules; called before every batch."""

    @property
    @abstractmethod
    def radius(self) -> float:
        """Frequency radius that poses are judged by, in units of 1/box."""

    @property
    def shared_radius(self) -> float | None:
        """Frequency radius beyond which two independent halves share nothing, in units of 1/box.

        None where poses come from one map of all particles.
        """
        return None

    @property
    def half_maps(self) -> tuple[tuple[Map, ...], tuple[Map, ...]] | None:
        """The maps of the two halves, where these are independent."""
        return None

    @property
    def encoder(self) -> Encoder | None:
        """The encoder that proposes its candidates; None where there is none."""
        return None

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images as known so far; white of unit variance where it is not estimated."""
        return NoiseSpectrum.white(self.particles.box, self.problem.device)

    @abstractmethod
    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch with particles ``rows`` (m,), shuffled."""

    @abstractmethod
    def train_batch(self, rows: Tensor) -> float:
        """Learn from particles ``rows``; return their mean error per Fourier coefficient."""

    def end_epoch(self, rows: Tensor) -> None:  # noqa: B027 (not every inference has an end)
        """Do what comes after the batches of an epoch with particles ``rows`` (m,)."""

    def end_stage(self, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Leave particles ``rows`` (m,) as the next stage is to find them; yield as a search."""
        yield from ()

    @property
    def over(self) -> bool:
        """Whether the stage's own criterion says that it is over."""
        return False

    @property
    def held_out_gain(self) -> float | None:
        """What held-out particles said last, nats each; None where they were not asked.

        Their log-likelihood with the map less that with its rotational average, mean.
        """
        return None

    def scores(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return what particles ``rows`` (m,) say of the map, (m,) each.

        None where that is not told. Their log-evidence, what the map gains over its
        rotational average, nats, and the scores by which outliers are known.
        """
        return None

    @property
    def switch_figures(self) -> SwitchFigures | None:
        """What the criterion of the switch measured last; None where there is none."""
        return None

    def likely_poses(self) -> Tensor:
        """Return the likeliest poses of all particles, 20° apart, the best first, (n, ≤ 4, 3, 3).

        NaN where a particle has no more of them.
        """
        poses = self.poses
        if not poses.candidates.shape[1]:
            return poses.candidates
        return best_distinct(poses.candidates, poses.candidate_losses, MOST_LIKELY)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides map and poses."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""

    def completed(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a :meth:`state` of an earlier version with what that did not write down."""
        return state

    @property
    def renews_candidates(self) -> bool:
        """Whether a branch point may leave the candidates out.

        Every epoch, and :meth:`end_stage`, then makes those of all its particles anew without
        having read them.
        """
        return False

    def compact_state(self) -> dict[str, Any] | None:
        """Return what a branch point needs of :meth:`state`, after an epoch; None where it is all.

        :meth:`load_state` takes it in, and the trajectory is the same from there on, bit by bit.
        """
        return None

    def adopt(self, state: dict[str, Any]) -> None:  # noqa: B027 (most begin with nothing)
        """Take in what still fits of a state of this inference with other settings.

        Called after :meth:`begin`, where a branch has its stage begin anew: what was learned goes
        on, and what judges when the stage is over does not.
        """


def shuffled_batches(
    rows: Tensor, size: int, order: torch.Generator, *, at_least: int = 1
) -> list[Tensor]:
    """Return shuffled rows in batches; none of them is a single one unless there are no others.

    There are ``at_least`` so many of them: the size is smaller where that is needed.
    """
    size = min(size, max(math.ceil(len(rows) / at_least), 1))
    shuffled = rows[torch.randperm(len(rows), generator=order).to(rows.device)]
    batches = list(shuffled.split(size))
    # batch normalisation cannot learn from one image: the last batch takes it in
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat((batches[-1], last))
    return batches
