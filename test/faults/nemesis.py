"""The kinds of faults. Each is a function that makes one, holds it for some seconds, and ends it.

A function takes the cluster, a generator of random numbers and the seconds, and returns what it did
in a few words. After it all nodes run and can talk to each other."""

import os
import shutil
import signal
import time

from cluster import KEPT
from disk import files_below, flip_bytes

KINDS = {}       # by name: the function
PROCESS = set()  # kinds that stop processes; one at a time
FLIPPED = 1      # the node whose bits flip
ALONE = {"flip-volume", "flip-volume-live", "flip-log", "flip-state", "full", "full-all", "wipe",
         "wipe-witness", "rollback"}  # not together with another
OFF = {
    "rollback": "no store can survive it: it shows that the harness sees",
}


def kind(name, of_processes=False):
    def add(function):
        KINDS[name] = function
        if of_processes:
            PROCESS.add(name)
        return function
    return add


def some_node(cluster, rng):
    return cluster.nodes[rng.choice(sorted(cluster.nodes))]


def leading_node(cluster, rng):
    leader = cluster.leader()
    return cluster.nodes[leader] if leader else some_node(cluster, rng)


# ---- processes ----

def restart(cluster, nodes, environment=None):
    for node in nodes:
        node.start(environment)
    for node in nodes:
        if not node.wait_ready():
            cluster.check_processes()


def kill(cluster, nodes, seconds):
    for node in nodes:
        node.kill()
    time.sleep(seconds)
    restart(cluster, nodes)
    return "node " + ", ".join(str(node.number) for node in nodes)


@kind("kill", of_processes=True)
def kill_one(cluster, rng, seconds):
    return kill(cluster, [some_node(cluster, rng)], seconds)


@kind("kill-leader", of_processes=True)
def kill_leader(cluster, rng, seconds):
    return kill(cluster, [leading_node(cluster, rng)], seconds)


@kind("kill-all", of_processes=True)
def kill_all(cluster, rng, seconds):
    return kill(cluster, list(cluster.nodes.values()), min(seconds, 1))


def stop(node, seconds):
    node.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        node.process.send_signal(signal.SIGCONT)
    return f"node {node.number}"


@kind("stop", of_processes=True)
def stop_one(cluster, rng, seconds):
    return stop(some_node(cluster, rng), seconds)


@kind("stop-leader", of_processes=True)
def stop_leader(cluster, rng, seconds):
    return stop(leading_node(cluster, rng), seconds)


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@kind("clock", of_processes=True)
def clock(cluster, rng, seconds):
    """A node starts with a wall clock that runs slow or fast, and is minutes off; then with a right
    one. (The monotonic clock stays right: its rate is the simulator's matter.)"""
    node = some_node(cluster, rng)
    minutes, rate = rng.randint(-12, 12), rng.choice([0.5, 0.8, 1.25, 2])
    node.kill()
    restart(cluster, [node], {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{minutes:+d}m x{rate}",
                              "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    time.sleep(seconds)
    node.kill()
    restart(cluster, [node])
    return f"node {node.number}: {minutes:+d} min, {rate} s a second"


# ---- the network ----

def hold(cluster, token, rules, seconds):
    cluster.network.set(token, rules)
    try:
        time.sleep(seconds)
    finally:
        cluster.network.set(token, {})


def both_ways(left, right):
    return [pair for a in left for b in right for pair in ((a, b), (b, a))]


@kind("partition")
def partition(cluster, rng, seconds):
    """One node from the others, or every node from every other."""
    nodes = sorted(cluster.nodes)
    if rng.random() < 0.25:
        links = [(a, b) for a in nodes for b in nodes if a != b]
        story = "all from each other"
    else:
        lonely = rng.choice(nodes)
        links = both_ways([lonely], [i for i in nodes if i != lonely])
        story = f"node {lonely} from the others"
    hold(cluster, "partition", cluster.network.drop(links), seconds)
    return story


@kind("isolate-leader")
def isolate_leader(cluster, rng, seconds):
    """Its clients still reach it."""
    leader = leading_node(cluster, rng).number
    others = [i for i in cluster.nodes if i != leader]
    hold(cluster, "isolate", cluster.network.drop(both_ways([leader], others)), seconds)
    return f"node {leader}"


@kind("one-way")
def one_way(cluster, rng, seconds):
    """A node is heard and hears nothing, or hears and is not heard."""
    node = some_node(cluster, rng).number
    others = [i for i in cluster.nodes if i != node]
    deaf = rng.random() < 0.5
    links = [(other, node) if deaf else (node, other) for other in others]
    hold(cluster, "one-way", cluster.network.drop(links), seconds)
    return f"node {node} {'hears nobody' if deaf else 'is not heard'}"


@kind("bridge")
def bridge(cluster, rng, seconds):
    """Two halves that only one node in the middle can talk to."""
    nodes = sorted(cluster.nodes)
    rng.shuffle(nodes)
    middle, rest = nodes[0], nodes[1:]
    half = len(rest) // 2
    hold(cluster, "bridge", cluster.network.drop(both_ways(rest[:half], rest[half:])), seconds)
    return f"only node {middle} reaches all"


@kind("flapping")
def flapping(cluster, rng, seconds):
    """A node is cut off and joined again several times a second."""
    node = some_node(cluster, rng).number
    others = [i for i in cluster.nodes if i != node]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hold(cluster, "flapping", cluster.network.drop(both_ways([node], others)),
             rng.uniform(0.05, 0.5))
        time.sleep(rng.uniform(0.05, 0.5))
    return f"node {node}"


@kind("loss")
def loss(cluster, rng, seconds):
    percent = rng.choice([2, 10, 30])
    hold(cluster, "loss", cluster.network.lose(percent), seconds)
    return f"{percent} of 100 packets"


# ---- disks ----

def flip(cluster, rng, seconds, folder, suffixes):
    """Of node 1 and no other: what is damaged on two nodes may be lost for good."""
    node = cluster.nodes[FLIPPED]
    node.kill()
    places = flip_bytes(files_below(f"{node.directory}/{folder}", suffixes), 3, rng)
    time.sleep(min(seconds, 1))
    restart(cluster, [node])
    return f"node {FLIPPED}: {', '.join(places) if places else 'nothing there yet'}"


@kind("flip-volume", of_processes=True)
def flip_volume(cluster, rng, seconds):
    return flip(cluster, rng, seconds, "chunks/volumes", (".volume", ".chunk"))


@kind("flip-volume-live")
def flip_volume_live(cluster, rng, seconds):
    """While the node runs and serves."""
    node = cluster.nodes[FLIPPED]
    places = flip_bytes(files_below(f"{node.directory}/chunks/volumes", (".volume", ".chunk")), 3, rng)
    time.sleep(seconds)
    return f"node {FLIPPED}: {', '.join(places) if places else 'nothing there yet'}"


@kind("flip-log", of_processes=True)
def flip_log(cluster, rng, seconds):
    cluster.wait_whole()
    return flip(cluster, rng, seconds, "meta/log", (".log",))


@kind("flip-state", of_processes=True)
def flip_state(cluster, rng, seconds):
    cluster.wait_whole()
    cluster.unseen_flips = True
    return flip(cluster, rng, seconds, "meta/state", (".sst",))


def fill(cluster, rng, nodes, seconds):
    """Nodes go on without room, long enough that the log wants a new segment, and have room again. Others
    fill the disk once, so that a node has what it kept for itself, or whenever a block is free. Who ends is
    started again meanwhile, as by a service manager."""
    greedy = rng.random() < 0.5
    disks = [cluster.disks[node.number] for node in nodes]
    end = time.monotonic() + seconds + 15
    for disk in disks:
        disk.fill()
    try:
        while time.monotonic() < end:
            time.sleep(1)
            cluster.check_processes()
            for disk in disks if greedy else []:
                disk.fill()
    finally:
        for disk in disks:
            disk.make_room()
    return f"node {', '.join(str(node.number) for node in nodes)}, {'again and again' if greedy else 'once'}"


@kind("full")
def full(cluster, rng, seconds):
    return fill(cluster, rng, [some_node(cluster, rng)], seconds)


@kind("full-all")
def full_all(cluster, rng, seconds):
    return fill(cluster, rng, list(cluster.nodes.values()), seconds)


def node_to_lose(cluster, rng):
    """Once the others have it all. The one whose state is damaged and may find that out any time would be a second."""
    cluster.wait_whole()
    if cluster.unseen_flips:
        cluster.unseen_flips = False
        return cluster.nodes[FLIPPED]
    return some_node(cluster, rng)


def wipe_directory(node):
    """All is lost but who the node is, and how often it was started."""
    for name in os.listdir(node.directory):
        path = f"{node.directory}/{name}"
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif name not in KEPT:
            os.unlink(path)


@kind("wipe", of_processes=True)
def wipe(cluster, rng, seconds):
    node = node_to_lose(cluster, rng)
    node.kill()
    wipe_directory(node)
    time.sleep(min(seconds, 1))
    restart(cluster, [node])
    return f"node {node.number}"


@kind("wipe-witness", of_processes=True)
def wipe_witness(cluster, rng, seconds):
    """Two nodes agree without the third; one of them is wiped, the other cut off: the wiped one and
    the third are a majority, and must not decide anew what they do not know."""
    node = node_to_lose(cluster, rng)
    wiped = node.number
    others = sorted(set(cluster.nodes) - {wiped})
    rng.shuffle(others)
    knowing, behind = others[:2]
    cluster.network.set("witness", cluster.network.drop(both_ways([behind], [wiped, knowing])))
    time.sleep(2)
    cluster.network.set("witness", cluster.network.drop(both_ways([behind, wiped], [knowing]) +
                                                        both_ways([behind], [wiped])))
    node.kill()
    wipe_directory(node)
    rules = cluster.network.drop(both_ways([knowing], [wiped, behind]))
    cluster.network.set("witness", rules)
    node.start()
    time.sleep(seconds)
    cluster.network.set("witness", {})
    node.wait_ready()
    return f"node {wiped} wiped, {knowing} knows, {behind} was behind"


@kind("rollback", of_processes=True)
def rollback(cluster, rng, seconds):
    """All nodes forget the last seconds: their directories become what they were before."""
    nodes = list(cluster.nodes.values())
    for restore in (False, True):
        for node in nodes:
            node.kill()
        for node in nodes:
            copy = f"{node.directory}.old"
            shutil.rmtree(node.directory if restore else copy, ignore_errors=True)
            shutil.copytree(copy if restore else node.directory,
                            node.directory if restore else copy)
        restart(cluster, nodes)
        time.sleep(2)
    return "all nodes went back in time"


def default_kinds():
    return [name for name in KINDS if name not in OFF]
