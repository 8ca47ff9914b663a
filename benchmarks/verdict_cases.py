"""The stacks and options of the benchmark of verdicts: which runs come out right, and which not."""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mrcfile
from cases import CHAINS, COMMAND, DATA, MOLECULES, with_chains

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BOX, N, SNR = 64, 1500, 0.3
# runs that had been seen when the thresholds were chosen, by kind, molecule and seed
CALIBRATED_ON = (
    ("off-centre with shifts", "spike", "0"),
    ("junk 30 %", "spike", "0"),
    ("junk 50 %", "spike", "0"),
    ("belt of views", "spike", "0"),
    ("belt of views", "spliceosome", "0"),
    ("off-centre 5 %, no shifts", "30S", "0"),
    ("exact C4", "kinase", "0"),
    ("two states", "kinase", "0"),
    ("mates at SNR 0.03", "spike", "0"),
    # what a map with mates may leave of usual particles
    ("mates at SNR 0.1", "Hsp90", "0"),
    ("mates at SNR 0.1", "Hsp90", "1"),
    ("mates at SNR 0.1", "Hsp90", "2"),
    ("exact D2", "kinase", "0"),
    ("exact D2", "kinase", "1"),
    ("exact D2, junk 5 %", "kinase", "0"),
    # what another pixel size gains
    ("pixel size 1.1", "30S", "0"),
)
_OFTEN = ("spike", "spliceosome", "30S")
_NEXT = {"spike": "30S", "spliceosome": "50S", "30S": "spliceosome", "50S": "spike"}


@dataclass(frozen=True)
class Trial:
    """A stack and how it is reconstructed.

    Parameters
    ----------
    kind
        What is particular about it.
    molecule
        What it shows.
    seed
        Seed of the stack and of the run.
    cause
        The cause that a verdict should name where the run is wrong; "" where none is at fault.
    simulate, reconstruct
        Options of the two commands.
    n, snr
        Particles, and their signal-to-noise ratio at box 64.
    symmetry
        Point group that poses are compared modulo of.
    warning
        The warning that a verdict should give.
    second
        The other structure in the stack, and its share: no single map is right then.
    pixel_factor
        What the pixel size that the program is told is off by.
    """

    kind: str
    molecule: str
    seed: int = 0
    cause: str = ""
    simulate: tuple[str, ...] = ()
    reconstruct: tuple[str, ...] = ()
    n: int = N
    snr: float = SNR
    symmetry: str = "C1"
    warning: str = ""
    second: tuple[str, float] | None = None
    pixel_factor: float = 1.0

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other trials."""
        return self.kind, self.molecule, str(self.seed)

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return re.sub(r"[^\w.]+", "-", "_".join(self.key))

    def stack(self, folder: Path) -> Path:
        """Simulate the stack, unless it is there already, and return its folder."""
        target = folder / "stacks" / self.name
        if (target / "done").exists():
            return target
        source = _source(self.molecule, folder)
        words: list[object] = ["--box", BOX, "--n-particles", self.n, "--snr", self.snr]
        if self.second is not None:
            words += ["--second", _source(self.second[0], folder)]
            words += ["--second-share", self.second[1]]
        words += ["--seed", self.seed, *self.simulate, "--out", target]
        call([*COMMAND, "simulate", source, *words])
        (target / "done").touch()
        return target

    def run(self, folder: Path) -> Path:
        """Reconstruct, unless that is done already, and return the run folder."""
        stack, target = self.stack(folder), folder / "runs" / self.name
        if (target / "done").exists():
            return target
        files = ["--truth-star", stack / "truth.star", "--truth-map", stack / "truth.mrc"]
        if self.pixel_factor != 1:
            with mrcfile.open(stack / "truth.mrc", header_only=True) as truth:
                files = ["--pixel-size", self.pixel_factor * float(truth.voxel_size.x)]
        resume = ["--resume"] if target.exists() else []
        options = ["--box", 32, "--threads", 1, "--seed", self.seed, *self.reconstruct, *files]
        words = ["--out", target, *(resume or (stack / "particles.star", *options))]
        call([*COMMAND, "reconstruct", *words])
        (target / "done").touch()
        return target


def call(words: Iterable[object]) -> None:
    """Run a command; what it says is shown only where it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])


def _source(name: str, folder: Path) -> Path:
    """Return the file of a molecule; of some of its chains, as in "spike:AB"."""
    molecule, _, chains = name.partition(":")
    source = DATA / MOLECULES.get(molecule, molecule)
    chains = chains or CHAINS.get(molecule, "")
    return with_chains(source, chains, folder / "sources") if chains else source


# kinds of right runs that are made with two seeds
_TWICE = ("coloured noise", "optics", "junk 5 %")
_CENTRED, _MOVED = ("--no-shifts",), ("--shifts",)


def right_trials() -> list[Trial]:
    """Return the trials that are expected to come out right."""
    found: list[Trial] = []
    for seed in (0, 1):
        for molecule in (*_OFTEN, "50S"):
            found.append(Trial("clean", molecule, seed, reconstruct=_CENTRED))
            off = ("--off-centre", "0.03")
            found.append(Trial("off-centre with shifts", molecule, seed, "", off, _MOVED))
        for molecule in _OFTEN:
            for kind, options in (
                ("coloured noise", ("--noise", "coloured", "--ice", "0.15")),
                ("contrast", ("--contrast-spread", "0.3")),
                ("neighbours", ("--neighbours", "0.3")),
                ("optics", ("--envelope", "80", "--defocus-error", "150")),
                ("ramps", ("--ramp", "0.15", "--background", "0.15")),
                ("cap of views", ("--views", "cap", "--view-angle", "60")),
                ("junk 5 %", ("--junk", "0.05")),
            ):
                if seed and kind not in _TWICE:
                    continue
                found.append(Trial(kind, molecule, seed, "", options, _CENTRED))
            found.append(Trial("noisy", molecule, seed, reconstruct=_CENTRED, snr=0.1))
        for group in ("C4", "D2"):
            for molecule in ("kinase", "30S"):
                found.append(_symmetric(group, molecule, seed))
    found += [_symmetric(group, "spliceosome", 0) for group in ("C4", "D2")]
    found.append(_symmetric("C4", "30S", 0, ", contrast", "--contrast-spread", "0.3"))
    found.append(_symmetric("D2", "kinase", 0, ", junk 5 %", "--junk", "0.05"))
    found.append(_symmetric("C4", "spliceosome", 1, ", junk 5 %", "--junk", "0.05"))
    return found


def _symmetric(group: str, molecule: str, seed: int, more: str = "", *options: str) -> Trial:
    """Return a trial of a molecule that has been made exactly symmetric."""
    options = ("--symmetry", group, *options)
    kind = f"exact {group}{more}"
    return Trial(kind, molecule, seed, "", options, _CENTRED, symmetry=group)


def wrong_trials() -> list[Trial]:
    """Return the trials that are expected to come out wrong, with the cause of each."""
    found: list[Trial] = []
    for molecule, seed in itertools.product(_OFTEN, (0, 1)):
        other = _NEXT[molecule]
        for percent in (3, 5):
            options = ("--off-centre", str(percent / 100))
            kind = f"off-centre {percent} %, no shifts"
            found.append(Trial(kind, molecule, seed, "off-centre", options, _CENTRED))
        for share in (0.3, 0.5):
            kind, cause = f"two structures {share:g}", "several structures"
            found.append(Trial(kind, molecule, seed, cause, (), _CENTRED, second=(other, share)))
        belt = ("--views", "belt", "--view-angle", "10")
        found.append(Trial("belt of views", molecule, seed, "", belt, _CENTRED))
        found.append(Trial("noise", molecule, seed, "too little signal", (), _CENTRED, snr=1e-9))
    for molecule in _OFTEN:
        options = ("--beads", "0.05", "--bead-height", "8")
        found.append(Trial("beads", molecule, 0, "outliers", options, _CENTRED))
        for percent in (15, 30, 50):
            options = ("--junk", str(percent / 100))
            found.append(Trial(f"junk {percent} %", molecule, 0, "outliers", options, _CENTRED))
    states = (
        ("kinase", "atoms/1ake_adenylate_kinase_closed.pdb:A"),
        ("Hsp90", "Hsp90:AB"),
        ("spike", "spike:AB"),
    )
    for molecule, other in states:
        cause = "several structures"
        found.append(Trial("two states", molecule, 0, cause, (), _CENTRED, second=(other, 0.4)))
    hesitant = [
        ("spike", 0.03, 0),
        ("spike", 0.02, 0),
        *(("Hsp90", 0.1, seed) for seed in range(5)),
    ]
    for molecule, snr, seed in hesitant:
        kind = f"mates at SNR {snr:g}"
        found.append(Trial(kind, molecule, seed, "mates undetermined", (), _CENTRED, snr=snr))
    return found


def warned_trials() -> list[Trial]:
    """Return the trials of which a verdict should warn: contrast and pixel size are wrong."""
    found = []
    for molecule in _OFTEN:
        black = (*_CENTRED, "--contrast", "black")
        found.append(Trial("contrast inverted", molecule, 0, "", (), black, warning="contrast"))
        for factor in (0.9, 1.1):
            kind, warning = f"pixel size {factor:g}", "pixel size"
            found.append(
                Trial(kind, molecule, 0, "", (), _CENTRED, warning=warning, pixel_factor=factor)
            )
    return found
