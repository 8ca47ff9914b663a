"""How each program is run on a working stack, and what of its results is compared."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import starfile
from cases import COMMAND

from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS = 2
_SCRIPT = Path(__file__).with_name("aspire_script.py")


@dataclass(frozen=True)
class Outcome:
    """What a program came to.

    Parameters
    ----------
    star
        Particles with their poses.
    maps
        Seconds since the start and the map that was there by then, in order of time; the last
        map is the result.
    seconds
        The whole time.
    whole
        Whether the program came to its end; otherwise its time was up, and poses and maps are what
        it had by then.
    """

    star: Path
    maps: list[tuple[float, Path]]
    seconds: float
    whole: bool = True


class TooLongError(RuntimeError):
    """A program was ended by the limit of its time."""


@dataclass
class Commands:
    """Runs commands one after another within a time; their output goes to a log."""

    folder: Path
    limit: float
    started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, *words: object) -> None:
        """Run a command in the folder.

        Raises
        ------
        RuntimeError
            If it fails; the message has the end of its output.
        TooLongError
            If all commands together take longer than the limit, seconds.
        """
        threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        log = self.folder / "log.txt"
        with log.open("a") as file:
            process = subprocess.Popen(
                [str(word) for word in words],
                cwd=self.folder,
                env=os.environ | threads,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(self.started + self.limit - time.time())
            except subprocess.TimeoutExpired as error:
                # with the processes that it started
                os.killpg(process.pid, signal.SIGKILL)
                raise TooLongError(f"{words[0]} took longer than {self.limit:.0f} s") from error
        if process.returncode:
            raise RuntimeError(f"{words[0]} failed:\n" + log.read_text()[-1000:])

    def outcome(
        self, star: Path, maps: Sequence[Path], seconds: float | None = None, *, whole: bool = True
    ) -> Outcome:
        """Return the outcome now; maps are dated by their files."""
        dated = [(path.stat().st_mtime - self.started, path) for path in maps]
        seconds = time.time() - self.started if seconds is None else seconds
        return Outcome(self.folder / star, sorted(dated), seconds, whole)


def napari_cryospin(star: Path, folder: Path, box: int, seed: int, limit: float) -> Outcome:
    """Run the default preset."""
    commands = Commands(folder, limit)
    commands.run(
        *COMMAND, "reconstruct", star, "--box", box, "--seed", seed, "--out", folder / "run"
    )
    run = RunFolder(folder / "run")
    return commands.outcome(run.star_path, run.maps())


def relion(star: Path, folder: Path, box: int, seed: int, limit: float) -> Outcome:
    """Run RELION's initial model by SGD, then one pass of all particles for poses and map."""
    commands = Commands(folder, limit)
    pixel_size = float(starfile.read(star)["optics"]["rlnImagePixelSize"].iloc[0])
    # as fine as the box can tell, with a margin that RELION needs
    finest = f"{2.2 * pixel_size:.2f}"
    diameter = f"{0.9 * box * pixel_size:.1f}"
    (folder / "particles.mrcs").symlink_to(star.with_name("particles.mrcs"))
    (folder / "particles.star").write_text(star.read_text())
    common: list[object] = ["--ctf", "--flatten_solvent", "--zero_mask", "--sym", "C1"]
    common += ["--pad", 1, "--pool", 3, "--oversampling", 1]
    # the particles are centred, as every program is told
    common += ["--offset_range", 0, "--offset_step", 1, "--offset", 1]
    common += ["--dont_combine_weights_via_disc", "--j", THREADS, "--random_seed", seed + 1]
    common += ["--particle_diameter", diameter, "--i", "particles.star"]
    sgd = "--denovo_3dref --sgd --K 1 --healpix_order 1 --maxsig 200 --sgd_write_iter 10".split()
    one_pass = ["--ref", "sgd_it300_class001.mrc", "--ini_high", finest, "--iter", 1]
    try:
        commands.run("relion_refine", *common, *sgd, "--sgd_fin_resol", finest, "--o", "./sgd")
        commands.run("relion_refine", *common, *one_pass, "--healpix_order", 3, "--o", "./pass")
    except TooLongError:
        maps = sorted(folder.glob("sgd_it*_class001.mrc"))
        if not maps:
            raise
        star = maps[-1].name.replace("class001.mrc", "data.star")
        return commands.outcome(Path(star), maps, whole=False)
    maps = [*sorted(folder.glob("sgd_it*_class001.mrc")), folder / "pass_it001_class001.mrc"]
    return commands.outcome(Path("pass_it001_data.star"), maps)


def cryodrgn(star: Path, folder: Path, box: int, seed: int, limit: float, python: Path) -> Outcome:
    """Run cryoDRGN's ``abinit`` without heterogeneity."""
    commands = Commands(folder, limit)
    bin_folder = python.parent
    stack = star.with_name("particles.mrcs")
    program, utilities = bin_folder / "cryodrgn", bin_folder / "cryodrgn_utils"
    commands.run(program, "parse_ctf_star", star, "-o", "ctf.pkl")
    options = ["--ctf", "ctf.pkl", "--zdim", 0, "--no-trans", "--seed", seed, "-o", "abinit"]
    poses, whole = Path("abinit/pose.pkl"), True
    try:
        commands.run(program, "abinit", stack, *options, "--checkpoint", 1, "--no-analysis")
    except TooLongError:
        # epoch 0 trains the network on random poses
        written = sorted(folder.glob("abinit/pose.[1-9]*.pkl"), key=lambda p: p.stat().st_mtime)
        if not written:
            raise
        poses, whole = written[-1].relative_to(folder), False
    seconds = time.time() - commands.started
    star = ["--ctf", "ctf.pkl", "--poses", poses, "-o", "poses.star"]
    # writing what is there counts no more
    Commands(folder, limit).run(utilities, "write_star", stack, *star)
    maps = list(folder.glob("abinit/reconstruct.*.mrc"))
    return commands.outcome(Path("poses.star"), maps, seconds, whole=whole)


def aspire(star: Path, folder: Path, box: int, seed: int, limit: float, python: Path) -> Outcome:
    """Run ASPIRE's class averages, sync3n and mean volume."""
    commands = Commands(folder, limit)
    n = len(starfile.read(star)["particles"])
    # the time of sync3n grows with the cube of their number
    classes = ["--classes", min(n // 20, 100), "--neighbours", 50]
    commands.run(python, _SCRIPT, star, folder, *classes, "--seed", seed)
    seconds = time.time() - commands.started
    found = np.load(folder / "poses.npz")
    blocks = starfile.read(star)
    particles = blocks["particles"].iloc[found["rows"]].reset_index(drop=True)
    for name, column in zip(("Rot", "Tilt", "Psi"), found["angles"].T, strict=True):
        particles[f"rlnAngle{name}"] = column
    blocks["particles"] = particles
    starfile.write(blocks, folder / "poses.star", overwrite=True)
    (folder / "particles.mrcs").symlink_to(star.with_name("particles.mrcs"))
    # ASPIRE writes a stack of one map, and its CTF has the sign that makes particles black
    with mrcfile.open(folder / "map.mrc") as file:
        volume = -file.data.reshape(file.data.shape[-3:])
    with mrcfile.new(folder / "map.mrc", volume, overwrite=True) as file:
        file.voxel_size = float(blocks["optics"]["rlnImagePixelSize"].iloc[0])
    return commands.outcome(Path("poses.star"), [folder / "map.mrc"], seconds)
