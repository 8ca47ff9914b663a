"""Runs that are killed on their way, and what tells whether they came to the same end."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine import events
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.lock import Owner
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import DirectStage, MarginalStage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.run.reconstruction import Reconstruction
    from napari_cryospin.engine.runfolder.folder import RunFolder


def shortest(stack: Path) -> Settings:
    """Return settings of a run of a second: two starts, then auto-decoding after a search."""
    settings = Settings.from_preset("default")
    settings.threads, settings.starts = 1, 2
    settings.data.stack, settings.data.box = stack, 32
    settings.data.max_particles = 160
    settings.stages = [
        MarginalStage(nside=2, epochs=1, until="epochs", batch_size=40),
        DirectStage(
            epochs=2,
            batch_size=80,
            pose_steps=2,
            volume_update="closed form",
            hypotheses=2,
            searches=1,
        ),
    ]
    return settings


def kill(run: Reconstruction, when: Callable[[Event], bool]) -> list[Event]:
    """Let a run go no further than an event, and leave its folder as a killed process does."""
    seen: list[Event] = []
    stream = run.run()
    for event in stream:
        seen.append(event)
        if when(event):
            break
    else:
        raise AssertionError(f"the run came to its end: {seen[-1]}")
    stream.close()
    if run.folder.path.is_dir():
        dead = replace(Owner.present(), started="1")
        (run.folder.path / names.LOCK).write_text(json.dumps(asdict(dead)))
        (run.folder.path / ".map.0123456789abcdef.writing.mrc").write_text("half")
    if run.folder.events_path.exists():
        with run.folder.events_path.open("a") as file:
            file.write('{"event": "Batch')
    return seen


def is_same(run: RunFolder, whole: RunFolder) -> bool:
    """Return whether two runs have the same maps, poses and figures, bit by bit.

    Which checkpoints are kept depends on when they were written.
    """
    maps = [name for name in listed(whole) if name.endswith(".mrc")]
    poses = [name for name in listed(whole) if name.endswith(".npy")]
    return (
        results(run) == results(whole)
        and all(np.array_equal(read(run, name), read(whole, name)) for name in maps)
        and all((run.path / n).read_bytes() == (whole.path / n).read_bytes() for n in poses)
        and figures(run) == figures(whole)
        and run.verdict() == whole.verdict()
    )


def read(run: RunFolder, name: str) -> np.ndarray:
    return read_map(run.path / name)[0]


def listed(run: RunFolder) -> list[str]:
    return sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*"))


def results(run: RunFolder) -> list[str]:
    return [name for name in listed(run) if not name.startswith("checkpoints")]


def figures(run: RunFolder) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics()]


def content(run: RunFolder) -> dict[str, bytes]:
    return {name: (run.path / name).read_bytes() for name in listed(run) if "." in name}


def count(kind: type[Event], number: int) -> Callable[[Event], bool]:
    """Return what is true of the so-many-th event of a kind."""
    left = [number]

    def here(event: Event) -> bool:
        left[0] -= isinstance(event, kind)
        return left[0] == 0 and isinstance(event, kind)

    return here


def searching(event: Event) -> bool:
    """Return whether poses are being searched."""
    begun = isinstance(event, events.Progress) and event.task.startswith("Searching poses")
    return begun and event.done > 0
