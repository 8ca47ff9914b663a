"""Centring particles by the rotational average of a map, anywhere in the box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.state.problem import evenly_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.models.volume import Map
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.sums.quadrature import Quadrature

# frequency radius of the first look: beyond it the average tells of one view more than of another
_RADIUS = 4
# particles that the average is made of, and particles at a time
_AVERAGED, _PART = 2000, 1000
# particles that tell the spread of the shifts
_TELLING = 10_000
# rounds in which the spread of the shifts is estimated, from this share of the box
_ROUNDS, _SPREAD = 3, 0.1
# least spread of shifts, pixels
_LEAST_SPREAD = 0.5


def shift_spread(shifts: Tensor) -> float:
    """Return the standard deviation per axis of shifts (n, 2) but for outliers, pixels."""
    # half of a Gaussian's points lie within √(2 ln 2) of its standard deviations
    spread = float(shifts.norm(dim=1).median()) / math.sqrt(2 * math.log(2))
    return max(spread, _LEAST_SPREAD)


def spread_of(problem: Problem) -> float | None:
    """Return the spread of the particles' present shifts, pixels; None where shifts are known.

    It is that of the particles that maps learn from: the prior is a part of what is learned. Those
    of another half tell nothing: where a half has none of its own, it is a share of the box.
    """
    if not problem.model.shifts:
        return None
    learning = ~problem.held_out
    if problem.part is not None:
        learning &= problem.part
    for telling in (learning & problem.members, learning):
        if bool(telling.any()):
            return shift_spread(problem.poses.shifts[telling])
    return _SPREAD * problem.particles.box


def common_offset(rotations: Tensor, shifts: Tensor, group: Tensor | None = None) -> Tensor:
    """Return where the middle of particles lies in a map, from their poses, voxels, (3,).

    A map may lie anywhere in its box, where shifts are estimated: they then have a part in common,
    the projections of one vector (x, y, z), which is found by least squares.

    Parameters
    ----------
    rotations, shifts
        Poses of n particles, (n, 3, 3) and (n, 2).
    group
        Turns after which the map is the same, (g, 3, 3): its middle lies on all their axes.
    """
    if group is not None:
        rotations = rotations @ group.mean(0)
    seen = rotations[:, :2].flatten(0, 1).double()
    wanted = seen.T @ shifts.flatten().double()
    # views of one direction alone say nothing along it
    tiny = 1e-6 * len(seen) * torch.eye(3, dtype=seen.dtype, device=seen.device)
    found: Tensor = torch.linalg.solve(seen.T @ seen + tiny, wanted)
    result = found.to(shifts.dtype)
    return result if group is None else group.mean(0) @ result


def shift_log_prior(shifts: Tensor, spread: float, step: float) -> Tensor:
    """Return the log-probability of shifts (..., 2) on a grid of a step, as a Gaussian has it."""
    density = -shifts.square().sum(-1) / (2 * spread**2)
    return density + math.log(step**2 / (2 * math.pi * spread**2))


def cross_products(model: ImageModel, product: Tensor) -> Tensor:
    """Return the products of images with a reference at all shifts by whole pixels.

    Parameters
    ----------
    model
        Image model.
    product
        Coefficients of the images times those of a round reference, over the noise's variance,
        (b, K); of any other reference, what :func:`turned_products` returns.

    Returns
    -------
    Tensor
        Shape (b, D²), in the order of :func:`pixel_shifts`.
    """
    # the sum over k of a coefficient, moved by t, is the value of its image at pixel −t
    return model.box * model.images(product).flatten(1)


def turned_products(coefficients: Tensor, reference: Tensor) -> Tensor:
    """Return what stands for the products of images with a reference that is not round, (..., K).

    A shift mixes the Hartley coefficients at k and −k of the image alone: these products, moved
    by a shift, have the sum that the image, moved by it, has with the reference.
    """
    one, two = coefficients.unflatten(-1, (-1, 2)), reference.unflatten(-1, (-1, 2))
    even = (one * two).sum(-1)
    odd = one[..., 1] * two[..., 0] - one[..., 0] * two[..., 1]
    return torch.stack((even - odd, even + odd), -1).flatten(-2) / 2


def pixel_shifts(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Return all origin shifts (x, y) by whole pixels, (D², 2)."""
    line = box // 2 - torch.arange(box, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), 1)


@torch.no_grad()
def first_origins(particles: Particles, rows: Tensor, learning: Tensor) -> Tensor:
    """Return origin shifts of particles that nothing is known of, pixels, (m, 2).

    Each image is moved over the average of all, taken around their middles: a blob, as broad as the
    particles are off-centre, which has one best place. The prior of the shifts is a Gaussian,
    whose width is estimated.

    Parameters
    ----------
    particles
        Particles.
    rows
        Those to be centred, (m,).
    learning
        Those that the average and the width of the prior are made of, (l,).
    """
    model = ImageModel.within(particles.box, min(_RADIUS, particles.box // 2 - 1), particles.device)
    some = evenly_spread(learning, _AVERAGED)
    variance = particles.noise(some).variance
    average = _average(particles, some, model)
    reference = average / variance[shells_of(model)]
    # what is kept of each particle is a few numbers; the products at all shifts are made in parts
    products = reference.new_empty(len(rows), len(reference))
    for part, kept in zip(rows.split(_PART), products.split(_PART), strict=True):
        seen = particles.observed(part, model)
        kept[:] = seen.ctf * seen.coefficients * reference
    shifts = pixel_shifts(particles.box, products.device)
    squares = shifts.square().sum(1)
    spread = _SPREAD * particles.box
    known = torch.isin(rows, learning)
    known = known if known.any() else ~known
    telling = products[evenly_spread(known.nonzero().flatten(), _TELLING)]
    for _ in range(_ROUNDS - 1):
        # the mean square of the two axes, but for particles that lie far out
        middle = float(_expected(squares[:, None], model, telling, shifts, spread).median())
        spread = max(math.sqrt(middle / (2 * math.log(2))), _LEAST_SPREAD)
    return _expected(shifts, model, products, shifts, spread)


def _expected(
    values: Tensor, model: ImageModel, products: Tensor, shifts: Tensor, spread: float
) -> Tensor:
    """Return the means of values (D², v) at all shifts (D², 2) under the posteriors, (m, v)."""
    prior = shift_log_prior(shifts, spread, 1.0)
    # made before: small results among large intermediates would keep the allocator from
    # giving any of these the place of those before
    found = values.new_empty(len(products), values.shape[1])
    for part, kept in zip(products.split(_PART), found.split(_PART), strict=True):
        weights = (cross_products(model, part) + prior).softmax(1)
        torch.mm(weights, values, out=kept)
    return found


def _average(particles: Particles, rows: Tensor, model: ImageModel) -> Tensor:
    """Return the rotational average of images, corrected for their CTFs, (K,)."""
    seen = particles.observed(rows, model)
    shells = shells_of(model)
    signal = torch.bincount(shells, (seen.ctf * seen.coefficients).sum(0))
    weight = torch.bincount(shells, seen.ctf.square().sum(0))
    floor = 1e-3 * weight.max()
    return (signal / (weight + floor))[shells]


def evidence_of_averages(
    images: Observed, quadrature: Quadrature, maps: Sequence[Map], variance: Tensor
) -> Tensor:
    """Return the log-evidence of the rotational averages of maps, (b,): that of no structure.

    It is summed over shifts anywhere in the box, where a map's own is summed around those that it
    has found: so a map without structure gains nothing by having been asked first.

    Parameters
    ----------
    images
        The images.
    quadrature
        Frequencies, and the prior of the shifts.
    maps
        The maps, C of them.
    variance
        Variance of the noise at every frequency, (K,).
    """
    found = [_of_average(images, quadrature, each.average(), variance) for each in maps]
    return torch.stack(found).logsumexp(0) - math.log(len(found))


def _of_average(images: Observed, quadrature: Quadrature, grid: Tensor, variance: Tensor) -> Tensor:
    """Return the log-evidence of a Hartley grid (D+1)³ that is the same all around, (b,)."""
    used, model = quadrature.n_used, quadrature.model
    average = slicer(grid).slices(quadrature.rotations[:1], model.frequencies)
    predicted = images.ctf * average
    precision = torch.zeros_like(variance)
    precision[:used] = 1 / variance[:used]
    power = (predicted.square() * precision).sum(1)
    product = predicted * images.coefficients * precision
    if quadrature.spread is None:
        return product.sum(1) - 0.5 * power
    shifts = images.origins[:, None] + pixel_shifts(model.box, variance.device)
    log_p = cross_products(model, product) + shift_log_prior(shifts, quadrature.spread, 1.0)
    return torch.logsumexp(log_p, 1) - 0.5 * power
