"""``metrics.csv``: the figures of every epoch, one row each."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from napari_cryospin.engine.events import EpochDone
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.runfolder.reading import Unreadable, read_small
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.switch_figures import HeadFigures, SwitchFigures, WeightBin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

COLUMNS = (
    "epoch",
    "inference",
    "stage",
    "start",
    "loss",
    "median_pose_error_deg",
    "mean_pose_error_deg",
    "resolution_angstrom",
    "held_out_gain_nats",
    "switch_threshold_nats",
    "winner_in_best_mode",
    "amortization_gap",
    "coverage",
    "random_coverage",
    "calibration_error",
    "weight_bins",
    "seconds",
    "head_share",
    "effective_heads",
    "batches",
    "of_batches",
    "outliers",
    "resolution_halves_angstrom",
    "class_share",
)
# figures of the switch beside the gain
_SWITCH = ("threshold", "winner_in_best_mode", "amortization_gap")
# how the heads stand for the posterior
_HEADS = ("coverage", "random_coverage", "calibration_error")
# a table without these is none of ours; earlier versions wrote fewer of the others
_NEEDED = ("epoch", "inference", "loss")
# rows of a thousand bytes, a hundred thousand of them
_LARGEST = 100 * 2**20
_MOST_EPOCHS = 10**8


class Metrics(NamedTuple):
    """What could be read: the rows, the epochs that they tell of, and what was left out."""

    rows: tuple[dict[str, str], ...]
    epochs: tuple[EpochDone, ...]
    notes: tuple[str, ...]


def read_metrics(path: Path) -> Metrics:
    """Read ``metrics.csv``, as far as it is whole: a damaged row is left out, with a note."""
    try:
        text = read_small(path, _LARGEST)
    except FileNotFoundError:
        return Metrics((), (), ())
    except Unreadable as error:
        return Metrics((), (), (f"{path} {error}: the figures of past epochs are left out.",))
    lines = _fields(text)
    header = lines[0] if lines else []
    if not set(_NEEDED) <= set(header) or len(set(header)) < len(header):
        return Metrics(
            (), (), (f"{path} has no header of ours: the figures of past epochs are left out.",)
        )
    rows: list[dict[str, str]] = []
    epochs: list[EpochDone] = []
    for fields in lines[1:]:
        row = dict(zip(header, fields, strict=False))
        done = _epoch_done(row) if len(fields) == len(header) else None
        if done is not None and (not epochs or done.epoch > epochs[-1].epoch):
            rows.append(row)
            epochs.append(done)
    lost = len(lines) - 1 - len(rows)
    note = f"{path} is damaged: {lost} of its {len(lines) - 1} rows are left out."
    return Metrics(tuple(rows), tuple(epochs), (note,) if lost else ())


def write_metrics(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows, strings by column, as ``metrics.csv``."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def row_of(done: EpochDone) -> dict[str, str]:
    """Return an epoch as a row."""
    values = asdict(done)
    switch = values["switch"] or dict.fromkeys(_SWITCH)
    new = (
        done.epoch,
        done.inference,
        done.stage + 1,
        done.start + 1,
        f"{done.loss:.6g}",
        _figure(values["median_pose_error"]),
        _figure(values["mean_pose_error"]),
        _figure(values["resolution"]),
        _figure(values["held_out_gain"]),
        *(_figure(switch[name]) for name in _SWITCH),
        *_heads_row(done.switch),
        f"{done.seconds:.2f}",
        " ".join(f"{share:.4f}" for share in done.head_share),
        _figure(done.effective_heads),
        _number(done.batches),
        _number(done.n_batches),
        _figure(done.outliers),
        _figure(done.resolution_halves),
        " ".join(f"{share:.4f}" for share in done.class_share),
    )
    return dict(zip(COLUMNS, map(str, new), strict=True))


def bins_text(bins: Iterable[WeightBin]) -> str:
    """Return a reliability diagram as a text: ``weight:right:number`` of each bin."""
    return " ".join(f"{one.weight:.4f}:{one.right:.4f}:{one.number}" for one in bins)


def _fields(text: str) -> list[list[str]]:
    """Return the fields of all lines that are not empty."""
    lines: list[list[str]] = []
    for line in io.StringIO(text):
        try:
            lines += [fields for fields in csv.reader([line.rstrip("\r\n")]) if fields]
        except csv.Error:
            # a field that is too long, or a zero byte
            lines.append([])
    return lines


def _epoch_done(row: Mapping[str, str]) -> EpochDone | None:
    """Return what a row tells, or None where a value cannot be."""
    try:
        done = _parsed(row)
    except ValueError:
        return None
    known = 0 <= done.epoch < _MOST_EPOCHS and 0 <= done.stage and 0 <= done.start
    within = done.epoch <= done.end <= done.epoch + 1
    return done if known and within and math.isfinite(done.seconds) else None


def _parsed(row: Mapping[str, str]) -> EpochDone:
    def figure(name: str) -> float | None:
        text = row.get(name, "")
        return float(text) if text else None

    def number(name: str) -> int | None:
        text = row.get(name, "")
        return int(text) if text else None

    loss = figure("loss")
    return EpochDone(
        epoch=int(row["epoch"]),
        inference=Inference(row["inference"]),
        stage=int(row.get("stage") or 1) - 1,
        start=int(row.get("start") or 1) - 1,
        held_out_gain=figure("held_out_gain_nats"),
        switch=_switch(row),
        loss=math.nan if loss is None else loss,
        head_share=tuple(float(share) for share in row.get("head_share", "").split()),
        median_pose_error=figure("median_pose_error_deg"),
        mean_pose_error=figure("mean_pose_error_deg"),
        resolution=figure("resolution_angstrom"),
        seconds=figure("seconds") or 0.0,
        batches=number("batches"),
        n_batches=number("of_batches"),
        outliers=figure("outliers"),
        resolution_halves=figure("resolution_halves_angstrom"),
        class_share=tuple(float(share) for share in row.get("class_share", "").split()),
    )


def _switch(row: Mapping[str, str]) -> SwitchFigures | None:
    if not row.get("winner_in_best_mode"):
        return None
    threshold = row.get("switch_threshold_nats")
    # a row that has one of them without the others is damaged: float("") says so
    return SwitchFigures(
        gain=float(row.get("held_out_gain_nats", "")),
        threshold=float(threshold) if threshold else None,
        winner_in_best_mode=float(row["winner_in_best_mode"]),
        amortization_gap=float(row.get("amortization_gap", "")),
        heads=_heads(row),
    )


def _heads_row(switch: SwitchFigures | None) -> tuple[str, ...]:
    heads = None if switch is None else switch.heads
    if heads is None:
        return ("",) * (len(_HEADS) + 1)
    return (*(_figure(getattr(heads, name)) for name in _HEADS), bins_text(heads.weights))


def _heads(row: Mapping[str, str]) -> HeadFigures | None:
    if not row.get("coverage"):
        return None
    # as above: float("") says that a row is damaged
    figures = {name: float(row.get(name, "")) for name in _HEADS}
    bins = []
    for text in row.get("weight_bins", "").split():
        weight, right, number = text.split(":")
        bins.append(WeightBin(float(weight), float(right), int(number)))
    return HeadFigures(**figures, weights=tuple(bins))


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
