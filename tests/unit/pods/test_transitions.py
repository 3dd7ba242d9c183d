import attrs
import pytest

from kraftlet_trio.kubernetes.pod import ContainerState, ContainerStateWaiting, PodStatus
from kraftlet_trio.pods.transitions import PodEvent, transition_events
from tests.builders import a_pod, a_status, an_end, running, terminated, waiting

PULLED = PodEvent("Normal", "Pulled", 'Successfully pulled image "app:latest"', "app")
CREATED = PodEvent("Normal", "Created", "Created container: app", "app")
STARTED = PodEvent("Normal", "Started", "Started container app", "app")


def held_back(reason, message=""):
    state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))
    return attrs.evolve(waiting(), state=state)


def events(before, after):
    return list(
        transition_events(
            a_pod(),
            a_status(before) if before else PodStatus(),
            a_status(after) if after else PodStatus(),
        )
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, waiting(), [], id="on its way"),
        pytest.param(None, running(), [PULLED, CREATED, STARTED], id="found running"),
        pytest.param(waiting(), running(), [PULLED, CREATED, STARTED], id="started"),
        pytest.param(terminated(), running(restart_count=1), [STARTED], id="started again"),
        pytest.param(running(), running(ready=False), [], id="goes on"),
        pytest.param(running(), terminated(), [], id="ended"),
        pytest.param(running(), None, [], id="not told of"),
        pytest.param(
            waiting(),
            held_back("ErrImagePull", "no such image"),
            [
                PodEvent("Warning", "Failed", "no such image", "app"),
                PodEvent("Warning", "Failed", "Error: ErrImagePull", "app"),
            ],
            id="image failed",
        ),
        pytest.param(
            held_back("ErrImagePull"),
            held_back("ImagePullBackOff"),
            [PodEvent("Normal", "BackOff", 'Back-off pulling image "app:latest"', "app")],
            id="image waited for",
        ),
        pytest.param(
            terminated(),
            held_back("CrashLoopBackOff", "back-off 10s"),
            [
                PodEvent(
                    "Warning",
                    "BackOff",
                    "Back-off restarting failed container app in pod web_default(uid-of-web)",
                    "app",
                )
            ],
            id="crash loop",
        ),
        pytest.param(
            waiting(),
            held_back("CreateContainerConfigError", 'secret "s" not found'),
            [PodEvent("Warning", "Failed", 'Error: secret "s" not found', "app")],
            id="trouble",
        ),
    ],
)
def test_each_change_of_a_container_has_its_events(before, after, expected):
    assert events(before, after) == expected


@pytest.mark.parametrize(
    "status",
    [
        waiting(),
        running(),
        terminated(),
        held_back("CrashLoopBackOff", "back-off 10s"),
        held_back("ErrImagePull", "no such image"),
        held_back("ImagePullBackOff", "back-off 10s"),
        held_back("CreateContainerError", "no more room"),
    ],
)
def test_no_change_is_no_event(status):
    assert events(status, status) == []


def test_each_back_off_is_told():
    before = held_back("CrashLoopBackOff", "back-off 10s")
    after = held_back("CrashLoopBackOff", "back-off 20s")
    assert [event.reason for event in events(before, after)] == ["BackOff"]


def test_init_containers_come_first():
    pod = a_pod(init=["setup"])
    after = a_status(running(), init=[running("setup")])
    told = [event.container for event in transition_events(pod, PodStatus(), after)]
    assert told == ["setup"] * 3 + ["app"] * 3


def test_what_is_not_in_the_pod_is_not_told_of():
    assert events(None, running("stranger", last_state=an_end())) == []
