"""Clusters of real quern processes on free loopback ports, and the command line against them."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

QUERN = os.path.abspath(os.environ.get("QUERN", "build/quern"))
ACCESS_KEY = "testaccesskey"
SECRET_KEY = "testsecretkey/with+signs"
PEER_OFFSET = 100


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count):
    """The first of count ports that are free, as are those PEER_OFFSET above them."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 2  # of two: each has ports of its own
    while True:
        first = random.randrange(20000 + 5000 * worker, 24800 + 5000 * worker)
        if all(is_free(first + i) and is_free(first + PEER_OFFSET + i) for i in range(count)):
            return first


def wait_until(condition, seconds=30, what="the condition"):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


class Cluster:
    """`quern dev` in a folder of its own. Use it in a with statement."""

    def __init__(self, nodes=3, directory=None):
        self.nodes = nodes
        self.directory = directory or tempfile.mkdtemp(prefix="quern-test-")
        self.first_port = free_ports(nodes)
        self.log = None
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is not None:
            self.print_logs()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        environment = dict(os.environ, QUERN_ACCESS_KEY=ACCESS_KEY, QUERN_SECRET_KEY=SECRET_KEY)
        self.process = subprocess.Popen(
            [QUERN, "dev", "--nodes", str(self.nodes), "--dir", self.directory,
             "--port", str(self.first_port)],
            env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert "are ready" in line, f"quern dev said {line!r}"

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process = None
        assert status == 0, f"quern dev ended with {status}"
        self.check_logs()

    def check_logs(self):
        """What a sanitizer found, or an assertion, fails the test that ran then."""
        for i in range(1, self.nodes + 1):
            with open(f"{self.directory}/node{i}/log", errors="replace") as log:
                bad = [line for line in log if "Sanitizer" in line or "runtime error" in line
                       or "assertion" in line.lower()]
            assert not bad, f"node{i}: {bad[0]}"

    def print_logs(self):
        for i in range(1, self.nodes + 1):
            try:
                with open(f"{self.directory}/node{i}/log", errors="replace") as log:
                    print(f"--- node{i}\n" + "".join(log.readlines()[-40:]))
            except OSError:
                pass

    # ---- nodes ----

    def port(self, node=1):
        return self.first_port + node - 1

    def url(self, node=1):
        return f"http://127.0.0.1:{self.port(node)}"

    def pid(self, node):
        with open(f"{self.directory}/node{node}/quern.pid") as file:
            return int(file.read())

    def kill(self, node, number=signal.SIGKILL):
        os.kill(self.pid(node), number)

    def restart(self, node):
        subprocess.run([QUERN, "dev", "start", str(node), "--dir", self.directory], check=True,
                       timeout=90)

    def leader(self):
        """The node that leads the root group; waits until there is one."""
        found = []

        def look():
            status = json.loads(self.run("status", "--json").stdout)
            found[:] = [g["leader"] for g in status["groups"] if g["group"] == 0 and g["leader"]]
            return bool(found)

        wait_until(look, what="a leader of the root group")
        return found[0]

    def assert_alive(self):
        for i in range(1, self.nodes + 1):
            os.kill(self.pid(i), 0)

    # ---- clients ----

    def environment(self, nodes=None):
        chosen = nodes or range(1, self.nodes + 1)
        return dict(
            os.environ,
            QUERN_ENDPOINT=",".join(self.url(i) for i in chosen),
            QUERN_ACCESS_KEY=ACCESS_KEY,
            QUERN_SECRET_KEY=SECRET_KEY,
            AWS_ENDPOINT_URL=self.url(chosen[0]),
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
            AWS_DEFAULT_REGION="us-east-1",
            HOME=self.directory,
        )

    def run(self, *words, data=None, status=0, env=None):
        """quern WORDS...; bytes in, bytes out. status None: any."""
        done = subprocess.run([QUERN, *words], input=data, capture_output=True, timeout=120,
                              env=dict(self.environment(), **(env or {})))
        assert status in (None, done.returncode), \
            f"quern {' '.join(words)}: status {done.returncode}: {done.stderr.decode()}"
        return done

    def boto(self, node=1, **options):
        import boto3
        import botocore.config
        config = botocore.config.Config(s3={"addressing_style": "path"}, signature_version="s3v4",
                                        retries={"max_attempts": 3}, **options)
        return boto3.client("s3", endpoint_url=self.url(node), aws_access_key_id=ACCESS_KEY,
                            aws_secret_access_key=SECRET_KEY, region_name="us-east-1",
                            config=config)
