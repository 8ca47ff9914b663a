"""RELION's programs start on what a run writes, whatever its particles came from."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch
from numpy.lib.recfunctions import drop_fields

from napari_cryospin.engine.data.cs_writer import write_cs
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
from napari_cryospin.engine.run.export import export_poses
from napari_cryospin.engine.run.results import write_results
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.data.table import ParticleTable

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(not shutil.which("relion_refine"), reason="RELION is not installed"),
]

N, BOX, PIXEL_SIZE = 24, 48, 4.0


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 24 particles of 48 pixels, and their truth."""
    folder = tmp_path_factory.mktemp("simulated")
    volume = procedural_molecule(BOX, PIXEL_SIZE)
    simulate(volume, folder, n_particles=N, pixel_size=PIXEL_SIZE, snr=2.0, seed=1)
    return folder


def as_star(simulated: Path, folder: Path) -> Path:
    shutil.copy(simulated / "particles.mrcs", folder)
    shutil.copy(simulated / "particles.star", folder)
    return folder / "particles.star"


def as_bare_stack(simulated: Path, folder: Path) -> Path:
    shutil.copy(simulated / "particles.mrcs", folder)
    return folder / "particles.mrcs"


def as_cryosparc_table(simulated: Path, folder: Path) -> Path:
    """A table without alignments whose particles are dark."""
    table = read_star(simulated / "truth.star")
    with mrcfile.new(folder / "dark.mrc") as mrc:
        mrc.set_data(-mrcfile.read(simulated / "particles.mrcs"))
        mrc.voxel_size = PIXEL_SIZE
    table = replace(table, stacks=(folder / "dark.mrc",), particles_are_white=False)
    assert table.rotations is not None and table.shifts is not None
    path = folder / "particles.cs"
    write_cs(path, table, np.arange(N), rotations=table.rotations, shifts=table.shifts)
    array = np.load(path)
    alignments = [name for name in array.dtype.names if name.startswith("alignments3D")]
    with path.open("wb") as file:
        np.save(file, drop_fields(array, alignments))
    return path


def as_two_optics_groups(simulated: Path, folder: Path) -> Path:
    """A table whose second half has other pixels, with a group that nobody is in before them."""
    other = PIXEL_SIZE * 4 / 3
    volume = procedural_molecule(BOX, other)
    simulate(volume, folder / "second", n_particles=N, pixel_size=other, snr=2.0, seed=2)
    shutil.copy(simulated / "particles.mrcs", folder)
    optics, particles = (simulated / "particles.star").read_text().split("data_particles")
    own = next(line for line in optics.splitlines() if "simulated" in line)
    _, _, *rest = own.split("\t")
    groups = [
        "\t".join([number, name, *rest]).replace("4.000000", pixel_size)
        for number, name, pixel_size in (
            ("3", "unused", "2.000000"),
            ("1", "first", "4.000000"),
            ("2", "second", "5.333333"),
        )
    ]
    moved = [
        line.replace("@particles", "@second/particles").replace("\t1\t", "\t2\t", 1)
        for line in (folder / "second" / "particles.star").read_text().splitlines()
        if "@" in line
    ]
    path = folder / "particles.star"
    optics = optics.replace(own, "\n".join(groups))
    path.write_text(f"{optics}data_particles{particles.rstrip()}\n" + "\n".join(moved) + "\n")
    return path


def run_of(particles: Path, folder: Path, truth: Path) -> RunFolder:
    """Write the results of a run at box 32 that found the true poses; nothing is trained."""
    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = particles, 32
    stack = prepare(read_table(particles), settings.data)
    training = Training(stack, settings)
    rotations = read_star(truth).rotations
    assert rotations is not None
    known = torch.from_numpy(np.resize(rotations, (stack.n, 3, 3))).float()
    training.poses.rotations = known
    run = RunFolder(folder)
    run.create(settings)
    write_checkpoint(run, training.state(), 1)
    for _ in write_results(run, training, None):
        pass
    return run


def program(folder: Path, *command: str) -> None:
    """Run a program of RELION in a folder; show what it said if it failed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def fsc_table(folder: Path, box: int, pixel_size: float) -> str:
    """Write what relion_ctf_refine wants of relion_postprocess: the FSC."""
    header = (
        "data_general\n\n_rlnFinalResolution 20.0\n_rlnMaskName map.mrc\n\ndata_fsc\n\nloop_\n"
        "_rlnSpectralIndex\n_rlnResolution\n_rlnAngstromResolution\n"
        "_rlnFourierShellCorrelationCorrected\n"
    )
    shells = range(box // 2 + 1)
    rows = [
        f"{k} {k / (box * pixel_size):.6f} {box * pixel_size / max(k, 0.5):.3f} "
        f"{max(0.0, 1 - 2 * k / box):.4f}"
        for k in shells
    ]
    (folder / "fsc.star").write_text(header + "\n".join(rows) + "\n")
    return "fsc.star"


def assert_relion_starts(folder: Path, star: str, reference: str, table: ParticleTable) -> None:
    fsc = fsc_table(folder, table.box, table.pixel_size)
    program(folder, "relion_stack_create", "--i", star, "--o", "stacked", "--one_by_one")
    program(folder, "relion_reconstruct", "--i", star, "--o", "reconstructed.mrc", "--ctf")
    (folder / "refined").mkdir()
    program(
        folder,
        *("relion_refine", "--i", star, "--o", "refined/r", "--ref", reference, "--ctf"),
        *("--iter", "1", "--K", "1", "--particle_diameter", "180", "--healpix_order", "0"),
        *("--oversampling", "0", "--offset_range", "2", "--offset_step", "2", "--pad", "1"),
        *("--ini_high", "40", "--firstiter_cc"),
    )
    program(
        folder,
        *("relion_ctf_refine", "--i", star, "--m1", reference, "--m2", reference, "--f", fsc),
        *("--o", "refined/", "--fit_defocus", "--fit_mode", "fpmfm"),
    )


@pytest.mark.parametrize("kind", [as_star, as_bare_stack, as_cryosparc_table, as_two_optics_groups])
def test_relion_starts(simulated: Path, tmp_path: Path, kind: Callable[[Path, Path], Path]) -> None:
    particles = kind(simulated, tmp_path)
    run = run_of(particles, tmp_path / "run", simulated / "truth.star")
    table = read_star(run.star_path)
    with mrcfile.open(run.path / "map_fullsize.mrc") as mrc:
        assert mrc.data.shape == (BOX, BOX, BOX)
        assert float(mrc.voxel_size.x) == PIXEL_SIZE
    assert_relion_starts(run.path, "particles.star", "map_fullsize.mrc", table)


def test_relion_s_map_of_dark_particles_has_the_run_s_sign_once_inverted(
    simulated: Path, tmp_path: Path
) -> None:
    particles = as_cryosparc_table(simulated, tmp_path)
    run = run_of(particles, tmp_path / "run", simulated / "truth.star")
    ours = mrcfile.read(run.path / "map_fullsize.mrc").ravel()
    found = {}
    for name, invert in (("as_is", False), ("turned", True)):
        export_poses(run, tmp_path / f"{name}.star", invert=invert)
        command = ["relion_reconstruct", "--ctf", "--maxres", "13", "--pad", "1"]
        program(tmp_path, *command, "--i", f"{name}.star", "--o", f"{name}.mrc")
        theirs = mrcfile.read(tmp_path / f"{name}.mrc").ravel()
        found[name] = np.corrcoef(ours, theirs)[0, 1]
    # the turned stack is found from wherever RELION is started
    elsewhere = f"{tmp_path.name}/turned.star"
    program(tmp_path.parent, "relion_stack_create", "--i", elsewhere, "--o", "stacked")
    assert found["turned"] > 0.5
    assert found["as_is"] < -0.5


def test_relion_starts_on_every_star_file_that_it_could_start_on_before(
    shared_data: Path, tmp_path: Path
) -> None:
    for name in ("real_17/sample_particles_relion30", "real_17/sample_particles_relion31"):
        table = read_star(shared_data / "particles" / f"{name}.star")
        rows, path = np.arange(3), tmp_path / f"{name.rsplit('/')[-1]}.star"
        assert table.rotations is not None
        write_star(
            path,
            table,
            rows,
            rotations=table.rotations[rows],
            shifts=np.zeros((3, 2)),
            half_set=np.array([1, 2, 1]),
        )
        program(tmp_path, "relion_stack_create", "--i", path.name, "--o", "stacked")
        program(tmp_path, "relion_reconstruct", "--i", path.name, "--o", "map.mrc", "--pad", "1")
