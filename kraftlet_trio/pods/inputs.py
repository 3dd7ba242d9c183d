"""All that a container's instance is made of, gathered from the API server when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import attrs

from kraftlet_trio.cloud.objects import InstanceRequest
from kraftlet_trio.kubernetes.errors import KubernetesUnavailable, NotFound
from kraftlet_trio.kubernetes.objects import ConfigMap, Secret
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.kubernetes.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from kraftlet_trio.kubernetes.root_certificates import NAME as ROOT_CERTIFICATE
from kraftlet_trio.mapping.command_line import command_line
from kraftlet_trio.mapping.downward import Fields
from kraftlet_trio.mapping.environment import Environment, needs_pod_ip, references, resolve
from kraftlet_trio.mapping.file_contents import FileSources
from kraftlet_trio.mapping.files import file_references, files_need_pod_ip, roms, tokens_wanted
from kraftlet_trio.mapping.instance_updates import content_hash, noted
from kraftlet_trio.mapping.instances import instance_request
from kraftlet_trio.mapping.plugins import (
    Plugins,
    counts_for_sleep,
    plugin_references,
    plugins_of,
)
from kraftlet_trio.mapping.problems import ConfigurationWarning
from kraftlet_trio.mapping.service_variables import (
    MASTER_NAMESPACE,
    MASTER_SERVICE,
    service_variables,
)
from kraftlet_trio.mapping.tokens import TokenWanted, renewal_of_token
from kraftlet_trio.mapping.volumes import PodVolume, mounts
from kraftlet_trio.pods.claim_volumes import claim_volumes
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.observation import PodObserver
from kraftlet_trio.pods.pod_volumes import smallest_volume_mb
from kraftlet_trio.pods.referred_objects import referred_objects


@attrs.frozen
class InstanceInputs:
    """What the instances of one Pod are made of."""

    context: PodContext
    observer: PodObserver
    warn: Callable[[ConfigurationWarning, str], None]
    """Told of what has no effect, and in which container."""

    async def request(self, container: Container, own_address: str = "") -> InstanceRequest:
        """The instance that *container* is to become, with notes of what it is made of.

        *own_address* is the one that its instance has got, once it exists. Where the container's
        environment has to tell it, an instance without one is made stopped.

        Raises:
            ConfigurationProblem: something it refers to is missing, or cannot be.
            KubernetesError: the API server does not tell.
        """
        pod, wishes, settings = self.observer.present, self.observer.wishes, self.context.settings
        group = wishes.groups.get(container.name)
        sources = await self._sources(container, own_address)
        environment = self._environment(container, sources)
        tokens = await self._tokens(container)
        files = roms(pod, container, attrs.evolve(sources, tokens=tokens), environment.variables)
        for warning in files.warnings:
            self.warn(warning, container.name)
        plugins = await self._plugins(container)
        image = await self.context.images.find(pod, container, self.warn)
        request = instance_request(
            pod,
            container,
            owner=self.context.owner,
            naming=settings.naming,
            options=wishes.options,
            image=image.request,
            args=command_line(container, image.config, environment),
            environment=environment,
            group=group.name if group else wishes.own_groups.get(container.name),
            volumes=mounts(
                pod,
                container,
                claim_volumes=await claim_volumes(
                    self.context.kubernetes, self.context.claims, pod, container
                ),
                pod_volumes=wishes.own_volumes,
            ),
            roms=files.roms,
            plugins=plugins.requests,
            wakes_by_plugin=counts_for_sleep(plugins),
        )
        return noted(
            request,
            wishes.specs[container.name],
            content_hash(self._without_tokens(container, request, sources, environment, tokens)),
            _renewal(tokens),
        )

    def _without_tokens(
        self,
        container: Container,
        request: InstanceRequest,
        sources: FileSources,
        environment: Environment,
        tokens: Mapping[TokenWanted, str],
    ) -> InstanceRequest:
        """*request* as it would be with no tokens in its files: these are always new."""
        if not tokens:
            return request
        blank = attrs.evolve(sources, tokens=dict.fromkeys(tokens, ""))
        pod = self.observer.present
        return attrs.evolve(request, roms=roms(pod, container, blank, environment.variables).roms)

    def needs_own_address(self, container: Container) -> bool:
        """Whether its instance has to be told its address before it starts."""
        return needs_pod_ip(container) or files_need_pod_ip(self.observer.present, container)

    def depends_on_others(self, container: Container) -> bool:
        """Whether its instance may be out of date although the Pod has not changed."""
        pod, options = self.observer.present, self.observer.wishes.options
        return bool(referred_objects(pod, [container], options) or pod.spec.image_pull_secrets)

    async def own_volumes(self, container: Container) -> tuple[PodVolume, ...]:
        """The volumes of this Pod alone that *container* mounts, to be made before its instance."""
        mounted = {mount.name for mount in container.volume_mounts}
        smallest = await smallest_volume_mb(self.context.cloud)
        every = self.observer.own_volumes(smallest)
        return tuple(one for one in every if one.volume in mounted)

    def _fields(self, own_address: str) -> Fields:
        return Fields(
            pod=self.observer.present,
            node_name=self.context.settings.node_name,
            host_ip=self.context.settings.host_ip,
            pod_ip=own_address,
            defaults=self.observer.wishes.options.defaults,
        )

    def _service_variables(self) -> dict[str, str]:
        pod, services = self.observer.present, self.context.services
        masters = services.of_namespace(MASTER_NAMESPACE).values()
        return service_variables(
            services.of_namespace(pod.metadata.namespace).values(),
            next((one for one in masters if one.metadata.name == MASTER_SERVICE), None),
            enable_service_links=pod.spec.enable_service_links,
        )

    async def _sources(self, container: Container, own_address: str) -> FileSources:
        """All objects that its environment and its files are made of, but tokens."""
        variables = references(container)
        files = file_references(self.observer.present, container)
        return FileSources(
            fields=self._fields(own_address),
            config_maps=await self._config_maps(variables.config_maps | files.config_maps),
            secrets=await self._secrets(variables.secrets | files.secrets),
            tokens={},
        )

    def _environment(self, container: Container, sources: FileSources) -> Environment:
        environment = resolve(
            container,
            sources.fields,
            config_maps=sources.config_maps,
            secrets=sources.secrets,
            services=self._service_variables(),
        )
        for warning in environment.warnings:
            self.warn(warning, container.name)
        return environment

    async def _tokens(self, container: Container) -> dict[TokenWanted, str]:
        """Bound to the Pod: the API server takes them back with it."""
        metadata = self.observer.present.metadata
        account = self.observer.present.spec.service_account_name or "default"
        tokens = {}
        for wanted in tokens_wanted(self.observer.present, container):
            answer = await self.context.kubernetes.create_subresource(
                SERVICE_ACCOUNTS,
                account,
                "token",
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": {
                        "audiences": [wanted.audience] if wanted.audience else [],
                        "expirationSeconds": wanted.expiration_seconds,
                        "boundObjectRef": {
                            "apiVersion": "v1",
                            "kind": "Pod",
                            "name": metadata.name,
                            "uid": metadata.uid,
                        },
                    },
                },
                namespace=metadata.namespace,
            )
            token = (answer.get("status") or {}).get("token")
            if not isinstance(token, str):
                raise KubernetesUnavailable(
                    f"the API server gave no token for ServiceAccount {account}"
                )
            tokens[wanted] = token
        return tokens

    async def _plugins(self, container: Container) -> Plugins:
        options = self.observer.wishes.options
        found = await self._config_maps(plugin_references(options, container))
        return plugins_of(container, options, next(iter(found.values()), None))

    async def _config_maps(self, names: Iterable[str]) -> dict[str, ConfigMap | None]:
        """By name; None for one that does not exist."""
        found: dict[str, ConfigMap | None] = {}
        for name in sorted(names):
            try:
                found[name] = await self._config_map(name)
            except NotFound:
                found[name] = None
        return found

    async def _config_map(self, name: str) -> ConfigMap:
        namespace = self.observer.present.metadata.namespace
        if name == ROOT_CERTIFICATE:
            return await self.context.root_certificates.get(namespace)
        return await self.context.kubernetes.get(CONFIG_MAPS, name, namespace=namespace)

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


def _renewal(tokens: Mapping[TokenWanted, str]) -> datetime | None:
    moments = [moment for token in tokens.values() if (moment := renewal_of_token(token))]
    return min(moments, default=None)
