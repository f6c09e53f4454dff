"""The losses: what they ask for is what is true."""

import math

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta.networks import LossSettings, PunctaNetShape, build_puncta_net

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

from parfocal.puncta.networks._balance import PunctaLoss  # noqa: E402
from parfocal.puncta.networks._losses import (  # noqa: E402
    calcium_terms,
    detection_loss,
    mixture_terms,
    positive_weight,
    seed_terms,
)
from parfocal.puncta.networks._module import first_layer_inflated  # noqa: E402

SIDE = 16


def scene(x=7.3, y=8.4, photons=1000.0, on=1.0):
    puncta = torch.zeros(1, 4, 4)
    puncta[0, 0] = torch.tensor([x, y, math.log(photons), on])
    return puncta, torch.tensor([1]), torch.zeros(1, 1, SIDE, SIDE)


def answer(logit=-12.0, planes=8):
    output = torch.zeros(1, planes, SIDE, SIDE)
    output[:, 0] = logit
    output[:, 5:8] = math.log(0.1)
    return output


def claimed(output, line, column, dx, dy, logit=6.0, photons=1000.0):
    output[0, :4, line, column] = torch.tensor([logit, dx, dy, math.log(photons)])
    return output


def total(terms):
    return float(sum(terms.values()))


def test_the_likelihood_is_highest_where_the_punctum_is():
    puncta, counts, background = scene()
    right = total(mixture_terms(claimed(answer(), 8, 7, 0.3, 0.4), puncta, counts, background))
    for dx, dy, photons in ((0.5, 0.4, 1000), (0.3, 0.1, 1000), (0.3, 0.4, 2000)):
        off = total(mixture_terms(claimed(answer(), 8, 7, dx, dy, photons=photons), puncta, counts, background))
        assert off > right + 0.05
    assert total(mixture_terms(answer(), puncta, counts, background)) > right + 1


def test_a_neighbouring_pixel_may_claim_the_punctum_too():
    puncta, counts, background = scene()
    own = total(mixture_terms(claimed(answer(), 8, 7, 0.3, 0.4), puncta, counts, background))
    beside = total(mixture_terms(claimed(answer(), 9, 8, -0.7, -0.6), puncta, counts, background))
    assert beside == pytest.approx(own, abs=1e-4)


def test_an_empty_patch_has_its_say_about_what_is_not_there():
    puncta, _, background = scene()
    none = torch.tensor([0])
    quiet = total(mixture_terms(answer(), puncta, none, background))
    loud = total(mixture_terms(claimed(answer(), 8, 7, 0.0, 0.0), puncta, none, background))
    assert loud > quiet + 0.5


def test_the_gaussian_of_the_likelihood_is_worth_what_mathematics_says():
    puncta, counts, background = scene(photons=1000.0)
    output = claimed(answer(logit=-14.0), 8, 7, 0.3, 0.4, logit=14.0)
    output[:, 5:8] = math.log(0.5)
    said = mixture_terms(output, puncta, counts, background)
    p = torch.sigmoid(output[:, 0].double())
    one = -3 * math.log(0.5 * math.sqrt(2 * math.pi)) + math.log(float(p.max() / p.sum()))
    assert float(said["puncta"]) == pytest.approx(-one / 5, abs=0.01)


def test_the_seeds_loss_is_repaired():
    puncta, counts, background = scene()
    how = LossSettings(kind="seed")
    right = seed_terms(claimed(answer(), 8, 7, 0.3, 0.4), puncta, counts, background, how)
    missed = seed_terms(answer(), puncta, counts, background, how)
    assert float(missed["detection"]) > float(right["detection"])
    # A punctum of 1300 photons told as 1000 does not drown everything else.
    off = seed_terms(claimed(answer(), 8, 7, 0.3, 0.4), *scene(photons=1300.0), how)
    assert 0 < float(off["photons"]) < 0.1
    # Sigmas are taught: those that are right cost least.
    costs = []
    for sigma in (0.02, 0.2, 2.0):
        output = claimed(answer(), 8, 7, 0.3 + 0.2, 0.4 - 0.2, photons=1000 * math.exp(0.2))
        output[:, 5:8] = math.log(sigma)
        costs.append(float(seed_terms(output, puncta, counts, background, how)["sigmas"]))
    assert costs[1] == min(costs)


def test_focal_loss_plays_down_what_is_easily_told():
    empty = torch.zeros(1, SIDE, SIDE)
    easy, hard = torch.full_like(empty, -4.0), torch.full_like(empty, 0.0)
    plain, focal = LossSettings(kind="seed", pos_weight=1.0), LossSettings(kind="seed", focal_gamma=2.0)
    ratios = [float(detection_loss(easy, empty, how) / detection_loss(hard, empty, how)) for how in (plain, focal)]
    assert ratios[1] < 0.01 * ratios[0]


def test_a_positive_weighs_the_root_of_how_rare_it_is():
    target = torch.zeros(1, SIDE, SIDE)
    assert positive_weight(target) == 1.0
    target[0, 8, 7] = 1.0
    assert positive_weight(target) == pytest.approx(math.sqrt(SIDE**2 - 1))


def test_calcium_weighs_both_classes_alike_however_rare_events_are():
    puncta = torch.zeros(1, 4, 4)
    puncta[0, :, :2] = torch.tensor([[3.0, 3.0], [12.0, 3.0], [3.0, 12.0], [12.0, 12.0]])
    puncta[0, 0, 3] = 1.0
    counts = torch.tensor([4])
    all_off = torch.full((1, 9, SIDE, SIDE), -5.0)
    all_on = torch.full((1, 9, SIDE, SIDE), 5.0)
    how = LossSettings()
    off, on = (float(calcium_terms(o, puncta, counts, how)["calcium"]) for o in (all_off, all_on))
    assert off == pytest.approx(on, rel=0.05)
    all_off[0, 8, 3, 3] = 5.0
    assert float(calcium_terms(all_off, puncta, counts, how)["calcium"]) < 0.05


def test_two_tasks_pull_the_encoder_with_equal_force_whatever_their_scale():
    shape = PunctaNetShape(2, base_channels=4, widths=(8,), calcium_widths=(8,))
    module = build_puncta_net(shape)
    loss = PunctaLoss(module, LossSettings(), frozenset({"localization", "calcium"}))
    output = module(torch.randn(1, 12, SIDE, SIDE))
    puncta, counts, background = scene()
    terms = loss(output, puncta, counts, background)
    norms = {}
    for name, chosen in (
        ("calcium", [terms["calcium"]]),
        ("rest", [v for k, v in terms.items() if k != "calcium"]),
    ):
        norms[name] = float(torch.autograd.grad(sum(chosen), module.trunk(), retain_graph=True)[0].norm())
    assert norms["calcium"] == pytest.approx(min(norms["rest"], 10 * float(module.task_grad_norms[1])), rel=0.05)
    assert (module.task_grad_norms > 0).all()


def test_weights_that_are_learnt_stay_within_what_is_sound():
    shape = PunctaNetShape(2, base_channels=4, widths=(8,), calcium_widths=(8,))
    module = build_puncta_net(shape)
    how = LossSettings(kind="seed", use_uncertainty_weighting=True)
    loss = PunctaLoss(module, how, frozenset({"localization", "calcium"}))
    with torch.no_grad():
        module.task_log_variances[:] = torch.tensor([3.0, -3.0])
    terms = loss(module(torch.randn(1, 12, SIDE, SIDE)), *scene())
    assert module.task_weights().tolist() == [4.0, -4.0]
    assert loss.at_limit
    assert float(terms["task_weights"]) == pytest.approx(0.0)


def test_the_first_layer_grows_a_channel_that_changes_nothing_yet():
    one = build_puncta_net(PunctaNetShape(1, 4, (8,)), seed=3)
    two = build_puncta_net(PunctaNetShape(2, 4, (8,), (8,)), seed=4)
    name = "encoder.down.0.conv1.weight"
    state = {**two.state_dict(), **{k: v for k, v in one.state_dict().items() if k.startswith(("enc", "loc"))}}
    two.load_state_dict(first_layer_inflated(state, two.state_dict()[name]))
    planes = torch.randn(1, 12, SIDE, SIDE)
    with torch.inference_mode():
        both = two(planes)[:, :8]
        alone = one(planes.reshape(1, 3, 4, SIDE, SIDE)[:, :, :2].reshape(1, 6, SIDE, SIDE))
    np.testing.assert_allclose(both.numpy(), alone.numpy(), atol=1e-5)


@pytest.mark.parametrize("changes", [{"kind": "l2"}, {"photon_weight": -1.0}, {"focal_alpha": 1.5}])
def test_settings_that_make_no_loss_are_refused(changes):
    with pytest.raises(BadInputError, match=f"loss: {next(iter(changes))}"):
        LossSettings(**changes)
