"""Training on the workers of a Dask cluster, a real one."""

import sys
from functools import partial

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.learning import TrainSettings, UNetShape, build_unet, train, train_on_workers

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
distributed = pytest.importorskip("distributed", reason="Dask is not installed")
torch.set_num_threads(1)

SHAPE = UNetShape(dims=2, n_out=1, widths=(4, 8))


def blobs(step, shard=0):
    rng = np.random.default_rng((5, shard, step))
    truth = np.zeros((2, 1, 16, 16), np.float32)
    for image in truth:
        y, x = rng.integers(0, 10, 2)
        image[0, y : y + 6, x : x + 6] = 1
    return truth + rng.normal(0, 0.4, truth.shape).astype(np.float32), truth


def squared(output, truth):
    return {"squared": ((output - truth) ** 2).mean()}


SHARDS = [partial(blobs, shard=1), partial(blobs, shard=2)]


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def trained(client, shards, settings, **more):
    net = build_unet(SHAPE)
    log = train_on_workers(client, net, shards, squared, settings, **more)
    return net.state_dict(), log


def assert_same(a, b):
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_one_share_alone_is_trained_as_without_workers(client):
    settings = TrainSettings(7, warm_up_steps=2, device="cpu")
    net = build_unet(SHAPE)
    log = train(net, SHARDS[0], squared, settings)
    state, workers_log = trained(client, SHARDS[:1], settings, local_steps=3)
    assert_same(state, net.state_dict())
    np.testing.assert_array_equal(log.loss, workers_log.loss)


def test_two_workers_learn_from_both_shares(client):
    told = []
    settings = TrainSettings(24, rate=2e-2, warm_up_steps=3, device="cpu")
    _, log = trained(client, SHARDS, settings, local_steps=8, on_progress=told.append)
    assert log.loss[-8:].mean() < 0.5 * log.loss[:4].mean()
    assert [p.step for p in told] == [8, 16, 24]
    assert told[-1].loss == log.loss[-1]
    # A round is the mean of what its shares come to alone: after the first, exactly.
    short = TrainSettings(3, device="cpu")
    both, _ = trained(client, SHARDS, short, local_steps=3)
    alone = [trained(client, [shard], short, local_steps=3)[0] for shard in SHARDS]
    for name, tensor in both.items():
        torch.testing.assert_close(tensor, (alone[0][name] + alone[1][name]) / 2, rtol=0, atol=1e-7)


def test_a_training_on_workers_that_was_cut_off_goes_on_as_if_it_had_not_been(client, tmp_path):
    class Cut(Exception):
        pass

    def cut(progress):
        if progress.step == 4:
            raise Cut

    settings = TrainSettings(6, device="cpu")
    whole, _ = trained(client, SHARDS, settings, local_steps=2)
    with pytest.raises(Cut):
        trained(client, SHARDS, settings, local_steps=2, checkpoint=tmp_path / "run", on_progress=cut)
    resumed, log = trained(client, SHARDS, settings, local_steps=2, checkpoint=tmp_path / "run")
    assert log.resumed_at == 4
    assert_same(whole, resumed)


def test_a_share_whose_loss_is_never_finite_ends_the_training_with_its_reason(client):
    def poisoned(step):
        image, truth = blobs(step)
        return image * np.nan, truth

    with pytest.raises(BadInputError, match=r"not finite 3 times in succession"):
        trained(client, [poisoned], TrainSettings(9, max_bad_steps=3, device="cpu"))


@pytest.mark.long
def test_processes_come_to_the_weights_that_threads_come_to(client, tmp_path):
    settings = TrainSettings(6, device="cpu")
    wanted, _ = trained(client, SHARDS, settings, local_steps=2)
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as processes,
    ):
        processes.run(torch.set_num_threads, 1)
        found, _ = trained(processes, SHARDS, settings, local_steps=2)
    assert_same(found, wanted)
