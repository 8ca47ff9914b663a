"""The kinds of files that are mutated: how their seeds are made, and what reads them."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from fuzzing.mutate import mutate_file
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.settings import DataSettings, Settings
from napari_cryospin.engine.simulate import simulate, source_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.random import Generator

_SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
_MOST_BYTES = 400_000
_BOX = 32


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Parameters
    ----------
    seeds
        Makes the files, or folders, that are mutated in a folder, and returns them.
    read
        Reads one; must raise nothing but InputError.
    mutate
        Writes a mutated copy of a seed to the folder of the seeds, and returns it.
    """

    seeds: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mutate: Callable[[Path, Path, Generator], Path] = mutate_file


def _shared(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Copy shared files that are small enough to a folder, where there are any."""
    found = [path for pattern in patterns for path in sorted(_SHARED.glob(pattern))]
    return [
        Path(shutil.copyfile(path, folder / path.name))
        for path in found
        if path.stat().st_size <= _MOST_BYTES
    ]


def _simulated(folder: Path) -> Path:
    volume = procedural_molecule(box=_BOX, pixel_size=4.0)
    simulate(volume, folder, n_particles=12, pixel_size=4.0, snr=1.0, shift_std=2.0)
    return folder


def _stars(folder: Path) -> list[Path]:
    _simulated(folder)
    _shared(folder, ["corner_cases/*.mrcs", "particles/real_*/*.mrc*"])
    shared = _shared(
        folder, ["corner_cases/*.star", "particles/real_*/*.star", "bug_reports/*.star"]
    )
    return [folder / "particles.star", folder / "truth.star", *shared]


def _cs(folder: Path) -> list[Path]:
    _simulated(folder)
    dtype = [("uid", "<u8"), ("blob/path", "S40"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,))]
    dtype += [("blob/psize_A", "<f4"), ("blob/sign", "<f4"), ("ctf/exp_group_id", "<u4")]
    lens = ("ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "ctf/df1_A", "ctf/df2_A")
    dtype += [(name, "<f4") for name in (*lens, "ctf/df_angle_rad", "ctf/phase_shift_rad")]
    dtype += [("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,))]
    dtype += [("alignments3D/psize_A", "<f4"), ("alignments3D/split", "<u4")]
    rows = np.zeros(12, dtype)
    rows["blob/path"], rows["blob/idx"], rows["blob/shape"] = b"particles.mrcs", np.arange(12), _BOX
    rows["blob/psize_A"], rows["alignments3D/psize_A"], rows["blob/sign"] = 4, 4, 1
    for name, value in zip(lens, (300, 2.7, 0.1, 12000, 11000), strict=True):
        rows[name] = value
    with (folder / "own.cs").open("wb") as file:
        np.save(file, rows)
    return [folder / "own.cs", *_shared(folder, ["corner_cases/*.cs", "bug_reports/cs/J6/*.cs"])]


def _stacks(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for name in ("i1", "i2", "u2", "f2", "f4", ">f4"):
        paths.append(folder / f"{name.strip('>')}{len(paths)}.mrcs")
        with mrcfile.new(paths[-1], (40 + 20 * rng.normal(size=(5, 32, 32))).astype(name)) as file:
            file.set_extended_header(np.zeros(320, np.uint8))
            file.voxel_size = 3.0
    return [*paths, *_shared(folder, ["corner_cases/*.mrcs", "bug_reports/misc/*.mrcs"])]


def _maps(folder: Path) -> list[Path]:
    path = _simulated(folder) / "truth.mrc"
    packed = folder / "packed.mrc.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    small = folder / "small.map"
    with mrcfile.new(small, procedural_molecule(box=16, pixel_size=8.0)) as file:
        file.voxel_size = 8.0
    return [path, packed, small]


def _atoms(folder: Path) -> list[Path]:
    import gemmi

    points = np.random.default_rng(0).normal(scale=10, size=(60, 3))
    lines = [
        f"ATOM  {i + 1:5d}  CA  ALA A{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for i, (x, y, z) in enumerate(points)
    ]
    pdb, cif = folder / "own.pdb", folder / "own.cif"
    pdb.write_text("\n".join([*lines, "END", ""]))
    cif.write_text(gemmi.read_structure(str(pdb)).make_mmcif_document().as_string())
    packed = folder / "own.pdb.gz"
    packed.write_bytes(gzip.compress(pdb.read_bytes()))
    return [pdb, cif, packed, *_shared(folder, ["atoms/*.pdb"])]


def _settings(folder: Path) -> list[Path]:
    paths = []
    for preset in ("default", "quick", "paper-experimental"):
        settings = Settings.from_preset(preset)
        settings.data.stack = Path("particles.star")
        paths.append(folder / f"{preset}.toml")
        paths[-1].write_text(settings.to_toml())
    return paths


def _read_particles(path: Path) -> None:
    prepare(read_table(path), DataSettings(box=_BOX, max_particles=12))


def _read_source(path: Path) -> None:
    source_map(path, box=_BOX, pixel_size=None)


KINDS = {
    "star": Kind(_stars, _read_particles),
    "cs": Kind(_cs, _read_particles),
    "mrc": Kind(_stacks, _read_particles),
    "map": Kind(_maps, _read_source),
    "atoms": Kind(_atoms, _read_source),
    "toml": Kind(_settings, Settings.from_toml),
}
