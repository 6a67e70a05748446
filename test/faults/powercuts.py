"""Power cuts: each node's directory on a file system of its own, which is shut down under load.

A cut loses what was not on the disk. Three kinds take turns:

    all    all nodes lose power at once; two of them come back, later the third
    pair   one node loses power, and another one is killed and stays away for a while
    one    one node loses power; the others run on

In the first two a majority stays away, or comes back late, that may have had the only durable votes:
so two nodes, one of them or both from their disks alone, must know all that was acknowledged. After
each cut the clients read every object acknowledged since the last; at the end all of them, and the
history of the registers is judged. Started by tools/faults, in namespaces of its own."""

import argparse
import os
import random
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cluster import Cluster, Finding  # noqa: E402
from disk import Disk  # noqa: E402
from load import Load  # noqa: E402

NODES = 3
DISK_BYTES = 8 << 30  # sparse
MODES = ("all", "pair", "one")


def read_arguments():
    parser = argparse.ArgumentParser(prog="tools/faults powercuts")
    parser.add_argument("--build", required=True)
    parser.add_argument("--cuts", type=int, default=20, help="of each file system")
    parser.add_argument("--kinds", default="xfs ext4", help="of file systems")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--preload", help="a library for the nodes, to see what is found when they do not "
                        "sync: libeatmydata.so")
    parser.add_argument("--out", help="folder of the history and the logs")
    options = parser.parse_args()
    options.out = os.path.abspath(options.out or f"{options.build}/powercuts")
    return options


def together(function, things):
    """On all of them at the same time."""
    failures = []

    def one(thing):
        try:
            function(thing)
        except Exception as failure:  # noqa: BLE001 - told below
            failures.append(failure)
    threads = [threading.Thread(target=one, args=(thing,)) for thing in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class PowerCuts:
    """The cuts of one kind of file system."""

    def __init__(self, options, kind):
        self.options, self.kind = options, kind
        self.rng = random.Random(f"{options.seed} {kind}")
        self.out = f"{options.out}/{kind}"
        os.makedirs(self.out)
        self.cluster = Cluster(f"{options.build}/quern", NODES, f"{self.out}/data", self.out,
                               options.network, options.preload)
        self.disks = {i: Disk(kind, f"{self.out}/disk{i}", node.directory, DISK_BYTES)
                      for i, node in self.cluster.nodes.items()}
        self.cuts = 0
        self.findings = []
        self.load = None

    def cut(self, numbers, absent):
        """Power off for these nodes, SIGKILL for who stays away; then all others come back."""
        nodes = [self.cluster.nodes[i] for i in numbers]
        disks = [self.disks[i] for i in numbers]
        together(Disk.cut, disks)
        for node in {*nodes, *absent}:
            node.kill()
        self.load.pause()
        together(Disk.detach, disks)
        together(Disk.attach, disks)
        self.start([node for node in nodes if node not in absent])

    def start(self, nodes):
        for node in nodes:
            node.start()
        for node in nodes:
            if not node.wait_ready():
                raise Finding(f"node {node.number} did not start after a power cut: "
                              f"{self.cluster.last_words(node)}")

    def one(self, mode):
        """One cut and its aftermath, however many nodes it hits; returns how many objects were read."""
        numbers = sorted(self.cluster.nodes)
        self.rng.shuffle(numbers)
        lost_before = self.load.lost
        absent = [self.cluster.nodes[numbers[-1]]] if mode != "one" else []
        self.cut(numbers if mode == "all" else numbers[:1], absent)
        self.cuts += 1
        verified = self.load.verify("new")["verified"]
        self.start(absent)
        self.cluster.wait_healthy()
        verified += self.load.verify("new")["verified"]
        self.load.resume()
        if self.load.lost > lost_before:
            self.findings.append(f"cut {self.cuts} ({mode}, nodes {numbers}): objects lost")
        return verified

    def run(self):
        self.cluster.form()
        self.cluster.start()
        self.load = Load(f"{self.options.build}/faults-client", self.cluster.environment(),
                         f"{self.out}/history", seed=self.options.seed, rate=self.options.rate,
                         threads=8, window=4000, big=1000, timeout=10000)
        try:
            for number in range(self.options.cuts):
                time.sleep(self.rng.uniform(0.3, 1.2))
                mode = MODES[number % len(MODES)]
                begun = time.monotonic()
                count = self.one(mode)
                print(f"{self.kind} cut {number + 1}: {mode}, {count} objects verified, "
                      f"{time.monotonic() - begun:.1f} s", flush=True)
            return self.load.finish()
        except (Finding, AssertionError) as finding:
            self.findings.append(str(finding))
            return {}
        finally:
            self.load.end()
            self.cluster.stop()

    def judge(self, totals):
        """Lost objects, and everything else that must not be."""
        self.findings += self.cluster.check_logs()
        for finding in self.findings:
            print(f"power cuts: {self.kind}: {finding}")
        violations, undecided, text = self.load.check(self.out)
        lost = totals.get("lost", self.load.lost)
        sums = {"violations": violations, "undecided": undecided, "corrupt": totals.get("corrupt", 0),
                "unexpected": totals.get("unexpected", 0), "findings": len(self.findings)}
        print(f"{self.kind}: {text.strip()}")
        print(f"{self.kind}: {totals.get('operations', 0)} operations, {lost} objects lost, " +
              ", ".join(f"{count} {name}" for name, count in sums.items()), flush=True)
        return lost + sum(sums.values()) + (0 if totals else 1)

    def clean(self):
        self.cluster.stop()
        for disk in self.disks.values():
            disk.detach()
        shutil.rmtree(f"{self.out}/data", ignore_errors=True)
        for disk in self.disks.values():
            os.unlink(disk.image)


def main():
    def end(*_):
        raise SystemExit(130)
    signal.signal(signal.SIGTERM, end)
    options = read_arguments()
    options.network = None
    shutil.rmtree(options.out, ignore_errors=True)
    os.makedirs(options.out)
    print(f"power cuts: seed {options.seed}", flush=True)
    done, lost = {"xfs": 0, "ext4": 0}, 0
    for kind in options.kinds.split():
        cuts = PowerCuts(options, kind)
        options.network = cuts.cluster.network
        try:
            lost += cuts.judge(cuts.run())
        except Finding as finding:
            print(f"power cuts: {kind}: the cluster did not start: {finding}")
            lost += 1
        finally:
            cuts.clean()
        done[kind] = cuts.cuts
    print(f"power cuts: {done['xfs']} on xfs, {done['ext4']} on ext4, {lost} lost", flush=True)
    sys.exit(0 if lost == 0 and all(done[kind] for kind in options.kinds.split()) else 1)


if __name__ == "__main__":
    main()
