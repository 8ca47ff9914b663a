"""What the verdict says of runs that come out right, and of runs that do not.

``python benchmarks/verdicts.py FOLDER`` makes the stacks and runs of ``verdict_cases.py`` in
FOLDER, one after the other, and adds a line to ``results/verdicts.csv`` for each; what is there
already is not run again. ``--only WORDS`` runs those alone whose name holds one of the words;
``--judge-again`` judges the runs that FOLDER holds anew, in place of all lines, and runs nothing;
``--table`` only writes the table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from known import read_known
from machine import RESULTS, write_table
from oracle import oracle_fsc
from results_file import ResultsFile
from scoring import SUCCESS_FSC, SUCCESS_MEAN, score
from verdict_cases import CALIBRATED_ON, Trial, right_trials, warned_trials, wrong_trials

from napari_cryospin.engine.run.rejudging import judge_again
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.verdict import Outcome

_FIGURES = (
    "misfit misfit_without_worst outliers starts_agree expected_right information shift_gain "
    "shift_rms variability_gain mates_alike"
).split()
RECORDED = ResultsFile(
    "verdicts",
    "kind molecule seed".split(),
    [
        *"truth wanted_cause wanted_warning mean right fsc_fraction oracle_fsc".split(),
        *"outcome cause warnings mates seconds".split(),
        *_FIGURES,
    ],
)
# where a map is wrong: mean error, share of right poses, FSC as a share of the oracle's
_WRONG_MEAN, _WRONG_SHARE, _WRONG_FSC = 10.0, 0.9, 0.8


def trials() -> list[Trial]:
    """Return all trials, such that what was run so far is a fair choice of kinds."""
    right, wrong, warned = right_trials(), wrong_trials(), warned_trials()
    return [*_dealt(right, wrong), *warned]


def _dealt(*decks: list[Trial]) -> list[Trial]:
    places = [(place / len(deck), trial) for deck in decks for place, trial in enumerate(deck)]
    return [trial for _, trial in sorted(places, key=lambda each: each[0])]


def truth_of(trial: Trial, folder: Path) -> dict[str, object]:
    """Return what a run is, by the truth; it is kept in the run folder."""
    run, stack = trial.run(folder), trial.stack(folder)
    kept = run / "truth.json"
    if kept.exists():
        found: dict[str, object] = json.loads(kept.read_text())
        return found
    known = score(RunFolder(run).star_path, RunFolder(run).map_path, stack, symmetry=trial.symmetry)
    bound = oracle_fsc(read_known(stack, 32)) if trial.pixel_factor == 1 else 1.0
    fine = known.fsc_fraction >= min(SUCCESS_FSC, 0.95 * bound)
    if trial.second is None and known.mean <= SUCCESS_MEAN and fine:
        truth = "right"
    elif (
        trial.second is not None
        or known.mean > _WRONG_MEAN
        or known.right < _WRONG_SHARE
        or known.fsc_fraction < _WRONG_FSC * bound
    ):
        truth = "wrong"
    else:
        truth = "between"
    found = {
        "truth": truth,
        "mean": round(known.mean, 2),
        "right": round(known.right, 3),
        "fsc_fraction": round(known.fsc_fraction, 3),
        "oracle_fsc": round(bound, 3),
    }
    kept.write_text(json.dumps(found))
    return found


def judge(trial: Trial, folder: Path) -> dict[str, object]:
    """Return a line: what a run is, and what is said of it."""
    known = truth_of(trial, folder)
    started = time.monotonic()
    verdict = judge_again(RunFolder(trial.run(folder)))
    figures = verdict.figures()
    shown = {name: _short(figures.get(name)) for name in _FIGURES}
    return {
        **known,
        "wanted_cause": trial.cause,
        "wanted_warning": trial.warning,
        "outcome": str(verdict.outcome),
        "cause": "" if verdict.cause is None else str(verdict.cause),
        "warnings": "; ".join(warning.kind for warning in verdict.warnings),
        "mates": verdict.symmetry or "",
        "seconds": f"{time.monotonic() - started:.1f}",
        **shown,
    }


def _short(value: object) -> str:
    return "" if value is None else f"{value:.3g}"


def table() -> None:
    """Write the table: the runs that the thresholds come from, and those that test them."""
    rows = RECORDED.rows()
    seen = [row for row in rows if _seen(row)]
    new = [row for row in rows if not _seen(row)]
    lines = [
        "Thresholds were chosen after the runs of the first line; those of the second test them.",
        "",
        "| | runs | right, converged | right, of all | wrong, not converged | causes named |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in (("calibration", seen), ("test", new), ("all", rows)):
        lines.append(f"| {name} | {len(part)} | {_tally(part)} |")
    lines += ["", *_kinds(rows)]
    write_table("verdicts", "Verdicts on right and on wrong runs", lines, rows[-1]["machine"])


def _seen(row: dict[str, str]) -> bool:
    return (row["kind"], row["molecule"], row["seed"]) in CALIBRATED_ON


def _tally(rows: list[dict[str, str]]) -> str:
    plain = [row for row in rows if not row["wanted_warning"]]
    right = [row for row in plain if row["truth"] == "right"]
    wrong = [row for row in plain if row["truth"] == "wrong"]
    passed = sum(row["outcome"] == Outcome.CONVERGED for row in right)
    caught = sum(row["outcome"] != Outcome.CONVERGED for row in wrong)
    asked = [row for row in wrong if row["wanted_cause"]]
    named = sum(row["cause"] == row["wanted_cause"] for row in asked)
    return (
        f"{passed} of {len(right)} | {len(right)} of {len(plain)} | {caught} of {len(wrong)} | "
        f"{named} of {len(asked)}"
    )


def _kinds(rows: list[dict[str, str]]) -> list[str]:
    lines = [
        "| kind | runs: right, between, wrong | converged | misfit | causes | warnings |",
        "|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        part = [row for row in rows if row["kind"] == kind]
        counts = [
            sum(row["truth"] == each for row in part) for each in ("right", "between", "wrong")
        ]
        passed = sum(row["outcome"] == Outcome.CONVERGED for row in part)
        misfits = sorted(float(row["misfit"]) for row in part if row["misfit"])
        span = f"{misfits[0]:.3f} to {misfits[-1]:.3f}" if misfits else "–"
        causes, warned = (
            ", ".join(sorted({row[name] for row in part} - {""})) or "–"
            for name in ("cause", "warnings")
        )
        lines.append(
            f"| {kind} | {', '.join(map(str, counts))} | {passed} of {len(part)} | "
            f"{span} | {causes} | {warned} |"
        )
    return lines


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--judge-again", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    chosen = [t for t in trials() if not asked.only or any(w in t.name for w in asked.only)]
    if asked.judge_again:
        (RESULTS / f"{RECORDED.name}.csv").unlink(missing_ok=True)
        chosen = [t for t in chosen if (folder / "runs" / t.name / "done").exists()]
    for trial in [] if asked.table else chosen:
        if not RECORDED.has(trial.key):
            RECORDED.add(trial.key, judge(trial, folder))
    table()


if __name__ == "__main__":
    main()
