import re

import pytest
import trio

from kraftlet_trio.simulators.cloud.settings import CloudSettings

TLS = {"port": 443, "destination_port": 8080}


async def group(cloud, **members):
    created = await cloud.item("POST", "/services", {"services": [TLS], **members})
    assert created["status"] == "success", created
    return await cloud.read(created["uuid"], "services")


async def patch(cloud, uuid, prop, op, *value):
    body = {"prop": prop, "op": op}
    if value:
        [body["value"]] = value
    return await cloud.item("PATCH", f"/services/{uuid}", body)


async def test_group_has_defaults_and_a_generated_domain(autojump_clock, cloud):
    read = await group(cloud, name="web")
    assert read["persistent"]
    assert (read["soft_limit"], read["hard_limit"]) == (1, 65535)
    assert read["services"] == [
        {"port": 443, "destination_port": 8080, "protocol": "tcp", "handlers": ["http", "tls"]}
    ]
    assert re.fullmatch(r"web-[a-z0-9]{8}\.sim\.unikraft\.app", read["domains"][0]["fqdn"])
    assert read["instances"] == []


async def test_create_answers_a_reference(autojump_clock, cloud):
    created = await cloud.item("POST", "/services", {"services": [TLS]})
    assert created.keys() == {"status", "uuid", "name"}


async def test_domains_are_names_below_the_metro_or_in_full(autojump_clock, cloud):
    read = await group(cloud, domains=[{"name": "shop"}, {"name": "www.example.com."}])
    domains = [domain["fqdn"] for domain in read["domains"]]
    assert domains == ["shop.sim.unikraft.app", "www.example.com"]


async def test_domain_of_another_group_is_refused(autojump_clock, cloud):
    await group(cloud, domains=[{"name": "shop"}])
    second = await cloud.item(
        "POST", "/services", {"services": [TLS], "domains": [{"name": "shop.sim.unikraft.app."}]}
    )
    assert second["error"] == 23
    third = await group(cloud)
    assert (await patch(cloud, third["uuid"], "domains", "add", [{"name": "shop"}]))["error"] == 23


async def test_name_taken_is_23(autojump_clock, cloud):
    await group(cloud, name="web")
    again = await cloud.item("POST", "/services", {"name": "web", "services": [TLS]})
    assert again["error"] == 23


@pytest.mark.parametrize(
    ("port", "handlers"),
    [
        (80, ["http"]),
        (443, ["tls", "http"]),
        (5432, ["tls"]),
        (5432, None),
    ],
)
async def test_handlers_that_fit_the_port(autojump_clock, cloud, port, handlers):
    service = {"port": port} | ({} if handlers is None else {"handlers": handlers})
    read = await group(cloud, services=[service])
    assert read["services"][0]["handlers"] == (handlers or ["tls"])
    assert read["services"][0]["destination_port"] == port


async def test_redirect_leads_from_port_80_to_443(autojump_clock, cloud):
    redirect = {"port": 80, "handlers": ["http", "redirect"]}
    for service in (redirect, {**redirect, "destination_port": 443}):
        read = await group(cloud, services=[TLS, service])
        assert read["services"][1]["destination_port"] == 443
    body = {"services": [{**redirect, "destination_port": 8080}]}
    assert (await cloud.item("POST", "/services", body))["error"] == 7


@pytest.mark.parametrize(
    ("port", "handlers"),
    [
        (80, ["tls"]),
        (80, ["redirect"]),
        (80, ["http", "tls"]),
        (443, ["http"]),
        (443, ["tls"]),
        (443, ["redirect"]),
        (5432, ["http"]),
        (5432, ["tls", "http"]),
        (5432, ["magic"]),
    ],
)
async def test_handlers_that_do_not_fit_the_port(autojump_clock, cloud, port, handlers):
    body = {"services": [{"port": port, "handlers": handlers}]}
    assert (await cloud.item("POST", "/services", body))["error"] == 7


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"services": []}, 7),
        ({"services": [TLS, TLS]}, 7),
        ({"services": [{"port": 0}]}, 7),
        ({"services": [{"port": 65536}]}, 7),
        ({"services": [{"port": 53, "protocol": "udp"}]}, 1),
        ({"services": [{"port": 53, "protocol": "icmp"}]}, 7),
        ({"services": [TLS], "domains": [{"name": "a b"}]}, 7),
        ({"services": [TLS], "domains": [{"name": "a", "certificate": {"name": "c"}}]}, 8),
        ({"services": [TLS], "soft_limit": 0}, 7),
    ],
)
async def test_values_out_of_the_rules_fail(autojump_clock, cloud, members, code):
    assert (await cloud.item("POST", "/services", members))["error"] == code
    assert await cloud.items("GET", "/services") == []


@pytest.mark.parametrize(
    "members",
    [
        {"services": [TLS], "soft_limit": 3, "hard_limit": 2},
        {"services": [TLS], "tags": ["a"]},
        {"services": [{"port": 443, "ip": "1.2.3.4"}]},
        {"services": [{}]},
        {"services": "443"},
    ],
)
async def test_malformed_groups_are_400(autojump_clock, cloud, members):
    assert (await cloud.send("POST", "/services", members)).status_code == 400


async def test_instances_join_by_name_or_uuid_and_are_listed(autojump_clock, cloud):
    made = await group(cloud, name="web")
    first = await cloud.create(service_group={"name": "web"})
    second = await cloud.create(service_group={"uuid": made["uuid"]})
    read = await cloud.read(made["uuid"], "services")
    assert [member["uuid"] for member in read["instances"]] == [first["uuid"], second["uuid"]]
    assert first["service_group"] == {
        "uuid": made["uuid"],
        "name": "web",
        "domains": made["domains"],
    }
    await cloud.item("DELETE", f"/instances/{first['uuid']}")
    read = await cloud.read(made["uuid"], "services")
    assert [member["uuid"] for member in read["instances"]] == [second["uuid"]]


async def test_persistent_group_outlives_its_instances(autojump_clock, cloud):
    made = await group(cloud)
    instance = await cloud.create(service_group={"uuid": made["uuid"]})
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert (await cloud.read(made["uuid"], "services"))["status"] == "success"


async def test_inline_group_goes_with_its_last_instance(autojump_clock, cloud):
    first = await cloud.create(service_group={"services": [TLS]})
    uuid = first["service_group"]["uuid"]
    assert not (await cloud.read(uuid, "services"))["persistent"]
    second = await cloud.create(service_group={"uuid": uuid})
    await cloud.item("DELETE", f"/instances/{first['uuid']}")
    assert (await cloud.read(uuid, "services"))["status"] == "success"
    await cloud.item("DELETE", f"/instances/{second['uuid']}")
    assert (await cloud.read(uuid, "services"))["error"] == 8


async def test_replicas_get_an_inline_group_each(autojump_clock, cloud):
    await cloud.items(
        "POST",
        "/instances",
        {"image": "app", "replicas": 2, "service_group": {"name": "web", "services": [TLS]}},
    )
    groups = await cloud.items("GET", "/services?details=true")
    assert [len(each["instances"]) for each in groups] == [1, 1, 1]


async def test_group_in_use_is_not_deleted(autojump_clock, cloud):
    made = await group(cloud)
    instance = await cloud.create(service_group={"uuid": made["uuid"]})
    assert (await cloud.item("DELETE", f"/services/{made['uuid']}"))["error"] == 15
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert (await cloud.item("DELETE", f"/services/{made['uuid']}"))["status"] == "success"
    assert (await cloud.item("DELETE", f"/services/{made['uuid']}"))["error"] == 8


async def test_group_in_use_is_deleted_where_the_setting_allows(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(used_group_can_be_deleted=True))
    made = await group(cloud)
    instance = await cloud.create(service_group={"uuid": made["uuid"]})
    assert (await cloud.item("DELETE", f"/services/{made['uuid']}"))["status"] == "success"
    assert "service_group" not in await cloud.read(instance["uuid"])
    assert (await cloud.item("DELETE", f"/instances/{instance['uuid']}"))["status"] == "success"


async def test_group_is_busy_for_a_while_after_its_last_instance(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(busy_after_delete_seconds=2))
    made = await group(cloud)
    instance = await cloud.create(service_group={"uuid": made["uuid"]})
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    busy = await cloud.item("DELETE", f"/services/{made['uuid']}")
    assert busy["error"] == 10
    assert "EBUSY" in busy["message"]
    await trio.sleep(2)
    assert (await cloud.item("DELETE", f"/services/{made['uuid']}"))["status"] == "success"


async def test_services_are_patched_by_port(autojump_clock, cloud):
    uuid = (await group(cloud))["uuid"]

    async def ports():
        services = (await cloud.read(uuid, "services"))["services"]
        return {service["port"]: service["destination_port"] for service in services}

    await patch(cloud, uuid, "services", "add", [{"port": 80, "destination_port": 8080}])
    assert await ports() == {443: 8080, 80: 8080}
    await patch(cloud, uuid, "services", "add", [{"port": 80, "destination_port": 9090}])
    assert await ports() == {443: 8080, 80: 9090}
    await patch(cloud, uuid, "services", "del", [443])
    assert await ports() == {80: 9090}
    await patch(cloud, uuid, "services", "set", [{"port": 5432}])
    assert await ports() == {5432: 5432}
    assert (await patch(cloud, uuid, "services", "del", {"port": 5432}))["error"] == 7
    assert (await patch(cloud, uuid, "services", "set"))["error"] == 7


async def test_domains_are_patched_by_name(autojump_clock, cloud):
    uuid = (await group(cloud, domains=[{"name": "a"}]))["uuid"]

    async def domains():
        return [each["fqdn"] for each in (await cloud.read(uuid, "services"))["domains"]]

    await patch(cloud, uuid, "domains", "add", [{"name": "b"}, {"name": "c.example.com."}])
    assert await domains() == ["a.sim.unikraft.app", "b.sim.unikraft.app", "c.example.com"]
    await patch(cloud, uuid, "domains", "del", ["a", "b.sim.unikraft.app", {"name": "x"}])
    assert await domains() == ["c.example.com"]
    await patch(cloud, uuid, "domains", "set")
    assert await domains() == []


async def test_limits_are_patched_within_each_other(autojump_clock, cloud):
    uuid = (await group(cloud))["uuid"]
    await patch(cloud, uuid, "hard_limit", "set", 10)
    await patch(cloud, uuid, "soft_limit", "set", 5)
    read = await cloud.read(uuid, "services")
    assert (read["soft_limit"], read["hard_limit"]) == (5, 10)
    assert (await patch(cloud, uuid, "soft_limit", "set", 11))["error"] == 16
    assert (await patch(cloud, uuid, "name", "set", "x"))["error"] == 7
