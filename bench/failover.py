"""How long writes stand still when the node that leads most Paxos groups dies or hangs."""
import collections
import contextlib
import json
import os
import signal
import subprocess
import time

from measure import START_S, check, measurement

KILLS = int(os.environ.get("KILLS", "4"))  # of a round
SETTLE_S = 1.0
BEFORE_S = 0.7


class Cluster:
    """Three nodes whose writers go to those that stay."""

    def __init__(self, bench):
        self.bench = bench
        self.urls = bench.environment["QUERN_ENDPOINT"].split(",")
        bench.run("mb", "bench")

    def folder(self, node):
        return self.bench.folder / "cluster" / f"node{node}"

    def status(self):
        return json.loads(self.bench.run("status", "--json"))

    def leader(self):
        """Of most groups, once each has one and all their voters vote."""
        deadline = time.monotonic() + START_S
        while True:
            groups = self.status()["groups"]
            if all(group["leader"] and group["voting"] == len(self.urls) for group in groups):
                return collections.Counter(group["leader"] for group in groups).most_common(1)[0][0]
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster is not whole again")
            time.sleep(0.05)

    def outage_ms(self, hurt, heal):
        """The slowest of many writes through the other nodes while the leader is hurt."""
        leader = self.leader()
        time.sleep(SETTLE_S)
        others = ",".join(url for i, url in enumerate(self.urls, 1) if i != leader)
        writers = subprocess.Popen(
            [self.bench.quern, "bench", "put", "bench/x-", "--size", "256", "--keys", "256", "--connections", "16",
             "--duration", "3s", "--json"],
            env=dict(self.bench.environment, QUERN_ENDPOINT=others), stdout=subprocess.PIPE, text=True)
        time.sleep(BEFORE_S)
        hurt(leader)
        result = json.loads(writers.communicate(timeout=60)[0])
        heal(leader)
        if result["failures"] > 0:
            raise RuntimeError(f"{result['errors']} writes failed")
        return result["slowest_ms"]

    def pid(self, node):
        return int((self.folder(node) / "quern.pid").read_text())

    def kill(self):
        def start(node):
            check([self.bench.quern, "dev", "start", str(node), "--dir", self.bench.folder / "cluster"])
        return self.outage_ms(lambda node: os.kill(self.pid(node), signal.SIGKILL), start)

    def stop(self):
        return self.outage_ms(lambda node: os.kill(self.pid(node), signal.SIGSTOP),
                              lambda node: os.kill(self.pid(node), signal.SIGCONT))


@contextlib.contextmanager
def percentile_of(bench, name, percent):
    """Of all so far, so that the last round's is that of all."""
    with bench.cluster():
        cluster, outages = Cluster(bench), []

        def run():
            outages.extend(getattr(cluster, name)() for _ in range(KILLS))
            return sorted(outages)[min(len(outages) - 1, len(outages) * percent // 100)]
        yield run


@measurement(name="failover-kill-p50", unit="ms", reference_name="limit", bar=1.0, better="lower")
def kill_p50(bench):
    with percentile_of(bench, "kill", 50) as run:
        yield run, lambda: 50.0


@measurement(name="failover-kill-p99", unit="ms", reference_name="limit", bar=1.0, better="lower")
def kill_p99(bench):
    with percentile_of(bench, "kill", 99) as run:
        yield run, lambda: 250.0


@measurement(name="failover-stop-p99", unit="ms", reference_name="limit", bar=1.0, better="lower")
def stop_p99(bench):
    with percentile_of(bench, "stop", 99) as run:
        yield run, lambda: 1000.0
