"""The results of a table in Markdown."""

import statistics
from collections import Counter

from tables import OURS


def report(table, records):
    """The table, and under it where its figures come from."""
    figures, seen = {}, Counter()
    for record in records:
        who = record["case"], record["name"]
        # A file can hold more than one measurement.
        seen[who, record["round"]] += 1
        if record["figure"] is not None and not record["disturbed"]:
            figures.setdefault(who, {})[record["round"], seen[who, record["round"]]] = record["figure"]
    shown = [contestant for contestant in table.contestants if key(contestant) in figures]
    summary = "mean ± standard deviation" if table.by_mean else "median (min–max)"
    if any(contestant.case for contestant in shown):
        names = list(dict.fromkeys(contestant.name for contestant in shown))
        lines = [f"| {summary}; {table.ratio.heading} | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
        for case in dict.fromkeys(contestant.case for contestant in shown):
            row = {c.name: ", ".join(filter(None, cells(table, figures, c))) for c in shown if c.case == case}
            lines.append(f"| {case} | {' | '.join(row.get(name, '') for name in names)} |")
    else:
        lines = [f"| | {summary} | {table.ratio.heading} |", "|---|---|---|"]
        lines += [f"| {c.name} | {' | '.join(cells(table, figures, c))} |" for c in shown]
    return "\n".join([f"{table.title}, {table.unit}:", "", *lines, "", source(records), ""])


def key(contestant):
    return contestant.case, contestant.name


def cells(table, figures, contestant):
    """A contestant's figure, how it compares and, where the table asks for it, its share of the contestant's best.

    Of medians, the comparison is the median over the rounds of the two figures' ratio in the same round: when the machine is
    slower for a while, it is so for both.
    """
    center = statistics.mean if table.by_mean else statistics.median
    rounds = figures[key(contestant)]
    found = rounds.values()
    middle = center(found)
    if table.by_mean:
        figure = f"{number(middle)} ± {number(statistics.stdev(found)) if len(found) > 1 else '?'}"
    else:
        figure = f"{number(middle)} ({number(min(found))}–{number(max(found))})"
    ratio = ""
    base = figures.get((contestant.case, contestant.against))
    if base and contestant.name != contestant.against:
        beside = "" if contestant.against == OURS else f" ({contestant.against})"
        pairs = [rounds[number] / base[number] for number in rounds if number in base]
        if table.by_mean or not pairs:
            pairs = [middle / center(base.values())]
        ratio = table.ratio.text(1, statistics.median(pairs)) + beside
    if not table.share_of_best:
        return [figure, ratio]
    best = max(center(others.values()) for (_, name), others in figures.items() if name == contestant.name)
    return [figure, ratio, f"{100 * middle / best:.0f} % of its best"]


def source(records):
    """How many rounds, when, how undisturbed, on what, by whom, and what went wrong."""
    rounds = max(Counter((record["case"], record["name"]) for record in records).values())
    dates = sorted({record["date"] for record in records})
    foreign = max((record["foreign"] for record in records if not record["disturbed"]), default=0)
    told = [
        f"{rounds} round{'s' * (rounds > 1)} by turns, {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}",
        f"Other processes took at most {100 * foreign:.1f} % of the processor",
        *sorted({record["machine"] for record in records}),
        ", ".join(sorted({record["version"] for record in records})),
    ]
    told += ["Quick runs, which say that all works and nothing of speed"] * any(record["quick"] for record in records)
    told += [f"{name(r)} is left out: other processes took {100 * r['foreign']:.0f} %" for r in records if r["disturbed"]]
    told += [f"{name(r)}: {r['problem']}" for r in records if r["problem"]]
    return ". ".join(told) + "."


def name(record):
    return " ".join(filter(None, [record["name"], record["case"], f"in round {record['round']}"]))


def number(value):
    """Three digits that count: 19,800, 134, 41.2, 0.123."""
    if value >= 1000:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    return f"{value:.3g}"
