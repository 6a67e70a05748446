"""Resident memory of a one-node server, idle and under uploads."""
import pathlib
import re
import threading
import time

from measure import measurement, process_tree

IDLE_S = 3
SAMPLE_S = 0.05


def field_kib(path, *names):
    text = path.read_text()
    return sum(int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) for name in names)


def resident_mib(pid):
    """All of the server's own pages, and what its helpers do not share with it."""
    total = field_kib(pathlib.Path(f"/proc/{pid}/status"), "VmRSS")
    for helper in process_tree(pid)[1:]:
        try:
            total += field_kib(pathlib.Path(f"/proc/{helper}/smaps_rollup"), "Private_Clean", "Private_Dirty")
        except (OSError, TypeError):
            pass  # it has ended
    return total / 1024


def peak_mib(pid, work):
    """The most that was resident while work() ran."""
    peak, is_over = [0], threading.Event()

    def sample():
        while not is_over.is_set():
            peak[0] = max(peak[0], resident_mib(pid))
            time.sleep(SAMPLE_S)
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        work()
    finally:
        is_over.set()
        thread.join()
    return peak[0]


@measurement(name="memory-idle", unit="MiB", reference_name="limit", bar=1.0, better="lower")
def idle(bench):
    with bench.server() as server:
        time.sleep(IDLE_S)
        yield lambda: resident_mib(server.pid), lambda: 40.0


@measurement(name="memory-uploads", unit="MiB", reference_name="limit", bar=1.0, better="lower")
def uploads(bench):
    with bench.server() as server:
        bench.run("mb", "bench")
        words = ("--size", "64M", "--keys", "64", "--count", "64", "--connections", "64")
        yield (lambda: peak_mib(server.pid, lambda: bench.load("put", "bench/x-", *words)),
               lambda: 300.0)
