"""One cluster of three nodes for all tests of a module; those that kill nodes make their own."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lib.cluster import Cluster  # noqa: E402


# The longest files begin first, so that none is left running alone at the end.
LONG = ("test_jobs", "test_faults", "test_kill", "test_nodes", "test_locks", "test_job_edges")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.module.__name__) if item.module.__name__ in LONG else len(LONG))


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
