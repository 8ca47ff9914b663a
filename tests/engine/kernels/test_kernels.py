"""Every set of kernels gives what plain torch gives in double precision."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_cryospin.engine.events import RunStarted
from napari_cryospin.engine.geometry.fourier import disk, shift_hartley
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.slices import central_slices
from napari_cryospin.engine.kernels import PosedImages, choice, inserter, slicer
from napari_cryospin.engine.kernels.choice import has_numba
from napari_cryospin.engine.kernels.reference import TorchInserter, TorchSlicer
from napari_cryospin.engine.run.reconstruction import Reconstruction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_cryospin.engine.kernels import Slicer
    from napari_cryospin.engine.settings import Settings

BOX = 32
NYQUIST = BOX / 2 - 1
needs_numba = pytest.mark.skipif(not has_numba(), reason="numba is not installed")


class Case:
    """Random images, poses and map; 7 poses of 4 images."""

    def __init__(self, *, shifted: bool = True, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.frequencies = disk(BOX, NYQUIST)
        k = len(self.frequencies)
        self.grid = torch.randn(BOX + 1, BOX + 1, BOX + 1, generator=draw)
        self.observed = torch.randn(4, k, generator=draw)
        self.ctf = torch.randn(4, k // 2, generator=draw).repeat_interleave(2, 1)
        self.numbers = torch.tensor([0, 1, 1, 3, 2, 0, 3])
        drawn = random_rotations(7, np.random.default_rng(seed))
        rotations = self.rotations = torch.from_numpy(drawn).float()
        shifts = 3 * torch.randn(7, 2, generator=draw) * shifted
        self.poses = Poses(rotations, shifts)

    def images(self, n_used: int | None = None, *, double: bool = False) -> PosedImages:
        """Return what slicers take, in either precision."""
        kind = torch.double if double else torch.float
        poses = Poses(self.rotations.to(kind), self.poses.shifts.to(kind))
        used = self.frequencies[:n_used].to(kind)
        return PosedImages(self.observed.to(kind), self.ctf.to(kind), poses, used, self.numbers)

    @property
    def reference(self) -> TorchSlicer:
        return TorchSlicer(self.grid.double())


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    if has_numba():
        # all of it over threads, few as they are
        monkeypatch.setattr("napari_cryospin.engine.kernels.cpu._LEAST_SHARE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("n_used", [None, 100])
def test_a_fit_is_that_in_double_precision(
    threads: int, absolute: bool, shifted: bool, n_used: int | None
) -> None:
    case = Case(shifted=shifted)
    found = slicer(case.grid).fit(case.images(n_used), absolute=absolute)
    expected = case.reference.fit(case.images(n_used, double=True), absolute=absolute)
    assert found.errors.numpy() == pytest.approx(expected.errors.numpy(), rel=1e-5)
    # where a point lies on the face of a cell the slope jumps, and rounding decides
    off = (found.gradient - expected.gradient).abs() / expected.gradient.abs().mean()
    assert off.flatten().quantile(0.95) < 1e-4
    off = (found.normal - expected.normal).abs() / expected.normal.abs().mean()
    assert off.flatten().quantile(0.95) < 1e-4
    errors, power = slicer(case.grid).errors(case.images(n_used), absolute=absolute)
    assert errors.numpy() == pytest.approx(expected.errors.numpy(), rel=1e-5)
    if not absolute:
        total = float(expected.errors.sum()) * len(power)
        assert float(power.sum()) == pytest.approx(total, rel=1e-5)


def predicted(case: Case, step: Tensor) -> Tensor:
    """Return the residuals of poses after a step of their five parameters."""
    images = case.images(N_LOW, double=True)
    frequencies, moved_poses = images.frequencies, images.poses.moved(step)
    slices = central_slices(case.grid.double(), moved_poses.rotations, frequencies)
    moved = shift_hartley(slices, frequencies, -moved_poses.shifts, BOX)
    return images.ctf[case.numbers, :N_LOW] * moved - images.observed[case.numbers, :N_LOW]


# of the lowest frequencies, which are enough
N_LOW = 60


@pytest.mark.parametrize("absolute", [False, True])
def test_the_reference_is_what_automatic_derivatives_give(absolute: bool) -> None:
    case = Case()
    step = torch.zeros(7, 5, dtype=torch.double, requires_grad=True)
    residual = predicted(case, step)
    errors = (residual.abs() if absolute else residual.square()).mean(1)
    (gradient,) = torch.autograd.grad(errors.sum(), step)
    found = case.reference.fit(case.images(N_LOW, double=True), absolute=absolute)
    assert found.errors.numpy() == pytest.approx(errors.detach().numpy())
    assert found.gradient.numpy() == pytest.approx(gradient.numpy(), rel=1e-6, abs=1e-6)
    jacobian = torch.autograd.functional.jacobian(lambda one: predicted(case, one)[0], step)[:, 0]
    normal = 2 * jacobian.T @ jacobian / len(jacobian)
    assert found.normal[0].numpy() == pytest.approx(normal.numpy(), rel=1e-6, abs=1e-6)


@needs_numba
@pytest.mark.parametrize("n_used", [None, 100])
def test_slices_are_those_of_torch(threads: int, n_used: int | None) -> None:
    case = Case()
    frequencies = case.frequencies[:n_used]
    found = slicer(case.grid).slices(case.rotations, frequencies)
    expected = TorchSlicer(case.grid).slices(case.rotations, frequencies)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=3e-5)
    assert slicer(case.grid).slices(case.rotations[:0], frequencies).shape == found[:0].shape


@needs_numba
@pytest.mark.parametrize("shifted", [False, True])
def test_insertion_is_that_of_torch(threads: int, shifted: bool) -> None:
    case = Case(shifted=shifted)
    observed, ctf = case.observed[case.numbers], case.ctf[case.numbers]
    ours, torchs = inserter(BOX, torch.device("cpu")), TorchInserter(BOX, torch.device("cpu"))
    for sums in (ours, torchs):
        sums.add_images(PosedImages(observed, ctf, case.poses, case.frequencies))
        sums.add(observed[:2], ctf[:2], case.rotations[:2], case.frequencies)
        sums.add(observed[:0], ctf[:0], case.rotations[:0], case.frequencies)
    assert ours.total().numpy() == pytest.approx(torchs.total().numpy(), abs=1e-4)


@pytest.mark.parametrize("make", [slicer, TorchSlicer])
def test_no_images_are_compared_too(make: Callable[[Tensor], Slicer]) -> None:
    case = Case()
    none = PosedImages(case.observed[:0], case.ctf[:0], case.poses[:0], case.frequencies)
    errors, power = make(case.grid).errors(none)
    assert len(errors) == 0
    assert not power.any()
    assert make(case.grid).fit(none).normal.shape == (0, 5, 5)


def test_inserting_is_the_transpose_of_slicing() -> None:
    case = Case()
    sums = inserter(BOX, torch.device("cpu"))
    values = torch.randn(7, len(case.frequencies))
    sums.add(values, torch.zeros_like(values), case.rotations, case.frequencies)
    slices = slicer(case.grid).slices(case.rotations, case.frequencies)
    assert float((sums.total()[0] * case.grid).sum()) == pytest.approx(
        float((slices * values).sum()), rel=1e-4
    )


def test_what_is_no_pose_is_refused() -> None:
    case = Case()
    # of unit length, but one row is the other: what it reads lies outside of the map
    flat = case.rotations[:, [0, 0, 2]]
    for spoilt in (torch.full((7, 3, 3), torch.nan), 1.1 * case.rotations, flat):
        with pytest.raises(ValueError, match="no rotation"):
            slicer(case.grid).slices(spoilt, case.frequencies)
    poses = Poses(case.rotations, torch.full((7, 2), torch.inf))
    with pytest.raises(ValueError, match="no number"):
        slicer(case.grid).fit(replace(case.images(), poses=poses))
    with pytest.raises(ValueError, match="Nyquist"):
        slicer(case.grid).slices(case.rotations, case.frequencies * 1.1)


@needs_numba
def test_what_is_not_there_is_not_read() -> None:
    case = Case()
    for spoilt in (
        replace(case.images(), numbers=torch.tensor([0, 1, 1, 3, 2, 0, 4])),
        replace(case.images(), observed=case.observed[:, :-2]),
        replace(case.images(), ctf=case.ctf[:3]),
    ):
        with pytest.raises(ValueError, match="there are none of"):
            slicer(case.grid).fit(spoilt)


@needs_numba
def test_tensors_of_another_order_and_type_are_not_compiled_for() -> None:
    from napari_cryospin.engine.kernels import compiled

    case = Case()
    images = case.images()
    expected = slicer(case.grid).fit(images)
    before = len(compiled.fit.signatures)
    columns = Poses(case.rotations, case.poses.shifts.double().T.contiguous().T)
    other = replace(images, poses=columns, numbers=case.numbers.int())
    assert torch.equal(slicer(case.grid).fit(other).gradient, expected.gradient)
    assert len(compiled.fit.signatures) == before


@needs_numba
def test_it_compiles_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_cryospin.engine.kernels import compiled

    def njit(*, cache: bool = False, **_options: object) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled._compiled(len) is len


DAMAGED = """
import sys
from pathlib import Path
import torch
from napari_cryospin.engine.kernels import compiled, make_ready, slicer
folder = Path(compiled.fit.stats.cache_path)
for name in sys.argv[1:]:
    (folder / name).write_bytes(b"damaged")
print(type(slicer(torch.zeros(9, 9, 9))).__name__, make_ready(torch.device("cpu")))
print(len(list(folder.glob("*.nbi"))))
"""


@needs_numba
def test_what_was_kept_and_is_damaged_is_compiled_anew(tmp_path: Path) -> None:
    from napari_cryospin.engine.kernels import compiled

    assert choice.make_ready(torch.device("cpu")) is None
    folder = compiled.fit.stats.cache_path
    if folder is None:
        pytest.skip("nothing can be kept here")
    kept = [path.name for path in Path(folder).glob("compiled.*.nbi")]
    assert kept
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED, *kept],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["CompiledSlicer None", "0"], done.stderr


def test_a_numba_that_is_switched_off_is_none() -> None:
    words = "from napari_cryospin.engine.kernels.choice import has_numba; print(has_numba())"
    done = subprocess.run(
        [sys.executable, "-c", words],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_a_run_without_numba_says_that_it_is_slower(
    short_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "has_numba", lambda: False)
    assert choice.make_ready(torch.device("cuda")) is None
    told = next(
        event
        for event in Reconstruction(short_settings, tmp_path / "run").run()
        if isinstance(event, RunStarted)
    )
    assert any("pip install numba" in note for note in told.notes)
