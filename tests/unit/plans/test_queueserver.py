"""What a queue makes of our plans: it describes them, validates what is asked, and finds the devices."""

import inspect
from inspect import signature

import pytest
from ophyd.sim import SynAxis

from parfocal import plans
from parfocal.devices import Backend, Microscope
from parfocal.errors import BadInputError
from support import CountingSource, InstantStage, Lamp

profile_ops = pytest.importorskip(
    "bluesky_queueserver.manager.profile_ops", reason="extra `queue` is not installed"
)

NAMES = [
    "acquire_sections",
    "acquire_until_certain",
    "calibrate_focus",
    "characterize_camera",
    "characterize_latency",
    "characterize_pixel_size",
    "characterize_stage",
    "engage_lock",
    "image_puncta",
    "inject_fault",
    "lock_focus",
    "make_safe",
    "positions",
    "release_lock",
    "retrain_nuclei",
    "run_locked",
    "run_mda",
    "tile_scan",
    "time_lapse",
    "z_burst",
    "z_stack",
    "z_stack_audited",
]
PERMISSIONS = {
    "user_groups": {
        group: {
            "allowed_plans": [None],
            "forbidden_plans": [None],
            "allowed_devices": [":?.*:depth=4"] if group == "primary" else [None],
            "forbidden_devices": [None],
            "allowed_functions": [None],
            "forbidden_functions": [None],
        }
        for group in ("root", "primary")
    }
}


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    backend = Backend("bench", CountingSource(), InstantStage(), Lamp())
    microscope = Microscope(name="microscope", backend=backend, frames_root=tmp_path_factory.mktemp("frames"))
    yield {
        "microscope": microscope,
        "motor": SynAxis(name="motor"),
        **{name: getattr(plans, name) for name in NAMES},
    }
    microscope.destroy()


@pytest.fixture(scope="module")
def listed(namespace):
    """What the queue knows: (plans, devices, plans in the namespace, devices in the namespace)."""
    return profile_ops.existing_plans_and_devices_from_nspace(nspace=namespace, max_depth=4)


@pytest.fixture(scope="module")
def allowed(listed):
    known_plans, known_devices, _, _ = listed
    return profile_ops.load_allowed_plans_and_devices(
        existing_plans=known_plans, existing_devices=known_devices, user_group_permissions=PERMISSIONS
    )


@pytest.fixture
def ask(listed, allowed, namespace):
    """Return the plan with its devices, as the queue's worker would run it."""

    def ask(name, *args, **kwargs):
        return profile_ops.prepare_plan(
            {"name": name, "args": list(args), "kwargs": kwargs, "user_group": "primary"},
            plans_in_nspace=listed[2],
            devices_in_nspace=listed[3],
            allowed_plans=allowed[0],
            allowed_devices=allowed[1],
            nspace=namespace,
        )

    return ask


def test_every_public_plan_is_listed(listed):
    # These take or give what no queue can hand over.
    others = ("acquire", "parts_of", "focus_locked", "focus_locked_decorator", "keep_resting")
    public = [n for n in plans.__all__ if inspect.isfunction(getattr(plans, n)) and n not in others]
    assert sorted(public) == NAMES
    assert sorted(listed[0]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_tells_what_it_does_and_what_each_parameter_means(listed, name):
    described = listed[0][name]
    assert len(described["description"]) > 30
    for parameter in described["parameters"]:
        assert parameter.get("description"), f"{name}: {parameter['name']} has no description"
        assert "annotation" in parameter, f"{name}: {parameter['name']} has no type that a queue understands"
        if parameter["kind"]["name"] == "KEYWORD_ONLY":
            assert "default" in parameter


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("z_stack", ["microscope", 2, 0.5], {"channels": ["green"], "on_error": "retry", "md": {"sample": "a"}}),
        ("time_lapse", ["microscope", 3, 1.5], {"positions_um": [[0, 0], [1.5, 2]], "exposure_s": 0.01}),
        ("positions", ["microscope", [[0, 0], [10, 5.5, 3]]], {"on_error": "skip"}),
        ("tile_scan", ["microscope", 2, 3, 0.2], {"tile_um": [10, 10.5]}),
        ("run_mda", ["microscope", {"channels": ["green"], "z_plan": {"range": 2, "step": 1}}], {}),
        ("z_burst", ["microscope"], {"n_frames": 10, "channel": "red"}),
        ("image_puncta", ["microscope", ["green", "red"], 5], {"exposure_s": 0.01, "focus_locked": False}),
    ],
)
def test_a_queued_plan_gets_its_microscope_and_runs(RE, ask, namespace, documents, name, args, kwargs):
    parsed = ask(name, *args, **kwargs)
    assert parsed["args"][0] is namespace["microscope"]
    assert parsed["args"][1:] == args[1:]
    RE(parsed["callable"](*parsed["args"], **parsed["kwargs"]))
    assert documents.of("start")[0]["plan_name"] == name
    assert documents.of("stop")[0]["exit_status"] == "success"


NEEDED = {
    "acquire_sections": {"sections_um": [[0, 0]]},
    "positions": {"positions_um": [[0, 0]]},
    "run_mda": {"sequence": {}},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_plan_is_handed_the_microscope_not_its_name(ask, namespace, name):
    if "microscope" not in signature(getattr(plans, name)).parameters:
        pytest.skip("it takes none")
    parsed = ask(name, microscope="microscope", **NEEDED.get(name, {}))
    assert [*parsed["args"], parsed["kwargs"].get("microscope")][0] is namespace["microscope"]


def test_parts_and_other_movables_are_found_by_name(ask, namespace):
    parsed = ask("z_stack", "microscope.camera", 1, 1, z="motor")
    assert parsed["args"][0] is namespace["microscope"].camera
    assert parsed["kwargs"]["z"] is namespace["motor"]


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "words"),
    [
        ("z_stack", ["microscope"], {"on_error": "sometimes"}, "on_error"),
        ("z_stack", ["microscope"], {"half_rang_um": 2}, "half_rang_um"),
        ("z_stack", ["microscope", "wide"], {}, "half_range_um"),
        ("z_stack", [], {}, "microscope"),
        ("z_stack", ["microscope"], {"channels": "green"}, "channels"),
        ("time_lapse", ["microscope", 2.5], {}, "n_time_points"),
        ("positions", ["microscope"], {}, "positions_um"),
        ("run_mda", ["microscope", [1, 2]], {}, "sequence"),
        ("no_plan", ["microscope"], {}, "no_plan"),
    ],
)
def test_what_a_plan_cannot_take_is_refused_before_it_is_queued(ask, name, args, kwargs, words):
    with pytest.raises(RuntimeError, match=words):
        ask(name, *args, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        (["microscop"], {}, "'microscop' cannot be imaged with"),
        (["microscope", 1, 1], {"z": "motr"}, "'motr' cannot be moved"),
    ],
)
def test_a_device_that_is_not_there_is_refused_by_the_plan(RE, ask, documents, args, kwargs, words):
    parsed = ask("z_stack", *args, **kwargs)  # the queue takes any name for a Readable or a Movable
    with pytest.raises(BadInputError, match=words):
        RE(parsed["callable"](*parsed["args"], **parsed["kwargs"]))
    assert not documents.of("start")
