"""The measurements' driver: runs quern and what it is compared with in turns, and prints medians and ratios.

Usage: bench.py BUILD [NAME]    results also go to BUILD/bench.json; ROUNDS=5 in the environment
"""
import json
import os
import pathlib
import shutil
import statistics
import sys

from measure import MEASUREMENTS, Bench
import core  # noqa: F401  each module adds its measurements to the table
import etcd  # noqa: F401
import failover  # noqa: F401
import jobs  # noqa: F401
import memory  # noqa: F401
import objects  # noqa: F401


def run(measurement, bench, rounds):
    """Both sides in turns; the ratio of their medians."""
    quern, reference = [], []
    with measurement.prepare(bench) as (run_quern, run_reference):
        for _ in range(rounds):
            quern.append(run_quern())
            reference.append(run_reference())
    ours, theirs = statistics.median(quern), statistics.median(reference)
    return {
        "name": measurement.name,
        "quern": round(ours, 3),
        "reference": round(theirs, 3),
        "reference_name": measurement.reference_name,
        "ratio": round(ours / theirs, 3),
        "bar": measurement.bar,
        "better": measurement.better,
        "unit": measurement.unit,
    }


def is_met(row):
    return row["ratio"] >= row["bar"] if row["better"] == "higher" else row["ratio"] <= row["bar"]


def print_row(row):
    sign = ">=" if row["better"] == "higher" else "<="
    print(f"{row['name']:22} {row['quern']:>11,.2f} {row['reference']:>11,.2f} {row['unit']:10} "
          f"{row['ratio']:>7.2f} {sign}{row['bar']:<5} {'' if is_met(row) else 'MISSED ':7}"
          f"{row['reference_name']}", flush=True)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    only = sys.argv[2] if len(sys.argv) > 2 else None
    chosen = [m for m in MEASUREMENTS if only in (None, m.name)]
    if not chosen:
        sys.exit(f"bench: no such measurement: {only}; there are "
                 + " ".join(m.name for m in MEASUREMENTS))
    rounds = int(os.environ.get("ROUNDS", "5"))
    print(f"{'name':22} {'quern':>11} {'reference':>11} {'unit':10} {'ratio':>7} bar            reference")
    rows, failed = [], False
    for measurement in chosen:
        folder = build / "bench-data"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            rows.append(run(measurement, Bench(build, folder), rounds))
            print_row(rows[-1])
        except Exception as error:  # one that cannot be made must not hide the others
            failed = True
            print(f"{measurement.name:22} FAILED: {error}", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    (build / "bench.json").write_text(json.dumps(rows, indent=2) + "\n")
    missed = [row["name"] for row in rows if not is_met(row)]
    print(f"bench: {len(rows) - len(missed)} of {len(chosen)} bars met"
          + (f"; missed: {' '.join(missed)}" if missed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
