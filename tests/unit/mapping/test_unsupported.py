from typing import Any

import pytest
from hypothesis import given, settings

from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.serialization import structure
from kraftlet_trio.mapping.unsupported import (
    nameserver,
    unsupported,
    unsupported_problem,
    unsupported_warning,
)
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import (
    default_pod_spec,
    default_requests,
)
from tests import strategies
from tests.manifests import a_container, a_pod


def read(manifest: dict[str, Any]) -> Pod:
    """As the API server hands it out."""
    default_pod_spec(manifest["spec"])
    default_requests(manifest["spec"])
    return structure(manifest, Pod)


def found(**spec: Any) -> set[str]:
    return set(unsupported(read(a_pod("web", **spec))))


def found_in_container(**fields: Any) -> set[str]:
    """Without the container's own path."""
    pod = read(a_pod("web", a_container("app", **fields)))
    return {one.removeprefix("containers[app].") for one in unsupported(pod)}


def test_a_plain_pod_gets_all_it_asks_for():
    pod = read(
        a_pod(
            "web",
            a_container(
                ports=[80],
                resources={"limits": {"cpu": "1", "memory": "64Mi"}},
                securityContext={
                    "runAsUser": 0,
                    "privileged": False,
                    "readOnlyRootFilesystem": False,
                    "procMount": "Default",
                    "capabilities": {},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            ),
            hostUsers=False,
            securityContext={"fsGroup": 0},
            dnsConfig={"nameservers": ["192.0.2.53"]},
        )
    )
    assert unsupported(pod) == ()
    assert unsupported_warning(pod) is None
    assert unsupported_problem(pod) is None


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"hostNetwork": True}, "hostNetwork: true"),
        ({"hostPID": True}, "hostPID: true"),
        ({"hostIPC": True}, "hostIPC: true"),
        ({"shareProcessNamespace": True}, "shareProcessNamespace: true"),
        ({"runtimeClassName": "gvisor"}, "runtimeClassName: gvisor"),
        ({"setHostnameAsFQDN": True}, "setHostnameAsFQDN: true"),
        (
            {"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a", "b"]}]},
            "hostAliases: 192.0.2.1 a b",
        ),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["::1"]}}, "dnsPolicy: None"),
        ({"dnsPolicy": "ClusterFirstWithHostNet"}, "dnsPolicy: ClusterFirstWithHostNet"),
        ({"dnsConfig": {"searches": ["a.test", "b.test"]}}, "dnsConfig.searches: a.test b.test"),
        (
            {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}},
            "dnsConfig.options: ndots:2",
        ),
        ({"dnsConfig": {"options": [{"name": "edns0"}]}}, "dnsConfig.options: edns0"),
        (
            {"dnsConfig": {"nameservers": ["192.0.2.1", "192.0.2.2"]}},
            "dnsConfig.nameservers: 192.0.2.2",
        ),
        ({"securityContext": {"runAsUser": 1000}}, "securityContext.runAsUser: 1000"),
        ({"securityContext": {"runAsNonRoot": True}}, "securityContext.runAsNonRoot: true"),
        ({"securityContext": {"fsGroup": 2000}}, "securityContext.fsGroup: 2000"),
        (
            {"securityContext": {"supplementalGroups": [4]}},
            "securityContext.supplementalGroups: [4]",
        ),
        (
            {"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}},
            "securityContext.sysctls.net.core.somaxconn: 1024",
        ),
        ({"resources": {"limits": {"cpu": "2"}}}, "resources.limits.cpu: 2"),
        (
            {"resourceClaims": [{"name": "gpu", "resourceClaimName": "big"}]},
            'resourceClaims: {"name": "gpu", "resourceClaimName": "big"}',
        ),
    ],
)
def test_fields_of_a_pod_without_effect(spec, told):
    assert told in found(**spec)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"workingDir": "/srv"}, "workingDir: /srv"),
        ({"stdin": True}, "stdin: true"),
        ({"tty": True}, "tty: true"),
        ({"terminationMessagePath": "/tmp/end"}, "terminationMessagePath: /tmp/end"),
        ({"lifecycle": {"stopSignal": "SIGUSR1"}}, "lifecycle.stopSignal: SIGUSR1"),
        (
            {"volumeDevices": [{"name": "d", "devicePath": "/dev/x"}]},
            'volumeDevices: {"name": "d", "devicePath": "/dev/x"}',
        ),
        ({"ports": [{"containerPort": 53, "protocol": "UDP"}]}, "ports[53].protocol: UDP"),
        ({"ports": [{"containerPort": 53, "hostPort": 5353}]}, "ports[53].hostPort: 5353"),
        ({"resources": {"limits": {"nvidia.com/gpu": "1"}}}, "resources.limits.nvidia.com/gpu: 1"),
        (
            {"resources": {"requests": {"ephemeral-storage": "1Gi"}}},
            "resources.requests.ephemeral-storage: 1Gi",
        ),
        (
            {"resources": {"limits": {"hugepages-2Mi": "4Mi"}}},
            "resources.limits.hugepages-2Mi: 4Mi",
        ),
        ({"resources": {"claims": [{"name": "gpu"}]}}, 'resources.claims: {"name": "gpu"}'),
        ({"securityContext": {"privileged": True}}, "securityContext.privileged: true"),
        (
            {"securityContext": {"readOnlyRootFilesystem": True}},
            "securityContext.readOnlyRootFilesystem: true",
        ),
        (
            {"securityContext": {"allowPrivilegeEscalation": False}},
            "securityContext.allowPrivilegeEscalation: false",
        ),
        (
            {"securityContext": {"capabilities": {"drop": ["ALL"]}}},
            "securityContext.capabilities.drop: ALL",
        ),
        ({"securityContext": {"procMount": "Unmasked"}}, "securityContext.procMount: Unmasked"),
        (
            {
                "securityContext": {
                    "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}
                }
            },
            "securityContext.appArmorProfile: p",
        ),
        (
            {"securityContext": {"seLinuxOptions": {"level": "s0"}}},
            'securityContext.seLinuxOptions: {"level": "s0"}',
        ),
        (
            {
                "volumeMounts": [
                    {"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"}
                ]
            },
            "volumeMounts[v].mountPropagation: HostToContainer",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"}]},
            "volumeMounts[v].recursiveReadOnly: Enabled",
        ),
    ],
)
def test_fields_of_a_container_without_effect(fields, told):
    container = {"name": "app", "image": "nginx", **fields}
    assert unsupported(read(a_pod("web", container))) == (f"containers[app].{told}",)


def test_init_containers_are_told_by_name_too():
    pod = a_pod("web", init=(a_container("prepare", workingDir="/srv"),))
    assert unsupported(read(pod)) == ("initContainers[prepare].workingDir: /srv",)


def test_host_ports_that_the_api_server_fills_in_are_not_the_users():
    ports = [{"containerPort": 80, "hostPort": 80}]
    pod = a_pod("web", {"name": "app", "image": "nginx", "ports": ports}, hostNetwork=True)
    assert unsupported(read(pod)) == ("hostNetwork: true",)


def test_nothing_asked_for_is_nothing_missed():
    assert found_in_container(resources={"limits": {"nvidia.com/gpu": "0"}}) == set()


@pytest.mark.parametrize(
    ("servers", "chosen"),
    [([], None), (["::1", "192.0.2.1", "192.0.2.2"], "192.0.2.1"), (["nonsense"], None)],
)
def test_an_instance_takes_the_first_name_server_of_ipv4(servers, chosen):
    assert nameserver(read(a_pod("web", dnsConfig={"nameservers": servers}))) == chosen
    assert nameserver(read(a_pod("web"))) is None


def test_all_is_one_warning_and_a_problem_only_for_who_wants_it():
    pod = read(a_pod("web", hostNetwork=True, hostPID=True))
    warning, problem = unsupported_warning(pod), unsupported_problem(pod)
    assert warning is not None
    assert problem is not None
    assert warning.reason == problem.reason == "UnsupportedFields"
    assert "hostNetwork: true, hostPID: true" in warning.message
    assert "hostNetwork: true, hostPID: true; remove them" in problem.message


def test_a_long_list_is_cut_and_counted():
    containers = [a_container(f"c{n}", workingDir="/" + "x" * 200) for n in range(100)]
    warning = unsupported_warning(read(a_pod("web", *containers)))
    assert warning is not None
    assert len(warning.message) < 1024
    assert warning.message.endswith(" more")


@settings(max_examples=20)
@given(strategies.hostile_pods())
def test_any_pod_can_be_told_about_on_one_line(pod):
    warning = unsupported_warning(pod)
    assert warning is None or warning.message.isprintable()
    nameserver(pod)
