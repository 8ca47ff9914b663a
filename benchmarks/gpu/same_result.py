"""The preset `default` on the same stack on the CPU and on a device, and how alike they are.

Sums on a GPU are made in another order, so the two runs are not equal to the last bit; their maps,
poses and verdicts should be as alike as those of two runs of one device.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np
from tables import Deadline, Table, arguments

from napari_cryospin.engine import events
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.evaluation.alignment import align_rotations, apply_alignment
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate

_COLUMNS = ("device", "seconds", "epochs", "verdict", "mean pose error, °", "median, °")
_SIMULATED_BOX, _PIXEL_SIZE, _SNR = 64, 4.0, 0.3


def main() -> None:
    """Run on the device and on the CPU, and compare."""
    options = arguments(__doc__ or "", 2000, 32)
    title = f"Preset default on {options.particles} particles of {options.box} px, two devices"
    columns = (*_COLUMNS, "FSC 0.5, share of Nyquist")
    table = Table(options.out / "same_result.md", title, columns, options.device)
    deadline = Deadline(options.seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume = procedural_molecule(_SIMULATED_BOX, _PIXEL_SIZE)
        simulate(
            volume,
            folder / "stack",
            n_particles=options.particles,
            pixel_size=_PIXEL_SIZE,
            snr=_SNR,
        )
        places = list(dict.fromkeys((options.device, "cpu")))
        ended = [_run(folder, place, options.box, table, deadline) for place in places]
        if all(ended):
            _compare(folder, places[0], places[-1], table)


def _run(folder: Path, device: str, box: int, table: Table, deadline: Deadline) -> bool:
    """Run on a device; return whether it came to its end in the time."""
    settings = Settings.from_preset("default")
    settings.device, settings.data.box = device, box
    settings.data.stack = folder / "stack" / "particles.star"
    run, out = None, folder / device.replace(":", "_")
    run = Reconstruction(settings, out)
    began, epochs = time.monotonic(), 0
    for event in run.run():
        epochs += isinstance(event, events.EpochDone)
        if deadline.passed:
            run.controls.stop()
    seconds = time.monotonic() - began
    if not isinstance(event, events.Finished) or event.stopped:
        what = event.message if isinstance(event, events.Failed) else "the time was up"
        table.add(device, seconds, epochs, what, "", "", "")
        return False
    stack = folder / "stack"
    found = evaluate(
        run.folder.star_path, run.folder.map_path, stack / "truth.star", stack / "truth.mrc"
    )
    table.add(
        device,
        seconds,
        epochs,
        event.verdict.outcome if event.verdict else "none",
        found.mean_pose_error_deg,
        found.median_pose_error_deg,
        found.fsc_fraction_of_nyquist,
    )
    return True


def _compare(folder: Path, first: str, second: str, table: Table) -> None:
    """Tell how alike poses and maps of two runs are, in one frame."""
    outs = [RunFolder(folder / name.replace(":", "_")) for name in (first, second)]
    poses = [read_star(out.star_path).rotations for out in outs]
    alignment = align_rotations(*poses)
    maps = [_map(out.map_path) for out in outs]
    aligned = apply_alignment(maps[0], alignment, np.zeros(3))
    correlation = np.corrcoef(aligned.ravel(), maps[1].ravel())[0, 1]
    table.note(
        f"Between {first} and {second}: poses differ by {alignment.mean:.2f}° in the mean and "
        f"{alignment.median:.2f}° in the median, the maps correlate to {correlation:.4f}."
    )


def _map(path: Path) -> np.ndarray:
    with mrcfile.open(path) as file:
        return np.array(file.data)


if __name__ == "__main__":
    main()
