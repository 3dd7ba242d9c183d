"""A container's image, as the platform is asked for it."""

from __future__ import annotations

from kraftlet_trio.cloud.objects import ImageRequest
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.registry.objects import Credential
from kraftlet_trio.registry.reference import (
    ImageReference,
    InvalidReference,
    parse_reference,
)

_OCI = "oci://"
_POLICIES = {"Always": "always", "IfNotPresent": "if_not_present", "Never": "never"}


def image_reference(container: Container) -> ImageReference | None:
    """The image that *container* names; None for a URL that only the platform understands.

    A plain reference is one in an OCI registry, and so is what follows ``oci://``. The platform
    has other schemes besides, as ``http+oci://``.

    Raises:
        ConfigurationProblem: it is no image reference. As with a kubelet, the container waits
            with the reason ``InvalidImageName``.
    """
    image = container.image
    if "://" in image and not image.startswith(_OCI):
        return None
    try:
        return parse_reference(image.removeprefix(_OCI))
    except InvalidReference as error:
        raise ConfigurationProblem(
            "InspectFailed",
            f"image {shown(image)} of container {container.name} is no image reference: {error}; "
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


def image_request(container: Container, credential: Credential | None) -> str | ImageRequest:
    """The image to create the instance of *container* from, pulled with *credential* if given.

    The reference alone, unless there is something to convey that only the object form can: some
    platforms refuse that one. A pull policy is conveyed where it is not the one that Kubernetes
    gives the image.

    With a credential the reference is an ``oci://`` URL, for the platform takes credentials with
    no other. It then names its registry, lest the platform fill in another one than the
    credential is for.

    Raises:
        ConfigurationProblem: see ``image_reference``.
    """
    reference = image_reference(container)
    image = container.image
    policy = container.image_pull_policy
    conveyed = None
    if policy in _POLICIES and policy != default_pull_policy(image.removeprefix(_OCI)):
        conveyed = _POLICIES[policy]
    if reference is None or credential is None:
        return image if conveyed is None else ImageRequest(url=image, pull_policy=conveyed)
    plain = image.removeprefix(_OCI) if reference.domain_written else str(reference)
    return ImageRequest(
        url=_OCI + plain, pull_policy=conveyed, credentials=platform_credentials(credential)
    )


def platform_credentials(credential: Credential) -> str:
    """*credential* as the platform's ``credentials`` string: ``user:password`` in base64.

    The platform's reference calls it credentials for an OCI registry and leaves its form open.
    This one is what HTTP's Basic scheme sends, and what a pull secret holds as ``auth``.
    """
    return credential.basic
