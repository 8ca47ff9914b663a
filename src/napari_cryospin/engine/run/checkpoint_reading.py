"""Reading a checkpoint, which may be damaged, or something else altogether."""

from __future__ import annotations

import math
import zipfile
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_cryospin.engine.data.member import APART, BELONGS
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.judging.particle_fit import ParticleFit
from napari_cryospin.engine.runfolder.clock import Clock
from napari_cryospin.engine.runfolder.names import CHECKPOINT_VERSION
from napari_cryospin.engine.runfolder.reading import Unreadable, reason, require_file
from napari_cryospin.engine.state.pose_table import PoseTable, with_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.settings import Settings

_PARTS = (
    "clock",
    "maps",
    "poses",
    "used",
    "in_epoch",
    "held_out",
    "inference",
    "starts",
)
# shape of each part of the poses, where −1 is the number of candidates, and −2 of classes
_POSES: dict[str, tuple[int, ...]] = {
    "rotations": (3, 3),
    "shifts": (2,),
    "scales": (),
    "membership": (),
    "classes": (),
    "class_weights": (-2,),
    "found_membership": (),
    "by_hand": (),
    "winner": (),
    "losses": (),
    "candidates": (-1, 3, 3),
    "candidate_shifts": (-1, 2),
    "candidate_losses": (-1,),
    "candidate_classes": (-1,),
}
# and of which kind they are, where they are no float32
_KINDS = {
    "winner": torch.int64,
    "by_hand": torch.int8,
    "classes": torch.int64,
    "candidate_classes": torch.uint8,
}
_MOST, _MOST_TURNS = 10**9, 1000
# names in earlier versions, and what these did not keep of an inference
_BEFORE = {"winning_head": "winner"}
_NEW = {"radius"}
# what taking in a state of something else ends with
_NOT_OURS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_FINITE = ("rotations", "shifts", "scales", "membership", "found_membership")


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    InputError
        If it is damaged, is something else, or has another format.
    """
    try:
        _require_whole(path)
        state = _in_present_words(torch.load(path, map_location=device, weights_only=True))
        if not isinstance(state, dict) or "version" not in state:
            raise Unreadable("it is something else")
        version = state["version"]
        if version == CHECKPOINT_VERSION:
            _require(not (absent := set(_PARTS) - set(state)), f"it holds no {sorted(absent)}")
    except Exception as error:
        raise InputError(
            f"The checkpoint {path} cannot be read ({reason(error)}): delete it to resume from "
            "the one before."
        ) from error
    if version != CHECKPOINT_VERSION:
        raise InputError(
            f"The checkpoint {path} has format {str(version)[:20]}, and this version of "
            f"napari-cryospin reads format {CHECKPOINT_VERSION}: start a new run."
        )
    return state


def _in_present_words(state: Any) -> Any:
    """Return a state with what earlier versions named otherwise under its present name."""
    if isinstance(state, dict):
        return {_BEFORE.get(name, name): _in_present_words(part) for name, part in state.items()}
    if isinstance(state, list):
        return [_in_present_words(part) for part in state]
    return state


def read_last_checkpoint(folder: RunFolder, device: torch.device) -> dict[str, Any]:
    """Read the last checkpoint of a run.

    Raises
    ------
    InputError
        If there is none, it is damaged, or of another format.
    """
    found = folder.checkpoints()
    if not found:
        raise InputError(folder.no_checkpoint)
    return read_checkpoint(found[-1], device)


def require_fits(state: dict[str, Any], settings: Settings, n: int, box: int) -> None:
    """Raise Unreadable where a checkpoint is not one of n particles, a box and these settings.

    Only what does not depend on the inference is looked at here; see :func:`require_like`.
    """
    require_clock(state, settings)
    require_poses(state, n, settings.model.classes)
    maps = state["maps"]
    _require(
        isinstance(maps, list) and len(maps) == settings.model.classes,
        "it has maps of other classes",
    )
    for volume in maps:
        _require_map(volume, box)
    require_used(state, n)
    # an earlier version did not tell who is kept apart for good from who is held out now
    for name in ("in_epoch", "held_out", *({"kept_apart"} & set(state))):
        _require_rows(state[name], n, name)
    _require(isinstance(state["inference"], dict), "its inference is something else")
    _require(isinstance(state["starts"], list), "its starts are something else")


def _require_map(volume: Any, box: int) -> None:
    _require(
        isinstance(volume, dict) and all(isinstance(each, Tensor) for each in volume.values()),
        "its map is something else",
    )
    sides = {side for value in volume.values() if value.ndim == 3 for side in value.shape}
    _require(
        sides == {box + 1},
        f"its map is one of {max(sides or {1}) - 1} px, and settings and particles make {box}",
    )
    _require(all(_finite(value) for value in volume.values()), "its map is not finite")


def require_clock(state: dict[str, Any], settings: Settings) -> Clock:
    """Return where a checkpoint stands; Unreadable if that is nowhere in the stages."""
    clock = state.get("clock")
    names = {field.name for field in fields(Clock)}
    _require(isinstance(clock, dict) and names <= set(clock), "it does not say where it is")
    assert isinstance(clock, dict)
    numbers = {name: clock[name] for name in names}
    _require(
        all(type(value) is int and 0 <= value < _MOST for value in numbers.values()),
        "where it stands are no numbers",
    )
    _require(
        numbers["stage"] < len(settings.stages) and numbers["start"] < settings.n_starts,
        "the settings have no such stage; restore settings.toml",
    )
    return Clock(**numbers)


def require_used(state: dict[str, Any], n: int) -> Tensor:
    """Return which particles a checkpoint uses, (n,); Unreadable where it does not say so."""
    used: Tensor = state["used"]
    _require_rows(used, n, "used")
    _require(bool(used.any()), "it uses no particles")
    return used


def fit_in(state: dict[str, Any], n: int) -> ParticleFit:
    """Return how the map fits the particles of a checkpoint; Unreadable where that is damaged.

    An earlier version did not measure it: it is not known then.
    """
    if "fit" not in state:
        return ParticleFit.unknown(n, state["used"].device)
    fit, names = state["fit"], {field.name for field in fields(ParticleFit)}
    _require(isinstance(fit, dict) and set(fit) == names, "its fit is something else")
    for value in fit.values():
        good = isinstance(value, Tensor) and value.dtype is torch.float32 and value.shape == (n,)
        _require(good, "its fit is something else")
    return ParticleFit(**fit)


def require_poses(state: dict[str, Any], n: int, classes: int) -> PoseTable:
    """Return the poses of a checkpoint; Unreadable if they are not ones of n particles."""
    poses = state.get("poses")
    _require(isinstance(poses, dict), "its poses are others")
    assert isinstance(poses, dict)
    # earlier versions had one candidate of each head
    poses = {"turns": torch.tensor(1)} | poses
    turns = _turns(poses.pop("turns"))
    if isinstance(poses.get("membership"), Tensor):
        poses = with_hand(poses)
    _require(set(poses) == set(_POSES), "its poses are others")
    for name in _POSES:
        _require(isinstance(poses[name], Tensor), f"its {name} are no numbers")
    _require(poses["rotations"].ndim == 3, "its rotations are something else")
    stored = len(poses["rotations"])
    _require(stored == n, f"it holds {stored} particles, and the run has {n}")
    heads = poses["candidate_losses"].shape[-1] if poses["candidate_losses"].ndim == 2 else 0
    for name, shape in _POSES.items():
        sides = {-1: heads, -2: classes}
        wanted = (n, *(sides.get(side, side) for side in shape))
        _require(tuple(poses[name].shape) == wanted, f"its {name} have another shape")
        kind = _KINDS.get(name, torch.float32)
        _require(poses[name].dtype is kind, f"its {name} are of another kind")
    _require(all(_finite(poses[name]) for name in _FINITE), "its poses are not finite")
    said = poses["by_hand"]
    _require(bool(((said >= APART) & (said <= BELONGS)).all()), "what was said by hand is no word")
    winner = poses["winner"]
    beyond = bool(heads) and bool((winner >= heads).any())
    _require(not beyond and bool((winner >= -1).all()), "its winners are others")
    _require(heads % turns == 0 or not heads, "its candidates are no heads'")
    for name in ("classes", "candidate_classes"):
        own = poses[name]
        beyond = bool(own.numel()) and bool(((own < 0) | (own >= classes)).any())
        _require(not beyond, "its classes are others")
    return PoseTable(**poses, turns=turns)


def _turns(value: Any) -> int:
    """Return how many candidates of each head a checkpoint has."""
    good = isinstance(value, Tensor) and value.dtype is torch.int64 and value.ndim == 0
    _require(good and 1 <= int(value) <= _MOST_TURNS, "its turns are something else")
    return int(value)


def require_like(known: Any, found: Any, name: str = "inference") -> None:
    """Raise Unreadable where something found is not built like something known.

    Names, kinds, numbers of axes and kinds of numbers must agree, and numbers of particles. What is
    empty or None in the known one may be anything: it is filled as training goes on. What earlier
    versions did not keep may be missing.
    """
    if known is None or found is None or (isinstance(known, dict | list) and not known):
        return
    if isinstance(known, dict):
        same = isinstance(found, dict) and set(known) - _NEW <= set(found) <= set(known)
        parts: Iterable[Any] = found
    elif isinstance(known, Tensor):
        same = (
            isinstance(found, Tensor)
            and found.dtype is known.dtype
            and found.ndim == known.ndim
            and (found.ndim == 0 or len(found) == len(known))
        )
        parts = ()
    else:
        numbers = int | float
        same = type(known) is type(found) or (
            isinstance(known, numbers) and isinstance(found, numbers)
        )
        parts = ()
    if not same:
        raise Unreadable(f"its {name} is something else")
    for part in parts:
        require_like(known[part], found[part], f"{name}.{part}")


def latest(
    paths: list[Path], take: Callable[[Path], None], *, none: str
) -> tuple[Path, tuple[str, ...]]:
    """Take the newest checkpoint that can be used; a damaged one gives a note.

    Parameters
    ----------
    paths
        Checkpoints, oldest first.
    take
        Reads one and takes it in; raises InputError where it cannot be used.
    none
        What to say where there is none.

    Raises
    ------
    InputError
        If none can be used: what is wrong with the newest one.
    """
    problems: list[str] = []
    for path in reversed(paths):
        try:
            take(path)
        except InputError as error:
            problems.append(str(error))
        except Unreadable as error:
            problems.append(f"The checkpoint {path} does not belong to this run ({error}).")
        except _NOT_OURS as error:
            problems.append(f"The checkpoint {path} does not belong to this run ({reason(error)}).")
        else:
            return path, tuple(_fallback(problem, path) for problem in problems)
    raise InputError(problems[0] if problems else none)


def _fallback(problem: str, path: Path) -> str:
    words = problem.split(": delete it")[0].rstrip(".")
    return f"{words}; {path.name}, the one before, is used."


def _require_whole(path: Path) -> None:
    """Raise Unreadable where the file's own checksums are not those of its content.

    torch does not look at them: a changed bit would be taken for a pose.
    """
    try:
        size = require_file(path)
    except FileNotFoundError:
        raise Unreadable("it does not exist") from None
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
        # nothing is packed, so that nothing can grow on reading
        _require(stored and sum(part.file_size for part in parts) <= size, "it is damaged")
        damaged = archive.testzip()
    _require(damaged is None, "its checksums are wrong")


def _require(truth: bool, words: str) -> None:
    if not truth:
        raise Unreadable(words)


def _require_rows(value: Any, n: int, name: str) -> None:
    _require(
        isinstance(value, Tensor) and value.dtype is torch.bool and tuple(value.shape) == (n,),
        f"its '{name}' is not one of {n} particles",
    )


def _finite(value: Tensor) -> bool:
    if not value.is_floating_point() or not value.numel():
        return True
    return math.isfinite(float(value.abs().amax()))
