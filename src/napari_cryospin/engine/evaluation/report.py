"""A finished run against the truth, from files; classes count from 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_cryospin.engine.data.belonging import belonging
from napari_cryospin.engine.data.class_columns import class_numbers
from napari_cryospin.engine.data.density import fit_map, read_molecule
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.alignment import (
    align_rotations,
    apply_alignment,
    map_displacement,
    refine_map_alignment,
)
from napari_cryospin.engine.evaluation.fsc import crossing_shell, fsc, resolution
from napari_cryospin.engine.geometry.symmetry import point_group
from napari_cryospin.engine.runfolder.class_files import of_class, require_class
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable


@dataclass(frozen=True)
class Evaluation:
    """How close a run came to the truth.

    Parameters
    ----------
    n_particles
        Particles compared: those that belong to the true map.
    median_pose_error_deg, mean_pose_error_deg
        After global alignment over both hands, modulo the symmetry, degrees.
    median_shift_error_angstrom
        Å; None where the run has no shifts or the truth none.
    resolution_angstrom
        Where the FSC with the true map first falls below 0.5, Å.
    fsc_fraction_of_nyquist
        The same place as a fraction of Nyquist.
    hand
        "same" or "mirrored".
    class_number
        Class of the particles and of the map, from 1; None where the run has one.
    """

    n_particles: int
    median_pose_error_deg: float
    mean_pose_error_deg: float
    median_shift_error_angstrom: float | None
    resolution_angstrom: float
    fsc_fraction_of_nyquist: float
    hand: str
    class_number: int | None = None

    def figures(self) -> dict[str, float | int | str | None]:
        """Return the figures under the names that the command line prints."""
        names = dict(vars(self))
        names["fsc_0.5_fraction_of_nyquist"] = names.pop("fsc_fraction_of_nyquist")
        of_one = names.pop("class_number")
        return names if of_one is None else {"class": of_one} | names


def evaluate(
    star: str | Path,
    map_path: str | Path,
    truth_star: str | Path,
    truth_map: str | Path,
    symmetry: str = "C1",
    class_number: int | None = None,
) -> Evaluation:
    """Compare poses and map of a run with the truth.

    Particles are matched by stack and image number; where the names do not decide, by their order.
    Compared are those that belong to the first structure of the truth
    (:func:`~napari_cryospin.engine.data.belonging.belonging`), where it tells junk or classes. Of a
    run of several classes, each of which has a frame of its own, one is compared:
    :func:`evaluate_run` chooses it, with its map.

    Parameters
    ----------
    star, map_path
        ``particles.star`` and ``map.mrc`` of the run.
    truth_star, truth_map
        True poses, and the true map; it is brought to the box and pixel size of the run's.
    symmetry
        Point group of the true map, modulo which poses are compared.
    class_number
        Compare the particles of this class alone (``rlnClassNumber`` of ``star``, from 1), and let
        ``map_path`` be its map.

    Raises
    ------
    InputError
        If a file cannot be read, or the particles cannot be matched, or none of them belongs.
    """
    group = point_group(symmetry)
    star, map_path, truth_star, truth_map = map(Path, (star, map_path, truth_star, truth_map))
    _require_files(star, map_path, truth_star, truth_map)
    return _Pair.of(star, truth_star).compare(map_path, truth_map, group, class_number)


def evaluate_run(
    run: str | Path,
    truth_star: str | Path,
    truth_map: str | Path,
    symmetry: str = "C1",
    class_number: int | None = None,
) -> Evaluation:
    """Compare a run with the truth; of several classes, the particles of one and its map.

    Parameters
    ----------
    run
        The run folder.
    truth_star, truth_map, symmetry
        As in :func:`evaluate`.
    class_number
        Class to compare, from 1; by default the one that holds most of the particles that belong to
        the true map, which is the largest where the truth does not tell who does.

    Raises
    ------
    InputError
        If the folder holds no run or no results, or there is no such class, and as in
        :func:`evaluate`.
    """
    folder = RunFolder(Path(run))
    classes = folder.settings().model.classes
    if class_number is not None:
        require_class(class_number, classes)
    if classes == 1:
        return evaluate(folder.star_path, folder.map_path, truth_star, truth_map, symmetry)
    group = point_group(symmetry)
    truth_star, truth_map = Path(truth_star), Path(truth_map)
    _require_files(folder.star_path, folder.map_path, truth_star, truth_map)
    pair = _Pair.of(folder.star_path, truth_star)
    number = pair.main_class if class_number is None else class_number
    return pair.compare(of_class(folder.map_path, number), truth_map, group, number)


def _require_files(star: Path, map_path: Path, truth_star: Path, truth_map: Path) -> None:
    for path in (star, map_path):
        if not path.is_file():
            raise InputError(f"{path} does not exist: has the run ended?")
    for path in (truth_star, truth_map):
        if not path.is_file():
            raise InputError(f"There is no file {path}, which was to hold the truth.")


@dataclass(frozen=True)
class _Pair:
    """The poses of a run, and the true ones.

    Parameters
    ----------
    table, truth
        Both, with poses.
    rows
        Row of the truth for every particle of the run, (n,).
    compared
        Rows of the particles of the run that belong to the first structure, (m,).
    """

    table: ParticleTable
    truth: ParticleTable
    rows: NDArray[np.int64]
    compared: NDArray[np.int64]

    @classmethod
    def of(cls, star: Path, truth_star: Path) -> Self:
        """Read them and match their particles."""
        table, truth = read_star(star), read_star(truth_star)
        if table.rotations is None or truth.rotations is None:
            raise InputError(f"{star if table.rotations is None else truth_star} holds no poses.")
        rows = _match(table, truth)
        compared = np.flatnonzero(belonging(truth)[rows])
        if not len(compared):
            raise InputError(f"{truth_star}: none of the particles belongs to the first structure.")
        return cls(table, truth, rows, compared)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of each particle of the run, from 1, (n,)."""
        found = class_numbers(self.table)
        if found is None:
            raise InputError(f"{self.table.source} does not tell the class of its particles.")
        return found

    @property
    def main_class(self) -> int:
        """The class, from 1, that most of the particles that belong are in."""
        return int(np.bincount(self.classes[self.compared], minlength=2)[1:].argmax()) + 1

    def compare(
        self,
        map_path: Path,
        truth_map: Path,
        group: NDArray[np.float64],
        class_number: int | None,
    ) -> Evaluation:
        """Compare poses, of one class where a number is given, and a map."""
        compared = self.compared
        if class_number is not None:
            compared = compared[self.classes[compared] == class_number]
        if not len(compared):
            raise InputError(
                f"{self.truth.source}: none of the particles of class {class_number} belongs to "
                "the first structure."
            )
        table, truth, rows = self.table, self.truth, self.rows[compared]
        assert table.rotations is not None and truth.rotations is not None
        alignment = align_rotations(table.rotations[compared], truth.rotations[rows], group)
        volume, pixel_size = read_molecule(map_path)
        true_volume = fit_map(*read_molecule(truth_map), volume.shape[0], pixel_size)
        refined, shift = refine_map_alignment(volume, true_volume, alignment)
        curve = fsc(apply_alignment(volume, refined, shift), true_volume)
        return Evaluation(
            n_particles=len(compared),
            median_pose_error_deg=alignment.median,
            mean_pose_error_deg=alignment.mean,
            median_shift_error_angstrom=_shift_error(table, truth, compared, rows),
            resolution_angstrom=resolution(curve, pixel_size, 0.5),
            fsc_fraction_of_nyquist=crossing_shell(curve, 0.5) / (len(curve) - 1),
            hand="mirrored" if alignment.mirrored else "same",
            class_number=class_number,
        )


def _match(table: ParticleTable, truth: ParticleTable) -> NDArray[np.int64]:
    """Return the row of the truth for every particle."""
    rows = {key: row for row, key in enumerate(_keys(truth))}
    found = [rows.get(key, -1) for key in _keys(table)]
    # stacks of one name in several folders cannot be told apart by it
    if -1 not in found and len(rows) == truth.n_particles:
        return np.array(found)
    if table.n_particles == truth.n_particles:
        return np.arange(table.n_particles)
    raise InputError(
        f"{truth.source} is not the truth of {table.source}: some particles are not in it, or "
        "share their name."
    )


def _keys(table: ParticleTable) -> list[tuple[str, int]]:
    names = [stack.name for stack in table.stacks]
    stacks = (names[index] for index in table.stack_index)
    return list(zip(stacks, table.image_index.tolist(), strict=True))


def _shift_error(
    table: ParticleTable,
    truth: ParticleTable,
    compared: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> float | None:
    """Return the median distance of shifts, less a movement of the whole map, which is free."""
    if table.shifts is None or truth.shifts is None or not np.any(table.shifts):
        return None
    assert table.rotations is not None
    difference = table.shifts[compared] - truth.shifts[rows]
    rotations = table.rotations[compared]
    rest = difference - rotations[:, :2] @ map_displacement(rotations, difference)
    return float(np.median(np.linalg.norm(rest, axis=1)))
