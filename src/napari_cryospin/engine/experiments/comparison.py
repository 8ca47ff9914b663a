"""Runs beside each other: a tree of branches, curves and their spread over seeds, a table."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.place import holds_experiment
from napari_cryospin.engine.experiments.records import RunRecord, read_record
from napari_cryospin.engine.experiments.results import figures_of
from napari_cryospin.engine.files import real
from napari_cryospin.engine.runfolder import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_cryospin.engine.settings import Settings

# settings that make no difference to what is compared
_APART = (
    "seed",
    "device",
    "threads",
    "checkpoint_minutes",
    "branch_points",
    "data.particles_in",
    "data.datadir",
)
_SWITCH = "switch_at"
# share of the runs that lies below, and above, the band of a group
_LOW, _HIGH = 0.25, 0.75
_MOST_POINTS = 400


class Measure(StrEnum):
    """What curves tell; the values are shown."""

    LOSS = "Loss"
    GAIN = "Held-out gain"
    MEAN_ERROR = "Mean pose error"
    MEDIAN_ERROR = "Median pose error"
    RESOLUTION = "Resolution"

    @property
    def unit(self) -> str:
        """Its unit."""
        return _UNITS[self]


class Axis(StrEnum):
    """What curves run over; the values are shown."""

    EPOCH = "epoch"
    SECONDS = "seconds"


_UNITS = {
    Measure.LOSS: "per coefficient",
    Measure.GAIN: "nats",
    Measure.MEAN_ERROR: "°",
    Measure.MEDIAN_ERROR: "°",
    Measure.RESOLUTION: "Å",
}
_FIELDS = {
    Measure.LOSS: "loss",
    Measure.GAIN: "held_out_gain",
    Measure.MEAN_ERROR: "mean_pose_error",
    Measure.MEDIAN_ERROR: "median_pose_error",
    Measure.RESOLUTION: "resolution",
}


@dataclass(frozen=True)
class Curve:
    """A measure of one run, or of a group of them.

    Parameters
    ----------
    name
        The run, or what its group has in common.
    x, y
        Where it was measured, and the values: of a group their median, (k,) each.
    low, high
        Lower and upper quartile of a group, (k,) each; None of a single run.
    switches
        Where its stages begin, after the first one; of a group those that all have in common, up to
        the first that differs.
    number
        How many runs it stands for.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    switches: tuple[float, ...] = ()
    number: int = 1


@dataclass(frozen=True)
class Node:
    """A run in a tree of branches, with what branched off from it."""

    record: RunRecord
    branches: tuple[Node, ...]


def run_folders(path: Path) -> list[Path]:
    """Return the run folders that a path names: itself, or those of an experiment in it.

    Raises
    ------
    InputError
        If it is neither.
    """
    if (path / names.SETTINGS).is_file():
        return [path]
    found = []
    if path.is_dir():
        found = sorted(each.parent for each in path.glob(f"*/{names.SETTINGS}"))
    if not found and holds_experiment(path):
        raise InputError(f"The experiment in {path} has no run yet.")
    if not found:
        raise InputError(f"{path} is no run folder, and holds none.")
    return found


def read_records(paths: Iterable[Path]) -> tuple[list[RunRecord], list[str]]:
    """Read all runs that some paths name, each once.

    Parameters
    ----------
    paths
        Run folders, or folders that hold some, such as those of experiments.

    Returns
    -------
    records
        What the runs tell.
    notes
        A sentence on each path, or run, that cannot be read.
    """
    records, notes, seen = [], [], set()
    for path in paths:
        try:
            folders = run_folders(path)
        except InputError as error:
            notes.append(str(error))
            continue
        for folder in folders:
            if real(folder) in seen:
                continue
            seen.add(real(folder))
            try:
                records.append(read_record(folder))
            except (InputError, OSError) as error:
                notes.append(str(error))
    return records, notes


def tree_of(records: Sequence[RunRecord]) -> tuple[Node, ...]:
    """Return runs as trees: a branch below the run that it branched off from, where that is one."""
    by_folder = {real(record.folder): record for record in records}
    children: dict[Path | None, list[RunRecord]] = defaultdict(list)
    for record in records:
        parent = record.parent if record.parent in by_folder else None
        # nobody is one's own ancestor, whatever a file says
        children[parent if _leads_up(record, by_folder) else None].append(record)

    def below(parent: Path | None) -> tuple[Node, ...]:
        return tuple(Node(each, below(real(each.folder))) for each in children.get(parent, ()))

    return below(None)


def _leads_up(record: RunRecord, by_folder: dict[Path, RunRecord]) -> bool:
    """Whether the parents of a run come to an end."""
    seen: set[Path] = set()
    present: RunRecord | None = record
    while present is not None:
        if real(present.folder) in seen:
            return False
        seen.add(real(present.folder))
        present = None if present.parent is None else by_folder.get(present.parent)
    return True


def in_order(nodes: Sequence[Node], depth: int = 0) -> Iterator[tuple[int, RunRecord]]:
    """Yield the runs of trees from top to bottom, each with its depth."""
    for node in nodes:
        yield depth, node.record
        yield from in_order(node.branches, depth + 1)


def curve_of(record: RunRecord, measure: Measure, axis: Axis) -> Curve:
    """Return a measure of a run over its epochs, where it was measured."""
    values = [getattr(done, _FIELDS[measure]) for done in record.history]
    y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    x = record.epochs_at if axis is Axis.EPOCH else record.seconds_at
    known = np.isfinite(y)
    begins = np.array([span.begin for span in record.spans[1:]])
    if axis is Axis.SECONDS and len(begins):
        begins = np.interp(begins, record.epochs_at, record.seconds_at)
    return Curve(record.name, x[known], y[known], switches=tuple(map(float, begins)))


def spread_of(name: str, curves: Sequence[Curve]) -> Curve:
    """Return median and quartiles of curves, where all of them are known; of one itself."""
    known = [curve for curve in curves if len(curve.x)]
    if len(known) < 2:
        one = known[0] if known else Curve(name, np.zeros(0), np.zeros(0))
        return Curve(name, one.x, one.y, switches=one.switches, number=len(known))
    first, last = max(curve.x[0] for curve in known), min(curve.x[-1] for curve in known)
    x = np.unique(np.concatenate([curve.x for curve in known]))
    x = x[(x >= first) & (x <= last)]
    if len(x) > _MOST_POINTS:
        x = np.linspace(first, last, _MOST_POINTS)
    values = np.array([np.interp(x, curve.x, curve.y) for curve in known])
    middle: NDArray[np.float64] = np.median(values, axis=0)
    low, high = np.quantile(values, (_LOW, _HIGH), axis=0)
    # as long as all switch at the same place
    places = itertools.takewhile(
        lambda marks: len(set(marks)) == 1, zip(*(curve.switches for curve in known), strict=False)
    )
    switches = tuple(marks[0] for marks in places)
    return Curve(name, x, middle, low, high, switches, len(known))


def groups_of(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return runs by what they have in common beside their seeds, told in the settings that vary.

    When auto-encoding ends is one of these.
    """
    return _grouped(records, _APART)


def _grouped(records: Sequence[RunRecord], apart: Sequence[str]) -> dict[str, list[RunRecord]]:
    """Return runs by their settings, some of them left out."""
    figures = [_flat(record.settings, apart) for record in records]
    varied = [
        name
        for name in dict.fromkeys(name for each in figures for name in each)
        if len({repr(each.get(name)) for each in figures}) > 1
    ]
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record, own in zip(records, figures, strict=True):
        told = [_told(name, own[name]) for name in varied if name in own]
        groups[", ".join(told) or "all runs"].append(record)
    return dict(groups)


@dataclass(frozen=True)
class SwitchErrors:
    """Last mean pose errors against the epoch of the switch, of runs that differ in it and in seed.

    Parameters
    ----------
    curve
        Median and quartiles over the seeds, by switch epoch; of the runs with a fixed one.
    automatic
        Switch epoch and error of each run that its criterion switched, (a, 2).
    never
        Median error of the runs that never switched; None without any.
    """

    curve: Curve
    automatic: NDArray[np.float64]
    never: float | None


def switch_errors(records: Sequence[RunRecord]) -> dict[str, SwitchErrors]:
    """Return the last mean pose error against the epoch of the switch, by what else varies.

    Runs that have not ended, that have no auto-encoding, or know no truth are left out.
    """
    usable = [
        record
        for record in records
        if record.finished
        and record.last is not None
        and record.last.mean_pose_error is not None
        and record.history[0].inference.has_heads
    ]
    return {name: _switch_errors(name, group) for name, group in _but_switch(usable).items()}


def _switch_errors(name: str, group: Sequence[RunRecord]) -> SwitchErrors:
    fixed: dict[float, list[float]] = defaultdict(list)
    automatic: list[tuple[float, float]] = []
    never: list[float] = []
    for record in group:
        assert record.last is not None and record.last.mean_pose_error is not None
        error, after = record.last.mean_pose_error, record.switched_after
        encoding = record.settings.stages[record.history[0].stage]
        if after is None:
            never.append(error)
        elif encoding.until == "criterion":
            automatic.append((after, error))
        else:
            fixed[after].append(error)
    return SwitchErrors(
        _over_switches(name, fixed),
        np.array(automatic, dtype=np.float64).reshape(-1, 2),
        float(np.median(never)) if never else None,
    )


def _over_switches(name: str, points: dict[float, list[float]]) -> Curve:
    x = np.array(sorted(points), dtype=np.float64)
    values = [np.array(points[each]) for each in x]
    low, high = (np.array([np.quantile(each, q) for each in values]) for q in (_LOW, _HIGH))
    middle = np.array([np.median(each) for each in values])
    return Curve(name, x, middle, low, high, number=sum(map(len, values)))


def _but_switch(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return runs by what they have in common beside seed and switch."""
    return _grouped(records, (*_APART, _SWITCH))


def table_of(records: Sequence[RunRecord]) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Return columns and rows of a table: each run's figures, and the settings that differ."""
    figures = [_flat(record.settings, _APART[1:]) for record in records]
    varied = [
        name
        for name in dict.fromkeys(name for each in figures for name in each)
        if len({repr(each.get(name)) for each in figures}) > 1
    ]
    rows = []
    for record, own in zip(records, figures, strict=True):
        row = {"run": record.name, "state": record.standing.doing.value} | figures_of(record)
        rows.append(row | {name: str(own.get(name, "")) for name in varied})
    columns = ("run", "state", *varied, *(_figure_names(rows, varied)))
    return columns, rows


def _figure_names(rows: Sequence[dict[str, str]], varied: Sequence[str]) -> list[str]:
    """Return the columns of figures that any run has."""
    beside = {"run", "state", *varied}
    found = dict.fromkeys(name for row in rows for name in row if name not in beside)
    return [name for name in found if any(row[name] for row in rows)]


def _flat(settings: Settings, apart: Sequence[str]) -> dict[str, Any]:
    """Return settings by dotted name; a stage by the name of its inference where it is alone."""
    flat: dict[str, Any] = {}
    inferences = [stage.inference for stage in settings.stages]
    for name, value in settings.model_dump(mode="json", exclude_none=True).items():
        if name == "stages":
            for place, stage in enumerate(value):
                alone = inferences.count(inferences[place]) == 1
                title = str(inferences[place]) if alone else f"stages.{place}"
                flat |= {f"{title}.{each}": own for each, own in stage.items()}
                if alone and inferences[place].has_heads:
                    flat[_SWITCH] = _switch(flat.pop(f"{title}.until"), flat.pop(f"{title}.epochs"))
        elif isinstance(value, dict):
            flat |= {f"{name}.{each}": own for each, own in value.items()}
        else:
            flat[name] = value
    return {name: value for name, value in flat.items() if name not in apart}


def _switch(until: str, epochs: int) -> int | str:
    """Return when auto-encoding ends, as an experiment says it."""
    return {"criterion": "auto", "hand": "never"}.get(until, epochs)


def _told(name: str, value: Any) -> str:
    """Return a setting in a few words; of a file its name."""
    shown = Path(value).stem if name.startswith("data.") and isinstance(value, str) else value
    short = name if name.startswith("stages.") else name.replace("data.", "").replace("model.", "")
    return f"{short} {shown}"
