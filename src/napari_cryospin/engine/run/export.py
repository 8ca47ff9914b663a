"""The last poses of a run, finished or interrupted, as files for RELION and cryoSPARC."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_cryospin.engine.data.class_columns import class_columns
from napari_cryospin.engine.data.cs_writer import write_cs
from napari_cryospin.engine.data.half_sets import half_sets_of
from napari_cryospin.engine.data.load import of_settings
from napari_cryospin.engine.data.member import MEMBER
from napari_cryospin.engine.data.plan import with_contrast
from napari_cryospin.engine.data.resize import working_sizes
from napari_cryospin.engine.data.stack_writer import inverted_paths, only, write_inverted
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import real, require_absent
from napari_cryospin.engine.geometry.hand import mirrored_poses
from napari_cryospin.engine.run.checkpoint_reading import fit_in, read_last_checkpoint
from napari_cryospin.engine.run.fingerprint import require_particles
from napari_cryospin.engine.run.homes import look_at
from napari_cryospin.engine.run.mirrored_maps import mirrored_paths, write_mirrored
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.class_files import require_class
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint
from napari_cryospin.engine.runfolder.protected import inputs_of, require_not_in_use
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import DataSettings

FORMATS = ("star", "cs")
Which = Literal["all", "members", "others"]


@dataclass(frozen=True)
class LastPoses:
    """The particles in use and their poses.

    Parameters
    ----------
    table
        A particle table with the n particles in use.
    rotations, shifts
        Euler matrices, (n, 3, 3); origin shifts (x, y), Å, (n, 2).
    half_set
        Halves (1 or 2), (n,).
    scales
        What the map is multiplied with to fit each image, (n,).
    membership
        Probability that each image shows the particle, (n,).
    log_likelihood, explained
        How well the map fits each image, (n,) each; NaN where it is not known.
    classes, class_weights
        Class of each, from 0, (n,), and the probability of each class, (n, C); None of one map.
    """

    table: ParticleTable
    rotations: NDArray[np.float64]
    shifts: NDArray[np.float64]
    half_set: NDArray[np.int64]
    scales: NDArray[np.float64]
    membership: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    explained: NDArray[np.float64]
    classes: NDArray[np.int64] | None = None
    class_weights: NDArray[np.float64] | None = None

    def some(self, which: Which) -> LastPoses:
        """Return all of them, those that belong to the map, or the others.

        Raises
        ------
        InputError
            If there are none.
        """
        if which == "all":
            return self
        words = "belong" if which == "members" else "do not belong"
        chosen = (self.membership >= MEMBER) == (which == "members")
        return self._only(chosen, f"There are no images that {words} to the map")

    def of_classes(self, numbers: Collection[int]) -> LastPoses:
        """Return those of some classes, from 1, or all where none is named.

        Raises
        ------
        InputError
            If there is no such class, or nobody in these.
        """
        if not numbers:
            return self
        for number in numbers:
            require_class(number, 1 if self.class_weights is None else self.class_weights.shape[1])
        if self.classes is None:
            return self
        chosen = np.isin(self.classes + 1, list(numbers))
        return self._only(chosen, "There are no images in these classes")

    def _only(self, chosen: NDArray[np.bool_], none: str) -> LastPoses:
        rows = np.flatnonzero(chosen)
        if not len(rows):
            raise InputError(f"{none}: nothing is written.")
        values: dict[str, Any] = {
            name: None if value is None else value[rows]
            for name, value in vars(self).items()
            if name != "table"
        }
        return LastPoses(only(self.table, rows), **values)


def last_poses(folder: RunFolder) -> LastPoses:
    """Return the last poses of a run: those of its last checkpoint, or else of its last epoch.

    Raises
    ------
    InputError
        If the folder holds no run or no poses yet, or the particles are not those of the run.
    """
    data = folder.settings().data
    table = with_contrast(of_settings(data), data)
    found = _recorded(folder)
    rows = _rows(table, data, len(found.used))
    if len(rows) != len(found.used):
        raise InputError(
            f"{folder.path} holds poses of {len(found.used)} particles, but {data.stack} now gives "
            f"{len(rows)}: put back the table that the run was made of."
        )
    used = rows[found.used]
    _require_same_particles(folder, table, used, found.fingerprint)
    pixel_size = _working_pixel_size(table, data) if found.in_pixels else 1.0
    return LastPoses(
        only(table, used),
        found.rotations[found.used].astype(np.float64),
        found.shifts[found.used].astype(np.float64) * pixel_size,
        half_sets_of(table.half_set, rows, found.used),
        found.scales[found.used].astype(np.float64),
        found.membership[found.used].astype(np.float64),
        found.log_likelihood[found.used].astype(np.float64),
        found.explained[found.used].astype(np.float64),
        None if found.classes is None else found.classes[found.used],
        None if found.class_weights is None else found.class_weights[found.used].astype("f8"),
    )


@dataclass(frozen=True)
class _Recorded:
    rotations: NDArray[np.float32]
    shifts: NDArray[np.float32]
    in_pixels: bool
    scales: NDArray[np.float32]
    membership: NDArray[np.float32]
    log_likelihood: NDArray[np.float32]
    explained: NDArray[np.float32]
    used: NDArray[np.bool_]
    fingerprint: dict[str, Any] | None
    classes: NDArray[np.int64] | None = None
    class_weights: NDArray[np.float32] | None = None


def _recorded(folder: RunFolder) -> _Recorded:
    try:
        state = read_last_checkpoint(folder, torch.device("cpu"))
    except InputError:
        epochs = recorded_epochs(folder)
        if not epochs:
            raise InputError(
                f"{folder.path} holds no poses yet: wait for the end of its first epoch."
            ) from None
        poses = read_poses(folder, epochs[-1])
        return _Recorded(
            poses.rotations,
            poses.shifts,
            False,
            poses.scales,
            poses.membership,
            poses.log_likelihood,
            poses.explained,
            poses.used,
            _fingerprint(folder),
            poses.classes,
            poses.class_weights,
        )
    last = {name: tensor.numpy() for name, tensor in state["poses"].items()}
    # who has no pose yet is not written
    placed = state["used"] & state["poses"]["losses"].isfinite()
    used = (placed if bool(placed.any()) else state["used"]).numpy()
    figures, several = state.get("fingerprint"), last["class_weights"].shape[1] > 1
    fit = fit_in(state, len(used))
    return _Recorded(
        last["rotations"],
        last["shifts"],
        True,
        last["scales"],
        last["membership"],
        fit.log_likelihood.numpy(),
        fit.explained.numpy(),
        used,
        figures,
        last["classes"] if several else None,
        last["class_weights"] if several else None,
    )


def _fingerprint(folder: RunFolder) -> dict[str, Any] | None:
    """Return what ``fingerprint.json`` says, where there is one that can be read."""
    with suppress(OSError, ValueError):
        figures: dict[str, Any] = json.loads(folder.fingerprint_path.read_text(encoding="utf-8"))
        return figures
    return None


def _rows(table: ParticleTable, data: DataSettings, n: int) -> NDArray[np.int64]:
    """Return the rows of the working stack; where images were set aside, these must be read."""
    rows = np.arange(table.n_particles)[: data.max_particles]
    return rows if len(rows) <= n else look_at(data, table).rows


def _require_same_particles(
    folder: RunFolder,
    table: ParticleTable,
    rows: NDArray[np.int64],
    figures: dict[str, Any] | None,
) -> None:
    """Refuse a table that has changed since the run was made of it.

    Where the run's own star file names the same images in the same order, that is enough. Else the
    images are read, for the run's fingerprint: it may have gone on since, or been interrupted.
    """
    with suppress(InputError):
        if _images(read_star(folder.star_path)) == _images(only(table, rows)):
            return
    if figures is not None:
        particles = look_at(folder.settings().data, table)
        require_particles(Fingerprint.from_figures(figures), particles)


def _images(table: ParticleTable) -> list[tuple[Path, int]]:
    stacks = [real(stack) for stack in table.stacks]
    pairs = zip(table.stack_index.tolist(), table.image_index.tolist(), strict=True)
    return [(stacks[stack], image) for stack, image in pairs]


def _working_pixel_size(table: ParticleTable, data: DataSettings) -> float:
    # of all particles: also those that were set aside had their say
    groups = np.unique(table.optics_index[: data.max_particles])
    return working_sizes([table.optics[group] for group in groups], data.box)[0].pixel_size


def export_poses(
    folder: RunFolder,
    out: Path,
    *,
    kind: str | None = None,
    flip_hand: bool = False,
    invert: bool = False,
    which: Which = "all",
    classes: Collection[int] = (),
    may_replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write the last poses of a run, and what goes with them.

    With ``flip_hand``, the poses are those in the mirror image of the map, which is written beside
    them as ``STEM_map.mrc``: of several classes that of each that is written, as
    ``STEM_map_class1.mrc`` and so on, unless a single one was named. With ``invert``, the images
    with their contrast turned are written as ``STEM.mrcs``, and the table points to them.

    Parameters
    ----------
    folder
        The run, finished or not.
    out
        The file to write.
    kind
        ``star`` or ``cs``; by default what the suffix of the file says.
    flip_hand, invert
        See above.
    which
        Write all particles, those that belong to the map, or the others: as where a stack shows
        another structure.
    classes
        Write particles of these classes alone, from 1; by default of all.
    may_replace
        Replace the file itself where it is there; never what lies beside it.
    progress
        Called with the number of images written and their total.

    Returns
    -------
    list of str
        What was written, one sentence each.

    Raises
    ------
    InputError
        If a file would be replaced, cannot be written, the run has no poses yet, or none of its
        particles are asked for.
    """
    kind = _kind(out, kind)
    poses = last_poses(folder).some(which).of_classes(classes)
    map_path = out.with_name(f"{out.stem}_{names.MAP}")
    maps = mirrored_paths(map_path, poses.classes, classes) if flip_hand else {}
    stack = out.with_suffix(".mrcs")
    stacks = inverted_paths(stack, poses.table) if invert else []
    paths = [out, *maps, *stacks]
    for path in paths:
        require_not_in_use(path, inputs_of(folder.settings(), poses.table))
    require_absent(paths[1:] if may_replace else paths, "choose another name")
    said = []
    try:
        if invert:
            poses = replace(poses, table=write_inverted(stack, poses.table, progress))
            said += [f"{path}: the images with their contrast turned." for path in stacks]
        if flip_hand:
            poses = replace(poses, rotations=mirrored_poses(poses.rotations))
            said += [write_mirrored(path, folder, number) for path, number in maps.items()]
        _write_table(out, kind, poses, absolute=invert)
    except OSError as error:
        raise InputError(f"{out} could not be written: {error.strerror or error}.") from error
    n = poses.table.n_particles
    said.insert(0, f"{out}: {n:,} particles with their poses{' of the other hand' * flip_hand}.")
    if not poses.table.particles_are_white:
        said.append(
            "The particles are dark on disk: what other programs make of them is the negative of "
            "this run's map; the images can be written with their contrast turned (invert)."
        )
    return said


def _kind(out: Path, kind: str | None) -> str:
    kind = kind or out.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise InputError(f"{out}: poses are written as .star or as .cs; choose one of the two.")
    if out.suffix.lower() != f".{kind}":
        raise InputError(f"{out} is no name for a {kind} file: let it end with .{kind}.")
    return kind


def _write_table(out: Path, kind: str, poses: LastPoses, *, absolute: bool) -> None:
    table = poses.table
    rows = np.arange(table.n_particles)
    if kind == "cs":
        write_cs(
            out,
            table,
            rows,
            rotations=poses.rotations,
            shifts=poses.shifts,
            half_set=poses.half_set,
            scales=poses.scales,
        )
        return
    # RELION reads relative names from where it is started
    names = [
        f"{image + 1:06d}@{table.stacks[stack]}"
        for image, stack in zip(table.image_index, table.stack_index, strict=True)
    ]
    write_star(
        out,
        table,
        rows,
        rotations=poses.rotations,
        shifts=poses.shifts,
        half_set=poses.half_set,
        scales=poses.scales,
        membership=poses.membership,
        log_likelihood=poses.log_likelihood,
        explained=poses.explained,
        more=class_columns(poses.classes, poses.class_weights),
        image_names=names if absolute else None,
    )
