"""Images as a Pod names them, and as the platform is asked for them."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import ImageRequest
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.kubernetes.pod_volumes import ImageVolumeSource
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.registry.objects import Credential
from kraftlet_trio.registry.reference import (
    ImageReference,
    InvalidReference,
    parse_reference,
)

_OCI = "oci://"
_POLICIES = {"Always": "always", "IfNotPresent": "if_not_present", "Never": "never"}


@attrs.frozen
class NamedImage:
    """An image that a container runs, or mounts."""

    name: str
    """As the Pod has it."""
    pull_policy: str
    reference: ImageReference | None
    """None for a URL that only the platform understands."""


def container_image(container: Container) -> NamedImage:
    """The image that *container* runs.

    Raises:
        ConfigurationProblem: it names none. As with a kubelet, the container waits with the
            reason ``InvalidImageName``.
    """
    reference = _reference(container.image, f"container {container.name}")
    return NamedImage(container.image, container.image_pull_policy, reference)


def volume_image(volume_name: str, source: ImageVolumeSource) -> NamedImage:
    """The image whose files the volume has. Raises as ``container_image``."""
    reference = _reference(source.reference, f"volume {volume_name}")
    return NamedImage(source.reference, source.pull_policy, reference)


def _reference(image: str, whose: str) -> ImageReference | None:
    # What follows oci:// is a reference like others. The platform has further schemes, such as
    # http+oci://, whose names have another form.
    if "://" in image and not image.startswith(_OCI):
        return None
    try:
        return parse_reference(image.removeprefix(_OCI))
    except InvalidReference as error:
        raise ConfigurationProblem(
            "InspectFailed",
            f"image {shown(image)} of {whose} is no image reference: {error}; "
            "write [registry/]repository[:tag][@digest]",
            waiting_reason="InvalidImageName",
        ) from error


def default_pull_policy(image: str) -> str:
    """The ``imagePullPolicy`` that the API server fills in for *image*.

    Source: Kubernetes' defaults for containers: ``Always`` with the tag ``latest``, written or
    implied by there being neither tag nor digest; ``IfNotPresent`` for all others.
    """
    try:
        reference = parse_reference(image)
    except InvalidReference:
        return "IfNotPresent"
    is_latest = reference.tag == "latest" or not (reference.tag or reference.digest)
    return "Always" if is_latest else "IfNotPresent"


def image_request(image: NamedImage, credential: Credential | None) -> str | ImageRequest:
    """What the platform is asked for, to pull *image* with *credential* if that is given.

    The name alone, unless there is something to convey that only the object form can: some
    platforms refuse that one. A pull policy is conveyed where it is not the one that Kubernetes
    gives the image.

    With a credential the name is an ``oci://`` URL, for the platform takes credentials with no
    other. It then has its registry, lest the platform fill in another one than the credential is
    for.
    """
    plain = image.name.removeprefix(_OCI)
    policy = None
    if image.pull_policy in _POLICIES and image.pull_policy != default_pull_policy(plain):
        policy = _POLICIES[image.pull_policy]
    if image.reference is None or credential is None:
        return image.name if policy is None else ImageRequest(url=image.name, pull_policy=policy)
    return ImageRequest(
        url=_OCI + (plain if image.reference.domain_written else str(image.reference)),
        pull_policy=policy,
        credentials=platform_credentials(credential),
    )


def platform_credentials(credential: Credential) -> str:
    """*credential* as the platform's ``credentials`` string: ``user:password`` in base64.

    The platform's reference calls it credentials for an OCI registry and leaves its form open.
    This one is what HTTP's Basic scheme sends, and what a pull secret holds as ``auth``.
    """
    return credential.basic
