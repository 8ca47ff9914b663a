"""Runs targets of the Makefile side by side, and tells what they came to.

usage: python scripts/side_by_side.py [--at-once N] TARGET ...

Give the longest ones first: each core is then busy to the end. What a target prints is kept in
order and shown when it ends. All of them run, also where one has failed; the exit status is 1 then.
The last line adds up what pytest told in each, in pytest's words.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

# as in "== 3 failed, 12 passed, 1 skipped, 2 warnings, 1 error in 4.5s =="
_CLOSING = re.compile(r"^=+ (?P<counts>.*\d+ \w+.*) in [\d.:]+s\b.*=+$")
_COUNT = re.compile(r"(\d+) (\w+)")
_ORDER = ("failed", "error", "passed", "skipped", "xfailed", "xpassed", "deselected")


@dataclass(frozen=True)
class Part:
    """What a target came to: its exit status, output, and seconds of wall clock and of cores."""

    target: str
    status: int
    output: str
    wall: float
    cores: float

    @property
    def counts(self) -> Counter[str]:
        """Number of tests by what became of them."""
        found: Counter[str] = Counter()
        for line in self.output.splitlines():
            if closing := _CLOSING.match(line):
                for number, word in _COUNT.findall(closing["counts"]):
                    found["error" if word == "errors" else word] += int(number)
        return found


def run(target: str) -> Part:
    """Run a target of the Makefile to its end."""
    print(f"begun: {target}", flush=True)
    began = time.monotonic()
    command = [os.environ.get("MAKE", "make"), target]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, cores = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    return Part(target, process.returncode, output, wall, cores)


def show(part: Part) -> None:
    """Print what a target printed."""
    print(f"\n######## {part.target}: {verdict(part)} ########", flush=True)
    print(part.output, end="", flush=True)


def verdict(part: Part) -> str:
    """Return in words what a target came to."""
    return "passed" if part.status == 0 else f"FAILED with exit status {part.status}"


def summarise(parts: list[Part], wall: float) -> None:
    """Print a line for each part, and one for all tests."""
    print("\n######## All parts ########")
    for part in parts:
        times = f"{part.wall:6.0f} s, {part.cores:6.0f} s of one core"
        print(f"{part.target:20} {times}   {verdict(part)}")
    cores = sum(part.cores for part in parts)
    print(f"{'together':20} {wall:6.0f} s, {cores:6.0f} s of one core")
    counts = sum((part.counts for part in parts), Counter[str]())
    told = ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word])
    failed = [part.target for part in parts if part.status]
    ending = f", FAILED: {' '.join(failed)}" if failed else ""
    print(f"======== {told} in {wall:.0f} s{ending} ========", flush=True)


def main() -> int:
    """Run the targets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    began = time.monotonic()
    print(f"{options.at_once} at a time: {', '.join(options.targets)}", flush=True)
    parts = []
    with ThreadPoolExecutor(options.at_once) as pool:
        for done in as_completed([pool.submit(run, target) for target in options.targets]):
            parts.append(done.result())
            show(parts[-1])
    summarise(parts, time.monotonic() - began)
    return int(any(part.status for part in parts))


if __name__ == "__main__":
    sys.exit(main())
