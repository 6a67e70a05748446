"""Real clusters under faults and power cuts, and that what goes wrong under them is seen.

Needs root, network namespaces, loop devices: where they are missing these tests fail and say so."""

import os
import re
import subprocess

import pytest

from lib.cluster import QUERN

BUILD = os.path.dirname(QUERN)
TOOL = os.path.join(os.path.dirname(__file__), "..", "tools", "faults")


def faults(tmp_path, *words):
    """(exit status, the numbers of the last line by their words)."""
    done = subprocess.run([TOOL, *words, "--out", str(tmp_path / "out")], capture_output=True,
                          text=True, timeout=600, check=False)
    said = done.stdout + done.stderr
    print(said)
    assert done.returncode != 3, said  # it could not run here
    last = done.stdout.splitlines()[-1]
    return done.returncode, {word: int(n) for n, word in re.findall(r"(\d+) (?:on )?(\w+)", last)}


def test_a_minute_of_faults(tmp_path):
    status, numbers = faults(tmp_path, "run", BUILD, "--minutes", "0.5")
    assert (status, numbers["violations"], numbers["lost"]) == (0, 0, 0)
    assert numbers["operations"] > 1000


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_power_cuts(tmp_path, kind):
    status, numbers = faults(tmp_path, "powercuts", BUILD, "--cuts", "2", "--kinds", kind)
    assert (status, numbers[kind], numbers["lost"]) == (0, 2, 0)


def test_a_cluster_that_forgets_is_caught(tmp_path):
    status, numbers = faults(tmp_path, "run", BUILD, "--minutes", "0.01", "--kinds", "rollback")
    assert status == 1
    assert numbers["violations"] > 0 and numbers["lost"] > 0


def test_nodes_that_do_not_sync_are_caught(tmp_path):
    status, numbers = faults(tmp_path, "powercuts", BUILD, "--cuts", "1", "--kinds", "xfs",
                             "--preload", "libeatmydata.so")
    assert status == 1
    assert numbers["lost"] > 0
