"""All that a container's instance is made of, gathered from the API server when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from kraftlet_trio.cloud.objects import InstanceRequest
from kraftlet_trio.kubernetes.errors import NotFound
from kraftlet_trio.kubernetes.objects import ConfigMap, Secret
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.kubernetes.resources import CONFIG_MAPS, SECRETS
from kraftlet_trio.mapping.environment import Environment, references, resolve
from kraftlet_trio.mapping.instances import instance_request
from kraftlet_trio.mapping.problems import ConfigurationWarning
from kraftlet_trio.pods.claim_volumes import claim_volumes
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.observation import PodObserver


@attrs.frozen
class InstanceInputs:
    """What the instances of one Pod are made of."""

    context: PodContext
    observer: PodObserver
    warn: Callable[[ConfigurationWarning, str], None]
    """Told of what has no effect, and in which container."""

    async def request(self, container: Container) -> InstanceRequest:
        """The instance that *container* is to become.

        Raises:
            ConfigurationProblem: something it refers to is missing, or cannot be.
            KubernetesError: the API server does not tell.
        """
        pod, wishes, settings = self.observer.present, self.observer.wishes, self.context.settings
        group = wishes.groups.get(container.name)
        return instance_request(
            pod,
            container,
            owner=self.context.owner,
            naming=settings.naming,
            options=wishes.options,
            environment=await self._environment(container),
            group=group.name if group else wishes.own_groups.get(container.name),
            init=container in pod.spec.init_containers,
            claim_volumes=await claim_volumes(
                self.context.kubernetes, self.context.claims, pod, container
            ),
        )

    async def _environment(self, container: Container) -> Environment:
        needed = references(container)
        environment = resolve(
            container,
            self.observer.present,
            config_maps=await self._config_maps(needed.config_maps),
            secrets=await self._secrets(needed.secrets),
            node_name=self.context.settings.node_name,
            host_ip=self.context.settings.host_ip,
        )
        for warning in environment.warnings:
            self.warn(warning, container.name)
        return environment

    async def _config_maps(self, names: Iterable[str]) -> dict[str, ConfigMap | None]:
        """By name; None for one that does not exist."""
        found: dict[str, ConfigMap | None] = {}
        for name in sorted(names):
            try:
                found[name] = await self.context.kubernetes.get(
                    CONFIG_MAPS, name, namespace=self.observer.present.metadata.namespace
                )
            except NotFound:
                found[name] = None
        return found

    async def _secrets(self, names: Iterable[str]) -> dict[str, Secret | None]:
        """By name; None for one that does not exist."""
        found: dict[str, Secret | None] = {}
        for name in sorted(names):
            try:
                found[name] = await self.context.kubernetes.get(
                    SECRETS, name, namespace=self.observer.present.metadata.namespace
                )
            except NotFound:
                found[name] = None
        return found
