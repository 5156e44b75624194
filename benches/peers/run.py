"""Runs mnist-lab and its peers by turns on one machine, and prints what they reach as Markdown.

    benches/peers/setup.sh
    cargo build --release
    python3 benches/peers/run.py [TABLE ...]

Each run waits until the machine is otherwise idle and is made again if others disturbed it. The results go to a file
of JSON lines, from which `--print` makes the tables again. Linux, Python 3.11, standard library alone.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

from gate import Gate
from tables import HERE, OURS, PRESETS, ROOT, events, tables


def main():
    given = arguments()
    known = tables(str(given.binary.resolve()), given.work.resolve(), given.quick)
    names = given.tables or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"there is no table `{name}`: {', '.join(known)}")
    results = given.print or given.out or given.work / "results.jsonl"
    if not given.print:
        if not find_library("jemalloc"):
            sys.exit("jemalloc is not installed: see benches/peers/setup.sh")
        gate = Gate(tries=1, patience=0) if given.quick else Gate()
        try:
            for name in names:
                measure(name, known[name], given, gate, results)
        except KeyboardInterrupt:
            print("interrupted; what was measured until now:", file=sys.stderr)
    records = [json.loads(line) for line in results.read_text().splitlines()]
    for name in names:
        if found := [record for record in records if record["table"] == name]:
            print(report(known[name], found))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which tables; all if none is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/mnist-lab")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="the folder that setup.sh made")
    parser.add_argument("--out", type=Path, help="where results are added; results.jsonl in the work folder")
    parser.add_argument("--print", type=Path, metavar="FILE", help="prints the tables of these results; runs nothing")
    parser.add_argument("--quick", action="store_true", help="short runs on a busy machine, to see that all works")
    return parser.parse_args()


def measure(name, table, given, gate, results):
    """Adds the results of all rounds to the file."""
    presets = {preset: started(given.binary, preset) for preset in PRESETS}
    layers = {preset: event["arch"] for preset, event in presets.items()}
    parameters = {event["arch"]: event["parameters"] for event in presets.values()}
    machine = f"{processor()}, {os.cpu_count()} cores, {presets['tutorial']['device_name']}"
    version = subprocess.check_output([given.binary, "--version"], text=True).strip()
    for number in range(1, given.rounds + 1):
        for contestant in table.contestants:
            command = [word.format(seed=number, **layers) for word in contestant.command]
            run = gate.measure(command, contestant.environment, contestant.stdin)
            record = {"table": name, "case": contestant.case, "name": contestant.name, "round": number}
            record |= judged(contestant, run, parameters)
            peer = next((event["peer"] for event in events(run, "started") if "peer" in event), version)
            record |= {"seconds": run.seconds, "peak_mib": run.peak_mib, "foreign": run.foreign}
            record |= {"date": f"{datetime.date.today()}", "machine": machine, "version": peer}
            with results.open("a") as file:
                print(json.dumps(record), file=file)
            told = record["problem"] or f"{record['figure']:.1f} {table.unit}"
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


def report(table, records):
    """The table in Markdown, and under it where its figures come from."""
    figures = {}
    for record in records:
        figures.setdefault((record["case"], record["name"]), [])
        if record["figure"] is not None:
            figures[record["case"], record["name"]].append(record["figure"])
    center = statistics.mean if table.by_mean else statistics.median
    centers = {key: center(found) for key, found in figures.items() if found}

    def spread(key):
        if key not in centers:
            return "none"
        found = figures[key]
        if table.by_mean:
            return f"{number(centers[key])} ± {number(statistics.stdev(found)) if len(found) > 1 else '?'}"
        return f"{number(centers[key])} ({number(min(found))}–{number(max(found))})"

    def ratio(contestant):
        key, base = (contestant.case, contestant.name), (contestant.case, contestant.against)
        if key == base or contestant.name == contestant.against or not {key, base} <= centers.keys():
            return ""
        beside = "" if contestant.against == OURS else f" by {contestant.against}"
        return table.ratio.text(centers[base], centers[key]) + beside

    def best(contestant):
        if not table.share_of_best or (contestant.case, contestant.name) not in centers:
            return ""
        of_name = max(value for (_, name), value in centers.items() if name == contestant.name)
        return f"{centers[contestant.case, contestant.name] / of_name:.0%} of its best"

    shown = [contestant for contestant in table.contestants if (contestant.case, contestant.name) in figures]
    summary = "mean ± sd" if table.by_mean else "median (min–max)"
    if shown[0].case:
        names = list(dict.fromkeys(contestant.name for contestant in shown))
        lines = [f"| {summary}; {table.ratio.heading} | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
        for case in dict.fromkeys(contestant.case for contestant in shown):
            cells = [
                ", ".join(filter(None, [spread((case, c.name)), ratio(c), best(c)])) for c in shown if c.case == case
            ]
            lines.append(f"| {case} | {' | '.join(cells)} |")
    else:
        lines = [f"| | {summary} | {table.ratio.heading} |", "|---|---|---|"]
        lines += [f"| {c.name} | {spread((c.case, c.name))} | {ratio(c)} |" for c in shown]
    return "\n".join([f"{table.title}, {table.unit}:", "", *lines, "", source(records), ""])


def source(records):
    """How many rounds, when, on what, how undisturbed, and what went wrong."""
    rounds = max(sum(r["name"] == name and r["case"] == case for r in records) for name, case in
                 {(r["name"], r["case"]) for r in records})
    dates = sorted({record["date"] for record in records})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    foreign = max(record["foreign"] for record in records)
    told = [f"{rounds} rounds by turns, {when}; other processes took at most {foreign:.1%} of the processor."]
    told += ["; ".join(sorted({record["machine"] for record in records})) + "."]
    told += [", ".join(sorted({record["version"] for record in records})) + "."]
    told += [f"{r['name']} {r['case']}, round {r['round']}: {r['problem']}." for r in records if r["problem"]]
    return " ".join(told)


def number(value):
    """Three digits that count, more below the thousands only before the point: 19,800, 0.123, 41.2."""
    if value >= 1000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    main()
