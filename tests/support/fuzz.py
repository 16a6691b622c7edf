"""Reads damaged files of every kind: nothing but a result or an InputError may come of one.

`make fuzz` runs this as a script: in a process of its own with limits of memory and time, which is begun anew behind an
input that it does not survive. An input is a matter of the seed and its number alone, so that it can be read again:

    python tests/support/fuzz.py --only 1234
"""

import argparse
import json
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fuzz_targets import Target, make_targets

from masklet.errors import InputError
from masklet.media import images

MOST_SECONDS, MOST_BYTES = 20, 2**31  # of one input, beside what the libraries take themselves
MOST_PIXELS = 20_000_000  # a tenth of what is allowed otherwise, as time and memory grow with them


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an input: "result", "refused", or the traceback of what should not have been raised."""

    number: int
    target: str
    seconds: float
    found: str

    @property
    def is_fault(self) -> bool:
        return self.found not in ("result", "refused")


def try_input(targets: list[Target], number: int, seed: int) -> Outcome:
    """Damages the file of a target, reads it, and puts the sound file back."""
    target = targets[number % len(targets)]
    sound = target.file.read_bytes()
    damaged = target.mutate(np.random.default_rng([seed, number]), sound)
    target.file.write_bytes(damaged)
    begin = time.perf_counter()
    try:
        found = "refused" if refuses(target) else "result"
    except Exception:  # noqa: BLE001 - the fault that is looked for
        found = traceback.format_exc()
    finally:
        target.file.write_bytes(sound)
    return Outcome(number=number, target=target.name, seconds=time.perf_counter() - begin, found=found)


def refuses(target: Target) -> bool:
    """Whether its file is refused."""
    try:
        target.read(target.file)
    except InputError:
        return True
    return False


def run_child(numbers: range, seed: int) -> None:
    """A line of JSON for each input, before it (its number) and behind it (its outcome)."""
    with TemporaryDirectory() as folder:
        targets = make_targets(Path(folder))
        _limit_memory()
        images.MAX_PIXELS = MOST_PIXELS
        for number in numbers:
            print(json.dumps({"begun": number, "target": targets[number % len(targets)].name}), flush=True)
            signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)  # ends the process
            print(json.dumps(vars(try_input(targets, number, seed))), flush=True)
            signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()  # data, as RLIMIT_DATA counts
    resource.setrlimit(resource.RLIMIT_DATA, (used + MOST_BYTES, used + MOST_BYTES))


def run_children(first: int, count: int, seed: int, most_seconds: float) -> list[Outcome]:
    """Outcomes of the inputs, as many as fit into the time; one that ended its process is a fault as well."""
    outcomes: list[Outcome] = []
    number, end = first, time.monotonic() + most_seconds
    while number < first + count and time.monotonic() < end:
        command = [sys.executable, __file__, "--child", "--first", str(number), "--seed", str(seed)]
        command += ["--count", str(first + count - number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            begun: dict[str, object] = {}
            for line in child.stdout or ():
                entry = json.loads(line)
                if "begun" in entry:
                    begun = entry
                    continue
                begun = {}
                outcomes.append(Outcome(**entry))
                number = outcomes[-1].number + 1
                if time.monotonic() > end:
                    child.kill()
        if begun:
            if time.monotonic() < end:
                found = f"ended its process: {child.returncode}"
                target = str(begun["target"])
                outcomes.append(Outcome(number=number, target=target, seconds=MOST_SECONDS, found=found))
            number += 1
        elif child.returncode and time.monotonic() < end:
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return outcomes


def _kind(outcome: Outcome) -> str:
    """The last place in the package where it went wrong, and the type of the error."""
    lines = outcome.found.splitlines()
    places = [line for line in lines if "/masklet/" in line] or [outcome.target]
    error = next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception|Warning)", line)), lines[-1])
    return f"{places[-1].split(', in ')[0]} {error.split(':')[0]}"


def main() -> int:
    """Prints every kind of fault once, and counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--only", type=int, help="read one input, in this process")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        run_child(range(given.first, given.first + given.count), given.seed)
        return 0
    if given.only is not None:
        with TemporaryDirectory() as folder:
            outcome = try_input(make_targets(Path(folder)), given.only, given.seed)
        print(outcome.target, f"{outcome.seconds:.2f} s", outcome.found)
        return int(outcome.is_fault)
    outcomes = run_children(given.first, given.count, given.seed, given.seconds)
    faults = [each for each in outcomes if each.is_fault]
    kinds: dict[str, Outcome] = {}
    for each in faults:
        kinds.setdefault(_kind(each), each)
    for each in kinds.values():
        print(f"--- input {each.number}: {each.target}\n{each.found}")
    counts = Counter(each.found for each in outcomes if not each.is_fault)
    slowest = max(outcomes, key=lambda each: each.seconds, default=None)
    print(f"{len(outcomes)} inputs: {counts['result']} read, {counts['refused']} refused, {len(faults)} faults")
    if slowest is not None:
        print(f"the slowest took {slowest.seconds:.1f} s (input {slowest.number}, {slowest.target})")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
