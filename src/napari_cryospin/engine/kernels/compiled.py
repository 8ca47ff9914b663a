"""The inner loops, compiled by numba: one image after the other, nothing written but results.

All of them take the half disk in the order of :func:`~.geometry.fourier.disk`: of every pair of
frequencies k and −k the first, ``kx`` and ``ky`` (H,), so that a smaller radius is a smaller H. The
coefficients of an image are the pairs H(k), H(−k), one after the other, (K,) with K = 2 H. Read as
the complex number ``H(k) + i H(−k)`` a pair turns by ``e^{−iφ}`` where its image is moved.

A map is ``pairs`` (D+1, D+1, D+1, 2), the same two values of every voxel: a slice reads both at
once. Nothing here looks whether it is within the map: callers see to it that k·A is.

Frequencies are taken in blocks. Within one, the loops are simple enough to be vectorised, and the
voxels of all are touched before any is needed, for waiting on memory is most of the time.
Indices are unsigned: numba lets negative ones count from the end, at a price.
"""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numba import float32, njit
from numba.extending import is_jitted

# frequencies of a block, and the same as an index
_BLOCK = 128
_B = np.uint64(_BLOCK)
_0, _1, _2, _3 = (np.uint64(number) for number in range(4))
_4, _5, _6, _7 = (np.uint64(number) for number in range(4, 8))
_FAST: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def _compiled(function):
    """Compile a function when it is first called; kept on disk where that can be written to."""
    try:
        return njit(cache=True, **_FAST)(function)
    except RuntimeError:  # no folder for it
        return njit(**_FAST)(function)


def forget_kept() -> None:
    """Remove what is kept on disk, and have this process compile everything for itself alone."""
    kept = {name: each for name, each in globals().items() if is_jitted(each)}
    folders = {each.stats.cache_path for each in kept.values()}
    for folder in (Path(one) for one in folders if one is not None):
        with suppress(OSError):
            # without its index a function is compiled and kept anew, by the next process
            for index in folder.glob(f"{Path(__file__).stem}.*.nbi"):
                index.unlink()
    globals().update({name: njit(**_FAST)(each.py_func) for name, each in kept.items()})


@_compiled
def _phases(table, angle):
    """Fill a table (2, D+1) with cosine and sine of ``k · angle`` for k from −D/2 to D/2."""
    half = (table.shape[1] - 1) // 2
    step_c, step_s = math.cos(angle), math.sin(angle)
    c, s = 1.0, 0.0
    for k in range(half + 1):
        table[0, half + k] = table[0, half - k] = c
        table[1, half + k], table[1, half - k] = s, -s
        c, s = c * step_c - s * step_s, c * step_s + s * step_c


@_compiled
def _turn(turned, across, along, kx, ky, start, m):
    """Put cosine and sine of the phases of a block's frequencies into ``turned`` (2 · block,)."""
    half = across.shape[1] // 2
    for b in range(m):
        x, y = np.uint64(int(kx[start + b]) + half), np.uint64(int(ky[start + b]) + half)
        c0, s0, c1, s1 = across[0, x], across[1, x], along[0, y], along[1, y]
        turned[b] = c0 * c1 - s0 * s1
        turned[_B + b] = c0 * s1 + s0 * c1


@_compiled
def _find(places, cells, kx, ky, start, m, pose, side, stride):
    """Find the cell of every frequency of a block, and the place within it, (3 · block,)."""
    half = float32((side - 1) // 2)
    xx, xy, xz, yx, yy, yz = pose[0, 0], pose[0, 1], pose[0, 2], pose[1, 0], pose[1, 1], pose[1, 2]
    for b in range(m):
        u, v = kx[start + b], ky[start + b]
        x = u * xx + v * yx + half
        y = u * xy + v * yy + half
        z = u * xz + v * yz + half
        i, j, k = np.int32(x), np.int32(y), np.int32(z)
        places[b] = x - float32(i)
        places[_B + b] = y - float32(j)
        places[_2 * _B + b] = z - float32(k)
        cells[b] = stride * ((k * side + j) * side + i)


@_compiled
def _touch(cells, flat, m, row, plane):
    """Read a value of every row of voxels of a block's cells."""
    total = float32(0)
    for b in range(m):
        p = np.uint64(cells[b])
        total += flat[p] + flat[p + row] + flat[p + plane] + flat[p + plane + row]
    return total


@_compiled
def _read(values, places, cells, flat, m, row, plane):
    """Interpolate a block: both values of a map, and their derivatives by x, y, z, (8 · block,)."""
    for b in range(m):
        x, y, z = places[b], places[_B + b], places[_2 * _B + b]
        p = np.uint64(cells[b])
        q, r, s = p + row, p + plane, p + plane + row
        # four rows of two voxels with two values each, taken together along y and z
        p0, p1, p2, p3 = flat[p], flat[p + _1], flat[p + _2], flat[p + _3]
        q0, q1, q2, q3 = flat[q], flat[q + _1], flat[q + _2], flat[q + _3]
        r0, r1, r2, r3 = flat[r], flat[r + _1], flat[r + _2], flat[r + _3]
        s0, s1, s2, s3 = flat[s], flat[s + _1], flat[s + _2], flat[s + _3]
        q0, q1, q2, q3 = q0 - p0, q1 - p1, q2 - p2, q3 - p3
        s0, s1, s2, s3 = s0 - r0, s1 - r1, s2 - r2, s3 - r3
        p0, p1, p2, p3 = p0 + y * q0, p1 + y * q1, p2 + y * q2, p3 + y * q3
        r0, r1, r2, r3 = r0 + y * s0, r1 + y * s1, r2 + y * s2, r3 + y * s3
        z0, z1, z2, z3 = r0 - p0, r1 - p1, r2 - p2, r3 - p3
        v0, v1, v2, v3 = p0 + z * z0, p1 + z * z1, p2 + z * z2, p3 + z * z3
        y0, y1 = q0 + z * (s0 - q0), q1 + z * (s1 - q1)
        y2, y3 = q2 + z * (s2 - q2), q3 + z * (s3 - q3)
        # and then along x
        values[b], values[_B + b] = v0 + x * (v2 - v0), v1 + x * (v3 - v1)
        values[_2 * _B + b], values[_3 * _B + b] = v2 - v0, v3 - v1
        values[_4 * _B + b], values[_5 * _B + b] = y0 + x * (y2 - y0), y1 + x * (y3 - y1)
        values[_6 * _B + b], values[_7 * _B + b] = z0 + x * (z2 - z0), z1 + x * (z3 - z1)


@_compiled
def _read_values(values, places, cells, flat, m, row, plane):
    """Interpolate a block: both values of a map, (2 · block,)."""
    for b in range(m):
        x, y, z = places[b], places[_B + b], places[_2 * _B + b]
        p = np.uint64(cells[b])
        q, r, s = p + row, p + plane, p + plane + row
        p0, p1, p2, p3 = flat[p], flat[p + _1], flat[p + _2], flat[p + _3]
        q0, q1, q2, q3 = flat[q], flat[q + _1], flat[q + _2], flat[q + _3]
        r0, r1, r2, r3 = flat[r], flat[r + _1], flat[r + _2], flat[r + _3]
        s0, s1, s2, s3 = flat[s], flat[s + _1], flat[s + _2], flat[s + _3]
        p0, p1 = p0 + y * (q0 - p0), p1 + y * (q1 - p1)
        p2, p3 = p2 + y * (q2 - p2), p3 + y * (q3 - p3)
        r0, r1 = r0 + y * (s0 - r0), r1 + y * (s1 - r1)
        r2, r3 = r2 + y * (s2 - r2), r3 + y * (s3 - r3)
        v0, v1 = p0 + z * (r0 - p0), p1 + z * (r1 - p1)
        v2, v3 = p2 + z * (r2 - p2), p3 + z * (r3 - p3)
        values[b], values[_B + b] = v0 + x * (v2 - v0), v1 + x * (v3 - v1)


@_compiled
def _add_fit(sums, values, turned, kx, ky, start, m, pose, image, ctf, absolute):
    """Add a block's error, gradient and normal matrix, by turns and phases, to ``sums`` (21,)."""
    xx, xy, xz, yx, yy, yz = pose[0, 0], pose[0, 1], pose[0, 2], pose[1, 0], pose[1, 1], pose[1, 2]
    zx, zy, zz = pose[2, 0], pose[2, 1], pose[2, 2]
    error = float32(0)
    g0 = g1 = g2 = g3 = g4 = float32(0)
    n00 = n01 = n02 = n03 = n04 = n11 = n12 = n13 = float32(0)
    n22 = n23 = n24 = n33 = n34 = n44 = float32(0)
    for b in range(m):
        q = start + b
        u, v, c = kx[q], ky[q], ctf[_2 * q]
        cosine, sine = turned[b], turned[_B + b]
        a, d = image[_2 * q], image[_2 * q + _1]
        # the image is moved, not the projection
        p0, p1 = c * values[b], c * values[_B + b]
        r0, r1 = p0 - (cosine * a + sine * d), p1 - (cosine * d - sine * a)
        if absolute:
            # its error is that of the coefficients as they are, so they are turned back
            e0, e1 = cosine * r0 - sine * r1, cosine * r1 + sine * r0
            error += abs(e0) + abs(e1)
            s0, s1 = float32(0.5) * np.sign(e0), float32(0.5) * np.sign(e1)
            r0, r1 = cosine * s0 + sine * s1, cosine * s1 - sine * s0
        else:
            error += r0 * r0 + r1 * r1
        dx0, dx1 = c * values[_2 * _B + b], c * values[_3 * _B + b]
        dy0, dy1 = c * values[_4 * _B + b], c * values[_5 * _B + b]
        dz0, dz1 = c * values[_6 * _B + b], c * values[_7 * _B + b]
        # derivatives by the axes of the image, and by turns about them: k × ω is what k moves by
        i0, i1 = xx * dx0 + xy * dy0 + xz * dz0, xx * dx1 + xy * dy1 + xz * dz1
        j0, j1 = yx * dx0 + yy * dy0 + yz * dz0, yx * dx1 + yy * dy1 + yz * dz1
        k0, k1 = zx * dx0 + zy * dy0 + zz * dz0, zx * dx1 + zy * dy1 + zz * dz1
        t0, t1 = v * i0 - u * j0, v * i1 - u * j1
        uu, uv, vv = u * u, u * v, v * v
        across = r0 * k0 + r1 * k1
        g0 -= v * across
        g1 += u * across
        g2 += r0 * t0 + r1 * t1
        moved = r1 * p0 - r0 * p1
        g3 += u * moved
        g4 += v * moved
        kk = k0 * k0 + k1 * k1
        n00 += vv * kk
        n01 -= uv * kk
        n11 += uu * kk
        kt = k0 * t0 + k1 * t1
        n02 -= v * kt
        n12 += u * kt
        n22 += t0 * t0 + t1 * t1
        kp = k1 * p0 - k0 * p1
        n03 -= uv * kp
        n04 -= vv * kp
        n13 += uu * kp
        tp = t1 * p0 - t0 * p1
        n23 += u * tp
        n24 += v * tp
        pp = p0 * p0 + p1 * p1
        n33 += uu * pp
        n34 += uv * pp
        n44 += vv * pp
    found = (
        error, g0, g1, g2, g3, g4, n00, n01, n02, n03, n04, n11, n12, n13, -n03, n22, n23, n24,
        n33, n34, n44,
    )  # fmt: skip
    for place in range(21):
        sums[place] += found[place]


@_compiled
def fit(pairs, kx, ky, observed, ctf, numbers, poses, phases, absolute, first, last, found):
    """Write error, gradient and normal matrix of some poses.

    Parameters
    ----------
    pairs
        The map, (D+1, D+1, D+1, 2).
    kx, ky
        Frequencies, (H,), of which H is the number in use.
    observed, ctf
        Images, and what multiplies a projection, (n, ≥ 2 H).
    numbers
        The image of every pose, (p,).
    poses, phases
        Euler matrices (p, 3, 3), and the phases by which a unit of kx and of ky turns, (p, 2).
    absolute
        Whether the error is the sum of absolute values, and not of squares.
    first, last
        Which of the poses.
    found
        Takes for every pose the error; half its gradient by turns about the axes of the image and
        by the two phases (5); half its normal matrix, the upper triangle (15); (p, 21).
    """
    side = np.int32(pairs.shape[0])
    flat = pairs.reshape(-1)
    row, plane = np.uint64(2 * side), np.uint64(2 * side * side)
    n = np.uint64(len(kx))
    across, along = np.empty((2, side), np.float32), np.empty((2, side), np.float32)
    places, cells = np.empty(3 * _BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    values, turned = np.empty(8 * _BLOCK, np.float32), np.empty(2 * _BLOCK, np.float32)
    sums = np.empty(21)
    touched = float32(0)
    for number in range(first, last):
        pose, image, own = poses[number], observed[numbers[number]], ctf[numbers[number]]
        _phases(across, phases[number, 0])
        _phases(along, phases[number, 1])
        sums[:] = 0
        for start in range(_0, n, _B):
            m = min(_B, n - start)
            _find(places, cells, kx, ky, start, m, pose, side, np.int32(2))
            touched += _touch(cells, flat, m, row, plane)
            _read(values, places, cells, flat, m, row, plane)
            _turn(turned, across, along, kx, ky, start, m)
            _add_fit(sums, values, turned, kx, ky, start, m, pose, image, own, absolute)
        for place in range(21):
            found[number, place] = sums[place]
    return touched


@_compiled
def errors(
    pairs, kx, ky, observed, ctf, numbers, poses, phases, absolute, first, last, found, power
):
    """Write the errors of some poses, (p,), and add to ``power`` those of every frequency, (H,).

    The other parameters are those of :func:`fit`.
    """
    side = np.int32(pairs.shape[0])
    flat = pairs.reshape(-1)
    row, plane = np.uint64(2 * side), np.uint64(2 * side * side)
    n = np.uint64(len(kx))
    across, along = np.empty((2, side), np.float32), np.empty((2, side), np.float32)
    places, cells = np.empty(3 * _BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    values, turned = np.empty(2 * _BLOCK, np.float32), np.empty(2 * _BLOCK, np.float32)
    touched = float32(0)
    for number in range(first, last):
        pose, image, own = poses[number], observed[numbers[number]], ctf[numbers[number]]
        _phases(across, phases[number, 0])
        _phases(along, phases[number, 1])
        total = 0.0
        for start in range(_0, n, _B):
            m = min(_B, n - start)
            _find(places, cells, kx, ky, start, m, pose, side, np.int32(2))
            touched += _touch(cells, flat, m, row, plane)
            _read_values(values, places, cells, flat, m, row, plane)
            _turn(turned, across, along, kx, ky, start, m)
            part = float32(0)
            for b in range(m):
                q = start + b
                c, cosine, sine = own[_2 * q], turned[b], turned[_B + b]
                a, d = image[_2 * q], image[_2 * q + _1]
                # the projection is moved, for the errors are those of the coefficients as they are
                p0, p1 = c * values[b], c * values[_B + b]
                e0, e1 = cosine * p0 - sine * p1 - a, cosine * p1 + sine * p0 - d
                square = e0 * e0 + e1 * e1
                part += abs(e0) + abs(e1) if absolute else square
                power[q] += square
            total += part
        found[number] = total
    return touched


@_compiled
def project(pairs, kx, ky, poses, first, last, found):
    """Write the slices of a map at some poses, (p, 2 H); parameters are those of :func:`fit`."""
    side = np.int32(pairs.shape[0])
    flat = pairs.reshape(-1)
    row, plane = np.uint64(2 * side), np.uint64(2 * side * side)
    n = np.uint64(len(kx))
    places, cells = np.empty(3 * _BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    values = np.empty(2 * _BLOCK, np.float32)
    touched = float32(0)
    for number in range(first, last):
        out = found[number]
        for start in range(_0, n, _B):
            m = min(_B, n - start)
            _find(places, cells, kx, ky, start, m, poses[number], side, np.int32(2))
            touched += _touch(cells, flat, m, row, plane)
            _read_values(values, places, cells, flat, m, row, plane)
            for b in range(m):
                out[_2 * (start + b)] = values[b]
                out[_2 * (start + b) + _1] = values[_B + b]
    return touched


@_compiled
def insert(voxels, kx, ky, values, weights, numbers, poses, phases, formed, first, last):
    """Add images at some poses into a grid: the transpose of :func:`project`.

    Parameters
    ----------
    voxels
        Sums of the pairs of values and of the weights, and room for alignment, (D+1, D+1, D+1, 4).
    kx, ky, numbers, poses, phases, first, last
        As for :func:`fit`.
    values, weights
        What is added at every frequency, (n, 2 H). Where it is to be ``formed``, they are images
        and their CTFs: CTF · image, moved by the phases, and CTF² are added.
    """
    side = np.int32(voxels.shape[0])
    flat = voxels.reshape(-1)
    row, plane = np.uint64(4 * side), np.uint64(4 * side * side)
    n = np.uint64(len(kx))
    across, along = np.empty((2, side), np.float32), np.empty((2, side), np.float32)
    places, cells = np.empty(3 * _BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    turned = np.empty(2 * _BLOCK, np.float32)
    touched = float32(0)
    for number in range(first, last):
        pose, value, weight = poses[number], values[numbers[number]], weights[numbers[number]]
        if formed:
            _phases(across, phases[number, 0])
            _phases(along, phases[number, 1])
        for start in range(_0, n, _B):
            m = min(_B, n - start)
            _find(places, cells, kx, ky, start, m, pose, side, np.int32(4))
            touched += _touch(cells, flat, m, row, plane)
            if formed:
                _turn(turned, across, along, kx, ky, start, m)
            for b in range(m):
                q = start + b
                a, d, w = value[_2 * q], value[_2 * q + _1], weight[_2 * q]
                if formed:
                    cosine, sine = turned[b], turned[_B + b]
                    a, d = w * (cosine * a + sine * d), w * (cosine * d - sine * a)
                    w *= w
                _spread(flat, np.uint64(cells[b]), row, plane, places, b, a, d, w)
    return touched


@_compiled
def _spread(flat, cell, row, plane, places, b, v0, v1, w):
    """Add two values and a weight to the eight voxels of a cell."""
    x, y, z = places[b], places[_B + b], places[_2 * _B + b]
    one = float32(1)
    _spread_row(flat, cell, x, (one - y) * (one - z), v0, v1, w)
    _spread_row(flat, cell + row, x, y * (one - z), v0, v1, w)
    _spread_row(flat, cell + plane, x, (one - y) * z, v0, v1, w)
    _spread_row(flat, cell + plane + row, x, y * z, v0, v1, w)


@_compiled
def _spread_row(flat, p, x, share, v0, v1, w):
    far = share * x
    near = share - far
    flat[p] += near * v0
    flat[p + _1] += near * v1
    flat[p + _2] += near * w
    flat[p + _4] += far * v0
    flat[p + _5] += far * v1
    flat[p + _6] += far * w
