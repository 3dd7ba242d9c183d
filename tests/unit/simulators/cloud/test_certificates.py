"""Certificates of the simulated cloud, uploaded and requested."""

import pytest
import trio
import trustme

from kraftlet_trio.simulators.cloud.settings import CloudSettings


@pytest.fixture(scope="module")
def pem():
    """Makes certificate and key, for a common name."""
    authority = trustme.CA()

    def pem(common_name):
        leaf = authority.issue_cert(common_name, common_name=common_name)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems).decode()
        return {"chain": chain, "pkey": leaf.private_key_pem.bytes().decode()}

    return pem


async def upload(cloud, pem, common_name="www.example.com", **members):
    body = {"common_name": f"{common_name}.", **pem(common_name), **members}
    return await cloud.item("POST", "/certificates", body)


async def test_an_upload_is_valid_at_once(autojump_clock, cloud, pem):
    made = await upload(cloud, pem, name="web")
    assert (made["status"], made["name"], made["state"]) == ("success", "web", "valid")
    read = await cloud.read(made["uuid"], "certificates")
    assert read["common_name"] == "www.example.com"
    assert "CN=www.example.com" in read["subject"]
    assert read["service_groups"] == []


async def test_the_generated_name_tells_the_domain(autojump_clock, cloud, pem):
    made = await upload(cloud, pem)
    assert made["name"].rpartition("-")[0] == "www.example.com"


async def test_a_certificate_is_replaced_by_one_for_the_same_name_only(autojump_clock, cloud, pem):
    made = await upload(cloud, pem)
    path = f"/certificates/{made['uuid']}"
    renewed = await cloud.item("PUT", path, pem("www.example.com"))
    assert renewed["serial_number"] != made["serial_number"]
    assert (await cloud.item("PUT", path, pem("other.example.com")))["error"] == 30


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"chain": "no certificate"}, 7),
        ({"pkey": "no key"}, 7),
        ({"common_name": "www.example.com"}, 7),
        ({"common_name": "other.example.com."}, 30),
        ({"name": "a_b"}, 7),
    ],
)
async def test_a_wrong_upload_fails(autojump_clock, cloud, pem, change, code):
    body = {"common_name": "www.example.com.", **pem("www.example.com"), **change}
    assert (await cloud.item("POST", "/certificates", body))["error"] == code
    assert await cloud.items("GET", "/certificates") == []


async def test_the_key_must_be_the_certificates(autojump_clock, cloud, pem):
    other = pem("www.example.com")["pkey"]
    assert (await upload(cloud, pem, pkey=other))["error"] == 7


async def test_exactly_one_common_name_is_given(autojump_clock, cloud, pem):
    body = pem("a.example.com")
    for names in ({}, {"cn": "a.example.com.", "common_name": "a.example.com."}):
        response = await cloud.send("POST", "/certificates", {**body, **names})
        assert response.status_code == 400
    answer = await cloud.call("POST", "/certificates", {**body, "cn": "a.example.com."})
    assert answer["warnings"]


async def a_group(cloud, *domains):
    body = {"services": [{"port": 443}], "domains": list(domains)}
    return await cloud.item("POST", "/services", body)


async def test_a_domain_of_ones_own_has_a_certificate_requested(autojump_clock, cloud):
    group = await a_group(cloud, {"name": "www.example.com."}, {"name": "shop"})
    read = await cloud.read(group["uuid"], "services")
    [own, metros] = read["domains"]
    assert "certificate" not in metros
    certificate = await cloud.read(own["certificate"]["uuid"], "certificates")
    assert (certificate["state"], certificate["validation"]["attempt"]) == ("pending", 1)
    assert certificate["service_groups"] == [{"uuid": group["uuid"], "name": group["name"]}]
    await trio.sleep(3)
    certificate = await cloud.read(certificate["uuid"], "certificates")
    assert certificate["state"] == "valid"
    assert certificate["subject"] == "CN=www.example.com"


async def test_a_request_may_end_in_an_error(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(certificate_requests_fail=True))
    await a_group(cloud, {"name": "www.example.com."})
    await trio.sleep(3)
    [certificate] = await cloud.items("GET", "/certificates?details=true")
    assert certificate["state"] == "error"


async def test_a_domain_takes_the_certificate_that_it_names(autojump_clock, cloud, pem):
    made = await upload(cloud, pem, "*.example.com", name="wild")
    group = await a_group(
        cloud, {"name": "www.example.com.", "certificate": {"uuid": made["uuid"]}}
    )
    [domain] = (await cloud.read(group["uuid"], "services"))["domains"]
    assert domain["certificate"] == {"uuid": made["uuid"], "name": "wild"}
    wrong = await a_group(cloud, {"name": "a.example.org.", "certificate": {"name": "wild"}})
    assert wrong["error"] == 30
    missing = await a_group(cloud, {"name": "b.example.com.", "certificate": {"name": "none"}})
    assert missing["error"] == 8


async def test_a_certificate_in_use_cannot_be_deleted(autojump_clock, cloud, pem):
    made = await upload(cloud, pem)
    group = await a_group(
        cloud, {"name": "www.example.com.", "certificate": {"uuid": made["uuid"]}}
    )
    refused = await cloud.item("DELETE", f"/certificates/{made['uuid']}")
    assert refused["error"] == 15
    change = {"prop": "domains", "op": "set", "value": [{"name": "shop"}]}
    await cloud.item("PATCH", f"/services/{group['uuid']}", change)
    deleted = await cloud.item("DELETE", f"/certificates/{made['uuid']}")
    assert deleted["status"] == "success"


async def test_a_requested_certificate_cannot_be_replaced(autojump_clock, cloud, pem):
    await a_group(cloud, {"name": "www.example.com."})
    [certificate] = await cloud.items("GET", "/certificates")
    answer = await cloud.item("PUT", f"/certificates/{certificate['uuid']}", pem("www.example.com"))
    assert answer["error"] == 14
