"""Runs that are killed at random moments, and processes that want the same folder.

``python benchmarks/crashes.py FOLDER [kills|writers]`` makes a small stack and a run that nobody
disturbs in FOLDER, then kills runs at random moments (uniform over their duration, at their writes,
in their start-up), up to three times each, until they end; and lets two or three processes loose on
one folder. Each trial is a line of a CSV file in ``results/``; what is there already is not run
again. Without a set it does both. One core is enough; needs a system that can fork.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cases import COMMAND
from forked_command import ended, most_writers, started
from machine import write_table
from results_file import ResultsFile

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.place import what_is_in
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import DirectStage, MarginalStage
from napari_cryospin.engine.sums.quadrature import cell_rotations

KILLS, WRITERS = 100, 50
MOST_KILLS = 3
# of ten trials, so many are killed at a moment of their time, at a write, in their start-up
_MOMENTS = ("time",) * 5 + ("write",) * 4 + ("start",)
KILLED = ResultsFile(
    "crashes_kills", ("trial",), ("moment", "kills", "commands", "held", "same", "seconds")
)
RACED = ResultsFile(
    "crashes_writers",
    ("trial",),
    ("processes", "killed", "delay", "exits", "most_writers", "same", "seconds"),
)


@dataclass(frozen=True)
class Bench:
    """Where things are, and the run that nobody disturbed."""

    folder: Path
    seconds: float
    writes: int

    def command(self, out: Path, trial: int = 0) -> list[str]:
        """Return the arguments of the run, into a folder; every other trial has few checkpoints."""
        own = ["--settings", str(self.folder / f"settings_{trial % 2}.toml")]
        return [
            "reconstruct",
            str(self.folder / "stack" / "particles.star"),
            "--out",
            str(out),
            *own,
        ]

    def same(self, out: Path) -> bool:
        """Return whether maps, poses and all that was recorded are those of the undisturbed run."""
        whole = self.folder / "whole"
        same = [
            (out / name).read_bytes() == (whole / name).read_bytes()
            for name in (names.VERDICT, names.FSC)
        ]
        # the first line of a star file and the header of a map hold the time
        same.append(_lines(out) == _lines(whole))
        maps = [names.MAP, *names.HALF_MAPS, *_names(whole, names.VOLUMES)]
        same += [(out / n).read_bytes()[1024:] == (whole / n).read_bytes()[1024:] for n in maps]
        poses = _names(whole, names.POSES)
        same += [(out / n).read_bytes() == (whole / n).read_bytes() for n in poses]
        same += [_names(out, part) == _names(whole, part) for part in (names.VOLUMES, names.POSES)]
        same.append(_figures(out) == _figures(whole))
        same.append(not list(out.rglob(".*")))
        return all(same)


def _lines(run: Path) -> list[str]:
    return (run / names.STAR).read_text().splitlines()[1:]


def _names(run: Path, part: str) -> list[str]:
    return sorted(f"{part}/{path.name}" for path in (run / part).iterdir())


def _figures(run: Path) -> list[list[str]]:
    """Return the rows of metrics.csv without the seconds."""
    rows = [line.split(",") for line in (run / names.METRICS).read_text().splitlines()]
    seconds = rows[0].index("seconds")
    return [row[:seconds] + row[seconds + 1 :] for row in rows]


def prepared(folder: Path) -> Bench:
    """Make the stack, the settings and the undisturbed run."""
    folder.mkdir(parents=True, exist_ok=True)
    for nside in (2, 4, 8):
        cell_rotations(nside)
    if not (folder / "stack" / "particles.star").exists():
        volume = procedural_molecule(box=32, pixel_size=4.0)
        # in a process of its own: this one forks, and must have used no threads
        child = os.fork()
        if not child:
            simulate(volume, folder / "stack", n_particles=160, pixel_size=4.0, snr=1.0, seed=3)
            os._exit(0)
        ended(child)
    settings = Settings.from_preset("default")
    settings.threads, settings.starts = 1, 2
    settings.data.box = 32
    settings.stages = [
        MarginalStage(nside=2, epochs=2, until="epochs", batch_size=30),
        MarginalStage(nside=4, epochs=1, until="epochs", quadrature="importance"),
        DirectStage(
            epochs=2,
            batch_size=40,
            volume_update="closed form",
            hypotheses=3,
            searches=1,
            learning_rate_pose=0.03,
        ),
    ]
    # a checkpoint after almost every batch, and none in the course of an epoch
    for number, minutes in enumerate((0.001, 60.0)):
        settings.checkpoint_minutes = minutes
        (folder / f"settings_{number}.toml").write_text(settings.to_toml())
    shutil.rmtree(folder / "whole", ignore_errors=True)
    bench = Bench(folder, 0.0, 0)
    began = time.monotonic()
    log = folder / "whole.log"
    if ended(started(bench.command(folder / "whole"), log)):
        raise SystemExit(f"The undisturbed run failed: see {log}.")
    seconds = time.monotonic() - began
    return Bench(folder, seconds, int(log.with_suffix(".writes").read_text()))


def killed_run(bench: Bench, trial: int) -> dict[str, object]:
    """Kill a run up to three times, and let it go on each time; return what came of it."""
    chance = random.Random(trial)
    place = bench.folder / f"kill_{trial}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    out, began = place / "run", time.monotonic()
    moment = _MOMENTS[trial % len(_MOMENTS)]
    wanted = chance.randint(1, MOST_KILLS)
    kills, used, held, code = 0, ["same"], [], 1
    arguments = bench.command(out, trial)
    while True:
        die = kills < wanted
        code = _one(bench, place, arguments, moment if die else "", chance)
        if code == 0:
            break
        if code != -signal.SIGKILL:
            if "holds a run already" not in (place / "log").read_text():
                raise SystemExit(f"Trial {trial} ended with {code}: see {place}.")
            arguments = [*bench.command(out, trial), "--resume"]
            used[-1] += " refused"
            used.append("resume")
            continue
        kills += 1
        held.append(what_is_in(out).value)
        used.append(chance.choice(("same", "same+resume", "resume")))
        arguments = bench.command(out, trial)
        if used[-1] == "same+resume":
            arguments.append("--resume")
        elif used[-1] == "resume" and (out / names.SETTINGS).exists():
            arguments = ["reconstruct", "--out", str(out), "--resume"]
    same = bench.same(out)
    # a finished run has nothing left to do
    again = ended(started(["reconstruct", "--out", str(out), "--resume"], place / "log"))
    same = same and again == 0 and bench.same(out)
    if same:
        shutil.rmtree(place)
    return {
        "moment": moment,
        "kills": kills,
        "commands": " → ".join(used),
        "held": " ".join(held),
        "same": same,
        "seconds": f"{time.monotonic() - began:.1f}",
    }


def _one(
    bench: Bench, place: Path, arguments: list[str], moment: str, chance: random.Random
) -> int:
    """Run the command, and kill it at some moment, or not; return its exit code."""
    log = place / "log"
    if moment == "start":
        with (
            log.open("w") as file,
            subprocess.Popen([*COMMAND, *arguments], stdout=file, stderr=file) as process,
        ):
            # importing takes as long as all the rest where the machine is busy
            time.sleep(chance.uniform(0, 2 * bench.seconds))
            process.kill()
        return process.returncode
    steps = chance.randint(1, bench.writes) if moment == "write" else None
    child = started(arguments, log, steps)
    if moment == "time":
        time.sleep(chance.uniform(0, bench.seconds))
        os.kill(child, signal.SIGKILL)
    return ended(child)


def race(bench: Bench, trial: int) -> dict[str, object]:
    """Let two or three processes loose on one folder; return what came of it."""
    chance = random.Random(10_000 + trial)
    place = bench.folder / f"race_{trial}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    out, began = place / "run", time.monotonic()
    delay = chance.choice((0.0, chance.uniform(0, bench.seconds)))
    kill = trial % 2 == 1
    children = [started(bench.command(out), place / "log0")]
    time.sleep(delay)
    if kill:
        # two find the same dead owner
        os.kill(children[0], signal.SIGKILL)
    resume = [*bench.command(out), "--resume"]
    for number in range(1, 3 if kill else 2):
        arguments = chance.choice((bench.command(out), resume))
        children.append(started(arguments, place / f"log{number}"))
    exits = [ended(child) for child in children]
    if 0 not in exits and ended(started(resume, place / "log9")):
        raise SystemExit(f"Race {trial} could not be resumed: see {place}.")
    for number, code in enumerate(exits):
        log = place / f"log{number}"
        # one that was killed at once has told nothing
        told = log.read_text() if log.exists() else ""
        refused = "is being written by" in told or "holds a run already" in told
        if code not in (0, -signal.SIGKILL) and not (code == 2 and refused):
            raise SystemExit(f"Race {trial}, process {number} ended with {code}: see {place}.")
    result = {
        "processes": len(children),
        "killed": int(kill),
        "delay": f"{delay:.2f}",
        "exits": " ".join(map(str, exits)),
        "most_writers": most_writers(place / "locks"),
        "same": bench.same(out),
        "seconds": f"{time.monotonic() - began:.1f}",
    }
    if result["same"] and result["most_writers"] == 1:
        shutil.rmtree(place)
    return result


def write_tables() -> None:
    """Write the table of both sets."""
    kills, races = KILLED.rows(), RACED.rows()
    lines = [
        "| moment | runs | kills | before the first checkpoint | bit-equal in the end |",
        "|---|---|---|---|---|",
    ]
    for moment in dict.fromkeys(_MOMENTS):
        rows = [row for row in kills if row["moment"] == moment]
        early = sum(word != "run" for row in rows for word in row["held"].split())
        number = sum(int(row["kills"]) for row in rows)
        same = sum(row["same"] == "True" for row in rows)
        lines.append(f"| {moment} | {len(rows)} | {number} | {early} | {same} |")
    lines += [
        "",
        "| processes on one folder | trials | most writers | bit-equal in the end |",
        "|---|---|---|---|",
    ]
    for killed, name in (("0", "two"), ("1", "two, after the first was killed")):
        rows = [row for row in races if row["killed"] == killed]
        most = max((int(row["most_writers"]) for row in rows), default=0)
        same = sum(row["same"] == "True" for row in rows)
        lines.append(f"| {name} | {len(rows)} | {most} | {same} |")
    machine = (kills or races)[-1]["machine"]
    write_table("crashes", "Runs that were killed, and processes on one folder", lines, machine)


def main() -> None:
    """Run what is not there yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("set", nargs="?", choices=("kills", "writers"))
    arguments = parser.parse_args()
    wanted = [
        (KILLED, killed_run, KILLS, "kills"),
        (RACED, race, WRITERS, "writers"),
    ]
    bench = prepared(arguments.folder.absolute())
    print(f"undisturbed: {bench.seconds:.1f} s, {bench.writes} steps of writes", flush=True)
    for results, work, number, name in wanted:
        for trial in range(number):
            if arguments.set in (None, name) and not results.has((str(trial),)):
                results.add((str(trial),), work(bench, trial))
    write_tables()


if __name__ == "__main__":
    main()
