"""Maps and coordinates that cannot be used are refused in one sentence."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.density import (
    density_from_atoms,
    fit_map,
    fitting_pixel_size,
    read_map,
    read_molecule,
)
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

ATOM = "ATOM  {i:5d}  {name} ALA A{i:4d}    {x}{y:8.3f}{z:8.3f}{occupancy:6.2f}  0.00" + 10 * " "


def pdb(path: Path, *changes: dict[str, object]) -> Path:
    """Write one atom for each of the changes, on a line along (1, 2, 3)."""
    lines = []
    for i, change in enumerate(changes):
        plain = {"x": f"{3.0 * i:8.3f}", "y": 6.0 * i, "z": 9.0 * i, "occupancy": 1.0}
        plain |= {"i": i + 1, "name": " CA", "element": " C"}
        lines.append((ATOM + "{element}").format(**(plain | change)))
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def message_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        fitting_pixel_size(path, 32)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_a_molecule_spans_two_thirds_of_the_box(tmp_path: Path) -> None:
    path = pdb(tmp_path / "a.pdb", {}, {})
    span = np.linalg.norm([3, 6, 9])
    assert fitting_pixel_size(path, 30) == pytest.approx(span / 20, rel=1e-3)


HERE = {"x": "   1.000", "y": 1.0, "z": 1.0}


@pytest.mark.parametrize("atoms", [[{}], [HERE] * 5])
def test_atoms_at_one_place_ask_for_a_pixel_size(
    tmp_path: Path, atoms: list[dict[str, object]]
) -> None:
    path = pdb(tmp_path / "a.pdb", *atoms)
    assert "--pixel-size" in message_of(path)
    assert density_from_atoms(path, box=32, pixel_size=2.0).max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "     nan"}, ""),
        ({"x": "     inf"}, ""),
        ({"x": " 1.0e300"}, ""),
        ({"x": "9999.999"}, "the coordinates are damaged"),
    ],
)
def test_coordinates_that_are_none_are_told(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    assert message in message_of(pdb(tmp_path / "a.pdb", {}, {}, change))


@pytest.mark.parametrize("change", [{"occupancy": 0.0}, {"element": " X", "name": " X "}])
def test_atoms_that_weigh_nothing_are_told(tmp_path: Path, change: dict[str, object]) -> None:
    path = pdb(tmp_path / "a.pdb", change, change)
    assert "no atoms of a known element and an occupancy" in message_of(path)


def test_an_atom_that_weighs_nothing_is_left_out(tmp_path: Path) -> None:
    path = pdb(tmp_path / "a.pdb", {}, {}, {"occupancy": 0.0, "x": "9999.000"})
    assert fitting_pixel_size(path, 30) == pytest.approx(np.linalg.norm([3, 6, 9]) / 20, rel=1e-3)


@pytest.mark.parametrize("name", ["a.pdb", "a.cif", "a.pdb.gz"])
@pytest.mark.parametrize("raw", [b"", b"\0" * 2000, b"ATOM \xff\xfe\n\n", b"data_\nloop_\n_a\n'"])
def test_files_that_are_no_coordinates_are_told(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    message_of(tmp_path / name)


def write_map(path: Path, volume: np.ndarray, pixel_size: float = 2.0) -> Path:
    with warnings.catch_warnings(), mrcfile.new(path) as file:
        warnings.simplefilter("ignore")
        file.set_data(volume.astype(np.float32))
        file.voxel_size = pixel_size
    return path


MOLECULE = procedural_molecule(16, 4.0)


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.where(MOLECULE > MOLECULE.mean(), np.nan, 0), "not finite"),
        (np.where(MOLECULE > MOLECULE.mean(), np.inf, 0), "not finite"),
        (np.zeros((16, 16, 16)), "the same value everywhere"),
        (np.full((16, 16, 16), 7.5), "the same value everywhere"),
        (1e30 * MOLECULE, "values beyond"),
        (MOLECULE[:8], "no cubic map"),
        (MOLECULE[:2, :2, :2], "no cubic map"),
    ],
)
def test_maps_without_a_molecule_are_told(tmp_path: Path, volume: np.ndarray, message: str) -> None:
    path = write_map(tmp_path / "a.mrc", volume)
    with pytest.raises(InputError, match=message) as caught:
        read_molecule(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_map_of_zeros_can_still_be_looked_at(tmp_path: Path) -> None:
    assert not read_map(write_map(tmp_path / "a.mrc", np.zeros((16, 16, 16))))[0].any()


@pytest.mark.parametrize("pixel_size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_map_without_pixel_size_is_told(tmp_path: Path, pixel_size: float) -> None:
    with pytest.raises(InputError, match="states no pixel size"):
        read_map(write_map(tmp_path / "a.mrc", MOLECULE, pixel_size))


@pytest.mark.parametrize("pixel_size", [1e-6, 1e-30, 1e6, 1e30])
def test_maps_of_impossible_pixel_sizes_take_no_memory(pixel_size: float) -> None:
    with pytest.raises(InputError, match="check the pixel sizes"):
        fit_map(MOLECULE, pixel_size, 32, 2.0)
    with pytest.raises(InputError, match="check the pixel sizes"):
        fit_map(MOLECULE, 2.0, 32, pixel_size)
