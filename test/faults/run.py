"""A cluster under faults, with clients whose history is judged.

Started by tools/faults, which puts it into namespaces of its own."""

import argparse
import os
import random
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import nemesis  # noqa: E402
import report  # noqa: E402
from cluster import Cluster, Finding  # noqa: E402
from disk import Disk  # noqa: E402
from load import Load  # noqa: E402


DISK_BYTES = 12 << 30  # of a node whose disk is going to be full


class Episode:
    def __init__(self, name):
        self.name = name
        self.begin_ns = now_ns()
        self.end_ns = self.healthy_ns = 0
        self.story = ""


def now_ns():
    """The clock of the history."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def read_arguments():
    parser = argparse.ArgumentParser(prog="tools/faults run")
    parser.add_argument("--build", required=True)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--kinds", default="", help="names with spaces between; default: all that hold")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--out", help="folder of the report, the history and the logs")
    parser.add_argument("--data", help="folder of the nodes' data; default: in --out")
    options = parser.parse_args()
    options.out = os.path.abspath(options.out or f"{options.build}/faults")
    options.kinds = options.kinds.split() or nemesis.default_kinds()
    unknown = [name for name in options.kinds if name not in nemesis.KINDS]
    if unknown:
        parser.error(f"no such kinds: {' '.join(unknown)}; there are {' '.join(nemesis.KINDS)}")
    return options


class Run:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.episodes = []
        self.findings = []
        shutil.rmtree(options.out, ignore_errors=True)
        os.makedirs(options.out)
        self.data = options.data or f"{options.out}/data"
        self.cluster = Cluster(f"{options.build}/quern", options.nodes, self.data, options.out)
        self.load = None
        self.cluster.disks = {}
        if any(name.startswith("full") for name in options.kinds):
            self.cluster.disks = {i: Disk("ext4", f"{options.out}/disk{i}", node.directory, DISK_BYTES)
                                  for i, node in self.cluster.nodes.items()}

    # ---- faults ----

    def schedule(self):
        """All kinds in random order, again and again."""
        while True:
            names = list(self.options.kinds)
            self.rng.shuffle(names)
            yield from names

    def companion(self, name):
        """Sometimes a fault of processes and one of the network at once."""
        others = [other for other in self.options.kinds
                  if (other in nemesis.PROCESS) != (name in nemesis.PROCESS)
                  and not {name, other} & nemesis.ALONE]
        return self.rng.choice(others) if others and self.rng.random() < 0.2 else None

    def make(self, name, seconds, seed):
        episode = Episode(name)
        self.episodes.append(episode)
        try:
            episode.story = nemesis.KINDS[name](self.cluster, random.Random(seed), seconds)
        except Exception as failure:  # noqa: BLE001 - also of a thread: it must not be overlooked
            self.findings.append(f"{name}: {failure}")
        episode.end_ns = now_ns()
        return episode

    def one(self, name):
        """A fault, or two at once; then until all is well."""
        first = len(self.episodes)
        seconds = self.rng.uniform(0.5, 6)
        other = self.companion(name)
        thread = None
        if other:
            thread = threading.Thread(target=self.make, args=(other, self.rng.uniform(0.5, 6),
                                                              self.rng.random()))
            thread.start()
        self.make(name, seconds, self.rng.random())
        if thread:
            thread.join()
        self.cluster.wait_healthy()
        self.cluster.check_writes()
        for episode in self.episodes[first:]:
            episode.healthy_ns = now_ns()
            print(f"{(episode.end_ns - episode.begin_ns) / 1e9:6.1f} s {episode.name}: {episode.story}",
                  flush=True)

    def faults(self):
        end = time.monotonic() + self.options.minutes * 60
        for name in self.schedule():
            if time.monotonic() >= end:
                return
            self.one(name)
            time.sleep(self.rng.uniform(0.3, 1.5))
            self.load.verify("new")
            if self.findings:
                return

    # ---- the whole ----

    def run(self):
        print(f"faults: seed {self.options.seed}, kinds: {' '.join(self.options.kinds)}", flush=True)
        self.cluster.form()
        self.cluster.start()
        self.load = Load(f"{self.options.build}/faults-client", self.cluster.environment(),
                         f"{self.options.out}/history", seed=self.options.seed,
                         rate=self.options.rate)
        totals = {}
        try:
            self.faults()
            totals = self.load.finish()
        except (Finding, AssertionError) as finding:
            self.findings.append(str(finding))
        finally:
            self.load.end()
            self.cluster.stop()
        self.findings += self.cluster.check_logs()
        return report.write(self, totals)

    def clean(self):
        self.cluster.stop()
        for disk in self.cluster.disks.values():
            disk.detach()
            os.unlink(disk.image)
        if not self.options.data:
            shutil.rmtree(self.data, ignore_errors=True)


def main():
    def end(*_):
        raise SystemExit(130)
    signal.signal(signal.SIGTERM, end)
    run = Run(read_arguments())
    try:
        status = run.run()
    except Finding as finding:
        print(f"faults: the cluster did not start: {finding}")
        status = 1
    finally:
        run.clean()
    sys.exit(status)


if __name__ == "__main__":
    main()
