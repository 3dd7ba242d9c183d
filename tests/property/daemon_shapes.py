"""Pods, Services and a Deployment of every kind that a daemon meets, by the name of their shape."""

from __future__ import annotations

from typing import Any

from tests.manifests import a_container, a_deployment

_MISSING = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "missing", "key": "a"}}}
_HTTP = {"httpGet": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 5}
_STUBBORN = {"terminationGracePeriodSeconds": 5}

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"containers": [a_container()]},
    "web": {"containers": [a_container(ports=[8080])]},
    "pair": {"containers": [a_container(ports=[8080]), a_container("side", ports=[9090])]},
    "stubborn": {"containers": [a_container(image="stubborn", ports=[8080])], **_STUBBORN},
    "prepared": {
        "containers": [a_container(ports=[8080])],
        "init": (a_container("fetch", "fetch"), a_container("unpack", "unpack")),
    },
    "proxied": {
        "containers": [a_container(ports=[8080])],
        "init": (a_container("proxy", restartPolicy="Always"),),
    },
    "stateful": {
        "containers": [a_container(ports=[8080], mounts={"data": "/data"})],
        "claims": {"data": "data"},
    },
    "job": {"containers": [a_container(image="job")], "restartPolicy": "Never"},
    "retried": {"containers": [a_container(image="retried")], "restartPolicy": "OnFailure"},
    "hopeless": {"containers": [a_container(image="failing")], "restartPolicy": "Never"},
    "crashing": {"containers": [a_container(image="failing")]},
    "unpullable": {"containers": [a_container(image="unpullable", ports=[8080])]},
    "scratch": {
        "containers": [
            a_container(mounts={"scratch": "/tmp"}),
            a_container("side", mounts={"scratch": "/tmp"}),
        ],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    },
    "shortlived": {"containers": [a_container(ports=[8080])], "activeDeadlineSeconds": 20},
    "probed": {
        "containers": [
            a_container(
                image="listening",
                ports=[8080],
                startupProbe=_HTTP,
                livenessProbe=_HTTP,
                readinessProbe=_HTTP,
                lifecycle={"preStop": {"sleep": {"seconds": 1}}},
            )
        ]
    },
    "unmountable": {
        "containers": [a_container(mounts={"scratch": "/tmp"})],
        "volumes": [{"name": "scratch", "hostPath": {"path": "/tmp"}}],
    },
    "oversized": {
        "containers": [a_container(ports=[8080], resources={"limits": {"memory": "64Gi"}})]
    },
    "unconfigured": {"containers": [a_container(env=[_MISSING])]},
}

SCRIPTS: dict[str, dict[str, Any]] = {
    "stubborn": {"ignores_stop": True},
    "fetch": {"run_seconds": 0.3},
    "unpack": {"run_seconds": 0.3, "exits": (1,)},
    "job": {"run_seconds": 3.0},
    "retried": {"run_seconds": 0.5, "exits": (2, 2)},
    "failing": {"run_seconds": 1.5, "exit_code": 1},
    "unpullable": {"pull": "fail"},
    "listening": {"ports": {8080: "http"}, "listens_after_seconds": 2.0},
}

CONFIGURED_WRONGLY = {"unconfigured", "unmountable", "oversized"}
RESTLESS = {"crashing", "unpullable"} | CONFIGURED_WRONGLY
"""Shapes that make the daemon write again and again."""

DEPLOYMENT = a_deployment("web", replicas=2)

DOMAIN = "cloud.unikraft.v1.services/domain"
REDIRECT = "cloud.unikraft.v1.services/redirect"
SOFT_LIMIT = "cloud.unikraft.v1.services/soft_limit"
SERVICE_ANNOTATIONS: list[dict[str, str]] = [
    {},
    {DOMAIN: "shop"},
    {DOMAIN: "store", REDIRECT: "true"},
    {DOMAIN: "shop,store"},
    {REDIRECT: "true"},
    {SOFT_LIMIT: "7"},
    {SOFT_LIMIT: "9", REDIRECT: "true"},
]

PORTS: list[dict[int, int | str]] = [{443: 8080}, {443: 8080, 80: 9090}, {8443: 8080}, {80: 9090}]
