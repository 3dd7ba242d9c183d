from __future__ import annotations

import orjson
import pytest

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.unit.simulators.kubernetes.builders import (
    a_claim,
    a_deployment,
    a_node,
    a_pod,
    request,
)

PODS = "/api/v1/namespaces/default/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def cluster():
    return KubernetesSimulator()


async def test_an_object_is_created_read_and_listed(cluster):
    status, created = await request(cluster, "POST", PODS, a_pod())
    assert status == 201
    assert await request(cluster, "GET", f"{PODS}/web") == (200, created)
    status, listing = await request(cluster, "GET", "/api/v1/pods")
    assert (status, listing["kind"], listing["apiVersion"]) == (200, "PodList", "v1")
    item = {key: part for key, part in created.items() if key not in ("kind", "apiVersion")}
    assert listing["items"] == [item]
    assert listing["metadata"]["resourceVersion"] == str(cluster.storage.version)


async def test_a_name_is_taken_once(cluster):
    await request(cluster, "POST", PODS, a_pod())
    status, body = await request(cluster, "POST", PODS, a_pod())
    assert (status, body["reason"], body["details"]) == (
        409,
        "AlreadyExists",
        {"name": "web", "kind": "pods"},
    )


async def test_names_are_generated(cluster):
    pod = a_pod()
    pod["metadata"] = {"generateName": "web-"}
    names = {(await request(cluster, "POST", PODS, pod))[1]["metadata"]["name"] for _ in range(9)}
    assert len(names) == 9
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({}, 422),
        ({"name": "Upper"}, 422),
        ({"name": "a" * 300}, 422),
        ({"name": "web", "namespace": "other"}, 400),
        ({"name": "web", "labels": {"number": 1}}, 400),
    ],
)
async def test_bad_metadata_is_refused(cluster, metadata, code):
    status, body = await request(cluster, "POST", PODS, {**a_pod(), "metadata": metadata})
    assert (status, body["kind"], body["status"]) == (code, "Status", "Failure")


async def test_nothing_is_created_in_a_namespace_that_is_not_there(cluster):
    path = "/api/v1/namespaces/nowhere/pods"
    status, body = await request(cluster, "POST", path, a_pod())
    assert (status, body["message"]) == (404, 'namespaces "nowhere" not found')


@pytest.mark.parametrize(
    "body",
    [{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x"}}, [], "text"],
)
async def test_a_body_of_another_kind_is_refused(cluster, body):
    status, _ = await request(cluster, "POST", PODS, body)
    assert status == 400


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/gadgets", 404),
        ("GET", "/apis/apps/v1/pods", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", f"{PODS}/web/unknown", 404),
        ("GET", f"{PODS}/absent", 404),
        ("PUT", f"{PODS}/web", 404),
        ("PUT", f"{PODS}/absent", 400),
        ("PUT", PODS, 405),
        ("POST", f"{PODS}/web/eviction", 404),
        ("GET", "/elsewhere", 404),
    ],
)
async def test_what_is_not_there_is_said_so(cluster, method, path, code):
    status, body = await request(cluster, method, path, a_pod())
    assert (status, body["code"]) == (code, code)


async def test_a_pod_gets_what_the_server_fills_in(cluster):
    container = {
        "name": "app",
        "image": "nginx",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
        "readinessProbe": {"httpGet": {"port": 80}},
    }
    pod = cluster.create(a_pod(containers=[container]))
    spec = pod["spec"]
    (app,) = spec["containers"]
    assert app["imagePullPolicy"] == "Always"
    assert app["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert app["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert app["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert spec["serviceAccountName"] == "default"
    assert spec["enableServiceLinks"] is True
    assert {toleration["tolerationSeconds"] for toleration in spec["tolerations"]} == {300}
    (volume,) = spec["volumes"]
    sources = [next(iter(source)) for source in volume["projected"]["sources"]]
    assert sources == ["serviceAccountToken", "configMap", "downwardAPI"]
    (mount,) = app["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert pod["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("registry:5000/nginx", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("nginx@sha256:0123", "IfNotPresent"),
    ],
)
async def test_the_pull_policy_follows_the_tag(cluster, image, policy):
    pod = cluster.create(a_pod(containers=[{"name": "app", "image": image}]))
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


async def test_a_pod_may_go_without_a_token(cluster):
    pod = cluster.create(a_pod(automountServiceAccountToken=False))
    assert "volumes" not in pod["spec"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image"),
        ({"containers": [{"image": "a"}]}, "spec.containers[0].name"),
        (
            {"containers": [{"name": "a", "image": "a"}, {"name": "a", "image": "a"}]},
            "spec.containers[1].name",
        ),
        (
            {"containers": [{"name": "a", "image": "a", "volumeMounts": [{"name": "v"}]}]},
            "spec.containers[0].volumeMounts[0].name",
        ),
    ],
)
async def test_a_pod_that_cannot_be_is_refused(cluster, spec, field):
    status, body = await request(cluster, "POST", PODS, a_pod(**spec))
    assert (status, body["reason"]) == (422, "Invalid")
    assert body["details"]["causes"][0]["field"] == field


async def test_spec_and_status_are_written_apart(cluster):
    created = cluster.create(a_pod() | {"status": {"phase": "Running"}})
    assert created["status"]["phase"] == "Pending"
    body = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}}
    _, patched = await request(cluster, "PATCH", f"{PODS}/web", body, content_type=MERGE)
    assert (patched["metadata"]["labels"], patched["status"]["phase"]) == ({"a": "b"}, "Pending")
    body = {"spec": {"nodeName": "other"}, "status": {"phase": "Running"}}
    path = f"{PODS}/web/status"
    _, patched = await request(cluster, "PATCH", path, body, content_type=STRATEGIC)
    assert patched["status"]["phase"] == "Running"
    assert "nodeName" not in patched["spec"]
    assert patched["metadata"]["generation"] == 1


async def test_a_write_for_a_namesake_is_refused(cluster):
    pod = cluster.create(a_pod())
    body = {"metadata": {"uid": "other"}, "status": {"phase": "Running"}}
    path = f"{PODS}/web/status"
    status, answer = await request(cluster, "PATCH", path, body, content_type=STRATEGIC)
    assert (status, answer["reason"]) == (422, "Invalid")
    assert answer["details"]["causes"][0]["field"] == "metadata.uid"
    pod["metadata"]["uid"] = "other"
    status, answer = await request(cluster, "PUT", path, pod)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert cluster.get("pods", "web")["status"]["phase"] == "Pending"


async def test_a_pods_spec_hardly_changes(cluster):
    cluster.create(a_pod())
    image = {"spec": {"containers": [{"name": "app", "image": "nginx:2"}]}}
    status, patched = await request(cluster, "PATCH", f"{PODS}/web", image, content_type=STRATEGIC)
    assert (status, patched["metadata"]["generation"]) == (200, 2)
    moved = {"spec": {"nodeName": "elsewhere"}}
    status, answer = await request(cluster, "PATCH", f"{PODS}/web", moved, content_type=STRATEGIC)
    assert (status, answer["reason"]) == (422, "Invalid")


async def test_a_container_that_ended_for_good_does_not_come_back(cluster):
    cluster.create(a_pod(restartPolicy="Never", nodeName="node-1"))

    async def report(state):
        statuses = [{"name": "app", "state": state}]
        body = {"status": {"containerStatuses": statuses}}
        path = f"{PODS}/web/status"
        return (await request(cluster, "PATCH", path, body, content_type=STRATEGIC))[0]

    assert await report({"running": {}}) == 200
    assert await report({"terminated": {"exitCode": 0}}) == 200
    assert await report({"running": {}}) == 422


async def test_the_older_form_of_a_pods_address_decides(cluster):
    cluster.create(a_pod(nodeName="node-1"))
    path = f"{PODS}/web/status"

    async def report(**status):
        body = {"status": status}
        return (await request(cluster, "PATCH", path, body, content_type=MERGE))[1]

    assert (await report(podIP="10.0.0.1"))["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert (await report(podIP="10.0.0.2"))["status"]["podIPs"] == [{"ip": "10.0.0.2"}]
    assert (await report(podIPs=[{"ip": "10.0.0.3"}]))["status"]["podIP"] == "10.0.0.2"
    only_new = {"podIP": None, "podIPs": [{"ip": "10.0.0.3"}]}
    assert (await report(**only_new))["status"]["podIP"] == "10.0.0.3"
    assert (await report(podIP="nonsense", podIPs=None))["code"] == 422
    assert (await report(hostIP="10.1.0.1"))["status"]["hostIP"] == "10.1.0.1"
    assert (await report(hostIPs=[{"ip": "10.1.0.2"}]))["code"] == 422


async def test_an_update_from_a_stale_copy_conflicts(cluster):
    stale = cluster.create(a_deployment())
    fresh = {**stale, "spec": {**stale["spec"], "replicas": 2}}
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    status, updated = await request(cluster, "PUT", path, fresh)
    assert (status, updated["metadata"]["generation"]) == (200, 2)
    status, body = await request(cluster, "PUT", path, fresh)
    assert (status, body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in body["message"]


async def test_a_write_that_changes_nothing_is_none(cluster):
    pod = cluster.create(a_pod())
    version = cluster.storage.version
    status, same = await request(cluster, "PUT", f"{PODS}/web", pod)
    assert (status, same, cluster.storage.version) == (200, pod, version)
    patch = {"metadata": {"labels": None}}
    await request(cluster, "PATCH", f"{PODS}/web", patch, content_type=MERGE)
    assert cluster.storage.version == version


async def test_a_dry_run_answers_and_leaves_no_trace(cluster):
    cluster.create(a_pod("kept"))
    version = cluster.storage.version
    status, body = await request(cluster, "POST", PODS, a_pod(), dryRun="All")
    assert (status, body["metadata"]["name"]) == (201, "web")
    patch = {"metadata": {"labels": {"a": "b"}}}
    _, body = await request(
        cluster, "PATCH", f"{PODS}/kept", patch, content_type=MERGE, dryRun="All"
    )
    assert body["metadata"]["labels"] == {"a": "b"}
    status, _ = await request(cluster, "DELETE", f"{PODS}/kept", dryRun="All")
    assert (status, cluster.storage.version) == (200, version)


async def test_apply_creates_and_then_merges(cluster):
    apply = "application/apply-patch+yaml"
    status, _ = await request(cluster, "PATCH", f"{PODS}/web", a_pod(), content_type=apply)
    assert status == 201
    changed = a_pod(containers=[{"name": "app", "image": "nginx:2"}])
    status, pod = await request(cluster, "PATCH", f"{PODS}/web", changed, content_type=apply)
    assert (status, pod["spec"]["containers"][0]["image"]) == (200, "nginx:2")


async def test_pages_show_one_moment(cluster):
    for name in "abcde":
        cluster.create(a_pod(name))
    _, first = await request(cluster, "GET", PODS, limit="2")
    assert first["metadata"]["remainingItemCount"] == 3
    cluster.delete(a_pod("d"))
    cluster.create(a_pod("c2"))
    more = first["metadata"]["continue"]
    _, second = await request(cluster, "GET", PODS, **{"limit": "2", "continue": more})
    more = second["metadata"]["continue"]
    _, third = await request(cluster, "GET", PODS, **{"limit": "2", "continue": more})
    pages = [[pod["metadata"]["name"] for pod in page["items"]] for page in (first, second, third)]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1
    cluster.expire_history()
    status, body = await request(cluster, "GET", PODS, **{"limit": "2", "continue": more})
    assert (status, body["reason"]) == (410, "Expired")


async def test_lists_by_version(cluster):
    cluster.create(a_pod("a"))
    version = str(cluster.storage.version)
    cluster.create(a_pod("b"))

    async def names(**query):
        status, body = await request(cluster, "GET", PODS, **query)
        return [pod["metadata"]["name"] for pod in body["items"]] if status == 200 else status

    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    fresh = {"resourceVersion": version, "resourceVersionMatch": "NotOlderThan"}
    assert await names(**exact) == ["a"]
    assert await names(**fresh) == ["a", "b"]
    assert await names(resourceVersion=version) == ["a", "b"]
    assert await names(resourceVersion=version, limit="5") == ["a"]
    assert await names(resourceVersion="0", limit="1") == ["a", "b"]
    assert await names(resourceVersionMatch="Exact") == 422
    assert await names(resourceVersion="x") == 400
    assert await names(limit="x") == 400


async def test_selected_objects_are_deleted_together(cluster):
    for name in ("a", "b", "c"):
        pod = a_pod(name)
        pod["metadata"]["labels"] = {"keep": str(name == "c").lower()}
        cluster.create(pod)
    status, _ = await request(cluster, "DELETE", PODS, labelSelector="keep!%3Dtrue")
    assert status == 200
    assert [pod["metadata"]["name"] for pod in cluster.objects("pods")] == ["c"]


async def test_scale(cluster):
    cluster.create(a_deployment(replicas=3))
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    _, scale = await request(cluster, "GET", path)
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    await request(cluster, "PATCH", path, {"spec": {"replicas": 5}}, content_type=MERGE)
    assert cluster.get("deployments", "web")["spec"]["replicas"] == 5
    status, _ = await request(cluster, "PUT", path, scale)
    assert status == 409
    scale["metadata"].pop("resourceVersion")
    _, scale = await request(cluster, "PUT", path, {**scale, "spec": {"replicas": 1}})
    assert scale["spec"] == {"replicas": 1}
    assert cluster.get("deployments", "web")["metadata"]["generation"] == 3


async def test_a_pod_is_bound_once(cluster):
    cluster.create(a_pod())
    path, body = f"{PODS}/web/binding", {"target": {"kind": "Node", "name": "node-1"}}
    assert (await request(cluster, "POST", path, body))[0] == 201
    status, answer = await request(cluster, "POST", path, body)
    assert (status, answer["reason"]) == (409, "Conflict")
    pod = cluster.get("pods", "web")
    assert (pod["spec"]["nodeName"], pod["metadata"]["generation"]) == ("node-1", 1)
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"


async def test_an_eviction_deletes_gracefully_and_says_why(cluster):
    cluster.create(a_pod(nodeName="node-1"))
    body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "web"}}
    assert (await request(cluster, "POST", f"{PODS}/web/eviction", body))[0] == 201
    pod = cluster.get("pods", "web")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert pod["status"]["conditions"][0]["type"] == "DisruptionTarget"


async def test_a_nodes_first_status_is_kept(cluster):
    status, node = await request(cluster, "POST", "/api/v1/nodes", a_node())
    assert status == 201
    assert node["status"]["conditions"][0]["type"] == "Ready"
    assert node["status"]["allocatable"] == {"pods": "110"}
    assert "generation" not in node["metadata"]


async def test_a_lease_is_put_with_its_version_and_micro_times(cluster):
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "node-1"},
        "spec": {"holderIdentity": "node-1", "renewTime": "2026-07-01T12:00:00.123456Z"},
    }
    status, created = await request(cluster, "PUT", f"{LEASES}/node-1", lease)
    assert status == 201
    assert (await request(cluster, "PUT", f"{LEASES}/node-1", lease))[0] == 422
    assert (await request(cluster, "PUT", f"{LEASES}/node-1", created))[0] == 200
    created["spec"]["renewTime"] = "2026-07-01T12:00:00Z"
    assert (await request(cluster, "PUT", f"{LEASES}/node-1", created))[0] == 400


async def test_an_event_lives_in_the_namespace_of_what_it_is_about(cluster):
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}}
    path = "/api/v1/namespaces/{}/events"
    assert (await request(cluster, "POST", path.format("default"), event))[0] == 201
    assert (await request(cluster, "POST", path.format("kube-system"), event))[0] == 422
    event = {"metadata": {"name": "n"}, "involvedObject": {"kind": "Node", "name": "node-1"}}
    assert (await request(cluster, "POST", path.format("default"), event))[0] == 201


async def test_services_get_addresses_of_their_own(cluster):
    def service(name, **spec):
        ports = [{"port": 80}]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"ports": ports, **spec},
        }

    one = cluster.create(service("one"))["spec"]
    two = cluster.create(service("two", type="LoadBalancer"))["spec"]
    headless = cluster.create(service("three", clusterIP="None"))["spec"]
    assert one["clusterIP"] != two["clusterIP"]
    assert one["clusterIPs"] == [one["clusterIP"]]
    assert one["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert 30000 <= two["ports"][0]["nodePort"] <= 32767
    assert headless["clusterIPs"] == ["None"]
    moved = {"spec": {"clusterIP": "10.96.3.3"}}
    path = "/api/v1/namespaces/default/services/one"
    assert (await request(cluster, "PATCH", path, moved, content_type=MERGE))[0] == 422


@pytest.mark.parametrize("expandable", [True, False])
async def test_a_claim_is_immutable_but_for_its_size_where_its_class_lets_it_grow(
    cluster, expandable
):
    cluster.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "growing"},
            "provisioner": "volumes.test",
            "allowVolumeExpansion": expandable,
        }
    )
    cluster.create(a_claim(volumeName="volume-1", storageClassName="growing"))
    path = "/api/v1/namespaces/default/persistentvolumeclaims/data"
    larger = {"spec": {"resources": {"requests": {"storage": "20Mi"}}}}
    other = {"spec": {"storageClassName": "slow"}}
    status = 200 if expandable else 403
    assert (await request(cluster, "PATCH", path, larger, content_type=MERGE))[0] == status
    assert (await request(cluster, "PATCH", path, other, content_type=MERGE))[0] == 422


async def test_a_claim_does_not_shrink_below_what_it_has(cluster):
    cluster.create(a_claim(volumeName="volume-1"))
    path = "/api/v1/namespaces/default/persistentvolumeclaims/data"
    has = {"status": {"phase": "Bound", "capacity": {"storage": "8Mi"}}}
    assert (await request(cluster, "PATCH", f"{path}/status", has, content_type=MERGE))[0] == 200
    for size, status in (("9Mi", 200), ("8Mi", 422)):
        smaller = {"spec": {"resources": {"requests": {"storage": size}}}}
        assert (await request(cluster, "PATCH", path, smaller, content_type=MERGE))[0] == status


async def test_text_of_a_secret_becomes_data(cluster):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    created = cluster.create({**secret, "stringData": {"key": "value"}})
    assert created["data"] == {"key": "dmFsdWU="}
    assert created["type"] == "Opaque"
    assert "stringData" not in created


async def test_every_namespace_has_what_pods_need():
    cluster = KubernetesSimulator()
    cluster.publish_root_certificate("PEM")
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
    for namespace in ("default", "new"):
        assert cluster.get("serviceaccounts", "default", namespace)
        certificate = cluster.get("configmaps", "kube-root-ca.crt", namespace)
        assert certificate["data"] == {"ca.crt": "PEM"}


async def test_a_wrong_token_is_refused():
    cluster = KubernetesSimulator(token="right")

    async def status(**headers):
        answer = await cluster.handle(Request(method="GET", path="/api/v1/pods", headers=headers))
        return answer.status

    assert await status() == 401
    assert await status(authorization="Bearer wrong") == 401
    assert await status(authorization="Bearer right") == 200


async def test_tokens_of_service_accounts_are_good_and_known():
    cluster = KubernetesSimulator(token="right")
    headers = {"authorization": "Bearer right", "content-type": "application/json"}

    async def post(path, body):
        answer = await cluster.handle(
            Request(method="POST", path=path, headers=headers, body=orjson.dumps(body))
        )
        return orjson.loads(answer.body)["status"]

    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    issued = await post(path, {"spec": {"expirationSeconds": 600}})
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    known = await post(reviews, {"spec": {"token": issued["token"]}})
    assert known["user"]["username"] == "system:serviceaccount:default:default"
    assert await post(reviews, {"spec": {"token": "other"}}) == {"authenticated": False}
    for_vault = (await post(path, {"spec": {"audiences": ["vault"]}}))["token"]
    assert await post(reviews, {"spec": {"token": for_vault}}) == {"authenticated": False}
    asked_by_vault = await post(reviews, {"spec": {"token": for_vault, "audiences": ["vault"]}})
    assert asked_by_vault["authenticated"]
    answer = await cluster.handle(
        Request(
            method="GET",
            path="/api/v1/pods",
            headers={"authorization": f"Bearer {issued['token']}"},
        )
    )
    assert answer.status == 200


async def test_everything_served_is_discovered(cluster):
    _, groups = await request(cluster, "GET", "/apis")
    paths = ["/api/v1"] + [
        f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups["groups"]
    ]
    for path in paths:
        _, listing = await request(cluster, "GET", path)
        for resource in listing["resources"]:
            if "list" in resource["verbs"]:
                status, body = await request(cluster, "GET", f"{path}/{resource['name']}")
                assert (status, body["kind"]) == (200, f"{resource['kind']}List")
