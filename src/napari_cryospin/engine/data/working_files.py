"""Working files in the platform's cache folder: found again, made, and cleared away.

A file is named after what it was made of, so that a run that is opened again, and another run of
the same particles, find it and read no raw images. The files together take no more than a share of
what the disk has to give; those that were used last stay, and one that is in use is never removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.holding import hold, is_held
from napari_cryospin.engine.data.plan import Plan
from napari_cryospin.engine.data.preprocess import prepare_images
from napari_cryospin.engine.data.stack import missing_stacks
from napari_cryospin.engine.data.working_file import (
    VERSION,
    Damaged,
    FileHome,
    OnDisk,
    size_of,
    was_written_here,
    writing,
)
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import is_left_over, real

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.settings import DataSettings

# names another folder for the files
VARIABLE = "NAPARI_CRYOSPIN_CACHE"
_SUFFIX = ".f16"
# what the files take together: at most this share of what the disk would have free without them,
# and no more than so many bytes
_SHARE, _MOST = 0.5, 200 * 2**30
# images that are looked at before a file is believed, where not all of them are
_PROBES = 256
# seconds between two looks at a file that somebody else writes
_LOOK = 0.5
# a file that another host has begun, and that nobody holds, is old after so many seconds
_OLD = 3600.0


def folder() -> Path:
    """Return where working files are: the platform's cache folder, or as a variable says."""
    named = os.environ.get(VARIABLE)
    if named:
        # a shell leaves ~ as it is in quotes, and so do files of settings
        return Path(os.path.expanduser(named)).absolute()
    import platformdirs

    return platformdirs.user_cache_path("napari-cryospin", appauthor=False) / "particles"


def key_of(plan: Plan) -> str:
    """Return what tells the working images of a plan from all others, 64 hexadecimal digits.

    It is made of the rows in use, the image files with their sizes and times of change, and the
    sizes, mask and contrast of the images, and of which may have the same noise. A file is told by
    its own name, whatever link leads to it; of its times, copying tools set one as they like, and
    the system the other.
    """
    table, rows = plan.table, plan.rows
    told = hashlib.sha256(f"{VERSION} {plan.sizes} {plan.diameter!r}".encode())
    told.update(f" {table.particles_are_white}".encode())
    for group in plan.groups:
        optics = table.optics[group]
        told.update(f"\n{optics.name} {optics.pixel_size!r} {optics.box}".encode())
    used, stacks = np.unique(table.stack_index[rows], return_inverse=True)
    for stack in used:
        path = real(table.stacks[stack])
        found = path.stat()
        times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
        told.update(os.fsencode(path) + f"\n{found.st_size} {times}\n".encode())
    for numbers in (stacks.reshape(-1), table.image_index[rows], table.optics_index[rows]):
        told.update(np.ascontiguousarray(numbers, "<i8").tobytes())
    told.update(np.ascontiguousarray(plan.noise_groups.of, "<i8").tobytes())
    return told.hexdigest()


def find(
    table: ParticleTable,
    settings: DataSettings,
    progress: Callable[[int, int], None] | None = None,
    extent: float | None = None,
) -> Particles | None:
    """Return particles whose working file is there, or None; no raw image is read.

    Parameters
    ----------
    table
        The particle table.
    settings
        Working box, contrast, mask and number of particles.
    progress
        Called with the number of images that were looked at, and their total: then all of them
        are, where otherwise a few stand for the rest. It may raise to end the work.
    extent
        As for :func:`~.preprocess.prepare`.
    """
    plan = Plan.of(table, settings, extent)
    with suppress(OSError):
        _sweep(folder())
        return _found(plan, _path(key_of(plan)), progress)
    return None


def make(
    table: ParticleTable,
    settings: DataSettings,
    progress: Callable[[int, int], None] | None = None,
    extent: float | None = None,
) -> Particles:
    """Read particles, write their working file, and return them.

    Where another process, or another thread, writes that file at this moment, it is waited for;
    where it has just been written, it is taken.

    Parameters
    ----------
    table, settings, progress, extent
        As of :func:`~.preprocess.prepare`.

    Raises
    ------
    InputError
        If images are missing or damaged, next to none of them can be used, or the file cannot be
        written; nothing of it is left then.
    """
    plan, problem = Plan.of(table, settings, extent), missing_stacks(table)
    if problem:
        raise InputError(problem)
    place, needed = folder(), size_of(plan.n, plan.box)
    try:
        path = _path(key_of(plan))
        place.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            while (home := _begun(stack, plan, path, needed)) is None:
                if progress is not None:
                    progress(0, plan.n)
                time.sleep(_LOOK)
            if not isinstance(home, FileHome):
                return home
            prepared = prepare_images(plan, home, progress)
            home.close(prepared, path.stem)
        particles = _found(plan, path, None)
    except OSError as error:
        raise _unwritten(place, needed, error.strerror or "it failed") from error
    if particles is None:
        raise _unwritten(path, needed, "what was written is not what is read")
    return particles


def _begun(stack: ExitStack, plan: Plan, path: Path, needed: int) -> FileHome | Particles | None:
    """Begin a working file, to be ended with the stack, where nobody else has made it.

    Returns the particles where somebody else has, and None where somebody is about to.
    """
    with _one_at_a_time(path.parent):
        if any(_is_being_written(each) for each in path.parent.glob(f".{path.stem}.*{_SUFFIX}")):
            return None
        if (particles := _found(plan, path, None)) is not None:
            return particles
        clear(needed)
        if shutil.disk_usage(path.parent).free < needed:
            raise _unwritten(path, needed, "the disk has too little room")
        return stack.enter_context(writing(path, plan.n, plan.box))


def clear(needed: int = 0) -> None:
    """Remove working files that were not used for the longest time, where there are too many.

    Those in use stay, whatever they take, and so does whatever cannot be removed.

    Parameters
    ----------
    needed
        Bytes that another file is going to take.
    """
    place = folder()
    _sweep(place)
    files = []
    for path in place.glob(f"[!.]*{_SUFFIX}"):
        with suppress(OSError):
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in files)
    allowed = min(_SHARE * (shutil.disk_usage(place).free + total), _MOST)
    for _, size, path in sorted(files):
        if total + needed <= allowed:
            break
        if _removed(path):
            total -= size


def _path(key: str) -> Path:
    return folder() / f"{key}{_SUFFIX}"


def _found(plan: Plan, path: Path, progress: Callable[[int, int], None] | None) -> Particles | None:
    try:
        store = _believed(path, progress)
    except FileNotFoundError:
        return None
    except Damaged:
        pass
    else:
        # it was used last just now
        with suppress(OSError):
            os.utime(path)
        return plan.particles(store.prepared, store)
    # once nobody has it open any more, as Windows wants it; it is made anew
    path.unlink(missing_ok=True)
    return None


def _believed(path: Path, progress: Callable[[int, int], None] | None) -> OnDisk:
    """Return the images of a working file, once all of them, or some, have been compared."""
    store = OnDisk(path, path.stem)
    if progress is None:
        probes = np.linspace(0, store.n - 1, min(_PROBES, store.n)).astype(np.int64)
        store.check(torch.from_numpy(probes))
    else:
        store.check(torch.arange(store.n), progress)
    return store


def _removed(path: Path) -> bool:
    """Remove a file unless somebody uses it; return whether it is gone."""
    if os.name == "nt":  # pragma: no cover (what is open cannot be removed there)
        with suppress(OSError):
            path.unlink()
        return not path.exists()
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not hold(file, alone=True):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(file)
    return True


@contextmanager
def _one_at_a_time(place: Path) -> Iterator[None]:
    """Let one process at a time look at a folder and begin a file, where the system can do that."""
    if os.name == "nt":  # pragma: no cover (folders cannot be opened there)
        yield
        return
    folder = os.open(place, os.O_RDONLY)
    try:
        hold(folder, alone=True, wait=True)
        yield
    finally:
        os.close(folder)


def _is_being_written(path: Path) -> bool:
    """Return whether somebody holds a temporary file, and has written to it not too long ago."""
    try:
        return time.time() - path.stat().st_mtime < _OLD and is_held(path)
    except OSError:
        return False


def _sweep(place: Path) -> None:
    """Remove what processes that were killed have left half written."""
    for path in place.glob(f".*{_SUFFIX}"):
        with suppress(OSError):
            old = time.time() - path.stat().st_mtime > _OLD
            if is_left_over(path) and (old or was_written_here(path)):
                _removed(path)


def _unwritten(path: Path, needed: int, reason: str) -> InputError:
    return InputError(
        f"The working file of the particles, {needed / 2**30:.1f} GiB in {path}, cannot be written "
        f"({reason}): free some room, name another folder in the environment variable {VARIABLE}, "
        "or choose a smaller working box or fewer particles."
    )
