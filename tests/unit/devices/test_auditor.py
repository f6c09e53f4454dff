"""A verdict is read like any instrument, and a judge can be late, wrong or stuck without hurting the plan."""

import threading

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import FailedStatus

from parfocal.devices import Auditor
from parfocal.slices import Verdict


def audited(camera, auditor, n):
    """Take n frames, each again until it is accepted; both attempts are kept."""

    @bpp.stage_decorator([camera])
    @bpp.run_decorator()
    def plan():
        for _ in range(n):
            while True:
                yield from bps.trigger_and_read([camera])
                said = yield from bps.trigger_and_read([auditor], name="audit")
                if said[f"{auditor.name}_accepted"]["value"]:
                    break

    return plan()


def verdicts(documents):
    return [e["data"] for e in documents.of("event") if "audit_accepted" in e["data"]]


def test_a_rejected_slice_is_taken_again_and_both_are_kept(RE, camera, documents):
    def judge(pixels):
        n = int(pixels[0, 0])
        return Verdict(n not in (1, 3), "blurred" if n in (1, 3) else "", float(n))

    RE(audited(camera, Auditor("audit", camera, judge), 4))
    said = verdicts(documents)
    assert [v["audit_accepted"] for v in said] == [1, 0, 1, 0, 1, 1]
    assert [v["audit_frame"] for v in said] == [0, 1, 2, 3, 4, 5]
    assert [v["audit_score"] for v in said] == [0, 1, 2, 3, 4, 5]
    assert said[1]["audit_reason"] == "blurred"


@pytest.mark.parametrize(("policy", "accepted"), [("accept", 1), ("reject", 0)])
def test_a_late_judge_is_not_waited_for_and_the_policy_decides(RE, camera, documents, policy, accepted):
    hold = threading.Event()
    auditor = Auditor(
        "audit", camera, lambda pixels: hold.wait(10) and Verdict(True), timeout_s=0.05, on_timeout=policy
    )

    @bpp.stage_decorator([camera])
    @bpp.run_decorator()
    def plan():
        yield from bps.trigger_and_read([camera])
        yield from bps.trigger_and_read([auditor], name="audit")

    RE(plan())
    hold.set()
    (said,) = verdicts(documents)
    assert (said["audit_accepted"], said["audit_timed_out"]) == (accepted, 1)
    assert f"policy {policy}" in said["audit_reason"]


def test_a_late_judge_fails_the_step_where_the_policy_says_so(RE, camera):
    hold = threading.Event()
    auditor = Auditor("audit", camera, lambda pixels: hold.wait(10), timeout_s=0.05, on_timeout="fail")
    with pytest.raises(FailedStatus) as error:
        RE(audited(camera, auditor, 1))
    hold.set()
    assert "no verdict within 0.05 s" in str(error.value.__cause__)


def test_a_judge_that_raises_rejects_with_its_reason(RE, camera, documents):
    asked = []

    def judge(pixels):
        asked.append(1)
        if len(asked) == 1:
            raise ZeroDivisionError("no signal")
        return Verdict(True)

    RE(audited(camera, Auditor("audit", camera, judge), 1))
    assert [v["audit_accepted"] for v in verdicts(documents)] == [0, 1]
    assert "ZeroDivisionError: no signal" in verdicts(documents)[0]["audit_reason"]


def test_one_stuck_judge_does_not_keep_the_next_slice_waiting(RE, camera, documents):
    hold = threading.Event()
    asked = []

    def judge(pixels):
        asked.append(1)
        if len(asked) == 1:
            hold.wait(10)
        return Verdict(True)

    auditor = Auditor("audit", camera, judge, timeout_s=1.0, on_timeout="reject")
    RE(audited(camera, auditor, 1))
    hold.set()
    assert [v["audit_timed_out"] for v in verdicts(documents)] == [1, 0]


def test_without_a_frame_there_is_nothing_to_judge(camera):
    status = Auditor("audit", camera, lambda pixels: Verdict(True)).trigger()
    assert "trigger the camera first" in str(status.exception(1))
