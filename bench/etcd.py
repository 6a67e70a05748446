"""Durable writes and linearizable reads of 256 bytes on three nodes, against three members of etcd.

For etcd a write is a Put by gRPC, as its own clients send it (its JSON gateway would cost it more). For quern it is a
command to the catalogue that puts an object, as the nodes themselves send it; the S3 row is a signed S3 PUT instead.
Both are durable on a majority before the answer. All clients of a run are one thread in C with one connection to each
of the three nodes, on both sides. etcd runs as Debian ships it, without TLS or users.
"""
import contextlib
import itertools
import json
import subprocess

from measure import check, free_ports, measurement, stop, wait_for_port

NODES = 3
KEYS, VALUE = 1000, "256"
DURATION = "3s"


def load(bench, kind, addresses, clients, duration):
    return json.loads(check([bench.build / "bench_etcd_load", kind, ",".join(addresses), clients, KEYS, VALUE, duration]))


@contextlib.contextmanager
def etcd(bench):
    """Three members on loopback; yields their clients' addresses."""
    first = free_ports(2 * NODES)
    peers = [f"http://127.0.0.1:{first + NODES + i}" for i in range(NODES)]
    addresses = [f"127.0.0.1:{first + i}" for i in range(NODES)]
    cluster = ",".join(f"m{i}={peer}" for i, peer in enumerate(peers))
    members = []
    try:
        for i in range(NODES):
            with open(bench.folder / f"etcd{i}.log", "w", encoding="utf-8") as log:
                members.append(subprocess.Popen(
                    ["/usr/bin/etcd", "--name", f"m{i}", "--data-dir", bench.folder / f"etcd{i}",
                     "--listen-client-urls", f"http://{addresses[i]}", "--advertise-client-urls", f"http://{addresses[i]}",
                     "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
                     "--initial-cluster", cluster], stdout=log, stderr=log))
        for i in range(NODES):
            wait_for_port(first + i)
        load(bench, "put", addresses, 1, "100ms")  # is answered once there is a leader
        yield addresses
    finally:
        for member in members:
            stop(member)


def turned(places, turn):
    """One client goes to the first place only: to another one each round."""
    turn %= len(places)
    return places[turn:] + places[:turn]


@contextlib.contextmanager
def both(bench):
    """The two clusters; yields what asks etcd."""
    with bench.cluster(NODES), etcd(bench) as addresses:
        turns = itertools.count()

        def ask_etcd(kind, clients, duration):
            return load(bench, kind, turned(addresses, next(turns)), clients, duration)

        bench.run("mb", "bench")
        yield ask_etcd


def warmed(ask_quern, ask_etcd, kind, clients, figure):
    for ask in ask_quern, ask_etcd:
        ask("put", 64, "2s")  # every key is there
    return (lambda: ask_quern(kind, clients, DURATION)[figure], lambda: ask_etcd(kind, clients, DURATION)[figure])


def compare(bench, kind, clients, figure):
    with both(bench) as ask_etcd:
        identity = bench.folder / "cluster" / "node1" / "identity.json"

        def ask_quern(kind, clients, duration):
            return json.loads(check([bench.build / "bench_meta_load", kind, identity, clients, KEYS, VALUE, duration]))

        yield warmed(ask_quern, ask_etcd, kind, clients, figure)


def compare_s3(bench, kind, clients, figure):
    with both(bench) as ask_etcd:
        def ask_quern(kind, clients, duration):
            return bench.load(kind, "bench/x-", "--size", VALUE, "--keys", KEYS, "--connections", clients,
                              "--duration", duration)

        yield warmed(ask_quern, ask_etcd, kind, clients, figure)


@measurement(name="etcd-put-1", unit="ms", reference_name="etcd, median latency", bar=1.0, better="lower")
def put_alone(bench):
    yield from compare(bench, "put", 1, "p50_ms")


@measurement(name="etcd-put-64", unit="requests/s", reference_name="etcd", bar=3.0, better="higher")
def put_some(bench):
    yield from compare(bench, "put", 64, "requests_per_second")


@measurement(name="etcd-put-512", unit="requests/s", reference_name="etcd", bar=3.0, better="higher")
def put_many(bench):
    yield from compare(bench, "put", 512, "requests_per_second")


@measurement(name="etcd-read-64", unit="requests/s", reference_name="etcd", bar=3.0, better="higher")
def read_some(bench):
    yield from compare(bench, "get", 64, "requests_per_second")


@measurement(name="etcd-s3-put-64", unit="requests/s", reference_name="etcd", bar=1.0, better="higher")
def put_objects(bench):
    yield from compare_s3(bench, "put", 64, "requests_per_second")
