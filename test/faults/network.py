"""Every node in a network namespace of its own, joined by a bridge; nftables at each node's door."""

import subprocess
import threading

SUBNET = "10.231.0"
CLIENT = 254
S3_PORT = 9000
PEER_PORT = 9100


def run(*words, data=None):
    done = subprocess.run(words, input=data, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def address(node):
    return f"{SUBNET}.{node}"


class Network:
    """Nodes 1..count. Clients are in the namespace of the caller, which is nobody else's."""

    def __init__(self, count):
        self.nodes = range(1, count + 1)
        self.rules = {}  # by token: {node: [nft expressions]}
        self.lock = threading.Lock()
        run("mount", "-t", "tmpfs", "tmpfs", "/run")  # `ip netns` keeps its names there
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{address(CLIENT)}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        for node in self.nodes:
            self._add(node)

    def _add(self, node):
        name, end = f"node{node}", f"to{node}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", end, "master", "bridge", "up")
        for words in (["address", "add", f"{address(node)}/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            run("ip", "-netns", name, *words)

    @staticmethod
    def inside(node):
        """What a command line begins with to run in the node's namespace."""
        return ["nsenter", f"--net=/run/netns/node{node}"]

    def _apply(self, node):
        lines = [line for rules in self.rules.values() for line in rules.get(node, [])]
        run(*self.inside(node), "nft", "-f", "-", data="\n".join([
            "flush ruleset",
            "table inet faults {", " chain input {",
            "  type filter hook input priority 0; policy accept;", *lines, " }", "}", ""]))

    def set(self, token, rules):
        """The rules of one fault, {node: [expressions]}; {} takes them away."""
        with self.lock:
            touched = set(self.rules.pop(token, {})) | set(rules)
            if rules:
                self.rules[token] = rules
            for node in touched:
                self._apply(node)

    # ---- rules ----

    @staticmethod
    def drop(links):
        """Nothing arrives on the links, pairs of (from, to)."""
        rules = {}
        for source, target in links:
            rules.setdefault(target, []).append(f"  ip saddr {address(source)} drop")
        return rules

    def lose(self, percent):
        """So many of a hundred packets between nodes are lost."""
        return {node: [f"  ip saddr {address(other)} numgen random mod 100 < {percent} drop"
                       for other in self.nodes if other != node] for node in self.nodes}
