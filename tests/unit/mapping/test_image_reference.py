import pytest

from kraftlet_trio.cloud.objects import ImageRequest
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.kubernetes.pod_volumes import ImageVolumeSource
from kraftlet_trio.mapping.image_reference import (
    NamedImage,
    container_image,
    default_pull_policy,
    image_request,
    volume_image,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.registry.objects import Credential

SHA256 = "sha256:" + "0a" * 32
ROBOT = Credential(username="robot", password="s3cret")
ROBOT_ENCODED = "cm9ib3Q6czNjcmV0"


def named(image: str, policy: str = "") -> NamedImage:
    return container_image(Container(name="app", image=image, image_pull_policy=policy))


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        (f"nginx:latest@{SHA256}", "Always"),
        ("registry.test:5000/nginx", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        (f"nginx@{SHA256}", "IfNotPresent"),
        ("Not a reference", "IfNotPresent"),
    ],
)
def test_the_default_policy_is_that_of_the_api_server(image, policy):
    assert default_pull_policy(image) == policy


@pytest.mark.parametrize(
    ("image", "policy", "sent"),
    [
        ("nginx:1.27", "IfNotPresent", None),
        ("nginx:1.27", "Always", "always"),
        ("nginx:1.27", "Never", "never"),
        ("nginx", "Always", None),
        ("nginx:latest", "IfNotPresent", "if_not_present"),
        ("nginx:latest", "", None),
        ("nginx:latest", "Sometimes", None),
    ],
)
def test_a_policy_is_sent_only_where_it_is_not_the_default(image, policy, sent):
    expected = ImageRequest(url=image, pull_policy=sent) if sent else image
    assert image_request(named(image, policy), None) == expected


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("ghcr.io/team/app:1", "oci://ghcr.io/team/app:1"),
        ("oci://ghcr.io/team/app:1", "oci://ghcr.io/team/app:1"),
        ("nginx:1.27", "oci://docker.io/library/nginx:1.27"),
        ("docker.io/team/app:1", "oci://docker.io/team/app:1"),
        (f"ghcr.io/team/app@{SHA256}", f"oci://ghcr.io/team/app@{SHA256}"),
    ],
)
def test_a_credential_goes_along_with_a_url_that_names_the_registry(image, url):
    request = image_request(named(image), ROBOT)
    assert request == ImageRequest(url=url, credentials=ROBOT_ENCODED)


def test_a_credential_and_a_policy_go_together():
    request = image_request(named("ghcr.io/team/app:1", "Never"), ROBOT)
    assert request == ImageRequest(
        url="oci://ghcr.io/team/app:1", pull_policy="never", credentials=ROBOT_ENCODED
    )


def test_an_identity_token_goes_in_the_place_of_a_password():
    credential = Credential(username="", identity_token="t0ken")
    request = image_request(named("ghcr.io/team/app:1"), credential)
    assert isinstance(request, ImageRequest)
    assert request.credentials == "PHRva2VuPjp0MGtlbg=="  # <token>:t0ken


def test_urls_that_only_the_platform_knows_are_left_alone():
    image = "http+oci://files.test/team/app/@" + SHA256
    assert named(image).reference is None
    assert image_request(named(image), ROBOT) == image


@pytest.mark.parametrize("image", ["", "Nginx", "nginx:a b", "oci://", "oci://nginx@sha256:1"])
def test_an_invalid_name_keeps_the_container_waiting(image):
    with pytest.raises(ConfigurationProblem, match="no image reference") as raised:
        image_request(named(image), None)
    assert raised.value.waiting_reason == "InvalidImageName"
    assert raised.value.reason == "InspectFailed"
    assert "container app" in raised.value.message


def test_a_volume_names_an_image_as_a_container_does():
    source = ImageVolumeSource(reference="ghcr.io/team/model:1", pull_policy="Always")
    assert image_request(volume_image("data", source), ROBOT) == ImageRequest(
        url="oci://ghcr.io/team/model:1", pull_policy="always", credentials=ROBOT_ENCODED
    )
    with pytest.raises(ConfigurationProblem, match="of volume data"):
        volume_image("data", ImageVolumeSource(reference="Model"))


def test_neither_reprs_nor_errors_show_a_secret():
    request = image_request(named("ghcr.io/team/app:1"), ROBOT)
    token = Credential(identity_token="t0ken")
    assert "s3cret" not in repr(ROBOT)
    assert "t0ken" not in repr(token)
    assert ROBOT_ENCODED not in repr(request)
