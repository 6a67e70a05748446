"""Nodes join a running cluster, take over the catalogue, and leave it, while objects are written and a node is killed."""

import json
import os
import signal
import subprocess
import threading
import time

from lib.cluster import ACCESS_KEY, QUERN, SECRET_KEY, Cluster, free_ports, wait_until


ROUNDS = int(os.environ.get("ROUNDS", "10"))


class Joined:
    """A node in a folder of its own that joined the cluster by `quern serve --join`."""

    def __init__(self, cluster, name):
        self.folder = os.path.join(cluster.directory, name)
        self.name, self.cluster = name, cluster
        self.first = free_ports(1)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    def command(self, *words):
        return [QUERN, "serve", "--data", self.folder, "--listen", f"127.0.0.1:{self.first}", "--peer",
                f"127.0.0.1:{self.first + 100}", "--name", self.name, *words]

    def start(self, *words):
        words = words or ("--join", f"127.0.0.1:{self.cluster.port(1)}")
        environment = dict(os.environ, QUERN_ACCESS_KEY=ACCESS_KEY, QUERN_SECRET_KEY=SECRET_KEY)
        with open(os.path.join(self.cluster.directory, f"{self.name}.log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command(*words), env=environment, stdout=subprocess.PIPE,
                                            stderr=log, text=True)
        assert self.process.stdout.readline().startswith("ready "), f"{self.name} did not start"

    def kill(self):
        self.process.kill()
        self.process.wait(30)
        self.process.stdout.close()

    def environment(self):
        return {"QUERN_ENDPOINT": f"http://127.0.0.1:{self.first}"}


def voters(cluster, env=None):
    """Node ids by group."""
    status = json.loads(cluster.run("status", "--json", env=env).stdout)
    return [set(group["voters"]) for group in status["groups"]]


class Writer(threading.Thread):
    """Puts object after object; each is remembered once it was acknowledged."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.stopping, self.acknowledged, self.failed = cluster, threading.Event(), [], []

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            done = subprocess.run([QUERN, "put", "-", f"moves/{number}"], input=str(number).encode(),
                                  capture_output=True, env=self.cluster.environment(), timeout=120, check=False)
            if done.returncode == 0:
                self.acknowledged.append(number)
            else:
                self.failed.append(done.stderr.decode())

    def end(self):
        self.stopping.set()
        self.join(120)
        assert not self.failed, self.failed[0]


def check(cluster, writer, env):
    for number in writer.acknowledged:
        assert cluster.run("cat", f"moves/{number}", env=env).stdout == str(number).encode()


def test_a_cluster_grows_and_its_first_node_leaves_the_catalogue():
    with Cluster(nodes=1) as cluster, Joined(cluster, "b") as b, Joined(cluster, "c") as c, Joined(cluster, "d") as d:
        cluster.run("mb", "moves")
        writer = Writer(cluster)
        writer.start()
        assert voters(cluster) == [{1}] * 9
        cluster.run("node", "add", "b")
        cluster.run("node", "add", "3")
        assert voters(cluster) == [{1, 2, 3}] * 9
        cluster.run("node", "add", "d")
        cluster.run("node", "remove", "node1", env=b.environment())
        assert voters(cluster) == [{2, 3, 4}] * 9
        d.kill()
        cluster.run("put", "-", "moves/while-d-is-down", data=b"x", env=c.environment())
        d.start("--listen", f"127.0.0.1:{d.first}")  # it knows where it belongs
        writer.end()
        check(cluster, writer, d.environment())
        listed = cluster.run("node", "list", env=d.environment()).stdout.decode().splitlines()
        assert len(listed) == 5 and all(" up " in line for line in listed[1:])


def test_groups_move_while_a_node_is_killed_again_and_again():
    with Cluster(nodes=3) as cluster, Joined(cluster, "d") as d:
        cluster.run("mb", "moves")
        writer = Writer(cluster)
        writer.start()
        for victim in (1, 2, 3)[:1 + ROUNDS // 5]:
            moving = subprocess.Popen([QUERN, "node", "add", "d"], env=cluster.environment())
            cluster.kill(victim)
            cluster.restart(victim)
            assert moving.wait(120) == 0
            moving = subprocess.Popen([QUERN, "node", "remove", str(victim)], env=cluster.environment())
            d.kill()
            d.start()
            assert moving.wait(120) == 0
            assert voters(cluster) == [{1, 2, 3, 4} - {victim}] * 9
            cluster.run("node", "add", str(victim))
            cluster.run("node", "remove", "d")
            assert voters(cluster) == [{1, 2, 3}] * 9
        writer.end()
        check(cluster, writer, d.environment())


def test_a_node_that_lost_its_catalogue_gets_it_again():
    with Cluster(nodes=3) as cluster:
        cluster.run("mb", "moves")
        cluster.run("put", "-", "moves/before", data=b"before")
        cluster.kill(2)
        subprocess.run(["rm", "-rf", f"{cluster.directory}/node2/meta"], check=True)
        cluster.run("put", "-", "moves/meanwhile", data=b"meanwhile")
        cluster.restart(2)
        wait_until(lambda: b"".join(
            open(f"{cluster.directory}/node{i}/log", "rb").read()
            for i in (1, 2, 3)).count(b"from 4 to 3 members") >= 9, what="all groups' new replicas")
        wait_until(lambda: voting(cluster) == [3] * 9, what="all to vote")
        time.sleep(1)  # whoever is asked next must know, too: the old replica is lost, and another is about to be
        cluster.kill(1)
        others = {"QUERN_ENDPOINT": f"{cluster.url(2)},{cluster.url(3)}"}
        assert cluster.run("cat", "moves/before", env=others).stdout == b"before"
        assert cluster.run("cat", "moves/meanwhile", env=others).stdout == b"meanwhile"
        cluster.restart(1)


def voting(cluster):
    return [group["voting"] for group in json.loads(cluster.run("status", "--json").stdout)["groups"]]


def refused(cluster, words, text, status=1, keys=SECRET_KEY):
    environment = dict(os.environ, QUERN_ACCESS_KEY=ACCESS_KEY, QUERN_SECRET_KEY=keys)
    done = subprocess.run([QUERN, *words], capture_output=True, env=dict(cluster.environment(), **environment), timeout=120,
                          check=False)
    assert done.returncode == status and text in done.stderr.decode(), done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_what_cannot_be_is_refused():
    with Cluster(nodes=1) as cluster:
        join = ["serve", "--data", f"{cluster.directory}/x", "--join", f"127.0.0.1:{cluster.port(1)}"]
        refused(cluster, join, "needs a --name", status=2)
        refused(cluster, [*join, "--name", "node1"], "there is a node named node1 already")
        refused(cluster, [*join, "--name", "x"], "signature", keys="wrong-secret")
        refused(cluster, ["serve", "--data", f"{cluster.directory}/y", "--name", "y", "--join", "127.0.0.1:1"], "127.0.0.1:1")
        refused(cluster, ["node", "remove", "node1"], "the last that holds the catalogue")
        refused(cluster, ["node", "add", "nobody"], "there is no node nobody")
        refused(cluster, ["node", "drain", "node1"], "there is no 'quern node drain'", status=2)
        refused(cluster, ["node", "add"], "which NODE", status=2)
        cluster.assert_alive()
        os.kill(cluster.pid(1), signal.SIGTERM)
