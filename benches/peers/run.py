"""Runs mnist-lab and its peers by turns on one machine, and prints what they reach as Markdown.

    benches/peers/setup.sh
    cargo build --release
    python3 benches/peers/run.py [TABLE ...]

Each run waits until the machine is otherwise idle and is made again if others disturbed it; one that stays disturbed
is left out of the tables. The results go to a file of JSON lines, from which `--print` makes the tables again. Linux, Python 3.11, standard library alone.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

from gate import Gate
from report import report
from tables import HERE, NAMES, PRESETS, ROOT, events, tables


def main():
    given = arguments()
    known = tables(str(given.binary.resolve()), given.work.resolve(), given.quick)
    names = given.tables or NAMES
    results = given.print or given.out or given.work / ("quick.jsonl" if given.quick else "results.jsonl")
    if not given.print:
        if not given.binary.exists():
            sys.exit(f"{given.binary} is not there: `cargo build --release` makes it")
        for name in ("venv-torch", "venv-tf"):
            if not (given.work / name / "bin/python").exists():
                sys.exit(f"{given.work / name} is not there: `benches/peers/setup.sh {given.work}` makes it")
        if not find_library("jemalloc"):
            sys.exit("jemalloc is not installed: benches/peers/setup.sh installs it")
        try:
            for name in names:
                measure(name, known[name], given, results)
        except KeyboardInterrupt:
            print("interrupted; what was measured until now:", file=sys.stderr)
    if not results.exists():
        sys.exit(f"{results} is not there: nothing was measured")
    records = [json.loads(line) for line in results.read_text().splitlines()]
    for name in names:
        if found := [record for record in records if record["table"] == name]:
            print(report(known[name], found))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(NAMES)}; all if none is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/mnist-lab")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="the folder that setup.sh made")
    parser.add_argument("--out", type=Path, help="where results are added; results.jsonl in the work folder")
    parser.add_argument("--print", type=Path, metavar="FILE", help="prints the tables of these results; runs nothing")
    parser.add_argument("--case", help="this row alone of `batch` or `presets`, such as 64 or resnet")
    parser.add_argument("--quick", action="store_true", help="short runs on a busy machine, to see that all works")
    given = parser.parse_args()
    for name in given.tables:
        if name not in NAMES:
            parser.error(f"there is no table `{name}`: {', '.join(NAMES)}")
    return given


def measure(name, table, given, results):
    """Adds the results of all rounds to the file."""
    gate = Gate(limit=1, tries=1, patience=0) if given.quick else Gate()
    presets = {preset: started(given.binary, preset) for preset in PRESETS}
    layers = {preset: event["arch"] for preset, event in presets.items()}
    parameters = {event["arch"]: event["parameters"] for event in presets.values()}
    machine = f"{processor()}, {os.cpu_count()} cores, {presets['tutorial']['device_name']}"
    version = subprocess.check_output([given.binary, "--version"], text=True).strip()
    for number in range(1, given.rounds + 1):
        for contestant in table.contestants:
            if given.case and contestant.case != given.case:
                continue
            command = [word.format(seed=number, **layers) for word in contestant.command]
            run = gate.measure(command, contestant.environment, contestant.stdin)
            record = {"table": name, "case": contestant.case, "name": contestant.name, "round": number}
            record |= judged(contestant, run, parameters)
            peer = next((event["peer"] for event in events(run, "started") if "peer" in event), version)
            record |= {"seconds": run.seconds, "peak_mib": run.peak_mib, "foreign": run.foreign}
            record |= {"disturbed": run.foreign > gate.limit, "quick": given.quick}
            record |= {"date": f"{datetime.date.today()}", "machine": machine, "version": peer}
            with results.open("a") as file:
                print(json.dumps(record), file=file)
            told = record["problem"] or f"{record['figure']:.1f} {table.unit}{', disturbed' * record['disturbed']}"
            print(f"{name} {contestant.case} {number}: {contestant.name}: {told}", file=sys.stderr)


def judged(contestant, run, parameters):
    """The figure of a run, or why it has none."""
    if run.code != 0:
        last = (run.errors.strip().splitlines() or ["no message"])[-1]
        return {"figure": None, "problem": f"exit code {run.code}: {last}"}
    for event in events(run, "started"):
        if "parameters" in event and event["parameters"] != parameters[event["arch"]]:
            return {"figure": None, "problem": f"has {event['parameters']} parameters"}
    try:
        return {"figure": contestant.read(run), "problem": None}
    except ValueError as error:
        return {"figure": None, "problem": str(error)}


def started(binary, preset):
    """What our program says of a network before it trains it."""
    command = [binary, "train", "--json", "--no-save", "--arch", preset, "--config", os.devnull]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        line = process.stdout.readline()
        process.terminate()
    return json.loads(line)


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown processor")


if __name__ == "__main__":
    main()
