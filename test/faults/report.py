"""What a run was, in numbers: build/faults/report.md."""

import bisect
import collections
import statistics

WRITES = ("put", "delete")


def read_history(path):
    """When writes were answered for certain, sorted, and how many operations ended how."""
    answered, outcomes = [], collections.Counter()
    with open(path, errors="replace") as file:
        for line in file:
            words = line.split(" ", 6)
            if words[0] == "#" or len(words) < 6:
                continue
            outcomes[words[0], words[4]] += 1
            if words[0].startswith(WRITES) and words[4] != "unknown":
                answered.append(int(words[2]))
    answered.sort()
    return answered, outcomes


def longest_gap(answered, begin_ns, end_ns):
    """The longest time without a write answered, in s, that began in the interval."""
    first, last = bisect.bisect_left(answered, begin_ns), bisect.bisect_right(answered, end_ns)
    times = [begin_ns, *answered[first:last + 1]]
    return max((b - a for a, b in zip(times, times[1:])), default=0) / 1e9


def kinds_table(run, answered):
    rows = ["| kind | episodes | under the fault, s | longest pause of writes: median, worst, s "
            "| until all nodes serve: median, worst, s |", "|---|---|---|---|---|"]
    by_kind = collections.defaultdict(list)
    for episode in run.episodes:
        by_kind[episode.name].append(episode)
    for name, episodes in sorted(by_kind.items()):
        gaps = [longest_gap(answered, e.begin_ns, e.end_ns) for e in episodes]
        back = [max(e.healthy_ns - e.end_ns, 0) / 1e9 for e in episodes]
        held = sum(e.end_ns - e.begin_ns for e in episodes) / 1e9
        rows.append(f"| {name} | {len(episodes)} | {held:.0f} | {statistics.median(gaps):.2f}, "
                    f"{max(gaps):.2f} | {statistics.median(back):.2f}, {max(back):.2f} |")
    return rows


def outcome_table(outcomes):
    columns = ("done", "refused", "missing", "unknown")
    rows = ["| operation | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for kind in sorted({kind for kind, _ in outcomes}):
        rows.append(f"| {kind} | " + " | ".join(str(outcomes[kind, c]) for c in columns) + " |")
    return rows


def notes(path, words):
    with open(path, errors="replace") as file:
        return [line.strip() for line in file if line.startswith("#") and
                any(f" {word}" in line[:60] for word in words)][:50]


def write(run, totals):
    """Judges the history, writes the report and the last line; returns the exit status."""
    options = run.options
    history = f"{options.out}/history"
    violations, undecided, text = run.load.check(options.out)
    answered, outcomes = read_history(history)
    lost = totals.get("lost", run.load.lost)
    corrupt, unexpected = totals.get("corrupt", 0), totals.get("unexpected", 0)
    sums = violations + undecided + corrupt + unexpected + len(run.findings)
    lines = ["# A run under faults", "",
             f"Seed {options.seed}, {options.nodes} nodes, {options.minutes:g} minutes, "
             f"kinds: {' '.join(options.kinds)}.", "",
             f"{totals.get('operations', 0)} operations were sent, {totals.get('unknown', 0)} had no certain "
             f"answer, {totals.get('unsent', 0)} found nobody to send to.",
             f"{violations} keys whose history is not linearizable, {undecided} undecided, {corrupt} corrupt "
             f"answers, {unexpected} unexpected answers, {len(run.findings)} other findings, {lost} objects lost.",
             "", *kinds_table(run, answered), "", *outcome_table(outcomes), ""]
    if run.findings:
        lines += ["## Findings", "", *(f"- {finding}" for finding in run.findings), ""]
    told = notes(history, ("lost", "corrupt:", "unexpected:", "unreadable:"))
    if told:
        lines += ["## What the clients noted", "", "```", *told, "```", ""]
    lines += ["## The checker", "", "```", text.strip(), "```"]
    with open(f"{options.out}/report.md", "w") as file:
        file.write("\n".join(lines) + "\n")
    for finding in [*run.findings, *told]:
        print(f"faults: {finding}")
    print(text.strip())
    print(f"faults: report in {options.out}/report.md")
    print(f"faults: {totals.get('operations', 0)} operations, {sums} violations, {lost} lost", flush=True)
    return 0 if sums == 0 and lost == 0 and totals else 1
