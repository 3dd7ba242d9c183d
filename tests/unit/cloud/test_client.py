"""Calls of the client, over memory and over a real connection."""

import pytest

from kraftlet_trio.cloud.errors import (
    CloudRefused,
    CloudUnauthorized,
    CloudUnavailable,
    NameTaken,
    QuotaExceeded,
    ResourceBusy,
    ResourceNotFound,
)
from kraftlet_trio.cloud.objects import (
    DomainRequest,
    ImageRequest,
    InstanceRequest,
    Service,
    ServiceGroupRequest,
    VolumeRequest,
)
from kraftlet_trio.http.messages import Response, json_response
from tests.unit.cloud.platform import Recorder, failure, in_memory, mixed, over_http, success


@pytest.fixture(params=[in_memory, over_http], ids=["memory", "http"])
def connect(request):
    return request.param


async def test_create_sends_only_what_is_set_and_fills_in_what_the_answer_leaves_out(connect):
    platform = Recorder(success("instances", {"uuid": "u-1", "name": "web", "state": "starting"}))
    async with connect(platform) as client:
        created = await client.create_instance(
            InstanceRequest(
                name="web",
                image=ImageRequest(url="oci://r/web:1", credentials="s"),
                memory_mb=256,
                autostart=True,
                service_group=ServiceGroupRequest(name="sg"),
                tags=("k8s.io:uid=p1",),
            )
        )
    [sent] = platform.requests
    assert (sent.method, sent.path) == ("POST", "/v1/instances")
    assert sent.headers["authorization"] == "Bearer t0k"
    assert sent.json() == {
        "name": "web",
        "image": {"url": "oci://r/web:1", "credentials": "s"},
        "memory_mb": 256,
        "autostart": True,
        "service_group": {"name": "sg"},
        "tags": ["k8s.io:uid=p1"],
    }
    assert (created.uuid, created.state, created.memory_mb) == ("u-1", "starting", 256)
    assert created.image == "oci://r/web:1"
    assert created.tags == ("k8s.io:uid=p1",)
    assert created.service_group.name == "sg"


@pytest.mark.parametrize(
    ("error", "message", "raised"),
    [
        (8, "No volume with name 'v'", ResourceNotFound),
        (23, "already exists", NameTaken),
        (19, "Failed to create. Quota exceeded", QuotaExceeded),
        (7, "Unknown member 'x'", CloudRefused),
        (0, "Unknown error -5", CloudRefused),
        (99, "something new", CloudRefused),
    ],
)
async def test_failed_item_of_a_200_becomes_its_error(connect, error, message, raised):
    platform = Recorder(failure("instances", error=error, message=message))
    async with connect(platform) as client:
        with pytest.raises(raised) as caught:
            await client.create_instance(InstanceRequest(name="web", image="i"))
    assert type(caught.value) is raised
    assert message in str(caught.value)
    assert "web" in str(caught.value)
    assert caught.value.code == error
    assert len(platform.requests) == 1


async def test_create_is_not_repeated_when_the_outcome_is_unknown(connect):
    platform = Recorder(Response(status=502, body=b"<html>Bad gateway</html>"))
    async with connect(platform) as client:
        with pytest.raises(CloudUnavailable):
            await client.create_volume(VolumeRequest(name="v", size_mb=8))
    assert len(platform.requests) == 1


async def test_token_never_shows_in_errors_or_reprs(connect):
    platform = Recorder(json_response({"status": "error", "message": "no"}, 401))
    async with connect(platform, token=lambda: "sekret") as client:
        with pytest.raises(CloudUnauthorized) as caught:
            await client.quotas()
    assert "sekret" not in repr(caught.value)


async def test_replaced_token_is_used_after_a_401(connect):
    tokens = iter(["old", "new", "new"])

    def script(request):
        if request.headers["authorization"] == "Bearer new":
            return success("quotas", {"hard": {"live_vcpus": 4}})
        return json_response({"status": "error", "message": "Invalid token"}, 401)

    async with connect(Recorder(script=script), token=lambda: next(tokens)) as client:
        assert (await client.quotas()).hard.live_vcpus == 4


async def test_reads_skip_what_does_not_exist_and_raise_for_what_fails(connect):
    found = {"uuid": "u-1", "name": "a", "state": "running", "status": "success"}
    retained = {"uuid": "u-2", "name": "b", "state": "deleted", "status": "success"}
    missing = {"status": "error", "name": "c", "message": "No instance", "error": 8}
    broken = {"status": "error", "name": "d", "message": "Unknown error", "error": 0}
    async with connect(Recorder(mixed("instances", found, retained, missing))) as client:
        [instance] = await client.get_instances(names=["a", "b", "c"])
        assert instance.uuid == "u-1"
    async with connect(Recorder(mixed("instances", found, broken))) as client:
        with pytest.raises(CloudRefused):
            await client.get_instances(names=["a", "d"])


async def test_reading_tells_the_missing_from_the_unreadable(connect):
    platform = Recorder(
        mixed(
            "instances",
            {"status": "success", "uuid": "a", "state": "running"},
            {"status": "error", "uuid": "b", "message": "No instance", "error": 8},
            {"status": "error", "message": "Unknown error", "error": 0},
            {"status": "success", "uuid": "d", "state": "deleted"},
        )
    )
    async with connect(platform) as client:
        reading = await client.read_instances(["a", "b", "c", "d"])
    assert [instance.uuid for instance in reading.found] == ["a"]
    assert reading.missing == {"b", "d"}


async def test_reading_believes_nothing_missing_when_a_failure_cannot_be_placed(connect):
    platform = Recorder(failure("instances", error=0, message="Unknown error"))
    async with connect(platform) as client:
        reading = await client.read_instances(["a", "b"])
    assert reading.found == ()
    assert reading.missing == frozenset()


async def test_many_instances_are_read_in_chunks(connect):
    def script(request):
        uuids = [value for name, value in request.query if name == "uuid"]
        return success("instances", *({"uuid": uuid} for uuid in uuids))

    platform = Recorder(script=script)
    async with connect(platform) as client:
        instances = await client.get_instances(uuids=[f"u-{n}" for n in range(120)])
    assert len(instances) == 120
    assert len(platform.requests) == 3


async def test_tag_filter_has_literal_commas_and_encoded_tags(connect):
    platform = Recorder(success("volumes"))
    async with connect(platform) as client:
        assert await client.list_volumes(tags=["kraftlet:node=a+b", "k8s.io:pvc=c"]) == []
    [sent] = platform.requests
    assert "tags=kraftlet%3Anode%3Da%2Bb,k8s.io%3Apvc%3Dc" in sent.query_string
    assert "details=true" in sent.query_string


async def test_list_walks_an_inclusive_cursor(connect):
    everything = [{"uuid": f"u-{n:03}"} for n in range(250)]

    def script(request):
        query = dict(request.query)
        uuids = [item["uuid"] for item in everything]
        start = uuids.index(query["from"]) if "from" in query else 0
        return success("instances", *everything[start : start + int(query["count"])])

    platform = Recorder(script=script)
    async with connect(platform) as client:
        instances = await client.list_instances(tags=["t"])
    assert [instance.uuid for instance in instances] == [item["uuid"] for item in everything]
    assert len(platform.requests) == 3


async def test_deleting_what_is_gone_is_success_and_stopping_it_is_not(connect):
    gone = failure("instances", error=8, message="No instance", uuid="u")
    async with connect(Recorder(gone)) as client:
        await client.delete_instance("u")
        with pytest.raises(ResourceNotFound):
            await client.stop_instance("u")
        with pytest.raises(ResourceNotFound):
            await client.start_instance("u")


async def test_lapsed_wait_is_no_failure(connect):
    lapsed = json_response(
        {
            "status": "error",
            "message": "Operation timed out",
            "data": {"instances": [{"status": "error", "uuid": "u", "state": "starting"}]},
        }
    )
    async with connect(Recorder(lapsed)) as client:
        created = await client.create_instance(InstanceRequest(name="web", image="i"))
    assert (created.uuid, created.state) == ("u", "starting")


async def test_stop_never_sends_force_and_drain_together(connect):
    platform = Recorder(success("instances", {"uuid": "u"}))
    async with connect(platform) as client:
        await client.stop_instance("u", drain_timeout_ms=3000)
        await client.stop_instance("u", drain_timeout_ms=3000, force=True)
        await client.stop_instance("u")
    assert [request.json() for request in platform.requests] == [
        {"drain_timeout_ms": 3000},
        {"force": True},
        {},
    ]
    assert platform.requests[0].path == "/v1/instances/u/stop"


async def test_group_update_sets_each_property_it_is_given(connect):
    platform = Recorder(success("service_groups", {"uuid": "g"}, {"uuid": "g"}))
    async with connect(platform) as client:
        await client.update_service_group(
            "g",
            services=(Service(port=443, destination_port=8080, handlers=("tls", "http")),),
            domains=(DomainRequest(name="shop"),),
        )
        await client.update_service_group("g", domains=())
    assert [request.json() for request in platform.requests] == [
        [
            {
                "uuid": "g",
                "prop": "services",
                "op": "set",
                "value": [{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
            },
            {"uuid": "g", "prop": "domains", "op": "set", "value": [{"name": "shop"}]},
        ],
        [{"uuid": "g", "prop": "domains", "op": "set", "value": []}],
    ]


async def test_one_failed_operation_of_several_fails_the_update(connect):
    platform = Recorder(
        mixed(
            "service_groups",
            {"status": "success", "uuid": "g"},
            {"status": "error", "uuid": "g", "message": "domain in use", "error": 24},
        )
    )
    async with connect(platform) as client:
        with pytest.raises(CloudRefused, match="domain in use"):
            await client.update_service_group("g", services=(), domains=())


async def test_group_by_name_is_none_when_there_is_none(connect):
    missing = failure("service_groups", error=8, message="No service group", name="g")
    async with connect(Recorder(missing)) as client:
        assert await client.get_service_group("g") is None
    there = success(
        "service_groups",
        {
            "uuid": "1",
            "name": "g",
            "domains": [{"fqdn": "g-1.fra.unikraft.app"}],
            "instances": None,
        },
    )
    async with connect(Recorder(there)) as client:
        group = await client.get_service_group("g")
    assert group.domains[0].fqdn == "g-1.fra.unikraft.app"
    assert group.instances == ()


async def test_account_without_quotas_has_all_zero_ones(connect):
    async with connect(Recorder(success("quotas"))) as client:
        assert (await client.quotas()).hard.instances == 0


async def test_health_tells_each_check(connect):
    answer = json_response(
        {"status": "success", "data": {"checks": {"images": "healthy", "systemd": "odd"}}}
    )
    async with connect(Recorder(answer)) as client:
        assert (await client.health()).checks == {"images": "healthy", "systemd": "odd"}


async def test_attached_volume_is_busy_at_once(connect):
    platform = Recorder(failure("volumes", error=15, message="Volume is attached", uuid="v"))
    async with connect(platform) as client:
        with pytest.raises(ResourceBusy):
            await client.delete_volume("v")
    assert len(platform.requests) == 1
