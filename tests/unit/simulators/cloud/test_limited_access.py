"""Pinned images, autoscale and other users: what depends on who asks."""

import pytest
import trio

from kraftlet_trio.simulators.cloud.settings import CloudSettings

PIN = {"url": "oci://registry/app:1", "timeout_s": -1}


async def test_a_pinned_image_is_kept_without_instances(autojump_clock, cloud):
    pinned = await cloud.item("POST", "/images", [PIN])
    assert (pinned["state"], pinned["persistent"]) == ("ready", True)
    [image] = await cloud.items("GET", "/images")
    assert image["persistent"] is True
    assert (await cloud.item("POST", "/images", [PIN]))["uuid"] == pinned["uuid"]
    await cloud.item("DELETE", "/images", [{"uuid": pinned["uuid"]}])
    assert await cloud.items("GET", "/image-store") == []


async def test_a_pin_waits_for_the_pull(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(pull_seconds=20))
    began = trio.current_time()
    assert (await cloud.item("POST", "/images", [{**PIN, "timeout_s": 60}]))["status"] == "success"
    assert trio.current_time() - began == pytest.approx(20)
    lapsed = await cloud.call("POST", "/images", [{**PIN, "url": "other", "timeout_s": 5}])
    assert lapsed["message"] == "Operation timed out"


async def test_an_image_that_cannot_be_pulled_is_told_by_its_message_alone(autojump_clock, cloud):
    failed = await cloud.item("POST", "/images", [{**PIN, "url": "unpullable"}])
    assert failed.keys() == {"status", "message", "error"}


@pytest.mark.parametrize("members", [{"timeout_s": 0}, {"timeout_s": None}, {"url": 1}])
async def test_malformed_pins_are_400(autojump_clock, cloud, members):
    assert (await cloud.send("POST", "/images", [{**PIN, **members}])).status_code == 400


async def test_not_everybody_manages_images(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(is_image_manager=False))
    assert (await cloud.item("POST", "/images", [PIN]))["error"] == 14


@pytest.mark.parametrize("path", ["/autoscale", "/{u}/autoscale", "/{u}/autoscale/policies/p"])
async def test_autoscale_is_not_enabled(autojump_clock, cloud, path):
    group = await cloud.item("POST", "/services", {"name": "web", "services": [{"port": 443}]})
    query = "?name=web" if path == "/autoscale" else ""
    refused = await cloud.item("GET", f"/services{path.format(u=group['uuid'])}{query}")
    assert refused["message"] == "Autoscale not enabled for your account"
    missing = "00000000-0000-4000-8000-000000000000"
    query = f"?uuid={missing}" if path == "/autoscale" else ""
    absent = await cloud.item("GET", f"/services{path.format(u=missing)}{query}")
    assert absent["error"] == 8


async def test_quotas_are_those_of_the_tokens_user(autojump_clock, cloud):
    mine = await cloud.item("GET", "/users/quotas")
    assert (await cloud.item("GET", f"/users/{mine['uuid']}/quotas"))["used"] == mine["used"]
    other = "00000000-0000-4000-8000-000000000000"
    assert (await cloud.item("GET", f"/users/{other}/quotas"))["error"] == 8
    assert (await cloud.item("GET", "/users/me/quotas"))["error"] == 7
