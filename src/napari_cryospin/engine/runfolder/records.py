"""The poses after every epoch on disk, so that the way of each particle can be followed.

``poses/epoch_0007.npy`` is a structured numpy array with a row per particle. An epoch of
auto-encoding holds K candidates of its heads as well, one of marginalisation the modes, and one of
auto-decoding the hypotheses where there are several. Of an encoder with M heads that is asked at S
turns, which gives M · S candidates, K = M + 4 are recorded: the best of each head, in the heads'
order, and the best four of the others that lie 20° or more from better ones.

* ``quaternion``, 4 int16: the pose, (x, y, z, w) times 32767
* ``shift``, 2 float16: its origin shift (x, y), Å
* ``loss``, float16: NaN where the particle has not been seen yet
* ``inference``, uint8: its number in the registry (0 amortized, 1 direct, 2 marginal)
* ``winner``, int8: the candidate that won; −1 where the particle has not been seen yet
* ``used``, bool: False where the particle was dropped from training
* ``scale``, float32: what the map is multiplied with to fit the particle
* ``log_likelihood``, float32: of the particle at its pose, nats more than without a map
* ``explained``, float32: share of its power beyond the noise that the map explains; like the
  log-likelihood NaN where it is not known
* ``membership``, float16: the probability that its image shows the particle
* ``candidate_quaternions``, (K, 4) int16; ``candidate_shifts``, (K, 2) float16;
  ``candidate_losses``, K float16: the same of each candidate
* ``candidate_heads``, K uint8: head of each candidate; 255 where there is none
* ``candidate_counts``, K uint16: how many of all candidates lie within 20° of each
* ``class``, uint8, from 0; ``class_weights``, C float16: the probability of each of C classes;
  ``candidate_classes``, K uint8: the class whose map each candidate is a pose of

Heads and counts are there where an encoder was asked at several turns; else each candidate is a
head of its own. Classes are there where there are several. This makes 31 bytes per particle and
epoch, and 14 more for each candidate, or 17. Records of earlier versions have no membership, which
is read as 1, or call the winner ``winning_head``; the first have no scale, log-likelihood and share
explained, which are read as 1 and not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import PosesUpdated
from napari_cryospin.engine.files import writing
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.reading import numbered, reason, require_file
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.runfolder.folder import RunFolder

# of a component of a unit quaternion; rounding it turns a pose by less than 0.004°
_SCALE = 32767
_WINNER, _WINNER_BEFORE = "winner", "winning_head"
_FITS = ("scale", "log_likelihood", "explained")
_MEMBERSHIP = "membership"
_CLASSES = ("class", "class_weights", "candidate_classes")
_MOST_CANDIDATES, _NO_HEAD = 10_000, 255
_HEADS = ("candidate_heads", "candidate_counts")
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Trajectory:
    """The way of one particle through the E recorded epochs of a run.

    Parameters
    ----------
    epochs
        Numbers of the epochs, ascending, (E,).
    inferences
        Their inferences, E of them.
    rotations
        Pose after each epoch, RELION Euler matrices, (E, 3, 3).
    winner
        Head of the winning candidate after each epoch, or that candidate where there is no encoder,
        (E,); −1 where the particle had not been seen yet.
    losses
        Loss after each epoch, (E,); NaN where the particle had not been seen yet.
    classes
        Class after each epoch, from 0, (E,); 0 where there is one map.
    notes
        Which epochs could not be read and are left out, one sentence each.
    """

    epochs: NDArray[np.int64]
    inferences: tuple[Inference, ...]
    rotations: NDArray[np.float32]
    winner: NDArray[np.int64]
    losses: NDArray[np.float32]
    classes: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def bytes_per_particle(candidates: int, *, several_turns: bool = False) -> int:
    """Return the bytes that a particle takes in the record of an epoch.

    Parameters
    ----------
    candidates
        Number of recorded candidates K; 0 where there are none.
    several_turns
        Whether an encoder was asked at several turns, so that they have heads.
    """
    return _row_type(candidates, heads=several_turns).itemsize


def write_poses(folder: RunFolder, poses: PosesUpdated) -> Path:
    """Write the poses after an epoch, in place of those from before a resume."""
    # nothing after a redone epoch belongs to the run any more
    for later in recorded_epochs(folder):
        if later > poses.epoch:
            folder.poses_path(later).unlink()
    path = folder.poses_path(poses.epoch)
    with writing(path) as file:
        np.save(file, _table(poses), allow_pickle=False)
    return path


def recorded_epochs(folder: RunFolder) -> list[int]:
    """Return the epochs whose poses were recorded, ascending."""
    return [epoch for epoch, _ in numbered(folder.path, names.POSES)]


def read_poses(folder: RunFolder, epoch: int) -> PosesUpdated:
    """Read the poses after an epoch, without the truth.

    With a single hypothesis auto-decoding has no candidates: their shape is (n, 0, 3, 3).
    Shifts and losses were rounded to half precision.

    Raises
    ------
    InputError
        If they were not recorded, or the file is damaged.
    """
    return _read(folder, epoch, slice(None))


def trajectory(folder: RunFolder, particle: int) -> Trajectory:
    """Read the way of one particle; of each file only its row is read.

    An epoch whose record is damaged is left out, with a note.

    Parameters
    ----------
    folder
        The run folder.
    particle
        Row of the working stack.

    Raises
    ------
    InputError
        If there is no such particle, or all records are damaged.
    """
    rows, notes = slice(particle, particle + 1), []
    found: list[PosesUpdated] = []
    for epoch in recorded_epochs(folder):
        try:
            found.append(_read(folder, epoch, rows))
        except InputError as error:
            notes.append(f"{str(error).rstrip('.')}: epoch {epoch + 1} is left out.")
    if notes and not found:
        raise InputError(notes[0])
    if any(len(poses.used) == 0 for poses in found):
        raise InputError(f"{folder.path} holds no poses of a particle {particle}.")
    return Trajectory(
        epochs=np.array([poses.epoch for poses in found], np.int64),
        inferences=tuple(poses.inference for poses in found),
        rotations=np.array([poses.rotations[0] for poses in found], np.float32).reshape(-1, 3, 3),
        winner=np.array([poses.winning_head[0] for poses in found], np.int64),
        losses=np.array([poses.losses[0] for poses in found], np.float32),
        classes=np.array(
            [0 if poses.classes is None else poses.classes[0] for poses in found], np.int64
        ),
        notes=tuple(notes),
    )


def _row_type(
    candidates: int,
    winner: str = _WINNER,
    *,
    fits: bool = True,
    membership: bool = True,
    heads: bool = False,
    classes: int = 1,
) -> np.dtype[np.void]:
    """Return the type of a row.

    Earlier versions named the winner otherwise, had no membership, or no ``fits``.
    """
    return np.dtype(
        [
            ("quaternion", "<i2", 4),
            ("shift", "<f2", 2),
            ("loss", "<f2"),
            ("inference", "u1"),
            (winner, "i1"),
            ("used", "?"),
            *([(name, "<f4") for name in _FITS] if fits else []),
            *([(_MEMBERSHIP, "<f2")] if membership else []),
            ("candidate_quaternions", "<i2", (candidates, 4)),
            ("candidate_shifts", "<f2", (candidates, 2)),
            ("candidate_losses", "<f2", (candidates,)),
            *([(_HEADS[0], "u1", (candidates,))] if heads else []),
            *([(_HEADS[1], "<u2", (candidates,))] if heads else []),
            *([(_CLASSES[0], "u1"), (_CLASSES[1], "<f2", (classes,))] if classes > 1 else []),
            *([(_CLASSES[2], "u1", (candidates,))] if classes > 1 else []),
        ]
    )


def _table(poses: PosesUpdated) -> NDArray[np.void]:
    heads, counts = poses.candidate_heads, poses.candidate_counts
    classes = 1 if poses.class_weights is None else poses.class_weights.shape[1]
    kind = _row_type(poses.candidates.shape[1], heads=heads is not None, classes=classes)
    table = np.empty(len(poses.used), kind)
    table["quaternion"] = _quaternions(poses.rotations)
    table["shift"] = _half(poses.shifts)
    table["loss"] = _half(poses.losses)
    table["inference"] = poses.inference.code
    table["winner"], table["used"] = poses.winner, poses.used
    table["scale"] = poses.scales
    table["log_likelihood"], table["explained"] = poses.log_likelihood, poses.explained
    table[_MEMBERSHIP] = poses.membership
    table["candidate_quaternions"] = _quaternions(poses.candidates)
    table["candidate_shifts"] = _half(poses.candidate_shifts)
    table["candidate_losses"] = _half(poses.candidate_losses)
    if heads is not None:
        table["candidate_heads"] = np.where(heads < 0, _NO_HEAD, heads)
        table["candidate_counts"] = 1 if counts is None else counts
    if classes > 1:
        table[_CLASSES[0]], table[_CLASSES[1]] = poses.classes, poses.class_weights
        table[_CLASSES[2]] = poses.candidate_classes
    return table


def _read(folder: RunFolder, epoch: int, rows: slice) -> PosesUpdated:
    path = folder.poses_path(epoch)
    try:
        require_file(path)
        return _event(_rows(path, rows), epoch)
    except FileNotFoundError:
        raise InputError(_not_recorded(folder, epoch)) from None
    except Exception as error:
        raise InputError(f"The poses in {path} cannot be read ({reason(error)}).") from error


def _not_recorded(folder: RunFolder, epoch: int) -> str:
    known = [number + 1 for number in recorded_epochs(folder)]
    there = f"it has {known[0]} to {known[-1]}" if known else "it has none yet"
    file = folder.poses_path(epoch).name
    return f"Epoch {epoch + 1} of {folder.path} was not recorded: {there}, and no {file}."


def _rows(path: Path, rows: slice) -> NDArray[np.void]:
    """Read rows of a table; the file is not mapped: it may be cut short meanwhile."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError("it has another format")
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if kind not in _row_types(kind) or len(shape) != 1:
            raise ValueError("it holds other fields")
        start = file.tell()
        if path.stat().st_size != start + shape[0] * kind.itemsize:
            raise ValueError("it is cut off")
        first, last, _ = rows.indices(shape[0])
        number = max(last - first, 0)
        table = np.fromfile(file, kind, number, offset=first * kind.itemsize)
    if len(table) != number:
        raise ValueError("it is cut off")
    # as the present version calls it
    table.dtype.names = tuple(
        _WINNER if name == _WINNER_BEFORE else name for name in kind.names or ()
    )
    return table


def _row_types(kind: np.dtype[np.void]) -> list[np.dtype[np.void]]:
    """Return the types of rows that can be read, of as many candidates and classes."""
    candidates, classes = _width(kind, "candidate_losses"), _width(kind, _CLASSES[1])
    if candidates is None:
        return []
    before = [
        _row_type(candidates, _WINNER_BEFORE, fits=fits, membership=False) for fits in (True, False)
    ]
    present = [
        _row_type(candidates, membership=membership, heads=heads)
        for membership in (True, False)
        for heads in (False, True)
    ]
    several = [_row_type(candidates, heads=heads, classes=classes or 1) for heads in (False, True)]
    return [*present, *before, *several]


def _width(kind: np.dtype[np.void], name: str) -> int | None:
    """Return how many numbers of a name the rows of a table have; None where they have none."""
    if name not in (kind.names or ()):
        return None
    shape = kind[name].shape
    return shape[0] if len(shape) == 1 and shape[0] <= _MOST_CANDIDATES else None


def _event(table: NDArray[np.void], epoch: int) -> PosesUpdated:
    scale, log_likelihood, explained = _fits(table)
    heads, counts = _heads(table)
    several = _CLASSES[0] in (table.dtype.names or ())
    poses = PosesUpdated(
        epoch=epoch,
        inference=Inference.of_code(int(table["inference"][0]) if len(table) else 0),
        rotations=_matrices(table["quaternion"]),
        shifts=table["shift"].astype(np.float32),
        winner=table["winner"].astype(np.int64),
        losses=table["loss"].astype(np.float32),
        # a byte that is neither 0 nor 1 would be neither true nor false
        used=table["used"].view(np.uint8) != 0,
        candidates=_matrices(table["candidate_quaternions"]),
        candidate_shifts=table["candidate_shifts"].astype(np.float32),
        candidate_losses=table["candidate_losses"].astype(np.float32),
        scales=scale,
        membership=_membership(table),
        log_likelihood=log_likelihood,
        explained=explained,
        candidate_heads=heads,
        candidate_counts=counts,
        candidate_classes=table[_CLASSES[2]].copy() if several else None,
        classes=table[_CLASSES[0]].astype(np.int64) if several else None,
        class_weights=table[_CLASSES[1]].astype(np.float32) if several else None,
    )
    if several and (poses.classes >= table[_CLASSES[1]].shape[1]).any():
        raise ValueError("it names classes that there are not")
    if not np.isfinite(scale).all():
        raise ValueError("its scales are not finite")
    if not ((poses.membership >= 0) & (poses.membership <= 1)).all():
        raise ValueError("its memberships are no probabilities")
    if not (np.isfinite(poses.shifts).all() and np.isfinite(poses.candidate_shifts).all()):
        raise ValueError("its shifts are not finite")
    # without candidates the winner is one of those before, which were not recorded
    winner, most = poses.winner, poses.candidates.shape[1]
    if (winner < -1).any() or (most and (winner >= most).any()):
        raise ValueError("it names winners that are no candidates")
    if heads is not None and (poses.winning_head < 0)[winner >= 0].any():
        raise ValueError("it names winners that are no candidates")
    return poses


def _heads(
    table: NDArray[np.void],
) -> tuple[NDArray[np.int16] | None, NDArray[np.int16] | None]:
    """Return the heads of candidates, and how many lie near each, where they were recorded."""
    if _HEADS[0] not in (table.dtype.names or ()):
        return None, None
    heads, counts = (table[name].astype(np.int16) for name in _HEADS)
    return np.where(heads == _NO_HEAD, np.int16(-1), heads), counts


def _fits(table: NDArray[np.void]) -> list[NDArray[np.float32]]:
    """Return scale, log-likelihood and share explained, (n,) each."""
    if _FITS[0] in (table.dtype.names or ()):
        return [table[name].astype(np.float32) for name in _FITS]
    unknown = np.full(len(table), np.nan, np.float32)
    return [np.ones(len(table), np.float32), unknown, unknown.copy()]


def _membership(table: NDArray[np.void]) -> NDArray[np.float32]:
    """Return the memberships, (n,); 1 where none were recorded."""
    if _MEMBERSHIP in (table.dtype.names or ()):
        return table[_MEMBERSHIP].astype(np.float32)
    return np.ones(len(table), np.float32)


def _quaternions(rotations: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return rotations (..., 3, 3) as quaternions (..., 4), rounded."""
    # takes a while to import, and who looks for names needs none of it
    from scipy.spatial.transform import Rotation

    # poses are rotations already: to make sure of it takes a hundred times as long
    exact = Rotation.from_matrix(rotations.reshape(-1, 3, 3), assume_valid=True).as_quat()
    rounded: NDArray[np.int16] = np.rint(_SCALE * exact).astype(np.int16)
    return rounded.reshape(*rotations.shape[:-2], 4)


def _matrices(quaternions: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the rotations (..., 3, 3) of rounded quaternions (..., 4)."""
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix()
    matrices: NDArray[np.float32] = flat.astype(np.float32)
    return matrices.reshape(*quaternions.shape[:-1], 3, 3)


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return numbers in half precision; those beyond it become its largest."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
