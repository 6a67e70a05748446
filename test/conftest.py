"""One cluster of three nodes for all tests of a module; those that kill nodes make their own."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lib.cluster import Cluster  # noqa: E402


@pytest.fixture(scope="module")
def cluster():
    with Cluster(nodes=3) as running:
        yield running
        running.assert_alive()


@pytest.fixture(scope="module")
def bucket(cluster, request):
    name = request.module.__name__.replace("_", "-").replace("test-", "b-")
    cluster.run("mb", name)
    return name


@pytest.fixture(scope="session")
def big():
    """A few chunks' worth of bytes that do not repeat."""
    return os.urandom(150 << 20)
