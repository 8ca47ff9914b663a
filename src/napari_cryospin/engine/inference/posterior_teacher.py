"""Teaching by the posterior: sums over all poses make the map, and samples teach the encoder."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.fourier import move_grid
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.symmetry_axes import symmetry_frame
from napari_cryospin.engine.inference.asking import ROUNDS, Measure
from napari_cryospin.engine.inference.encoding import MINI_BATCH
from napari_cryospin.engine.inference.interface import MOST_LIKELY
from napari_cryospin.engine.inference.march import supports
from napari_cryospin.engine.inference.marginal import MarginalInference
from napari_cryospin.engine.inference.teacher import Teacher
from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import grid_of_map, map_of_grid
from napari_cryospin.engine.random_streams import stream
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.refining.candidate_modes import APART, best_distinct, within
from napari_cryospin.engine.refining.gauss_newton import improve
from napari_cryospin.engine.stages import MarginalStage
from napari_cryospin.engine.sums.centring import common_offset
from napari_cryospin.engine.sums.quadrature import cell_rotations, split_cells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.inference.encoding import Encoding
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.sums.posteriors import Posteriors
    from napari_cryospin.engine.sums.quadrature import Quadrature

# particles that are asked about at once where a run begins warm, and the radius they are judged by
_ASKED_WARM, _LOOK = 2000, 8
# level of poses from which on all that they teach is worth the time: below it they are 29° apart
_FIRST_LEVEL = 4
# share of the posteriors outside of their best modes from which on finer sums are worth the time,
# and particles whose posteriors are looked at at once
_MUCH_DOUBT, _AT_ONCE = 0.1, 2000
# steps that refine shifts from the grid of the sums
_CENTRING_STEPS = 2
# so many of the particles' batches are asked about in an epoch of the march: one in ...
_ASKED = 6
# progress of the lessons at the end is told after so many; particles that they go through
# meanwhile: looking at an image takes longer than learning from it
_TOLD_EVERY, _SEEN = 25, 3000


class PosteriorTeacher(Teacher):
    """Marginalisation makes the map; poses drawn from its posteriors are what the heads learn.

    For each image, seen at one of its turns, a pose is drawn from its posterior, and the head whose
    proposal is nearest learns it: so the heads come to share a posterior of several modes. Where
    shifts are estimated, images are centred by their present ones, give or take some jitter.
    """

    remembers = MarginalInference.remembers
    finds_scales = True
    ends_with_heads = False

    def __init__(
        self, problem: Problem, stage: AmortizedStage, encoding: Encoding, start: int
    ) -> None:
        super().__init__(problem, stage, encoding, start)
        # a structure is found without its symmetry: with it, the march would end in wrong ones
        self._sums = _Sums(_without_symmetry(problem), _marginal_stage(stage), start=start)
        self._taught = 0
        self._warm = False

    @classmethod
    def memory_needed(
        cls, stage: AmortizedStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of the sums over all poses."""
        stages = _marginal_stage(stage), _finer(stage)
        return max(MarginalInference.memory_needed(each, model, box, device) for each in stages)

    @property
    def measure(self) -> Measure:
        """The present map at the frequencies of the sums, with their noise."""
        problem, sums = self.problem, self._sums
        model = ImageModel.within(problem.particles.box, sums.radius, problem.device)
        return Measure.of(problem, model, sums.noise)

    @property
    def radius(self) -> float:
        """Frequency radius of the march, in units of 1/box."""
        return self._sums.radius

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images, as estimated last."""
        return self._sums.noise

    @property
    def over(self) -> bool:
        """Whether the march has ended."""
        return self._sums.over

    def begin_warm(self) -> None:
        """Let the first epoch begin with poses from the encoder, where the map supports it."""
        self._warm = True

    def learned_from(self, rows: Tensor) -> Tensor:
        """Return the particles that are drawn to be learned from, and the held-out ones."""
        most, held_out = self.stage.particles, self.problem.held_out
        learning = rows[~held_out[rows]]
        if most is None or len(learning) <= most:
            return rows
        draw = stream(self.problem.seed, "learned from")
        place = torch.randperm(len(held_out), generator=draw).to(rows.device)
        drawn = learning[place[learning].argsort()[:most]]
        return torch.cat((drawn, rows[held_out[rows]])).sort().values

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Centre particles that nothing is known of."""
        # at first all are centred: the spread of their shifts is that of all
        rows = self.learned_from(rows) if place.stage_epoch else rows
        yield from self._sums.begin_epoch(place, rows)
        if not self._warm:
            return
        self._warm, asked, rows = False, 0, self.learned_from(rows)
        self._sums.march_ahead(_LOOK)
        for part in rows.split(_ASKED_WARM):
            self.encoding.propose(part, self.measure, ROUNDS)
            asked += len(part)
            yield asked, len(rows)
        self._sums.march_on()

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: the held-out particles are in none."""
        return self._sums.batches(self.learned_from(rows), order)

    def train_batch(self, rows: Tensor) -> float:
        """Make the map anew from particles ``rows``, teach by them; return their mean error."""
        loss = self._sums.train_batch(rows)
        draw = self._next_draw()
        if int(self._sums.memory.nside[rows[0]]) < _FIRST_LEVEL:
            # the order of a batch is one at random
            some = rows[:MINI_BATCH]
            self.encoding.step(some, self._look(some), self._drawn(some, draw), draw)
        else:
            learned = self._members(rows)
            seen = self._look(learned)
            for _ in range(self.stage.passes):
                self.encoding.learn(learned, seen, self._drawn(learned, draw), draw)
        if self._taught % _ASKED == 0:
            self.encoding.propose(rows, self.measure)
        return loss

    def likely_poses(self) -> Tensor:
        """Return the likeliest poses by the sums, (n, 4, 3, 3): not all were asked of late."""
        memory = self._sums.memory
        found = memory.weights.new_full((len(memory.nside), MOST_LIKELY, 3, 3), torch.nan)
        for part in memory.nside.nonzero().flatten().split(_AT_ONCE):
            rotations, weights = memory.poses(part), memory.weights[part]
            found[part] = best_distinct(rotations, -weights.log(), MOST_LIKELY)
        return found

    def end_stage(self, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Teach on, while the encoder's rate falls to 0, by the posteriors as they are."""
        if len(self.problem.group) > 1:
            yield from self._make_symmetric(rows)
        if self._sums.over and self._doubt(rows) > _MUCH_DOUBT:
            yield from self._sum_on_finer_grid(rows)
        if self.problem.model.shifts:
            # what the encoder looks at is to be centred. The march would find worse maps so: most
            # poses are wrong in its midst, and shifts that are refined at them follow the noise
            self._sums.centre(rows)
            self._sums.refine_shifts(rows)
        rows = rows[~self.problem.held_out[rows]]
        memory, lessons = self._sums.memory, self.stage.lessons
        known = self._members(rows[memory.nside[rows] == memory.nside.max().clamp(min=1)])
        if len(known) < 2:
            return
        draw = self._next_draw()
        for lesson in range(lessons):
            if lesson % _TOLD_EVERY == 0:
                yield lesson, lessons
                if lesson == 0 or len(known) > _SEEN:
                    some = torch.randperm(len(known), generator=draw, device=known.device)[:_SEEN]
                    seen = known[some.sort().values]
                    looks = torch.cat([self._look(part) for part in seen.split(MINI_BATCH)])
            self.encoding.slow_down(0.5 * (1 + math.cos(math.pi * lesson / lessons)))
            part = torch.randperm(len(seen), generator=draw, device=seen.device)[:MINI_BATCH]
            rows = seen[part]
            self.encoding.step(rows, looks[part], self._drawn(rows, draw), draw)

    def _members(self, rows: Tensor) -> Tensor:
        """Return which of particles the heads learn, (m,): those that show the particle, if any."""
        members = rows[self.problem.poses.members[rows]]
        return members if len(members) > 1 else rows

    def _doubt(self, rows: Tensor) -> float:
        """Return the share of the posteriors of particles that is not in their best modes."""
        memory, rows = self._sums.memory, self._members(rows)
        away = []
        for part in rows[memory.nside[rows] > 0].split(_AT_ONCE):
            poses, weights = memory.poses(part), memory.weights[part]
            near = within(poses, poses[:, :1], APART)[..., 0]
            away.append(1 - (weights * near).sum(1) / weights.sum(1))
        return float(torch.cat(away).mean()) if away else 0.0

    def _sum_on_finer_grid(self, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Sum once over the poses of a grid that tells apart what the march has left in doubt.

        It is the map that gains: the encoder may be sure of few of them, and one that was made of
        poses that it has chosen would be worse.
        """
        yield from self._sum_once(_finer(self.stage), "finer", rows)

    def _make_symmetric(self, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Turn maps to the symmetry's axes, and find all poses again, in the asymmetric unit."""
        group = self.problem.group
        for number, volume in enumerate(self.problem.maps):
            shown = map_of_grid(volume.grid().detach()).cpu().numpy()
            frame = symmetry_frame(shown, group.double().cpu().numpy())
            middle = torch.from_numpy(frame.middle).to(self.problem.poses.shifts)
            self._sums.displace(rows, middle, number)
            turned = torch.from_numpy(frame.turned(shown)).to(self.problem.device)
            volume.assign(grid_of_map(turned))
        yield from self._sum_once(_marginal_stage(self.stage), "symmetric", rows)

    def _sum_once(self, stage: MarginalStage, name: str, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Go once through particles by the sums of another stage, and on with these."""
        sums = _Sums(self.problem, stage, self._sums, self.start)
        order = stream(self.problem.seed, name, self.start)
        done = 0
        for batch in sums.batches(rows, order):
            sums.train_batch(batch)
            done += len(batch)
            yield done, len(rows)
        sums.end_epoch(rows)
        sums.march.over = self._sums.march.over
        self._sums = sums

    def _next_draw(self) -> torch.Generator:
        self._taught += 1
        problem = self.problem
        return stream(problem.seed, "teaching", self.start, self._taught, device=problem.device)

    def _look(self, rows: Tensor) -> Tensor:
        return self.encoding.look(rows, self.problem.particles.images(rows))

    def _drawn(self, rows: Tensor, draw: torch.Generator) -> Poses:
        """Return a pose of each particle drawn from its posterior, (m,), at its present shift."""
        memory = self._sums.memory
        drawn = torch.multinomial(memory.weights[rows], 1, generator=draw)
        # all of them are of the march's present level
        level = int(memory.nside[rows[0]])
        _, cells = split_cells(memory.cells[rows].gather(1, drawn)[:, 0].long(), level)
        rotations = cell_rotations(level).to(rows.device)[cells]
        return Poses(rotations, self.problem.poses.shifts[rows])

    def end_epoch(self, rows: Tensor) -> None:
        """Find posteriors of the held-out particles as well."""
        self._sums.end_epoch(self.learned_from(rows))

    def state(self) -> dict[str, Any]:
        """Return the state of the sums, and of what was drawn."""
        return {"sums": self._sums.state(), "taught": self._taught}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self._sums.load_state(state["sums"])
        self._taught = state["taught"]

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on with the posteriors, at the frequencies that the march had reached."""
        if state["sums"]["march"]["radii"] == self._sums.march.radii:
            self._sums.load_state(state["sums"])
        self._taught = state["taught"]


class _Sums(MarginalInference):
    """Marginalisation that leaves the candidates to the encoder."""

    def march_ahead(self, radius: float) -> None:
        """March to a radius at once, or to the last one."""
        self.march.place = sum(each < radius for each in self.march.radii[1:])
        self._quadrature = None

    @torch.no_grad()
    def march_on(self) -> None:
        """March to the largest radius that the held-out particles say the map supports."""
        self.march_ahead(0)
        if not len(self._held):
            return
        for place, _ in enumerate(self.march.radii):
            self.march.place, self._quadrature = place, None
            quadrature = self._points()
            images = self._observed(self._held, quadrature)
            found = self._sum(quadrature, self._held).posteriors(images, look_beyond=True)
            if not supports(found.beyond):
                break

    def _record(self, images: Observed, found: Posteriors, quadrature: Quadrature) -> None:
        self.poses.shifts[images.rows] = found.cell_shifts[:, 0] + images.origins
        self._remember(images.rows, found, quadrature)
        self.poses.classes[images.rows] = found.classes.argmax(1)

    @torch.no_grad()
    def refine_shifts(self, rows: Tensor) -> None:
        """Refine the shifts of the heaviest poses of particles (m,), together with these.

        The sums know them to a pixel and more.
        """
        quadrature, slices = self._points(), slicer_of(self.problem.grids)
        model, used = quadrature.model, quadrature.n_used
        for part in rows[self.memory.nside[rows] > 0].split(_AT_ONCE):
            images = self._observed(part, quadrature)
            seen = images.over(self.noise.deviation(model))
            poses = self._heaviest(part)
            aligned = Alignment(model, slices, seen)
            refined = improve(aligned, poses, [used] * _CENTRING_STEPS)
            good = aligned.fit(refined, used).errors <= aligned.fit(poses, used).errors
            moved = torch.where(good[:, None], refined.shifts, poses.shifts)
            self.poses.shifts[part] = images.origins + moved

    def centre(self, rows: Tensor) -> None:
        """Bring the maps to the middles of their boxes, by the poses of particles (m,)."""
        for number, _ in enumerate(self.problem.maps):
            own = self._of_class(rows, number)
            if len(own):
                best = self.memory.heaviest(own)
                offset = common_offset(best, self.poses.shifts[own], self.problem.group)
                self.displace(own, offset, number)

    def displace(self, rows: Tensor, offset: Tensor, number: int) -> None:
        """Move a class's map such that what lies at an offset (3,), voxels, comes to its middle."""
        rows, volume = self._of_class(rows, number), self.problem.maps[number]
        self.poses.shifts[rows] -= (self.memory.heaviest(rows) @ offset)[:, :2]
        self._updates.of_class[number].move(-offset)
        volume.assign(move_grid(volume.grid().detach(), -offset))

    def _of_class(self, rows: Tensor, number: int) -> Tensor:
        """Return which of particles (m,) are posed by a class's map."""
        rows = rows[self.memory.nside[rows] > 0]
        return rows[self.memory.classes(rows) == number]

    def _heaviest(self, rows: Tensor) -> Poses:
        """Return the heaviest poses of particles (m,) that have any, at no shift."""
        classes = self.memory.classes(rows) if len(self.problem.maps) > 1 else None
        best = self.memory.heaviest(rows)
        return Poses(best, best.new_zeros(len(best), 2), classes)


def _without_symmetry(problem: Problem) -> Problem:
    """Return a problem with the same particles, map and poses, and no symmetry."""
    return replace(problem, model=problem.model.model_copy(update={"symmetry": "C1"}))


def _finer(stage: AmortizedStage) -> MarginalStage:
    """Return the settings of the sums on the finer grid."""
    return MarginalStage(
        epochs=1, nside=8, batch_size=2 * stage.batch_size, low_pass_end=stage.low_pass_end
    )


def _marginal_stage(stage: AmortizedStage) -> MarginalStage:
    """Return the settings of the sums."""
    return MarginalStage(
        epochs=stage.epochs,
        batch_size=stage.batch_size,
        low_pass_start=stage.low_pass_start,
        low_pass_end=stage.low_pass_end,
    )
