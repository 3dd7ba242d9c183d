"""What a user of the official SDK does with each kind of resource."""

from contextlib import aclosing

import anyio
import attrs
import pytest
import trustme
from unikraft_cloud import UnikraftCloudError
from unikraft_cloud.api.platform import models
from unikraft_cloud.api.plugins.sandbox import models as sandbox
from unikraft_cloud.core.errors import UnikraftCloudWarning

NEVER_SEEN = {
    # Autoscale is not enabled for the account.
    "CreateAutoscaleConfigurationPolicyResponsePolicy.name",
    "CreateAutoscaleConfigurationPolicyResponsePolicy.uuid",
    "DeleteAutoscaleConfigurationPolicyResponsePoliciesResponse.name",
    "GetAutoscaleConfigurationPolicyResponsePolicyResponse.policy",
    "GetAutoscaleConfigurationsResponseServiceGroup.cooldown_time_ms",
    "GetAutoscaleConfigurationsResponseServiceGroup.enabled",
    "GetAutoscaleConfigurationsResponseServiceGroup.max_size",
    "GetAutoscaleConfigurationsResponseServiceGroup.min_size",
    "GetAutoscaleConfigurationsResponseServiceGroup.policies",
    "GetAutoscaleConfigurationsResponseServiceGroup.template",
    "GetAutoscaleConfigurationsResponseServiceGroup.warmup_time_ms",
    # Neither are full virtual machines, priorities, interfaces of one's own, UDP and
    # managed volumes; and it is no administrator.
    "HealthzResponseData.license",
    "Instance.gpus",
    "Instance.sched_priority",
    "InstanceNetworkInterface.relay",
    "InstanceNetworkInterface.tap_name",
    "Service.ip",
    "Volume.gid",
    "Volume.host_path",
    "Volume.uid",
    # Told to slow readers only, which the tests of the stream are.
    "AuditEvent.dropped",
}
"""What the simulated cloud has no occasion to show."""

STORIES = []


@attrs.frozen
class Story:
    """A coroutine function of a strict SDK, and the cloud it needs."""

    tell: object
    processes: bool
    """Whether instances are to be real processes."""
    streams: bool
    """Whether it listens to the audit stream: the SDK leaves the generators below its own open,
    which Trio reports."""
    settings: dict

    @property
    def __name__(self):
        return self.tell.__name__

    async def __call__(self, sdk):
        await self.tell(sdk)


def story(*, processes=False, streams=False, **settings):
    def add(tell):
        STORIES.append(Story(tell, processes, streams, settings))
        return tell

    return add


def only(response, key):
    """The one item of an answer, which succeeded."""
    [item] = getattr(response.data, key)
    assert item.status == "success", item
    return item


async def created(sdk, image="app", **members):
    body = models.CreateInstanceRequest(image=image, **members)
    return only(await sdk.platform.instances.create_instance(body=body), "instances")


def named(name, **members):
    return {"name": name, **members}


@story()
async def instances_are_made_run_and_deleted(sdk):
    api = sdk.platform.instances
    web = await created(
        sdk,
        name="web",
        args=["/srv"],
        env={"MODE": "prod"},
        autostart=True,
        timeout_s=10,
        tags=["a", "b"],
        annotations={"example.com/owner": "team"},
        features=["delete-on-stop"],
        service_group={"services": [{"port": 443, "destination_port": 8080}]},
        volumes=[{"name": "data", "at": "/data", "size_mb": 10}],
        roms=[
            {"name": "cfg", "at": "/etc/web", "files": [{"path": "a", "data": "x"}]},
            {"name": "code", "at": "/code", "image": "rom:1"},
        ],
        plugins=[{"name": "sandbox", "image": "plugins/sandbox:latest", "config": {}}],
    )
    assert web.state == "running"
    read = only(await api.get_instance_by_uuid(web.uuid, details=True), "instances")
    assert (read.name, read.env) == ("web", {"MODE": "prod"})
    listed = await api.get_instances(details=False, count=10, tags=["a", "b"])
    assert [each.uuid for each in listed.data.instances] == [web.uuid]
    item = models.UpdateInstancesRequestItem(name="web", id="1", prop="env", op="set", value={})
    assert only(await api.update_instances(body=[item]), "instances").id == "1"
    body = models.UpdateInstanceByUUIDRequestBody(id="2", prop="tags", op="add", value=["c"])
    only(await api.update_instance_by_uuid(web.uuid, body=body), "instances")
    read = only(await api.get_instance_by_uuid(web.uuid, details=True), "instances")
    assert read.tags == ["a", "b", "c"]
    assert [update.prop for update in read.updates] == ["env"]
    only(await api.delete_instance_by_uuid(web.uuid), "instances")


@story()
async def instances_stop_wait_and_start(sdk):
    api = sdk.platform.instances
    await created(sdk, name="one", autostart=True, restart_policy="always")
    uuid = (await created(sdk, name="two")).uuid
    waits = [models.WaitInstancesRequestItem(name="one", state="running", timeout_s=10)]
    assert only(await api.wait_instances(body=waits), "instances").state == "running"
    starts = [models.StartInstancesRequestItem(name="two", timeout_s=10)]
    assert only(await api.start_instances(body=starts), "instances").previous_state == "stopped"
    body = models.StopInstanceByUUIDRequestBody(drain_timeout_ms=100)
    assert only(await api.stop_instance_by_uuid(uuid, body=body), "instances")
    wait = models.WaitInstanceByUUIDRequestBody(state="stopped", timeout_s=10)
    only(await api.wait_instance_by_uuid(uuid, body=wait), "instances")
    started = models.StartInstanceByUUIDRequestBody()
    only(await api.start_instance_by_uuid(uuid, body=started), "instances")
    only(
        await api.wait_instance_by_uuid(
            uuid, body=models.WaitInstanceByUUIDRequestBody(state="running", timeout_s=10)
        ),
        "instances",
    )
    only(
        await api.suspend_instance_by_uuid(uuid, body=models.SuspendInstanceByUUIDRequestBody()),
        "instances",
    )
    only(
        await api.wait_instance_by_uuid(
            uuid, body=models.WaitInstanceByUUIDRequestBody(state="standby", timeout_s=10)
        ),
        "instances",
    )
    suspends = [models.SuspendInstancesRequestItem(name="one", drain_timeout_ms=10)]
    only(await api.suspend_instances(body=suspends), "instances")
    stops = [models.StopInstancesRequestItem(name="one", force=True)]
    only(await api.stop_instances(body=stops), "instances")
    lapsed = await api.wait_instance_by_uuid(
        uuid, body=models.WaitInstanceByUUIDRequestBody(state="running", timeout_s=0)
    )
    assert (lapsed.status, lapsed.message) == ("error", "Operation timed out")
    deletes = [models.DeleteInstanceRequestItem(name=name) for name in ("one", "two", "three")]
    deleted = await api.delete_instances(body=deletes)
    assert [each.status for each in deleted.data.instances] == ["success", "success", "error"]
    assert deleted.status == "partial_success"
    assert deleted.data.instances[2].error == 8


@story()
async def instances_end_and_restart_by_themselves(sdk):
    api = sdk.platform.instances
    job = await created(sdk, "job", name="job", autostart=True)
    only(
        await api.wait_instance_by_uuid(
            job.uuid, body=models.WaitInstanceByUUIDRequestBody(state="stopped", timeout_s=10)
        ),
        "instances",
    )
    read = only(await api.get_instance_by_uuid(job.uuid, details=True), "instances")
    assert (read.stop_reason, read.exit_code) == (3, 7)
    logs = [models.GetInstancesLogsRequestItem(name="job", offset=0, limit=100)]
    logged = only(await api.get_instance_logs(body=logs), "instances")
    assert (logged.available.end, logged.range.end) == (8, 8)
    body = models.GetInstanceLogsByUUIDRequestBody(offset=-2)
    only(await api.get_instance_logs_by_uuid(job.uuid, body=body), "instances")
    only(await api.get_instance_metrics(name=["job"]), "instances")
    only(await api.get_instance_metrics_by_uuid(job.uuid), "instances")
    flaky = await created(sdk, "job", name="flaky", autostart=True, restart_policy="always")
    read = flaky
    while not (read.restart_count and read.restart):
        await anyio.sleep(0.01)
        read = only(await api.get_instance_by_uuid(flaky.uuid, details=True), "instances")
    assert read.restart.attempt == 2
    only(await api.get_instance_metrics_by_uuid(flaky.uuid), "instances")
    failed = await api.create_instance(
        body=models.CreateInstanceRequest(image="unpullable", autostart=True, timeout_s=10)
    )
    assert failed.data.instances[0].state == "stopped"
    again = await api.create_instance(body=models.CreateInstanceRequest(image="a", name="job"))
    assert again.data.instances[0].error == 23


@story()
async def service_groups_are_made_changed_and_deleted(sdk):
    api = sdk.platform.services
    body = models.CreateServiceGroupRequest(
        name="web",
        services=[{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
        domains=[{"name": "shop"}],
        soft_limit=2,
        hard_limit=10,
    )
    group = only(await api.create_service_group(body=body), "service_groups")
    await created(sdk, name="member", service_group={"name": "web"})
    read = only(await api.get_service_group_by_uuid(group.uuid, details=True), "service_groups")
    assert [each.fqdn for each in read.domains] == ["shop.sim.unikraft.app"]
    assert [each.name for each in read.instances] == ["member"]
    item = models.UpdateServiceGroupsRequestItem(name="web", id="1", prop="soft_limit", op="set")
    only(await api.update_service_groups(body=[item]), "service_groups")
    change = models.UpdateServiceGroupByUUIDRequestBody(
        id="2", prop="services", op="add", value={"port": 80}
    )
    only(await api.update_service_group_by_uuid(group.uuid, body=change), "service_groups")
    listed = await api.get_service_groups(details=True, name=["web", "gone"])
    assert [each.error for each in listed.data.service_groups] == [None, 8]
    refused = await api.delete_service_group_by_uuid(group.uuid)
    assert refused.data.service_groups[0].status == "error"
    only(
        await sdk.platform.instances.delete_instances(
            body=[models.DeleteInstanceRequestItem(name="member", dont_retain=True)]
        ),
        "instances",
    )
    only(await api.delete_service_groups(body=[models.NameOrUUID(name="web")]), "service_groups")


@story()
async def volumes_are_made_attached_and_deleted(sdk):
    api = sdk.platform.volumes
    request = models.CreateVolumeRequest(name="data", size_mb=10, tags=["a"])
    data = only(await api.create_volume(body=request), "volumes")
    app = await created(sdk, name="app")
    attach = models.AttachVolumeByUUIDRequestBody(attach_to={"name": "app"}, at="/data")
    only(await api.attach_volume_by_uuid(data.uuid, body=attach), "volumes")
    start = models.StartInstanceByUUIDRequestBody(timeout_s=10)
    only(await sdk.platform.instances.start_instance_by_uuid(app.uuid, body=start), "instances")
    read = only(await api.get_volume_by_uuid(data.uuid, details=True), "volumes")
    assert (read.state, read.mounted_by[0].name) == ("mounted", "app")
    stop = models.StopInstanceByUUIDRequestBody(force=True)
    only(await sdk.platform.instances.stop_instance_by_uuid(app.uuid, body=stop), "instances")
    detach = models.DetachVolumesRequestItem(name="data")
    only(await api.detach_volumes(body=[detach]), "volumes")
    item = models.AttachVolumesRequestItem(name="data", attach_to={"uuid": app.uuid}, at="/d")
    only(await api.attach_volumes(body=[item]), "volumes")
    body = models.DetachVolumeByUUIDRequestBody(**{"from": {"name": "app"}})
    only(await api.detach_volume_by_uuid(data.uuid, body=body), "volumes")
    grow = models.UpdateVolumesRequestItem(name="data", id="1", prop="size_mb", op="set", value=20)
    only(await api.update_volumes(body=[grow]), "volumes")
    tag = models.UpdateVolumeByUUIDRequestBody(id="2", prop="tags", op="set", value=["b"])
    only(await api.update_volume_by_uuid(data.uuid, body=tag), "volumes")
    [listed] = (await api.get_volumes(details=True, tags=["b"])).data.volumes
    assert (listed.size_mb, listed.state) == (20, "available")
    only(await api.delete_volume_by_uuid(data.uuid), "volumes")
    gone = await api.delete_volumes(body=[models.NameOrUUID(name="data")])
    assert gone.data.volumes[0].error == 8


@story()
async def the_account_and_the_node_are_read(sdk):
    await created(sdk, "app:1", autostart=True)
    quotas = only(await sdk.platform.users.get_user(), "quotas")
    assert quotas.used.live_instances == 1
    only(await sdk.platform.users.get_user_by_uuid(quotas.uuid), "quotas")
    health = await sdk.platform.node.healthz()
    assert health.data.checks["images"] == "healthy"
    [image] = (await sdk.platform.images.get_images(tag="1")).data.images
    [stored] = (await sdk.platform.images.get_image_store()).data.images
    assert image == stored


def state_of(name, state):
    return models.WaitInstancesRequestItem(name=name, state=state, timeout_s=10)


@story(checkpoint_seconds=0.01, prepare_seconds=0.01)
async def instances_are_saved_and_made_from_others(sdk):
    api = sdk.platform.instances
    await created(
        sdk,
        name="source",
        autostart=True,
        timeout_s=10,
        volumes=[{"name": "data", "at": "/data", "size_mb": 10}],
    )
    item = models.CreateCheckpointInstancesRequestItem(
        **{"from": {"name": "source"}},
        name="saved",
        timeout_s=10,
        tags=["a"],
        autokill={"time_ms": 600_000},
    )
    saved = only(await api.create_checkpoint_instances(body=[item]), "instances")
    assert saved.state == "checkpoint"
    only(await api.get_checkpoint_instance_by_uuid(saved.uuid, details=True), "instances")
    [listed] = (await api.get_checkpoint_instances(details=True, tags=["a"])).data.instances
    assert listed.checkpoint_autokill.time_ms == 600_000
    update = models.UpdateCheckpointInstanceByUUIDRequestBody(id="1", prop="tags", op="set")
    only(await api.update_checkpoint_instance_by_uuid(saved.uuid, body=update), "instances")
    items = [
        models.UpdateCheckpointInstancesRequestItem(
            name="saved", id="2", prop="delete_lock", op="set", value=False
        )
    ]
    only(await api.update_checkpoint_instances(body=items), "instances")
    await api.create_instance(body=models.CreateInstanceRequest(checkpoint={"name": "saved"}))
    await api.create_instance(body=models.CreateInstanceRequest(branch_from={"name": "source"}))
    history = only(await api.get_instance_history(name=["source"]), "instances")
    assert [each.name for each in history.history] == ["saved"]
    only(await api.get_instance_history_by_uuid(history.uuid), "instances")
    only(await api.get_checkpoint_history(name=["saved"]), "instances")
    only(await api.get_checkpoint_history_by_uuid(saved.uuid), "instances")
    item = models.CreateTemplateInstancesRequestItem(
        name="source", timeout_s=-1, autokill={"time_ms": 600_000}
    )
    template = only(await api.create_template_instances(body=[item]), "instances")
    only(await api.get_template_instance_by_uuid(template.uuid, details=True), "instances")
    [listed] = (await api.get_template_instances(details=True)).data.instances
    assert (listed.state, listed.template_autokill.time_ms) == ("template", 600_000)
    update = models.UpdateTemplateInstanceByUUIDRequestBody(
        id="3", prop="tags", op="set", value=["b"]
    )
    only(await api.update_template_instance_by_uuid(template.uuid, body=update), "instances")
    items = [models.UpdateTemplateInstancesRequestItem(name="source", prop="autokill", op="set")]
    only(await api.update_template_instances(body=items), "instances")
    clone = {"name": "prepared", "prepare": True, "create_args": models.Instance(image="app")}
    body = models.CreateInstanceRequest(template=clone, autostart=True, timeout_s=10)
    made = only(await api.create_instance(body=body), "instances")
    assert made.state == "running"
    names = [each.name for each in (await api.get_template_instances()).data.instances]
    assert names == ["source", "prepared"]
    only(await api.delete_template_instance_by_uuid(template.uuid), "instances")
    gone = [models.NameOrUUID(name="prepared"), models.NameOrUUID(name="none")]
    deleted = await api.delete_template_instances(body=gone)
    assert [each.error for each in deleted.data.instances] == [None, 8]
    only(await api.delete_checkpoint_instance_by_uuid(saved.uuid), "instances")
    gone = await api.delete_checkpoint_instances(body=[models.NameOrUUID(name="saved")])
    assert gone.data.instances[0].error == 8


@story(retention_seconds=60)
async def instances_carry_what_they_are_told(sdk):
    api = sdk.platform.instances
    await created(sdk, name="first")
    made = await created(
        sdk,
        name="second",
        gateway="10.0.0.1",
        nameserver="10.0.0.2",
        dependencies=[{"name": "first"}],
        autokill={"time_ms": 600_000, "num_requests": 100},
        schedules=[
            {"name": "nightly", "when": "*-*-* 02:00:00", "action": "stop"},
            {"name": "hourly", "when": "*:00", "action": "exec", "args": ["date"]},
        ],
        service_group={"services": [{"port": 443}], "domains": [{"name": "www.example.com."}]},
        scale_to_zero={"policy": "on", "stateful": True, "cooldown_time_ms": 600_000},
        autostart=True,
        timeout_s=10,
    )
    old_fashioned = models.CreateInstanceRequest(image="app", wait_timeout_ms=0)
    with pytest.warns(UnikraftCloudWarning, match="deprecated"):
        await api.create_instance(body=old_fashioned)
    update = models.UpdateInstanceByUUIDRequestBody(prop="memory_mb", op="set", value=8000)
    only(await api.update_instance_by_uuid(made.uuid, body=update), "instances")
    only(await api.get_instance_by_uuid(made.uuid, details=True), "instances")
    only(
        await api.suspend_instance_by_uuid(
            made.uuid, body=models.SuspendInstanceByUUIDRequestBody()
        ),
        "instances",
    )
    only(await api.wait_instances(body=[state_of("second", "standby")]), "instances")
    read = only(await api.get_instance_by_uuid(made.uuid, details=True), "instances")
    assert (read.snapshot is not None, read.services) == (True, ["tcp:443"])
    only(await api.delete_instance_by_uuid(made.uuid), "instances")
    read = only(await api.get_instance_by_uuid(made.uuid, details=True), "instances")
    assert (read.state, read.retained_until is not None) == ("deleted", True)


@story(certificate_seconds=600)
async def certificates_are_uploaded_used_and_deleted(sdk):
    api = sdk.platform.certificates
    first, second = pem("www.example.com"), pem("www.example.com")
    body = models.CreateCertificateRequest(name="web", common_name="www.example.com.", **first)
    web = only(await api.create_certificate(body=body), "certificates")
    assert web.state == "valid"
    renewal = models.UpdateCertificateByUUIDRequestBody(**second)
    only(await api.update_certificate_by_uuid(web.uuid, body=renewal), "certificates")
    item = models.UpdateCertificatesRequestItem(name="web", **first)
    only(await api.update_certificates(body=[item]), "certificates")
    domains = [
        {"name": "www.example.com.", "certificate": {"name": "web"}},
        {"name": "shop.example.com."},
    ]
    body = models.CreateServiceGroupRequest(
        services=[{"port": 443}], domains=domains, autokill={"time_ms": 600_000}
    )
    group = only(await sdk.platform.services.create_service_group(body=body), "service_groups")
    await created(sdk, service_group={"uuid": group.uuid})
    only(await sdk.platform.instances.get_instances(details=True), "instances")
    only(
        await sdk.platform.services.get_service_group_by_uuid(group.uuid, details=True),
        "service_groups",
    )
    listed = (await api.get_certificates(details=True)).data.certificates
    assert [each.state for each in listed] == ["valid", "pending"]
    only(await api.get_certificate_by_uuid(web.uuid), "certificates")
    used = await api.delete_certificates(body=[models.NameOrUUID(name="web")])
    assert used.data.certificates[0].error == 15
    missing = await api.delete_certificate_by_uuid("00000000-0000-4000-8000-000000000000")
    assert missing.data.certificates[0].error == 8
    body = models.CreateCertificateRequest(name="spare", common_name="www.example.com.", **first)
    spare = only(await api.create_certificate(body=body), "certificates")
    only(await api.delete_certificate_by_uuid(spare.uuid), "certificates")


def pem(common_name):
    """A certificate and its key."""
    leaf = trustme.CA().issue_cert(common_name, common_name=common_name)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems).decode()
    return {"chain": chain, "pkey": leaf.private_key_pem.bytes().decode()}


@story()
async def volumes_are_cloned_and_made_templates(sdk):
    api = sdk.platform.volumes
    request = models.CreateVolumeRequest(name="seed", size_mb=10, args={"label": "x"})
    seed = only(await api.create_volume(body=request), "volumes")
    body = models.CloneVolumeByUUIDRequestBody(vol_name="copy", tags=["c"])
    only(await api.clone_volume_by_uuid(seed.uuid, body=body), "volumes")
    items = [models.CloneVolumesRequestItem(name="copy"), models.CloneVolumesRequestItem(name="x")]
    cloned = await api.clone_volumes(body=items)
    assert [each.error for each in cloned.data.volumes] == [None, 8]
    only(await api.get_volume_by_uuid(seed.uuid, details=True), "volumes")
    made = only(await api.create_template_volume(body=[models.NameOrUUID(name="seed")]), "volumes")
    assert made.state == "template"
    only(await api.get_template_volume_by_uuid(seed.uuid, details=True), "volumes")
    only(await api.get_template_volumes(details=True, name=["seed"]), "volumes")
    item = models.UpdateTemplateVolumesRequestItem(name="seed", id="1", prop="tags", op="set")
    only(await api.update_template_volumes(body=[item]), "volumes")
    change = models.UpdateTemplateVolumeByUUIDRequestBody(
        id="2", prop="delete_lock", op="set", value=False
    )
    only(await api.update_template_volume_by_uuid(seed.uuid, body=change), "volumes")
    only(
        await api.create_volume(body=models.CreateVolumeRequest(template={"name": "seed"})),
        "volumes",
    )
    only(await api.delete_template_volume_by_uuid(seed.uuid), "volumes")
    gone = await api.delete_template_volumes(body=[models.NameOrUUID(name="seed")])
    assert gone.data.volumes[0].error == 8


@story()
async def images_are_pinned(sdk):
    api = sdk.platform.images
    items = [
        models.PinImageRequestItem(url="oci://registry/app:1", timeout_s=-1),
        models.PinImageRequestItem(url="unpullable", timeout_s=5, autokill={"time_ms": 1}),
    ]
    pinned = await api.pin_images(body=items)
    assert [each.status for each in pinned.data.images] == ["success", "error"]
    [image] = (await api.get_images(tag="1")).data.images
    assert (image.persistent, image.url.partition("@")[0]) == (True, "registry/app")
    item = models.UnpinImageRequestItem(uuid=pinned.data.images[0].uuid)
    only(await api.unpin_images(body=[item]), "images")
    again = await api.unpin_images(body=[item])
    assert again.data.images[0].error == 8


@story()
async def autoscale_is_refused(sdk):
    api = sdk.platform.autoscale
    body = models.CreateServiceGroupRequest(name="web", services=[{"port": 443}])
    group = only(await sdk.platform.services.create_service_group(body=body), "service_groups")
    config = models.CreateAutoscaleConfigurationByServiceGroupUUIDRequest(
        uuid=group.uuid, create_args={"template": {"name": "t"}}
    )
    item = models.CreateAutoscaleConfigurationsRequestConfiguration(name="web", create_args={})
    policy = models.CreateAutoscaleConfigurationPolicyRequest(
        name="p", type={"name": "p", "metric": "cpu"}
    )
    gone = models.DeletePolicyRequest(name="p")
    by_name = models.GetAutoscaleConfigurationPolicyRequest(name="p")
    uuid = group.uuid
    for answer, key in (
        (
            await api.create_autoscale_configuration_by_service_group_uuid(uuid, body=config),
            "service_groups",
        ),
        (await api.create_autoscale_configurations(body=[item]), "service_groups"),
        (await api.get_autoscale_configurations(name=["web"]), "service_groups"),
        (
            await api.get_autoscale_configurations_by_service_group_uuid(uuid),
            "service_groups",
        ),
        (
            await api.delete_autoscale_configurations(body=[models.NameOrUUID(name="web")]),
            "service_groups",
        ),
        (
            await api.delete_autoscale_configurations_by_service_group_uuid(uuid),
            "service_groups",
        ),
        (await api.create_autoscale_configuration_policy(uuid, body=policy), "policies"),
        (await api.get_autoscale_configuration_policies(uuid, body=by_name), "policies"),
        (await api.get_autoscale_configuration_policy_by_name(uuid, "p"), "policies"),
        (
            await api.delete_autoscale_configuration_policies(uuid, body=gone),
            "policies",
        ),
        (await api.delete_autoscale_configuration_policy_by_name(uuid, "p"), "policies"),
    ):
        [refused] = getattr(answer.data, key)
        assert (refused.error, refused.message) == (28, "Autoscale not enabled for your account")


@story(streams=True)
async def changes_are_heard(sdk):
    """The stream begins with its first event asked for, so things happen until one is heard."""
    api = sdk.platform.instances
    await created(sdk, name="heard", tags=["heard"], memory_mb=8192)
    for number in range(4):
        await created(sdk, name=f"other-{number}", memory_mb=8192)
    heard = []

    async def listen(finished):
        events = sdk.platform.audit.subscribe_audit_events(tags=["heard"])
        async with aclosing(events):
            async for event in events:
                heard.append(event)
                if event.data.stop is not None and event.data.stop.code is not None:
                    break
        finished.set()

    finished = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, finished)
        while not finished.is_set():
            await api.start_instances(body=[models.StartInstancesRequestItem(name="heard")])
            await api.wait_instances(body=[state_of("heard", "running")])
            stops = [models.StopInstancesRequestItem(name="heard")]
            await api.stop_instances(body=stops)
            await api.wait_instances(body=[state_of("heard", "stopped")])
    assert {event.type for event in heard} == {"vm.state_change"}


@story(streams=True)
async def refused_starts_are_heard(sdk):
    api = sdk.platform.instances
    for number in range(5):
        await created(sdk, name=f"one-{number}", memory_mb=8192, tags=["big"])
    starts = [models.StartInstancesRequestItem(name=f"one-{number}") for number in range(4)]
    await api.start_instances(body=starts)
    heard = []

    async def listen():
        events = sdk.platform.audit.subscribe_audit_events(events=["vm.start_failed"])
        async with aclosing(events):
            heard.append(await events.__anext__())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        while not heard:
            refused = await api.start_instances(
                body=[models.StartInstancesRequestItem(name="one-4")]
            )
            assert refused.data.instances[0].error == 19
            await anyio.sleep(0.01)
    assert heard[0].data.error == "EDQUOT"


@story(processes=True)
async def commands_run_and_files_are_kept(sdk):
    plugin = {"name": "sandbox", "image": "plugins/sandbox:latest", "config": {}}
    made = await created(sdk, "sleeper", plugins=[plugin], autostart=True, timeout_s=10)
    api = sdk.sandbox(made.uuid)
    run = sandbox.RunCommandRequest(cmd="cat; echo done >&2; exit 3", cwd="/", env={"A": "1"})
    uuid = (await api.commands.run_command(body=run)).data.uuid
    assert (await api.commands.list_commands()).data.commands == [uuid]
    running = await api.commands.get_command_by_uuid(uuid)
    assert (running.data.cmdline, running.data.exitcode) == (run.cmd, None)
    for data, eof in (("aGVs", False), ("bG8=", True)):
        body = sandbox.CommandStdinRequest(data=data, eof=eof)
        await api.commands.write_command_stdin(uuid, body=body)
    await api.commands.wait_for_command(uuid)
    logs = (await api.commands.get_command_logs(uuid)).data
    assert (logs.stdout, logs.stderr_available) == ("aGVsbG8=", 5)
    part = sandbox.CommandLogsRequest(stdout={"offset": 1, "limit": 2}, stderr={"offset": 0})
    assert (await api.commands.get_command_logs(uuid, body=part)).data.stdout == "ZWw="
    raw = await api.commands.get_raw_command_log(uuid, "stdout", range="bytes=1-2")
    assert (raw.status, raw.content) == (206, b"el")
    assert (await api.commands.get_command_by_uuid(uuid)).data.exitcode == 3
    await api.commands.delete_command_logs_by_uuid(uuid)
    await api.commands.delete_command_by_uuid(uuid)
    run = sandbox.RunCommandRequest(cmd=["sleep", "60"])
    uuid = (await api.commands.run_command(body=run)).data.uuid
    timeout = sandbox.CommandWaitTimeoutRequest(timeout_s=0.01)
    with pytest.raises(UnikraftCloudError) as lapsed:
        await api.commands.wait_for_command_with_timeout(uuid, body=timeout)
    assert lapsed.value.status == 408
    await api.commands.signal_command(uuid, body=sandbox.CommandSignalRequest(signal="INT"))
    timeout = sandbox.CommandWaitTimeoutRequest(timeout_s=10)
    await api.commands.wait_for_command_with_timeout(uuid, body=timeout)
    assert (await api.commands.get_command_by_uuid(uuid)).data.exitcode == -2
    await api.fs.create_directory(body=sandbox.MkdirRequest(path="/a/b", parents=True))
    write = {"path": "/a/b/c", "encoding": "utf-8", "data": "hel"}
    await api.fs.write_file(body=sandbox.WriteFileRequest(append=False, **write))
    await api.fs.write_file(body=sandbox.WriteFileRequest(append=True, **{**write, "data": "lo"}))
    path = sandbox.ReadFileRequest(path="/a/b/c")
    assert (await api.fs.read_file(body=path)).data.contents == "aGVsbG8="
    assert (await api.fs.read_raw_file(body=path)).content == b"hello"
    upload = {"path": "/a/b", "filename": "d", "parents": False}
    await api.fs.upload_file(
        body=sandbox.UploadFileRequest(encoding="base64", data="aGVsbG8=", **upload)
    )
    with pytest.raises(UnikraftCloudError) as unreadable:
        await api.fs.read_file(body=sandbox.ReadFileRequest(path="/none"))
    assert unreadable.value.status == 500
