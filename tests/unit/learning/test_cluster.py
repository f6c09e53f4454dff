"""A Dask cluster as parfocal uses one."""

import pytest

from parfocal.learning import cluster_client

distributed = pytest.importorskip("distributed", reason="Dask is not installed")


def profiled(client):
    return client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks)


def test_workers_take_no_profile_of_themselves_nor_do_those_that_come_later():
    """In Python 3.11 that stops them for good, now and then."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
    ) as cluster:
        with distributed.Client(cluster) as plain:
            assert list(profiled(plain).values()) == [True], "it would otherwise"
        with cluster_client(cluster.scheduler_address) as client:
            cluster.scale(2)
            client.wait_for_workers(2, timeout=30)
            assert list(profiled(client).values()) == [False, False]
