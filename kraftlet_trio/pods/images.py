"""The images of a Pod's containers: what they are pulled with, and what they say."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import structlog

from kraftlet_trio.cloud.objects import ImageRequest
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import NotFound
from kraftlet_trio.kubernetes.objects import Secret
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.kubernetes.resources import SECRETS
from kraftlet_trio.mapping.command_line import needs_image_config, unknown_entrypoint
from kraftlet_trio.mapping.image_reference import NamedImage, container_image, image_request
from kraftlet_trio.mapping.problems import ConfigurationWarning
from kraftlet_trio.mapping.pull_secrets import (
    Credentials,
    missing_pull_secrets,
    pull_credentials,
    refused_pull_secrets,
)
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.registry.errors import NotFound as ImageNotFound
from kraftlet_trio.registry.errors import RegistryError, Unauthorized
from kraftlet_trio.registry.objects import Credential, ImageConfig
from kraftlet_trio.registry.reference import ImageReference

log = structlog.get_logger()

Warn = Callable[[ConfigurationWarning, str], None]
"""Told of what has no effect, and in which container."""


@attrs.frozen
class ContainerImage:
    request: str | ImageRequest
    """What the platform is asked for."""
    config: ImageConfig | None
    """None where nothing depends on it, or nobody tells."""


@attrs.frozen
class _Pull:
    credential: Credential | None = None
    config: ImageConfig | None = None
    untold: str = ""
    """Why the registry did not tell, if it was asked."""


@attrs.frozen
class ContainerImages:
    """Looks up the images of Pods' containers."""

    kubernetes: KubernetesClient
    registries: RegistryClient | None
    """None: no registry is contacted."""

    async def find(self, pod: Pod, container: Container, warn: Warn) -> ContainerImage:
        """The image that *container* runs, with the credential of the Pod's that opens it.

        A registry is asked only where something depends on its answer: the command line, or
        which of several credentials is good. Whether it answers is nothing the container has to
        wait for.

        Raises:
            ConfigurationProblem: the container names no image.
            KubernetesError: the API server does not tell a pull secret.
        """
        image = container_image(container)
        needed = needs_image_config(container)
        pull = await self._pull(pod, image, lambda told: warn(told, container.name), asks=needed)
        if needed and pull.untold:
            warn(unknown_entrypoint(container, pull.untold), container.name)
        return ContainerImage(image_request(image, pull.credential), pull.config)

    async def find_volume(
        self, pod: Pod, image: NamedImage, container: Container, warn: Warn
    ) -> str | ImageRequest:
        """What the platform is asked for, to mount *image* into *container*. Raises as ``find``."""
        pull = await self._pull(pod, image, lambda told: warn(told, container.name), asks=False)
        return image_request(image, pull.credential)

    async def _pull(
        self,
        pod: Pod,
        image: NamedImage,
        warn: Callable[[ConfigurationWarning], None],
        *,
        asks: bool,
    ) -> _Pull:
        reference = image.reference
        if reference is None:
            return _Pull()
        credentials = await self._credentials(pod, reference)
        for warning in credentials.warnings:
            warn(warning)
        candidates = credentials.candidates
        unasked = _Pull(candidates[0] if candidates else None)
        # A name without a registry is completed by the platform, which does not say with what. A
        # credential for Docker Hub settles that it is Docker Hub's.
        known = reference.domain_written or candidates
        if self.registries is None or not known or not (asks or len(candidates) > 1):
            return unasked
        try:
            resolved = await self.registries.resolve(reference, candidates)
        except RegistryError as error:
            log.info("image not looked up", image=str(reference), error=str(error))
            if candidates and isinstance(error, Unauthorized | ImageNotFound):
                warn(refused_pull_secrets(reference, str(error)))
            return attrs.evolve(unasked, untold=str(error))
        return _Pull(resolved.credential, resolved.config)

    async def _credentials(self, pod: Pod, reference: ImageReference) -> Credentials:
        secrets: list[Secret] = []
        missing: list[str] = []
        for name in dict.fromkeys(secret.name for secret in pod.spec.image_pull_secrets):
            try:
                secrets.append(
                    await self.kubernetes.get(SECRETS, name, namespace=pod.metadata.namespace)
                )
            except NotFound:
                missing.append(name)
        credentials = pull_credentials(reference, secrets)
        if not missing:
            return credentials
        warnings = (missing_pull_secrets(missing), *credentials.warnings)
        return attrs.evolve(credentials, warnings=warnings)
