"""Short runs that are branched, and branches of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disturbed import figures, listed, read
from napari_cryospin.engine import events
from napari_cryospin.engine.run.branching import make_branch
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.stages import AmortizedStage, DirectStage

if TYPE_CHECKING:
    from pathlib import Path


ENCODING, DECODING = 3, 2
TOGETHER = ENCODING + DECODING
EVERY = list(range(1, TOGETHER + 1))


def stages() -> list[Any]:
    return [
        AmortizedStage(
            epochs=ENCODING, learning_rate_encoder=1e-3, learning_rate_volume=2e-2, batch_size=40
        ),
        # from the candidates of the heads, so that they matter
        DirectStage(epochs=DECODING, learning_rate_volume=1e-2, hypotheses=2, batch_size=40),
    ]


def go_on(folder: Path) -> list[events.Event]:
    """Run a branch to its end, and return what it told."""
    told = list(Reconstruction.resume(folder).run())
    assert isinstance(told[-1], events.Finished), told[-1]
    return told


def branch(run: RunFolder, at: int, out: Path, **how: Any) -> RunFolder:
    """Make a branch, and run it to its end."""
    make_branch(run.path, at, out, **how)
    go_on(out)
    return RunFolder(out)


def is_same(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs came to the same maps, poses and figures, bit by bit."""
    maps, poses = (
        [name for name in listed(other) if name.endswith(suffix)] for suffix in (".mrc", ".npy")
    )
    assert len(maps) > 3 and len(poses) >= TOGETHER - 1
    return (
        figures(one) == figures(other)
        and all(np.array_equal(read(one, name), read(other, name)) for name in maps)
        and all((one.path / n).read_bytes() == (other.path / n).read_bytes() for n in poses)
        and one.verdict() == other.verdict()
    )


def inferences(run: RunFolder) -> list[str]:
    return [row["inference"] for row in run.metrics()]


def whole(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}
