"""Damaged files of run folders: each is read, or refused in one sentence, quickly.

``python benchmarks/fuzz_runs.py FOLDER [--number 5000] [--seed 0]`` makes a small run in FOLDER and
damages one file of a copy at a time: bits, bytes and lines, and values within tables, JSON, TOML,
poses and checkpoints. Everything that reads a run then looks at it, in a process of its own with
bounded memory: settings, figures, verdict, checkpoints, poses, trajectories, the snapshot that the
window shows, the survey, the evaluation, and a resume to its end. What ends in anything but a
result or one sentence, takes 2 s more than undamaged or over 500 MiB is kept in FOLDER/found,
under a name that says where it failed. Needs a system that can fork.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from fuzzing.run_files import damage
from machine import description, write_table

from napari_cryospin.engine import events
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.run.checkpoint_reading import read_last_checkpoint
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import Snapshot, read_epoch, read_snapshot
from napari_cryospin.engine.run.survey import survey_epoch
from napari_cryospin.engine.run.trajectories import TrajectoryReader
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import recorded_epochs
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NUMBER = 5000
SECONDS, MEBIBYTES = 2.0, 500
# of wall-clock time: something waits for ever
_MOST_SECONDS = 60


def make_run(folder: Path) -> Path:
    """Make the run that is damaged: every inference, two checkpoints, the last one mid-way."""
    run = folder / "run"
    if run.exists():
        return run
    stack = folder / "stack"
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, stack, n_particles=40, pixel_size=4.0, snr=1.0, shift_std=0.0, seed=7)
    settings = Settings(starts=1, threads=1, device="cpu")
    settings.data.stack = stack / "particles.star"
    settings.data.truth_star, settings.data.truth_map = stack / "truth.star", stack / "truth.mrc"
    settings.data.box, settings.model.encoder_width, settings.model.heads = 32, 4, 2
    settings.stages = [
        AmortizedStage(epochs=1),
        MarginalStage(epochs=1, nside=2, until="epochs"),
        DirectStage(epochs=2, pose_steps=1),
    ]
    *_, last = Reconstruction(settings, run).run()
    assert isinstance(last, events.Finished), last
    # so that a resume has something left to do
    RunFolder(run).checkpoints()[-1].unlink()
    return run


class Watch:
    """Looks at things, and raises what is neither a result nor one sentence, or takes too long.

    Parameters
    ----------
    usual
        Seconds of processor time that each look takes where nothing is damaged, by its name.
    """

    def __init__(self, usual: dict[str, float]) -> None:
        self.usual = usual
        self.seconds: dict[str, float] = {}

    def look(self, name: str, work: Callable[[], object]) -> None:
        """Look at one thing."""
        started = time.process_time()
        try:
            work()
        except InputError as error:
            if "\n" in str(error) or not str(error).strip():
                raise AssertionError(f"not one sentence: {error}") from error
        seconds = self.seconds[name] = time.process_time() - started
        if seconds > SECONDS + self.usual.get(name, math.inf):
            raise TimeoutError(f"{name} took {seconds:.1f} s")


def look(
    run: Path, stack_folder: Path, whole: Snapshot, watch: Watch, kind: str | None = None
) -> None:
    """Look at a run in every way.

    ``kind`` is what was damaged: what takes long, and reads nothing of it, is left out.
    """
    folder = RunFolder(run)
    watch.look("settings", folder.settings)
    watch.look("verdict", folder.verdict)
    watch.look("metrics", folder.metrics)
    watch.look("checkpoint", lambda: read_last_checkpoint(folder, torch.device("cpu")))
    watch.look("snapshot", lambda: read_snapshot(folder, whole.particles))
    watch.look("trajectory", lambda: TrajectoryReader(folder).read(3, 1))
    last = recorded_epochs(folder)[-1:]
    if last and kind in (None, names.VOLUMES, names.POSES):
        watch.look("epoch", lambda: read_epoch(folder, last[0], whole.particles, whole.truth))
        watch.look(
            "survey", lambda: survey_epoch(folder, last[0], whole.particles, whole.truth, probes=2)
        )
    true = stack_folder / "truth.star", stack_folder / "truth.mrc"
    if kind in (None, names.STAR, names.MAP):
        watch.look("evaluation", lambda: evaluate(folder.star_path, folder.map_path, *true))
    story: list[events.Event] = []
    resumed: list[Generator[events.Event, None, None]] = []
    watch.look("resume", lambda: _until_training(run, resumed, story))
    if resumed and kind in (None, names.CHECKPOINTS):
        # what was read must be fit to go on with
        story += resumed[0]
    for stream in resumed:
        stream.close()
    last_event = story[-1] if story else None
    if isinstance(last_event, events.Failed) and not last_event.bad_input:
        raise Unexpected(last_event.details)


def _until_training(
    run: Path, resumed: list[Generator[events.Event, None, None]], story: list[events.Event]
) -> None:
    resumed.append(Reconstruction.resume(run).run())
    for event in resumed[0]:
        story.append(event)
        if isinstance(event, events.RunStarted):
            return
    if isinstance(story[-1], events.Failed) and story[-1].bad_input:
        raise InputError(story[-1].message)


class Unexpected(Exception):
    """A resume failed, and nobody expected it; holds its traceback."""


def where(details: str) -> str:
    """Return the error of a traceback and the last place in the package, as part of a name."""
    lines = [line for line in details.splitlines() if line.strip()]
    places = [
        line for line in lines if "napari_cryospin" in line and line.strip().startswith("File")
    ]
    place = "nowhere"
    if places:
        words = places[-1].split('"')
        place = f"{Path(words[1]).stem}-{words[2].split('in ')[-1].strip()}"
    errors = [line for line in lines if line[:1].isalpha() and not line.startswith("Traceback")]
    kind = errors[-1].split(":")[0].split(".")[-1] if errors else "error"
    return f"{kind}-at-{place}"[:80]


def in_child(work: Callable[[], None]) -> str:
    """Do something in a child with bounded memory; return what went wrong, or nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, _watched(work).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        told = file.read().decode()
    _, status = os.waitpid(child, 0)
    return f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else told


def _watched(work: Callable[[], None]) -> str:
    signal.alarm(_MOST_SECONDS)
    own = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + 3 * MEBIBYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        work()
    except BaseException:
        return traceback.format_exc()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - own.ru_maxrss) / 1024
    return f"large: {grown:.0f} MiB" if grown > MEBIBYTES else ""


def campaign(folder: Path, number: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Damage so many files; return how many there were of each kind, and what went wrong."""
    torch.set_num_threads(1)
    run = make_run(folder)
    files = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())
    kinds = sorted({path.name if path.parent == Path() else str(path.parent) for path in files})
    whole = read_snapshot(RunFolder(run))
    tried: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    copy = folder / "copy"
    usual = _usual(run, copy, folder / "stack", whole)
    for trial in range(number):
        rng = random.Random(f"{seed} {trial}")
        kind = rng.choice(kinds)
        chosen = rng.choice([p for p in files if kind in (p.name, str(p.parent))])
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        how = damage(copy / chosen, rng)
        tried[f"{kind}, {how}"] += 1
        data = (copy / chosen).read_bytes()
        told = in_child(partial(look, copy, folder / "stack", whole, Watch(usual), kind))
        if told:
            name = where(told) if "\n" in told else told.split(":")[0].replace(" ", "-")
            wrong[f"{kind}: {name}"] += 1
            found = folder / "found"
            found.mkdir(exist_ok=True)
            (found / f"{kind}_{name}_{seed}-{trial}{chosen.suffix}").write_bytes(data)
            (found / f"{kind}_{name}_{seed}-{trial}.txt").write_text(told)
        if (trial + 1) % 100 == 0:
            print(f"{trial + 1}: {sum(wrong.values())} ended badly", flush=True)
    return tried, wrong


def _usual(run: Path, copy: Path, stack: Path, whole: Snapshot) -> dict[str, float]:
    """Return what every look takes where nothing is damaged, in a child like those to come."""

    def measure() -> None:
        watch = Watch({})
        look(copy, stack, whole, watch)
        copy.with_suffix(".json").write_text(json.dumps(watch.seconds))

    # what is made once for all, such as grids of poses, is not made anew in every child
    for at_once in (True, False):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        told = measure() if at_once else in_child(measure)
        assert not told, told
    usual: dict[str, float] = json.loads(copy.with_suffix(".json").read_text())
    return usual


def main() -> None:
    """Run the campaign and write its table; the exit code says whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the run and what is found")
    parser.add_argument("--number", type=int, default=NUMBER, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    arguments = parser.parse_args()
    machine = description()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    tried, wrong = campaign(folder, arguments.number, arguments.seed)
    lines = ["| file, what was changed | damaged | ended badly |", "|---|---|---|"]
    for kind, count in sorted(tried.items()):
        file = kind.split(", ")[0]
        bad = sum(each for name, each in wrong.items() if name.startswith(f"{file}: "))
        lines.append(f"| {kind} | {count} | {bad} |")
    total = sum(wrong.values())
    lines += [
        "",
        f"{sum(tried.values())} damaged files, seed {arguments.seed}: {total} ended badly.",
    ]
    lines += [f"- {name}: {count}" for name, count in wrong.most_common()]
    write_table("fuzz_runs", "Damaged files of run folders", lines, machine)
    sys.exit(bool(total))


if __name__ == "__main__":
    main()
