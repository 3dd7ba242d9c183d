"""A container's image: what it is pulled with, and what its registry tells of it."""

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
from kraftlet_trio.mapping.image_reference import image_reference, image_request
from kraftlet_trio.mapping.problems import ConfigurationWarning
from kraftlet_trio.mapping.pull_secrets import (
    Credentials,
    missing_pull_secrets,
    pull_credentials,
)
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.registry.errors import RegistryError
from kraftlet_trio.registry.objects import Credential, ImageConfig, Resolved
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
class ContainerImages:
    """Looks up the images of Pods' containers."""

    kubernetes: KubernetesClient
    registries: RegistryClient | None
    """None: no registry is contacted."""

    async def find(self, pod: Pod, container: Container, warn: Warn) -> ContainerImage:
        """The image of *container*, with the credential of the Pod's that opens it.

        A registry is asked only where something depends on its answer: the command line, or
        which of several credentials is good. Whether it answers is nothing the container has to
        wait for.

        Raises:
            ConfigurationProblem: the container names no image.
            KubernetesError: the API server does not tell a pull secret.
        """
        reference = image_reference(container)
        if reference is None:
            return ContainerImage(image_request(container, None), None)
        credentials = await self._credentials(pod, reference)
        for warning in credentials.warnings:
            warn(warning, container.name)
        candidates = credentials.candidates
        credential = candidates[0] if candidates else None
        resolved = None
        if needs_image_config(container) or len(candidates) > 1:
            resolved = await self._resolved(reference, candidates, container, warn)
        if resolved is None:
            return ContainerImage(image_request(container, credential), None)
        return ContainerImage(image_request(container, resolved.credential), resolved.config)

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

    async def _resolved(
        self,
        reference: ImageReference,
        candidates: tuple[Credential, ...],
        container: Container,
        warn: Warn,
    ) -> Resolved | None:
        # A name without a registry is completed by the platform, which does not say with what. A
        # credential for Docker Hub settles that it is Docker Hub's.
        if self.registries is None or not (reference.domain_written or candidates):
            return None
        try:
            return await self.registries.resolve(reference, candidates)
        except RegistryError as error:
            log.info("image not looked up", image=str(reference), error=str(error))
            if needs_image_config(container):
                warn(unknown_entrypoint(container, str(error)), container.name)
            return None
