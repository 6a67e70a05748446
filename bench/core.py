"""Consensus alone: one acceptor over its log, the core without any I/O, and the simulator's speed."""
import pathlib
import re
import shutil

from measure import check, children_cpu_s, measurement

PLANS = pathlib.Path(__file__).parent / "plans"
WRITERS, COMMAND = "64", "256"
DURATION = "2s"


@measurement(name="acceptor-log", unit="commands/s", reference_name="bare log, group fdatasync", bar=0.35, better="higher")
def acceptor_log(bench):
    folder = bench.folder / "acceptor"

    def run_acceptor():
        shutil.rmtree(folder, ignore_errors=True)
        return float(check([bench.build / "bench_acceptor_log", folder, WRITERS, COMMAND, DURATION]))
    yield (run_acceptor,
           lambda: float(check([bench.build / "bench_log_writers", bench.folder / "log", WRITERS, COMMAND, DURATION])))


@measurement(name="core-alone", unit="commands/s", reference_name="limit", bar=1.0, better="higher")
def core_alone(bench):
    yield (lambda: float(check([bench.build / "bench_core_alone", WRITERS, COMMAND, DURATION])),
           lambda: 1_000_000.0)


def sim_speed(bench, plan):
    """Simulated time by processor time: the real time of one thread that never waits and has a core to itself."""
    before = children_cpu_s()
    said = check([bench.build / "sim", "--schedule", PLANS / plan, "--quiet", "--stats"])
    return int(re.search(r"^ *virtual seconds +(\d+)$", said, re.M)[1]) / (children_cpu_s() - before)


@measurement(name="sim-idle", unit="times", reference_name="limit", bar=1.0, better="higher")
def sim_idle(bench):
    yield lambda: sim_speed(bench, "idle"), lambda: 5000.0


@measurement(name="sim-loaded", unit="times", reference_name="limit", bar=1.0, better="higher")
def sim_loaded(bench):
    yield lambda: sim_speed(bench, "loaded"), lambda: 100.0
