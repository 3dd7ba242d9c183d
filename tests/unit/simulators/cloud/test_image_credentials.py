"""Images that their registry shows to some only."""

import base64

import pytest


def private_image(user_and_password: str, url: str = "oci://registry.test/private:1"):
    return {"url": url, "credentials": base64.b64encode(user_and_password.encode()).decode()}


GOOD = private_image("robot:s3cret")
REFUSED = ["registry.test/private:1", private_image("robot:wrong"), private_image("s3cret")]


async def test_the_right_credentials_pull_the_image(autojump_clock, cloud):
    instance = await cloud.create(GOOD)
    await cloud.wait(instance["uuid"], "running")


@pytest.mark.parametrize("image", REFUSED)
async def test_others_do_not(autojump_clock, cloud, image):
    instance = await cloud.create(image)
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (4, 1)


async def test_new_credentials_are_taken_with_the_image(autojump_clock, cloud):
    instance = await cloud.create(REFUSED[1])
    await cloud.wait(instance["uuid"], "stopped")
    path = f"/instances/{instance['uuid']}"
    await cloud.item("PATCH", path, {"prop": "image", "op": "set", "value": GOOD})
    await cloud.item("PUT", f"{path}/start")
    await cloud.wait(instance["uuid"], "running")


async def test_pins_need_them_too(autojump_clock, cloud):
    pinned = await cloud.item("POST", "/images", [{**GOOD, "timeout_s": -1}])
    assert pinned["state"] == "ready"
    refused = {"url": "registry.test/private:1", "timeout_s": -1}
    assert (await cloud.item("POST", "/images", [refused]))["status"] == "error"


async def test_credentials_are_never_shown(autojump_clock, cloud):
    instance = await cloud.create(GOOD)
    read = await cloud.read(instance["uuid"])
    assert GOOD["credentials"] not in str(read)
    assert "credentials" not in str(read)
