"""Nodes are killed with SIGKILL under writes: whatever was acknowledged is there, and equal.

ROUNDS in the environment says how many rounds; `make rounds ROUNDS=100` runs more."""

import hashlib
import os
import random
import subprocess
import threading
import uuid

import botocore.exceptions
import pytest

from lib.cluster import QUERN, Cluster

ROUNDS = int(os.environ.get("ROUNDS", "10"))
WRITERS = 4


class Writer(threading.Thread):
    """Stores objects of all sizes through one node after the other and remembers what was acknowledged."""

    def __init__(self, cluster, number, sums, stop):
        super().__init__(daemon=True)
        self.clients = [cluster.boto(node, connect_timeout=2, read_timeout=30) for node in (1, 2, 3)]
        self.number, self.sums, self.stop_now = number, sums, stop
        self.random = random.Random(number)

    def choose_key(self):
        """A new one, or one that was acknowledged: a PUT whose answer was lost may still take effect,
        so its key is never used again."""
        own = [key for key in list(self.sums) if key.startswith(f"{self.number}/")]
        if own and self.random.random() < 0.3:
            return self.random.choice(own)
        return f"{self.number}/{uuid.uuid4()}"

    def run(self):
        while not self.stop_now.is_set():
            body = os.urandom(self.random.choice([10, 5000, 40000, 300000, 3 << 20]))
            key = self.choose_key()
            self.sums.pop(key, None)
            try:
                self.random.choice(self.clients).put_object(Bucket="rounds", Key=key, Body=body)
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                continue
            self.sums[key] = hashlib.md5(body).hexdigest()


def check(cluster, sums, keys):
    """The acknowledged objects, each read through a node that is chosen at random."""
    clients = [cluster.boto(node) for node in (1, 2, 3)]
    for key in keys:
        expected = sums[key]
        body = random.choice(clients).get_object(Bucket="rounds", Key=key)["Body"].read()
        assert hashlib.md5(body).hexdigest() == expected, key


def test_rounds_of_sigkill_under_writes():
    sums = {}
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "rounds")
        for number in range(ROUNDS):
            stop = threading.Event()
            writers = [Writer(cluster, i, sums, stop) for i in range(WRITERS)]
            before = set(sums)
            for writer in writers:
                writer.start()
            stop.wait(random.uniform(0.3, 1.0))
            victim = random.choice((1, 2, 3))
            cluster.kill(victim)
            stop.wait(random.uniform(0.3, 1.5))
            cluster.restart(victim)
            stop.wait(0.3)
            stop.set()
            for writer in writers:
                writer.join(timeout=120)
                assert not writer.is_alive()
            fresh = [key for key in sums if key not in before]
            assert fresh, "nothing was written"
            old = sorted(before & sums.keys())
            check(cluster, sums, fresh + random.sample(old, min(len(old), 100)))
            print(f"round {number + 1}: node {victim} killed, {len(sums)} objects", flush=True)
        check(cluster, sums, sums)


def test_leader_killed_while_an_upload_runs(big, tmp_path):
    (tmp_path / "in").write_bytes(big)
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "upload")
        process = subprocess.Popen([QUERN,
                                    "put", str(tmp_path / "in"), "upload/big"],
                                   env=cluster.environment())
        cluster.kill(cluster.leader())
        assert process.wait(timeout=120) == 0
        cluster.run("get", "upload/big", str(tmp_path / "out"))
        assert (tmp_path / "out").read_bytes() == big


@pytest.mark.parametrize("survivors", [(1, 2), (1, 3), (2, 3)])
def test_any_two_nodes_are_enough(survivors, big):
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "two")
        cluster.run("put", "-", "two/before", data=big[:70 << 20])
        dead = ({1, 2, 3} - set(survivors)).pop()
        cluster.kill(dead)
        assert cluster.run("cat", "two/before").stdout == big[:70 << 20]
        cluster.run("put", "-", "two/after", data=big[-(70 << 20):])
        assert cluster.run("cat", "two/after").stdout == big[-(70 << 20):]
        cluster.restart(dead)
