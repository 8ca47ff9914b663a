"""``experiment`` and ``compare`` as a user gives them: to the end, stopped, killed, refused."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from command_calls import call, is_one_sentence
from napari_cryospin.engine.experiments.results import TABLE, read_results
from napari_cryospin.engine.runfolder.folder import RunFolder
from small_experiments import small_plan

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = [sys.executable, "-c", "from napari_cryospin.cli import main; main()", "experiment"]


@pytest.fixture
def plan(tiny_stack: Path, tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(small_plan(tiny_stack).to_toml())
    return path


@pytest.fixture
def long_plan(tiny_stack: Path, tmp_path: Path) -> Path:
    """A plan whose first cell takes minutes."""
    path = tmp_path / "long.toml"
    path.write_text(small_plan(tiny_stack, {"held_out": 0.0}, switch_at=[5000, 1]).to_toml())
    return path


def test_a_plan_is_listed_and_nothing_is_run(plan: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    lines = call("experiment", plan, "--plan").stdout.splitlines()
    assert lines[:-1] == ["seed-0_switch-2", "seed-0_switch-1"]
    assert lines[-1] == "2 cells, at most 4 epochs (5 if each were run alone)."
    assert set(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("small_searches")
def test_one_result_a_line_and_a_second_call_goes_on(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = call("experiment", plan, "--out", out, "--threads", "1")
    assert first.exit_code == 0, first.stderr
    results = [line for line in first.stderr.splitlines() if "s as if alone" in line]
    assert [line.split(" · ")[0] for line in results] == ["seed-0_switch-2", "seed-0_switch-1"]
    assert "branches off from seed-0_switch-2 after epoch 1" in first.stderr
    assert "2 of 2 cells finished; the results are in" in first.stderr
    assert set(read_results(out / TABLE)) == {"seed-0_switch-2", "seed-0_switch-1"}
    second = call("experiment", plan, "--out", out, "--threads", "1")
    assert second.exit_code == 0
    assert "2 of them finished before" in second.stderr and "begins" not in second.stderr


def begun(plan: Path, out: Path) -> subprocess.Popen[str]:
    """Return an experiment of which the first cell has had an epoch."""
    process = subprocess.Popen(
        [*PROGRAM, str(plan), "--out", str(out), "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "begins" in line:
            break
    run = RunFolder(out / "seed-0_switch-5000")
    while not run.checkpoints() and process.poll() is None:
        pass
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_keeps_all(long_plan: Path, tmp_path: Path) -> None:
    with begun(long_plan, tmp_path / "out") as process:
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=120)[1]
    assert process.returncode == 130, told
    assert "Stopped: 0 of 2 cells finished" in told and "Traceback" not in told
    assert RunFolder(tmp_path / "out" / "seed-0_switch-5000").checkpoints()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_a_killed_experiment_goes_on_where_it_was(long_plan: Path, tmp_path: Path) -> None:
    for again in (False, True):
        with begun_again(long_plan, tmp_path / "out", again=again) as process:
            process.send_signal(signal.SIGKILL if not again else signal.SIGINT)
            told = process.communicate(timeout=120)[1]
    assert process.returncode == 130, told
    assert "Traceback" not in told


def begun_again(plan: Path, out: Path, *, again: bool) -> subprocess.Popen[str]:
    if not again:
        return begun(plan, out)
    process = subprocess.Popen(
        [*PROGRAM, str(plan), "--out", str(out), "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Cell 1 of 2, seed-0_switch-5000, goes on." in line:
            return process
    raise AssertionError("the cell did not go on")


def test_refusals(plan: Path, finished_experiment: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ((plan,), "No folder was named"),
        ((tmp_path / "no.toml", "--out", tmp_path / "out"), "there is no such file"),
        ((plan, "--out", finished_experiment), "holds another experiment"),
        ((plan, "--out", plan), "is a file"),
        ((plan, "--out", tmp_path), "is not empty"),
    ):
        result = call("experiment", *arguments)
        assert result.exit_code == 2, arguments
        assert is_one_sentence(result) and said in result.stderr


def test_a_failed_cell_is_told_and_makes_the_exit_code(tiny_stack: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost.star"
    plan = small_plan(tiny_stack, stack=lost, truth_star=[], truth_map=[], switch_at=[1])
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    result = call("experiment", tmp_path / "plan.toml", "--out", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = (each for each in result.stderr.splitlines() if "failed ·" in each)
    assert "lost.star" in line
    assert read_results(tmp_path / "out" / TABLE)["seed-0_switch-1"]["state"] == "failed"


def test_compare_prints_a_line_a_run(finished_experiment: Path) -> None:
    lines = call("compare", finished_experiment).stdout.splitlines()
    assert lines[0].split()[:4] == ["run", "state", "seed", "switch_at"]
    assert [line.split("  ")[0] for line in lines[1:4]] == [
        "seed-0_switch-2",
        "└ seed-0_switch-1",
        "└ seed-0_switch-never",
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("runs.csv", ","), ("runs.tsv", "\t")])
def test_compare_writes_a_table(
    name: str, delimiter: str, finished_experiment: Path, tmp_path: Path
) -> None:
    assert call("compare", finished_experiment, "--out", tmp_path / name).exit_code == 0
    with (tmp_path / name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    assert len(rows) == 6 and rows[1]["branch_of"] == "seed-0_switch-2"
    again = call("compare", finished_experiment, "--out", tmp_path / name)
    assert again.exit_code == 2 and "is there already" in again.stderr


def test_a_table_leaves_out_what_no_run_has(finished_experiment: Path, tmp_path: Path) -> None:
    alone = finished_experiment / "seed-0_switch-2"
    assert call("compare", alone, "--out", tmp_path / "one.csv").exit_code == 0
    with (tmp_path / "one.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["run"] == alone.name and "branch_of" not in row


def test_compare_refuses_what_is_no_run(finished_experiment: Path, tmp_path: Path) -> None:
    nothing = call("compare", tmp_path)
    assert nothing.exit_code == 2 and "is no run folder" in nothing.stderr
    other = call("compare", finished_experiment, "--out", tmp_path / "runs.txt")
    assert other.exit_code == 2 and is_one_sentence(other)
