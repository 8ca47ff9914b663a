"""Importance sampling against the exact sum: error, share of points used, speed, by iteration.

``python benchmarks/importance_sampling.py FOLDER`` trains a marginal stage with importance sampling
on the spike and the spliceosome, and after every map computes the same batch exactly as well. The
stacks go into FOLDER. It takes about an hour on two cores.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from cases import Case
from machine import description, write_table
from results_file import ResultsFile

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.inference.marginal import MarginalInference
from napari_cryospin.engine.models.noise import shells_of
from napari_cryospin.engine.run.epoch import train_epoch
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.settings import DataSettings, Settings
from napari_cryospin.engine.stages import MarginalStage
from napari_cryospin.engine.sums.exact import ExactSum
from napari_cryospin.engine.sums.sampled import SampledSum

BOX, N, COMPARED = 64, 2000, 64
MOLECULES, FACTORS = ("spike", "spliceosome"), (10.0, 3.0, 30.0)
RECORDED = ResultsFile(
    "importance_sampling",
    ("molecule", "s0", "map"),
    ("radius", "nside", "error", "worst", "share", "speed"),
)


def trained(case: Case, folder: Path, factor: float) -> list[dict[str, object]]:
    """Train with importance sampling, and compare every map with the exact sum."""
    stack_folder = case.stack(folder / "stacks")
    data = DataSettings(stack=stack_folder / "particles.star", box=BOX)
    settings = Settings.from_preset("default")
    settings.data = data
    settings.seed = case.seed
    settings.stages = [
        MarginalStage(),
        MarginalStage(
            nside=16,
            epochs=16,
            until="epochs",
            batch_size=1000,
            quadrature="importance",
            sample_factor=factor,
        ),
    ]
    settings.starts = 1
    training = Training(prepare(read_table(stack_folder / "particles.star"), data), settings)
    rows: list[dict[str, object]] = []

    def compare(batch: torch.Tensor) -> None:
        inference = training.inference
        assert isinstance(inference, MarginalInference)
        if training.clock.stage == 1:
            rows.append({"map": len(rows) + 1, **compared(inference, batch[:COMPARED])})

    while not (training.stage_due and training.last_stage):
        if training.stage_due:
            training.next_stage()
        else:
            train_epoch(training, compare)
    return rows


def compared(inference: MarginalInference, rows: torch.Tensor) -> dict[str, float]:
    """Compute the same posteriors by both sums."""
    quadrature = inference._points()
    grid, noise = inference.volume.grid().detach(), inference.noise
    variance = noise.variance[shells_of(quadrature.model)]
    images = inference.problem.observed(rows, quadrature.model)
    draw = torch.Generator().manual_seed(0)
    sampled = SampledSum(quadrature, grid, variance, inference.memory, inference._sampling, draw)
    started = time.perf_counter()
    found = sampled.posteriors(images, collect=True)
    sampled.collected()
    sampling = time.perf_counter() - started
    exact = ExactSum(quadrature, grid, variance)
    started = time.perf_counter()
    expected = exact.posteriors(images, collect=True)
    exact.collected()
    summing = time.perf_counter() - started
    used = quadrature.n_used
    precision = 1 / variance[:used]
    # the log-likelihood with the constants that both sums leave out
    constant = 0.5 * (images.coefficients[:, :used].square() * precision).sum(1)
    constant = constant + 0.5 * (variance[:used] * 2 * torch.pi).log().sum()
    likelihood = expected.log_evidence - constant
    difference = (found.log_evidence - expected.log_evidence).abs()
    return {
        "radius": inference.march.radius,
        "nside": quadrature.nside,
        "error": float((difference / likelihood.abs()).mean()),
        "worst": float((difference / likelihood.abs()).max()),
        "share": float(found.points.float().mean()) / quadrature.n_points,
        "speed": summing / sampling,
    }


def main() -> None:
    """Run what is missing, and write the table."""
    torch.set_num_threads(os.cpu_count() or 1)
    for factor in FACTORS:
        for molecule in MOLECULES:
            if RECORDED.has((molecule, f"{factor:g}", "1")):
                continue
            # all maps of a run at once: an unfinished one begins anew
            for row in trained(Case(molecule, N), Path(sys.argv[1]), factor):
                number = row.pop("map")
                RECORDED.add((molecule, f"{factor:g}", str(number)), row)
    table()


def table() -> None:
    """Write ``results/importance_sampling.md``."""
    rows = RECORDED.rows()
    lines = [
        f"Box {BOX}, SNR 0.1 at box 128, {N} particles; each map compared on {COMPARED} of them. "
        "*Error*: mean of |log p sampled − log p exact| / |log p exact|. *Share*: points computed, "
        "of all of the quadrature. *Speed*: exact over sampled, E-step and M-step.",
    ]
    for molecule in MOLECULES:
        for factor in FACTORS:
            mine = [
                row for row in rows if (row["molecule"], row["s0"]) == (molecule, f"{factor:g}")
            ]
            if not mine:
                continue
            lines += [
                "",
                f"## {molecule}, s₀ = {factor:g}",
                "",
                "| map | radius | nside | error (%) | worst (%) | share (%) | speed (×) |",
                "|--:|--:|--:|--:|--:|--:|--:|",
            ]
            lines += [
                f"| {row['map']} | {row['radius']} | {row['nside']} "
                f"| {100 * float(row['error']):.4f} | {100 * float(row['worst']):.3f} "
                f"| {100 * float(row['share']):.3f} | {float(row['speed']):.0f} |"
                for row in mine
            ]
    machine = rows[0]["machine"] if rows else description()
    write_table("importance_sampling", "Importance sampling against the exact sum", lines, machine)


if __name__ == "__main__":
    main()
