"""The stacks of the reconstruction benchmarks: simulated as in the paper, with known truth."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DATA = (Path(__file__).parents[1] / ".." / "shared" / "data").resolve()
MOLECULES = {
    "spike": "atoms/spike_1up_7k8x_chainsABC.pdb.gz",
    "spliceosome": "atoms/3jb9_spliceosome_pombe.cif.gz",
    "30S": "atoms/4adv_ecoli_30S.pdb.gz",
    "50S": "maps/polnet_5A_4v4r_50S.mrc",
    "Hsp90": "atoms/2cg9_hsp90_sba1.pdb.gz",
    "kinase": "atoms/4ake_adenylate_kinase_open.cif",
    "closed kinase": "atoms/1ake_adenylate_kinase_closed.pdb",
}
# of those that hold several copies
CHAINS = {"kinase": "A", "closed kinase": "A"}
BOX = 128
COMMAND = [sys.executable, "-c", "from napari_cryospin.cli import main; main()"]


@dataclass(frozen=True)
class Case:
    """A stack: which molecule, how many particles, how noisy, how far off-centre.

    Parameters
    ----------
    molecule
        One of ``MOLECULES``, or "noise": particles without signal.
    n
        Number of particles.
    seed
        Seed of the simulation, and of the run.
    snr
        Variance of the clean images over variance of the noise, at box 128.
    shift
        Standard deviation of the shifts along each axis, as a share of the box.
    second
        Another molecule in the stack, and its share.
    unkind
        Further options of the simulator, such as ``("--junk", "0.3")``.
    """

    molecule: str
    n: int = 3000
    seed: int = 0
    snr: float = 0.1
    shift: float = 0.0
    second: tuple[str, float] | None = None
    unkind: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the stack's folder."""
        moved = f"_shift{self.shift:g}" if self.shift else ""
        words = [Path(word).name.lstrip("-") for word in self.unkind]
        if self.second is not None:
            other, share = self.second
            words += ["second", Path(MOLECULES[other]).name, "second-share", f"{share:g}"]
        more = "".join(f"_{word}" for word in words)
        return f"{self.molecule}_{self.n}_{self.snr:g}_seed{self.seed}{moved}{more}"

    def stack(self, folder: Path) -> Path:
        """Simulate the stack, unless the folder holds it already, and return its folder."""
        target = folder / self.name
        if (target / "done").exists():
            return target
        source = source_of("spike" if self.molecule == "noise" else self.molecule, folder)
        # without signal: so little of it that no particle holds any
        snr = 1e-9 if self.molecule == "noise" else self.snr
        options = ["--box", BOX, "--n-particles", self.n, "--snr", snr, "--seed", self.seed]
        if self.shift:
            options += ["--off-centre", self.shift]
        if self.second is not None:
            other, share = self.second
            options += ["--second", source_of(other, folder), "--second-share", share]
        # what is left of a simulation that was ended
        shutil.rmtree(target, ignore_errors=True)
        words = [*COMMAND, "simulate", source, *options, *self.unkind, "--out", target]
        subprocess.run([str(word) for word in words], check=True, capture_output=True)
        (target / "done").touch()
        return target


def source_of(molecule: str, folder: Path) -> Path:
    """Return the file of a molecule; of those that hold several copies a file of one."""
    source = DATA / MOLECULES[molecule]
    if not source.exists():
        sys.exit(f"The benchmark needs {source}, which is not there.")
    if molecule in CHAINS:
        return with_chains(source, CHAINS[molecule], folder / "sources")
    return source


def with_chains(source: Path, chains: str, folder: Path) -> Path:
    """Write the atoms of some chains of a file as a PDB or mmCIF file of its own."""
    packed = source.suffix == ".gz"
    name = source.name.removesuffix(".gz")
    target = folder / f"{chains}_{name}"
    if target.exists():
        return target
    text = (gzip.decompress(source.read_bytes()) if packed else source.read_bytes()).decode()
    lines = text.splitlines()
    fields = [line.strip() for line in lines if line.startswith("_atom_site.")]
    place = fields.index("_atom_site.auth_asym_id") if fields else 0

    def kept(line: str) -> bool:
        if not line.startswith(("ATOM", "HETATM")):
            return True
        return (line.split()[place] if fields else line[21]) in chains

    folder.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(filter(kept, lines)) + "\n")
    return target
