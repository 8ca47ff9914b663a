"""Teaching by the likelihood, from nothing: each image's best pose makes the map."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.inference.asking import Measure, compared
from napari_cryospin.engine.inference.class_sums import ClassSums
from napari_cryospin.engine.inference.guesses import best_of, drawn
from napari_cryospin.engine.inference.interface import shuffled_batches
from napari_cryospin.engine.inference.memory_needs import FLOAT, coefficients, sums_bytes
from napari_cryospin.engine.inference.teacher import Teacher
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.map_updates import MapUpdates
from napari_cryospin.engine.models.noise import NoiseSpectrum
from napari_cryospin.engine.models.sums import mean_residual
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.sums.centring import first_origins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.inference.encoding import Encoding
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem

# frequency radii of the march where the stage has no low-pass filter, and maps that it takes
_FIRST, _LAST, _MARCH = 3.0, 10.0, 100
# epochs over which the encoder's rate falls once the march has ended, and the share that is left
_COOLING, _LEAST_RATE = 6, 0.05
# batches that the map stands for
_MEMORY = 2.0
_NOISE_IMAGES = 2000
# standard deviation of the steps of shifts, as a share of the box
_STEP = 1 / 64
# that of the shifts that guesses are tried at, at first
_TRIED = 1 / 50
# numbers kept of each coefficient of an image, and of a guess
_OF_IMAGE, _OF_GUESS = 16, 3


class WinnersTeacher(Teacher):
    """Winner takes all: the best pose of each image makes the map, and teaches the nearest head.

    The heads' proposals compete with guesses: random poses, the same for all images of a batch,
    until the frequencies in use have come to the last radius. While the encoder knows little most
    winners are guesses; it learns of them, and soon its proposals win. The map is the closed form
    of the winners of the last batches.
    """

    asks_about_all = True

    def __init__(
        self, problem: Problem, stage: AmortizedStage, encoding: Encoding, start: int
    ) -> None:
        super().__init__(problem, stage, encoding, start)
        particles = problem.particles
        self._updates = MapUpdates(problem.maps, particles.box, problem.device, memory=_MEMORY)
        learning = (~problem.held_out).nonzero().flatten()
        self._noise = particles.noise(learning[:_NOISE_IMAGES])
        self._maps = self._cooled = 0
        self._model: ImageModel = ImageModel.within(particles.box, self.radius, problem.device)

    @classmethod
    def memory_needed(
        cls, stage: AmortizedStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of coefficients of a batch and of guesses, of all pairs, and of sums."""
        kept = _OF_IMAGE * stage.batch_size + _OF_GUESS * stage.guesses
        numbers = kept * coefficients(box) + 2 * stage.batch_size * stage.guesses
        return numbers * FLOAT + sums_bytes(model, box, device)

    @property
    def measure(self) -> Measure:
        """The present map at the frequencies of the march, with the noise."""
        return Measure.of(self.problem, self._model, self._noise)

    @property
    def radius(self) -> float:
        """Frequency radius of the march, in units of 1/box: it grows with every map."""
        box, pixel = self.problem.particles.box, self.problem.particles.pixel_size
        limits = (self.stage.low_pass_start, _FIRST), (self.stage.low_pass_end, _LAST)
        first, last = (usual if limit is None else box * pixel / limit for limit, usual in limits)
        done = min(self._maps / _MARCH, 1.0)
        return round(min(first + done * (last - first), box / 2), 1)

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images, as estimated last."""
        return self._noise

    @property
    def over(self) -> bool:
        """Whether the march has ended, and the encoder has learned its end."""
        return self._cooled >= _COOLING

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Centre particles that nothing is known of; slow the encoder down at the end."""
        problem = self.problem
        new = rows[problem.poses.losses[rows].isnan()]
        if problem.model.shifts and len(new):
            learning = rows[~problem.held_out[rows]]
            problem.poses.shifts[new] = first_origins(problem.particles, new, learning)
        done = self._cooled / _COOLING
        if self.stage.until != "hand":
            done = max(done, 1 - (self.stage.epochs - place.stage_epoch) / _COOLING)
        left = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        self.encoding.slow_down(_LEAST_RATE + (1 - _LEAST_RATE) * left)
        yield from ()

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: two of them at least, for as many maps."""
        learning = rows[~self.problem.held_out[rows]]
        return shuffled_batches(learning, self.stage.batch_size, order, at_least=2)

    def train_batch(self, rows: Tensor) -> float:
        """Find the winners of particles ``rows``, make the map, teach; return their mean error."""
        encoding, problem = self.encoding, self.problem
        self._model = ImageModel.within(problem.particles.box, self.radius, problem.device)
        images = problem.particles.images(rows)
        looked = encoding.look(rows, images)
        seen, measure = self._seen(rows, images), self.measure
        winners = self._winners(measure, seen, looked)
        loss = self._make_map(measure, seen, winners)
        draw = stream(problem.seed, "teaching", self.start, self._maps, device=problem.device)
        for _ in range(self.stage.passes):
            encoding.learn(rows, looked, winners, draw)
        self._maps += 1
        return loss

    def _seen(self, rows: Tensor, images: Tensor) -> Observed:
        """Return particles as they are, not centred."""
        poses = self.problem.poses
        return self.problem.particles.observed(
            rows,
            self._model,
            scales=poses.scales[rows],
            membership=poses.membership[rows],
            images=images,
        )

    @torch.no_grad()
    def _winners(self, measure: Measure, seen: Observed, looked: Tensor) -> Poses:
        """Return the best pose of each image, (b,); proposals become candidates."""
        encoding, problem, rows = self.encoding, self.problem, seen.rows
        present, origins = problem.poses.shifts[rows], encoding.origins(rows)
        proposed = encoding.encoder(encoding.encoder.centred(looked, origins))
        centred = seen.at(measure.model, origins)
        encoding.record(centred, *compared(measure, centred, proposed))
        winners = problem.poses.at(rows)
        if self.stage.guesses and self._maps < _MARCH:
            poses = drawn(self.stage.guesses, problem.seed, self.start, self._maps).to(rows.device)
            tried = self._tried(present)
            guessed, errors = best_of(measure, seen.at(measure.model, tried), poses)
            by_head = problem.poses.losses[rows] <= errors
            winners = winners.where(by_head, guessed)
        if problem.model.shifts:
            winners = _centred(measure, seen, winners)
            problem.poses.shifts[rows] = winners.shifts
        return winners

    def _tried(self, shifts: Tensor) -> Tensor:
        """Return the shifts that guesses are tried at: the present ones, give or take a little."""
        problem = self.problem
        if not problem.model.shifts:
            return shifts
        draw = stream(problem.seed, "tried", self.start, self._maps, device=shifts.device)
        spread = _TRIED * problem.particles.box * (1 - self._maps / _MARCH)
        return shifts + spread * torch.randn(shifts.shape, generator=draw, device=shifts.device)

    @torch.no_grad()
    def _make_map(self, measure: Measure, seen: Observed, winners: Poses) -> float:
        """Make the map anew, and estimate the noise; return the winners' mean error."""
        model, particles = measure.model, self.problem.particles
        sums = ClassSums(model, self.problem)
        errors = sums.add(Alignment(model, measure.slicer, seen), seen, winners)
        power = mean_residual(sums.of_class)
        estimated = NoiseSpectrum.of_residuals(power, model, particles.mask_power)
        self._noise = self._noise.replaced(estimated, model)
        self._updates(sums.inserted, self._noise)
        return float(errors.mean())

    def end_epoch(self, rows: Tensor) -> None:
        """Centre held-out particles by their best proposals; count the epochs of the end."""
        held = rows[self.problem.held_out[rows]]
        if self.problem.model.shifts and len(held):
            self.encoding.propose(held, self.measure, rounds=1)
        self._cooled += self._maps >= _MARCH

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides map, poses and encoder."""
        return {
            "map_updates": self._updates.state(),
            "noise": self._noise.variance,
            "maps": self._maps,
            "cooled": self._cooled,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self._updates.load_state(state["map_updates"])
        self._noise = NoiseSpectrum(state["noise"])
        self._maps, self._cooled = state["maps"], state["cooled"]
        box = self.problem.particles.box
        self._model = ImageModel.within(box, self.radius, self.problem.device)

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on with map and noise; the march begins anew."""
        self._updates.load_state(state["map_updates"])
        self._noise = NoiseSpectrum(state["noise"])


def _centred(measure: Measure, seen: Observed, poses: Poses) -> Poses:
    """Return poses with shifts that a step of Gauss and Newton's finds better; turns stay.

    The step has a prior, a Gaussian around where the image lies at present: a map that is nothing
    yet moves no image.
    """
    assert measure.noise is not None
    seen = seen.over(measure.noise.deviation(measure.model))
    fit = Alignment(measure.model, measure.slicer, seen).fit(poses)
    spread = _STEP * measure.model.box
    # the errors are for one coefficient, and twice a log-likelihood
    pull = 2 / (len(measure.model.frequencies) * spread**2)
    normal = fit.normal[:, 3:, 3:] + pull * torch.eye(2, device=fit.normal.device)
    step = torch.linalg.solve(normal, fit.gradient[:, 3:])
    return replace(poses, shifts=poses.shifts - step)
