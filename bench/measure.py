"""What the measurements share: the table they are in, and the commands and servers they start."""
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import socket
import subprocess
import time
from typing import Callable

MEASUREMENTS = []
START_S = 30


@dataclasses.dataclass
class Measurement:
    name: str
    unit: str
    reference_name: str
    bar: float
    better: str
    prepare: Callable  # a context manager: bench -> (run quern, run the reference), both returning a number


def measurement(**fields):
    """Adds the function that follows, a generator as for contextlib.contextmanager, to the table."""
    def add(function):
        MEASUREMENTS.append(Measurement(prepare=contextlib.contextmanager(function), **fields))
        return function
    return add


def check(command, **options):
    """Runs a command and returns its standard output; what it said last is in the error."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          **options)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} {command[1]}: exit {done.returncode}: "
                           f"{done.stderr.strip() or done.stdout.strip()}"[-300:])
    return done.stdout


def wall_s(command, **options):
    begun = time.monotonic()
    check(command, **options)
    return time.monotonic() - begun


def children_cpu_s():
    """User and system time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_s(command, **options):
    """User and system time of the command and its children."""
    before = children_cpu_s()
    check(command, **options)
    return children_cpu_s() - before


def free_ports(count):
    """So many free ports in a row, none of them listened on."""
    for first in range(20000, 32000, 50):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError("no free ports on 127.0.0.1")


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def process_tree(pid):
    """The process and all that descend from it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [pid]
    for parent in tree:
        tree += children.get(parent, [])
    return tree


class Bench:
    """The build under test and a folder of its own, on the file system of the build."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.quern = build / "quern"
        self.environment = dict(os.environ, QUERN_ACCESS_KEY="bench", QUERN_SECRET_KEY="bench-secret-key")

    def run(self, *words):
        return check([self.quern, *words], env=self.environment)

    def load(self, kind, place, *words, url=None):
        """What `quern bench` measured, as its JSON says."""
        words = [*words, "--json"] + (["--url", url] if url else [])
        return json.loads(self.run("bench", kind, place, *words))

    @contextlib.contextmanager
    def server(self):
        """A server of one node; yields its process. The environment leads to it."""
        port = free_ports(2)
        with open(self.folder / "server.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [self.quern, "serve", "--data", self.folder / "data", "--listen", f"127.0.0.1:{port}",
                 "--peer", f"127.0.0.1:{port + 1}"],
                stdout=subprocess.PIPE, stderr=log, env=self.environment, text=True)
        try:
            self._wait_ready(process, self.folder / "server.log")
            self.environment["QUERN_ENDPOINT"] = f"http://127.0.0.1:{port}"
            yield process
        finally:
            stop(process)

    @contextlib.contextmanager
    def cluster(self, nodes=3):
        """Nodes on loopback by `quern dev`; yields its process."""
        first = free_ports(100 + nodes)
        with open(self.folder / "cluster.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [self.quern, "dev", "--nodes", str(nodes), "--dir", self.folder / "cluster", "--port", str(first),
                 "--", "sh", "-c", 'echo "ready $QUERN_ENDPOINT $QUERN_ACCESS_KEY $QUERN_SECRET_KEY"; exec cat'],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self.environment, text=True)
        try:
            words = self._wait_ready(process, self.folder / "cluster.log").split()
            self.environment.update(QUERN_ENDPOINT=words[1], QUERN_ACCESS_KEY=words[2], QUERN_SECRET_KEY=words[3])
            yield process
        finally:
            process.stdin.close()  # cat ends, and the nodes with it
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                stop(process)

    @staticmethod
    def _wait_ready(process, log):
        line = process.stdout.readline()
        if not line.startswith("ready"):
            raise RuntimeError(f"{line.strip()} {log.read_text()[-300:].strip()}" or "the server did not start")
        return line

    @contextlib.contextmanager
    def nginx(self):
        """nginx over the folder html, with WebDAV PUT; yields its URL."""
        port, here = free_ports(1), self.folder / "nginx"
        (here / "html").mkdir(parents=True)
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = " ".join(f"{kind}_temp_path {here}/{kind};" for kind in
                             ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (here / "nginx.conf").write_text(
            f"{user} daemon off; pid {here}/pid; error_log {here}/error.log; worker_processes auto;\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; {temporary}\n"
            f"client_max_body_size 0; client_body_buffer_size 64k; open_file_cache max=2000;\n"
            f"server {{ listen 127.0.0.1:{port}; root {here}/html; dav_methods PUT; create_full_put_path on; }} }}\n")
        process = subprocess.Popen(["/usr/sbin/nginx", "-p", here, "-c", here / "nginx.conf"],
                                   stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)


def wait_for_port(port):
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
