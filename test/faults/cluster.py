"""Nodes as processes in the namespaces of a network, and what the harness asks of them."""

import collections
import http.client
import json
import os
import select
import shutil
import subprocess
import time

from network import PEER_PORT, S3_PORT, Network, address

ACCESS_KEY = "faultsaccesskey"
SECRET_KEY = "faultssecretkey"
FORMING_PORT = 9000  # of `quern dev`, in our own namespace: always free
WHOLE_SECONDS = 4
# Last words of a node that is to be started again.
CORRUPT = "is made anew at the next start"
NO_ROOM = "can be started again once there is room"
GARBAGE_MS = "90000"  # big objects come and go by gigabytes a minute: five minutes of them fill any disk here
READY_SECONDS = 120
ROOM_SECONDS = 10
FULL = ("InsufficientStorage", "are left on the disk")
ENDED = "cannot be reached"
FORMED = ("identity.json", "credentials")
KEPT = (*FORMED, "boot")  # by a node that is wiped


class Node:
    def __init__(self, number, quern, directory, log):
        self.number, self.quern, self.directory = number, quern, directory
        self.log = log
        self.process = None
        self.preload = None  # a library that spoils it

    @property
    def url(self):
        return f"http://{address(self.number)}:{S3_PORT}"

    def start(self, environment=None):
        assert self.process is None
        environment = dict(environment or {}, **({"LD_PRELOAD": self.preload} if self.preload else {}))
        if "LD_PRELOAD" in environment:
            environment["ASAN_OPTIONS"] = "verify_asan_link_order=0"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*Network.inside(self.number), self.quern, "serve", "--data", self.directory],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=dict(os.environ, QUERN_GC_MS=GARBAGE_MS, **environment))

    def wait_ready(self, seconds=READY_SECONDS):
        """Until it said that it is ready. False when it ended instead."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            raise Finding(f"node {self.number} was not ready after {seconds} s")
        return self.process.stdout.readline().startswith(b"ready ")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        self.process = None

    def has_ended(self):
        """By itself: nobody killed it."""
        return self.process is not None and self.process.poll() is not None

    def is_ready(self):
        try:
            connection = http.client.HTTPConnection(address(self.number), S3_PORT, timeout=2)
            connection.request("GET", "/-/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


class Finding(Exception):
    """Something that must not be, whatever the faults."""


class Cluster:
    def __init__(self, quern, count, data, logs, network=None, preload=None):
        self.quern, self.count, self.data = os.path.abspath(quern), count, data
        self.network = network or Network(count)
        self.nodes = {i: Node(i, self.quern, f"{data}/node{i}", f"{logs}/node{i}.log")
                      for i in self.network.nodes}
        for node in self.nodes.values():
            node.preload = preload
        self.unseen_flips = False  # in the state store of a node that has not found out
        os.makedirs(data, exist_ok=True)

    def environment(self):
        return dict(os.environ, QUERN_ACCESS_KEY=ACCESS_KEY, QUERN_SECRET_KEY=SECRET_KEY,
                    QUERN_ENDPOINT=",".join(node.url for node in self.nodes.values()))

    def form(self):
        """The identities of a cluster, with addresses of our network; the nodes have never run."""
        folder = f"{self.data}/forming"
        done = subprocess.run([self.quern, "dev", "--nodes", str(self.count), "--dir", folder,
                               "--port", str(FORMING_PORT), "--", "true"],
                              env=self.environment(), capture_output=True, text=True, timeout=120,
                              check=False)
        assert done.returncode == 0, f"quern dev: {done.stderr}"
        for i, node in self.nodes.items():
            os.makedirs(f"{node.directory}/meta")
            shutil.copy(f"{folder}/node{i}/meta/replicas", f"{node.directory}/meta/replicas")
            for name in FORMED:
                with open(f"{folder}/node{i}/{name}") as file:
                    text = file.read()
                for other in self.nodes:
                    port = FORMING_PORT + other - 1
                    text = text.replace(f'"127.0.0.1:{port}"', f'"{address(other)}:{S3_PORT}"')
                    text = text.replace(f'"127.0.0.1:{port + 100}"', f'"{address(other)}:{PEER_PORT}"')
                with open(f"{node.directory}/{name}", "w",
                          opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                    file.write(text)
        shutil.rmtree(folder)
        os.sync()  # the power may be cut

    def start(self):
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            if not node.wait_ready():
                raise Finding(f"node {node.number} did not start")
        self.run("mb", "faults")

    def stop(self):
        for node in self.nodes.values():
            node.kill()

    def run(self, *words):
        done = subprocess.run([self.quern, *words], env=self.environment(), capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == 0, f"quern {' '.join(words)}: {done.stderr}"
        return done.stdout

    def leader(self, group=None):
        """Who leads that group, or most groups; None when nobody knows."""
        try:
            groups = json.loads(self.run("status", "--json"))["groups"]
        except (AssertionError, subprocess.TimeoutExpired):
            return None
        leaders = [g["leader"] for g in groups if g["leader"] and group in (None, g["group"])]
        return collections.Counter(leaders).most_common(1)[0][0] if leaders else None

    def wait_healthy(self, seconds=READY_SECONDS):
        """All nodes run and serve; returns how long it took."""
        begun = time.monotonic()
        waiting = set(self.nodes)
        while waiting:
            waiting = {i for i in waiting if not self.nodes[i].is_ready()}
            self.check_processes()
            if waiting and time.monotonic() - begun > seconds:
                raise Finding(f"nodes {sorted(waiting)} do not serve {seconds} s after the fault ended")
            time.sleep(0.02)
        return time.monotonic() - begun

    def wait_whole(self, seconds=READY_SECONDS):
        """Every replica votes and every chunk is where it should be, for a while: a disk may be lost."""
        begun = whole_since = time.monotonic()
        while time.monotonic() - whole_since < WHOLE_SECONDS:
            time.sleep(0.2)
            self.check_processes()
            if not self.is_whole():
                whole_since = time.monotonic()
            if whole_since - begun > seconds:
                raise Finding(f"the cluster is not whole again after {seconds} s")

    def is_whole(self):
        try:
            status = json.loads(self.run("status", "--json"))
        except (AssertionError, subprocess.TimeoutExpired):
            return False
        return (all(group["voting"] == self.count for group in status["groups"]) and
                all(node["store"] and node["store"]["missing_chunks"] == 0 for node in status["nodes"]))

    def put_probe(self, node):
        """What a gateway says to a chunk; nothing when it takes it."""
        done = subprocess.run([self.quern, "put", "-", f"faults/probe/{node.number}"],
                              input=os.urandom(100_000), capture_output=True, timeout=120,
                              env=dict(self.environment(), QUERN_ENDPOINT=node.url), check=False)
        return "" if done.returncode == 0 else done.stderr.decode().strip()

    def check_writes(self):
        """Every gateway takes a chunk again. That there is room is seen a moment after it is there, and a node
        may find only now that its store is corrupt."""
        deadline = time.monotonic() + ROOM_SECONDS
        for node in self.nodes.values():
            while (said := self.put_probe(node)) != "":
                if self.check_processes():
                    self.wait_healthy()
                    deadline = time.monotonic() + ROOM_SECONDS
                elif not any(word in said for word in (*FULL, ENDED)) or time.monotonic() > deadline:
                    raise Finding(f"node {node.number} takes no writes after the fault ended: {said}")
                time.sleep(0.2)

    def check_processes(self):
        """One that found its store corrupt, or no room, ends and is started again, as by a service manager. True
        when there was one."""
        started = False
        for node in self.nodes.values():
            if not node.has_ended():
                continue
            if CORRUPT in self.last_words(node):
                self.unseen_flips = False
            elif NO_ROOM not in self.last_words(node):
                raise Finding(f"node {node.number} ended by itself: {self.last_words(node)}")
            node.kill()
            time.sleep(0.5)
            node.start()
            started = True
        return started

    @staticmethod
    def last_words(node):
        with open(node.log, errors="replace") as log:
            lines = log.readlines()
        return lines[-1].strip() if lines else "without a word"

    def check_logs(self):
        """What a sanitizer found, and assertions of ours. (RocksDB has some that end the process when its
        disk is gone: so would a failed write of the log.)"""
        found = []
        for node in self.nodes.values():
            with open(node.log, errors="replace") as log:
                found += [f"node {node.number}: {line.strip()}" for line in log
                          if "Sanitizer" in line or "runtime error" in line or "quern: bug:" in line]
        return found
