"""Assemblies have their symmetry and no other; two structures share box and pixel size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import scipy.ndimage

from napari_cryospin.engine.data.assembly import placement
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.simulate import source_map, two_source_maps

if TYPE_CHECKING:
    from pathlib import Path

ATOM = "ATOM  {i:5d}  CA  ALA A{i:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C\n"
BOX = 40


@pytest.fixture(scope="module")
def molecule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk of 200 atoms, which has no symmetry."""
    steps = np.random.default_rng(4).normal(size=(200, 3)) * 3
    path = tmp_path_factory.mktemp("molecule") / "walk.pdb"
    atoms = (ATOM.format(i=i, x=x, y=y, z=z) for i, (x, y, z) in enumerate(np.cumsum(steps, 0), 1))
    path.write_text("".join(atoms) + "END\n")
    return path


@pytest.fixture(scope="module")
def map_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "molecule.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(procedural_molecule(32, 4.0))
        mrc.voxel_size = 4.0
    return path


def likeness(volume: np.ndarray, turn: np.ndarray) -> float:
    """Return the correlation of a map with itself, turned."""
    matrix, centre = turn[::-1, ::-1], np.full(3, volume.shape[0] // 2)
    turned = scipy.ndimage.affine_transform(volume, matrix, centre - matrix @ centre, order=3)
    return float(np.corrcoef(volume.ravel(), turned.ravel())[0, 1])


def others(group: np.ndarray, larger: np.ndarray) -> np.ndarray:
    """Return the rotations of a larger group that the smaller lacks."""
    apart = np.abs(larger[:, None] - group[None]).max((2, 3)).min(1)
    return larger[apart > 1e-6]


@pytest.mark.parametrize(
    ("name", "not_in"),
    [("C1", "C2"), ("C4", "D4"), ("D2", "O"), ("D3", "D6"), ("T", "O"), ("O", "D3"), ("I1", "D5")],
)
@pytest.mark.parametrize("kind", ["molecule", "map_file"])
def test_an_assembly_has_its_symmetry_alone(
    request: pytest.FixtureRequest, kind: str, name: str, not_in: str
) -> None:
    path = request.getfixturevalue(kind)
    volume, _ = source_map(path, box=BOX, pixel_size=None, resolution=25.0, symmetry=name)
    group = point_group(name)
    # a few of the many stand for all
    assert min(likeness(volume, turn) for turn in group[:12]) > 0.95
    assert max(likeness(volume, turn) for turn in others(group, point_group(not_in))) < 0.8


def test_copies_touch_and_the_assembly_spans_two_thirds(molecule: Path) -> None:
    for name in ("C2", "C7", "D2", "T", "O", "I2"):
        volume, pixel_size = source_map(molecule, box=BOX, pixel_size=None, symmetry=name)
        r = np.linalg.norm(np.indices(volume.shape) - BOX // 2, axis=0)
        strong = volume > 0.05 * volume.max()
        assert 0.28 * BOX < r[strong].max() < 0.38 * BOX, name
        assert pixel_size > source_map(molecule, box=BOX, pixel_size=None)[1]
        place = placement(point_group(name), 1.0)
        copies = point_group(name) @ place
        apart = np.linalg.norm(copies[:, None] - copies[None], axis=-1)
        nearest = apart[~np.eye(len(copies), dtype=bool)].min()
        # two spheres of a radius of gyration of 1
        assert nearest == pytest.approx(2 * np.sqrt(5 / 3))


def test_a_map_and_its_atoms_make_the_same_assembly(molecule: Path, tmp_path: Path) -> None:
    single, pixel_size = source_map(molecule, box=64, pixel_size=2.0, resolution=12.0)
    path = tmp_path / "single.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(single)
        mrc.voxel_size = pixel_size
    options = {"box": 48, "pixel_size": 6.0, "symmetry": "D2"}
    of_atoms, _ = source_map(molecule, resolution=12.0, **options)
    of_map, _ = source_map(path, **options)
    assert np.corrcoef(of_atoms.ravel(), of_map.ravel())[0, 1] > 0.95


def test_assemblies_that_cannot_be_made(molecule: Path, map_file: Path) -> None:
    with pytest.raises(InputError, match="There is no symmetry X3: choose Cn"):
        source_map(molecule, box=BOX, pixel_size=None, symmetry="X3")
    with pytest.raises(InputError, match=r"An assembly of 60 copies of .* does not fit a box of"):
        source_map(map_file, box=BOX, pixel_size=4.0, symmetry="I1")
    with pytest.raises(InputError, match="does not fit a box of 40 pixels"):
        source_map(molecule, box=BOX, pixel_size=1.0, symmetry="C4")


def test_two_structures_share_the_larger_pixel_size(molecule: Path, map_file: Path) -> None:
    sizes = [source_map(path, box=BOX, pixel_size=None)[1] for path in (molecule, map_file)]
    first, second, pixel_size = two_source_maps(molecule, map_file, box=BOX, pixel_size=None)
    assert pixel_size == max(sizes)
    assert first.std() == pytest.approx(second.std(), rel=1e-3)
    for volume in (first, second):
        strong = np.where(volume > 0.1 * volume.max(), volume, 0)
        centre = [
            np.average(axis, weights=strong) for axis in np.indices(volume.shape).astype(float)
        ]
        assert centre == pytest.approx([BOX // 2] * 3, abs=0.6)
