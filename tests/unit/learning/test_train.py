"""Training: the same seed, the same weights; interrupted or not."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.learning import TrainSettings, UNetShape, build_unet, train

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

SHAPE = UNetShape(dims=2, n_out=1, widths=(4, 8))


def blobs(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of bright squares, and the squares."""
    rng = np.random.default_rng((5, step))
    truth = np.zeros((2, 1, 16, 16), np.float32)
    for image in truth:
        y, x = rng.integers(0, 10, 2)
        image[0, y : y + 6, x : x + 6] = 1
    return truth + rng.normal(0, 0.4, truth.shape).astype(np.float32), truth


def squared(output, truth):
    return ((output - truth) ** 2).mean()


def weights_after(settings, **more):
    net = build_unet(SHAPE)
    log = train(net, blobs, squared, settings, **more)
    return net.state_dict(), log


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_training_learns():
    _, log = weights_after(TrainSettings(60, rate=1e-2, warm_up_steps=5))
    assert log.loss[-10:].mean() < 0.3 * log.loss[:5].mean()


def test_the_same_seed_gives_the_same_weights():
    settings = TrainSettings(6, warm_up_steps=2)
    first, _ = weights_after(settings)
    assert_same(first, weights_after(settings)[0])
    assert_same(first, weights_after(TrainSettings(6, warm_up_steps=2, prefetch=3))[0])
    other = build_unet(SHAPE, seed=1).state_dict()
    assert not torch.equal(other["head.weight"], build_unet(SHAPE).state_dict()["head.weight"])


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path):
    settings = TrainSettings(12, warm_up_steps=2, checkpoint_every_steps=5)
    whole, log = weights_after(settings)

    class Cut(Exception):
        pass

    def cut(progress):
        if progress.step == 8:
            raise Cut

    with pytest.raises(Cut):
        weights_after(settings, checkpoint=tmp_path / "run", on_progress=cut)
    resumed, resumed_log = weights_after(settings, checkpoint=tmp_path / "run")
    assert resumed_log.resumed_at == 5
    assert_same(whole, resumed)
    np.testing.assert_array_equal(log.loss, resumed_log.loss)


def test_a_finished_training_is_not_done_again(tmp_path):
    settings = TrainSettings(3, checkpoint_every_steps=100)
    done, _ = weights_after(settings, checkpoint=tmp_path / "run")
    again, log = weights_after(settings, checkpoint=tmp_path / "run")
    assert log.resumed_at == 3
    assert_same(done, again)


def test_a_batch_that_is_not_finite_is_skipped_and_leaves_nothing_behind():
    net = build_unet(UNetShape(dims=2, n_out=1, widths=(4, 8), norm="batch"))

    def poisoned(step):
        image, truth = blobs(step)
        return image * (np.nan if step == 2 else 1), truth

    log = train(net, poisoned, squared, TrainSettings(6))
    assert log.skipped == 1
    assert np.isnan(log.loss[2])
    assert all(bool(torch.isfinite(t).all()) for t in net.state_dict().values())


def test_a_training_that_never_gets_a_finite_loss_ends_with_a_reason():
    with pytest.raises(BadInputError, match=r"not finite 3 times in succession, up to step 3; try a lower rate"):
        train(build_unet(SHAPE), blobs, lambda o, t: o.sum() * float("nan"), TrainSettings(50, max_bad_steps=3))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    weights_after(TrainSettings(2), checkpoint=tmp_path / "run")
    with pytest.raises(BadInputError, match=r"run: was begun with rate 0.002, not 0.1; delete it to begin anew"):
        weights_after(TrainSettings(2, rate=0.1), checkpoint=tmp_path / "run")
    (tmp_path / "run").write_bytes(b"\x00" * 40)
    with pytest.raises(BadInputError, match=r"run: not a safetensors file"):
        weights_after(TrainSettings(2), checkpoint=tmp_path / "run")


def test_the_rate_rises_then_falls_to_its_end():
    settings = TrainSettings(100, rate=1.0, warm_up_steps=10, end_fraction=0.03)
    rates = [settings.rate_at(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.03)


@pytest.mark.long
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    """A real kill -9, at an arbitrary moment between checkpoints."""
    script = tmp_path / "work.py"
    script.write_text(
        textwrap.dedent(f"""
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location("work", {__file__!r})
        work = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(work)
        def tell(progress):
            print(progress.step, flush=True)
        work.weights_after(work.TrainSettings(400, checkpoint_every_steps=1), checkpoint={str(tmp_path / "run")!r},
                           on_progress=tell)
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 10:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    settings = TrainSettings(400, checkpoint_every_steps=1)
    killed_at = []
    resumed, log = weights_after(settings, checkpoint=tmp_path / "run", on_progress=killed_at.append)
    assert 10 <= log.resumed_at < 400
    assert killed_at[0].step == log.resumed_at + 1
    assert_same(resumed, weights_after(settings)[0])
