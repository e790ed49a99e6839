"""From single measurements to medians, ratios and a page of Markdown."""

import math
import random
import statistics

RESAMPLES = 4000


def summarise(part):
    """Adds to each engine its median, and its ratio to trace with a 95 % interval.

    The interval is a percentile bootstrap of the difference of log medians. Rounds are drawn whole, since what disturbs
    the machine disturbs the engines of one round together.
    """
    walls = {e["name"]: [r["wall_ns"] for r in e["runs"]] for e in part["engines"]}
    for engine in part["engines"]:
        values = walls[engine["name"]]
        engine["median_ns"] = round(statistics.median(values))
        engine["min_ns"], engine["max_ns"] = min(values), max(values)
    base = walls.get("trace")
    if base is None:
        return
    dice = random.Random(1)
    rounds = range(len(base))
    draws = [dice.choices(rounds, k=len(base)) for _ in range(RESAMPLES)]
    for engine in part["engines"]:
        if engine["name"] == "trace":
            continue
        values = walls[engine["name"]]
        logs = sorted(log_ratio([values[i] for i in draw], [base[i] for i in draw]) for draw in draws)
        low, high = logs[int(RESAMPLES * 0.025)], logs[int(RESAMPLES * 0.975) - 1]
        engine["ratio_to_trace"] = {
            "median": math.exp(log_ratio(values, base)),
            "low": math.exp(low),
            "high": math.exp(high),
        }


def log_ratio(a, b):
    return math.log(statistics.median(a)) - math.log(statistics.median(b))


def milliseconds(ns):
    ms = ns / 1e6
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 1000 else f"{ms:.0f}"


def ratio(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def targets(result):
    """What the project wants of itself, and whether this result has it."""
    rows = []
    for part in result["parts"]:
        by_name = {e["name"]: e for e in part["engines"]}
        if part["title"].startswith("warm") and "crun" in by_name and "trace" in by_name:
            r = by_name["crun"]["ratio_to_trace"]
            rows.append(("warm, whole process: at most 1.5 × `crun run`", f"{ratio(1 / r['median'])} ×", 1 / r["median"] <= 1.5))
        if part["title"].startswith("cold") and "podman" in by_name and "trace" in by_name:
            r = by_name["podman"]["ratio_to_trace"]
            rows.append(("cold: at least 5 × faster than `podman run`", f"{ratio(r['median'])} ×", r["median"] >= 5))
    peaks = [max(m["peak_bytes"]) for m in result["memory"] if m["engine"] == "trace"]
    if peaks:
        rows.append(("peak memory of any pull below 100 MB", f"{max(peaks) / 1e6:.1f} MB", max(peaks) < 100e6))
    return rows


def markdown(result):
    about = result["about"]
    out = [f"# Side by side, {about['date'][:10]}, {about['machine']}, {about['commit']}", ""]
    if about["note"]:
        out += [about["note"], ""]
    out += [
        f"`{about['command']}`: {about['cores']} cores of {about['cpu']}, {about['memory_bytes'] / 2**30:.0f} GiB, "
        f"Linux {about['kernel']}, cgroups {about['cgroups']}, {about['filesystem']}. Every measurement is in the JSON file "
        "beside this one.",
        "",
    ]
    rows = targets(result)
    if rows:
        out += [table(["target", "measured", "met"], [(a, b, "yes" if ok else "**no**") for a, b, ok in rows]), ""]
    for part in result["parts"]:
        out += ['## ' + part['title'][0].upper() + part['title'][1:], "", part["what"]]
        out += [f"{part['rounds']} rounds, load {part['load_before']:.2f} before and {part['load_after']:.2f} after.", ""]
        rows = []
        for e in part["engines"]:
            r = e.get("ratio_to_trace")
            shown = f"{ratio(r['median'])} ({ratio(r['low'])}–{ratio(r['high'])})" if r else "1"
            cpu = statistics.median(run["user_ns"] + run["system_ns"] for run in e["runs"])
            times = [milliseconds(e[k]) for k in ("median_ns", "min_ns", "max_ns")] + [milliseconds(cpu)]
            rows.append((e["name"], *times, shown))
        out += [table(["", "median ms", "min", "max", "own CPU ms", "× trace (95 %)"], rows), ""]
    if result["memory"]:
        out += ["## Peak memory of a pull", "", "Largest resident size of the process, by GNU time.", ""]
        names = list(dict.fromkeys(m["engine"] for m in result["memory"]))
        images = list(dict.fromkeys(m["image"] for m in result["memory"]))
        peak = {(m["image"], m["engine"]): f"{max(m['peak_bytes']) / 1e6:.1f}" for m in result["memory"]}
        out += [table(["image", *(f"{n} MB" for n in names)], [(i, *(peak.get((i, n), "") for n in names)) for i in images]), ""]
    out += ["## What each does", ""]
    notes, commands = {}, {}
    for part in result["parts"]:
        for e in part["engines"]:
            notes.setdefault(e["name"], e["note"])
            commands.setdefault(e["name"], []).append(e["command"])
    for name, note in notes.items():
        out += [f"- **{name}** ({about['versions'].get(name, '')}): {note}"]
        out += [f"  - `{c}`" for c in dict.fromkeys(commands[name])]
    out += ["", "\"Own CPU\" is user and system time of the process and the children it waited for; a daemon's is not in it."]
    return "\n".join(out) + "\n"
