"""What a run needs of memory, against what is free, before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.plan import Plan
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.inference.memory_needs import FLOAT, GRIDS, grid_bytes
from napari_cryospin.engine.kernels.choice import has_numba
from napari_cryospin.engine.run.told_candidates import OTHERS
from napari_cryospin.engine.stages import encodes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.settings import Settings

GIB = 2.0**30
# copies of the images in memory while they are prepared, and afterwards
_COPIES_READING, _COPIES = 1.02, 1.0
# raw images in memory at a time, and their intermediates
_READING = 0.45 * GIB
# the kernels' compiler with what it has compiled
_COMPILER = 0.25 * GIB
# floats of a particle's pose, and of one of its candidates
_POSE, _CANDIDATE = 16, 12
# copies of the poses: their table, the events, the record
_POSE_COPIES = 4
# grids of (D+1)³ that judging takes: of one class after the other, whose transforms are twice as
# wide, and of all; and those that are kept of the map of each start until the best one goes on
_GRIDS_OF_JUDGED, _GRIDS_OF_CLASS, _GRIDS_OF_START = 132, 8, 6
_MODES = 8
# less free than so much of the need is clearly not enough; less than so much is tight
_CLEARLY, _TIGHT = 0.7, 1.3


@dataclass(frozen=True)
class MemoryNeed:
    """What a run needs at its peak, bytes, of the computer's memory and of its device's.

    On the CPU all of it is ``host``, and ``device`` is 0.
    """

    host: float
    device: float


def estimate_memory(
    settings: Settings,
    n: int,
    box: int,
    pixel_size: float,
    device: torch.device,
    *,
    on_disk: bool = False,
) -> MemoryNeed:
    """Return what a run is expected to need beyond what the program takes already.

    The constants were measured; see ``benchmarks/memory_peaks.py``.

    Parameters
    ----------
    settings
        Settings of the run.
    n
        Number of particles.
    box, pixel_size
        Working box, pixels, and its Å per pixel.
    device
        Where the run trains.
    on_disk
        Whether the working images live on disk.
    """
    images = 0 if on_disk else n * box**2 * FLOAT
    proposed, told = _candidates(settings)
    made = [(stage.inference.implementation(), stage) for stage in settings.stages]
    floats = _POSE + _CANDIDATE * told + max(each.remembers for each, _ in made)
    poses = n * floats * FLOAT
    # the table alone, and what is told where that is little, hold all that an encoder proposes
    more = n * _CANDIDATE * (proposed - told) * FLOAT
    grid, model = grid_bytes(box), settings.model
    maps, starts = model.classes * grid, settings.n_starts if settings.n_starts > 1 else 0
    kept = [each.memory_kept(stage, model, box) for each, stage in made]
    needs = [each.memory_needed(stage, model, box, device) for each, stage in made]
    stages = [sum(both) for both in zip(kept, needs, strict=True)]
    # the starts are let go of where the first stage ends
    stages[0] += starts * (poses + more + _GRIDS_OF_START * maps)
    results = _GRIDS_OF_JUDGED * grid + _GRIDS_OF_CLASS * maps
    reading = _COPIES_READING * images + _READING
    training = _COPIES * images + _POSE_COPIES * poses + more + GRIDS * maps
    training += max(*stages, kept[-1] + results)
    if device.type == "cpu":
        return MemoryNeed(max(reading, training) + _COMPILER * has_numba(), 0.0)
    events = _POSE_COPIES * poses + results
    return MemoryNeed(max(reading, events), training)


def _candidates(settings: Settings) -> tuple[int, int]:
    """Return how many candidates a particle has, and how many of them are told and recorded."""
    model = settings.model
    turns = model.turns if encodes(settings.stages) and model.encoder == "polar" else 1
    proposed = max(model.heads * turns, _MODES)
    return proposed, min(proposed, max(model.heads + OTHERS, _MODES))


def require_memory(
    settings: Settings, table: ParticleTable, device: torch.device, *, on_disk: bool = False
) -> tuple[str, ...]:
    """Compare what a run needs with what is free; return notes where it is tight.

    Raises
    ------
    InputError
        If there is clearly not enough.
    """
    plan = Plan.of(table, settings.data)
    n, box, pixel_size = plan.n, plan.box, plan.sizes.pixel_size
    need = estimate_memory(settings, n, box, pixel_size, device, on_disk=on_disk)
    asked = [(need.host, free_memory(), "RAM"), (need.device, free_on(device), str(device))]
    kept_in_memory = settings.data.particles_in == "memory"
    notes = [_weigh(*each, n=n, box=box, kept=kept_in_memory) for each in asked]
    return tuple(note for note in notes if note)


def _weigh(
    needed: float, free: float | None, where: str, *, n: int, box: int, kept: bool
) -> str | None:
    if free is None or needed < GIB / 4 or free >= _TIGHT * needed:
        return None
    figures = (
        f"{n:,} particles of {box} px need about {needed / GIB:.1f} GiB of "
        f"{'memory (RAM)' if where == 'RAM' else f'memory on {where}'}, and {free / GIB:.1f} GiB "
        "are free"
    )
    remedies = "choose a smaller working box, fewer particles or smaller batches"
    if kept and where == "RAM":
        remedies = f"let the working images live on disk, {remedies}"
    if free < _CLEARLY * needed:
        other = "close other programs" if where == "RAM" else "the device cpu"
        raise InputError(f"There is not enough memory: {figures}; {remedies}, or {other}.")
    return f"Memory is tight: {figures}; should the run fail, {remedies}."


def free_on(device: torch.device) -> float | None:
    """Return the free bytes of a device's memory; None where that is not known."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    # what torch holds and does not use is free too
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def free_memory(root: Path = Path("/")) -> float | None:
    """Return the bytes of RAM that this process can still get; None where that is not known.

    The least of what the computer has available and of what its control groups leave (a cluster's
    job, a container).

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.
    """
    limits = [*_available(root / "proc" / "meminfo"), *_left_in_groups(root)]
    return min(limits, default=None)


def _available(path: Path) -> list[float]:
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable" and rest.split():
            return [1024.0 * number for number in _numbers(rest.split()[0])]
    return []


def _left_in_groups(root: Path) -> Iterable[float]:
    """Yield what the control groups of this process leave, of both versions."""
    base = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0":
            place, files = base, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            place = base / "memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = place / name.strip("/")
        # a limit of a group above counts too; in a container only its own group can be seen
        for group in (own, *own.parents):
            yield from _left(group, *files)
            if group == place:
                break


def _left(group: Path, limit: str, usage: str, cache: str) -> list[float]:
    limits, used = _numbers(_text(group / limit)), _numbers(_text(group / usage))
    if not limits or not used:
        return []
    # pages of files that nobody has looked at lately are given up first
    lines = (line.split() for line in _text(group / "memory.stat").splitlines())
    cached = sum(float(line[1]) for line in lines if len(line) == 2 and line[0] == cache)
    return [max(limits[0] - used[0] + cached, 0.0)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _numbers(text: str) -> list[float]:
    text = text.strip()
    return [float(text)] if text.isdecimal() else []
