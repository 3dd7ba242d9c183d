"""The API server's verbs on the storage, without HTTP.

Every method runs to its end without a checkpoint, hence is atomic, and raises ``ApiError`` where
the API server would refuse. Controllers and tests write through here too, so that no object ever
skips defaults, generations or finalizers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes import errors
from kraftlet_trio.simulators.kubernetes.deletion import DeleteOptions, decide_deletion, is_due
from kraftlet_trio.simulators.kubernetes.errors import Cause
from kraftlet_trio.simulators.kubernetes.kinds import rules_of
from kraftlet_trio.simulators.kubernetes.kinds.pod_admission import ROOT_CERTIFICATE_CONFIG_MAP
from kraftlet_trio.simulators.kubernetes.kinds.pod_changes import (
    add_ephemeral_containers,
    update_resources,
)
from kraftlet_trio.simulators.kubernetes.metadata import (
    as_go_keeps_it,
    carry_over,
    check_namespace,
    check_type,
    stamp_new,
)
from kraftlet_trio.simulators.kubernetes.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    NODES,
    SERVICE_ACCOUNTS,
    Json,
    Resource,
)
from kraftlet_trio.simulators.kubernetes.storage import Storage, Stored

Subresource = Literal[
    "", "status", "finalize", "binding", "resize", "ephemeralcontainers", "approval"
]

_BACKGROUND = DeleteOptions()


@attrs.frozen
class Deletion:
    """``stored`` is the object as it was last, or as it is now when it was only marked."""

    stored: Stored
    gone: bool


class Registry:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._root_certificate = ""

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.storage.get(resource, namespace, name)
        if stored is None:
            raise errors.not_found(resource, name)
        return stored

    def create(
        self, resource: Resource, value: Json, *, namespace: str = "", dry_run: bool = False
    ) -> Stored:
        """Store a copy of *value*, completed."""
        check_type(resource, value)
        value = {"apiVersion": resource.api_version, "kind": resource.kind, **as_go_keeps_it(value)}
        value.setdefault("metadata", {})
        check_namespace(resource, value, namespace)
        stamp_new(
            resource,
            value,
            namespace=namespace,
            now=utc_now(),
            is_taken=lambda name: self.storage.get(resource, namespace, name) is not None,
        )
        name = value["metadata"]["name"]
        if self.storage.get(resource, namespace, name) is not None:
            raise errors.already_exists(resource, name)
        if resource.namespaced:
            self._check_namespace_is_alive(resource, namespace, name)
        if resource.has_status and resource is not NODES:
            value.pop("status", None)
        rules_of(resource).create(value, self.storage)
        if dry_run:
            return Stored(resource, value, self.storage.version)
        stored = self.storage.put(resource, value)
        if resource is NAMESPACES:
            self._furnish_namespace(name)
        return stored

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Json], Json],
        *,
        subresource: Subresource = "",
        dry_run: bool = False,
    ) -> Stored:
        """Replace an object by what *change* makes of a copy of it.

        Nothing is written, and the version stays, when that is the same. An object that was only
        waiting for its last finalizer goes; its last state is returned then.
        """
        old = self.get(resource, namespace, name)
        new = change(old.thawed())
        check_type(resource, new)
        new = {**as_go_keeps_it(new), "apiVersion": resource.api_version, "kind": resource.kind}
        new.setdefault("metadata", {})
        check_namespace(resource, new, namespace)
        carry_over(resource, old.value, new)
        new = _apply_rules(resource, old.thawed(), new, subresource)
        if subresource == "":
            rules_of(resource).admit_update(old.value, new, self.storage)
        if dry_run:
            return Stored(resource, new, old.version)
        if is_due(resource, new):
            gone = self.storage.remove(old)
            return Stored(resource, new, gone.version)
        return old if new == old.value else self.storage.put(resource, new)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        options: DeleteOptions = _BACKGROUND,
        *,
        dry_run: bool = False,
    ) -> Deletion:
        stored = self.get(resource, namespace, name)
        _check_preconditions(stored, options)
        outcome = decide_deletion(resource, stored.thawed(), options, utc_now())
        if dry_run:
            return Deletion(stored, outcome.gone)
        if outcome.marked is not None and outcome.marked != stored.value:
            stored = self.storage.put(resource, outcome.marked)
        if outcome.gone:
            stored = self.storage.remove(stored)
        return Deletion(stored, outcome.gone)

    def _check_namespace_is_alive(self, resource: Resource, namespace: str, name: str) -> None:
        stored = self.storage.get(NAMESPACES, "", namespace)
        if stored is None:
            raise errors.not_found(NAMESPACES, namespace)
        if stored.deleting:
            why = f"namespace {namespace} is being terminated"
            raise errors.forbidden(
                resource,
                name,
                f"unable to create new content in namespace {namespace} because it is being "
                "terminated",
                causes=[
                    Cause(field="metadata.namespace", message=why, reason="NamespaceTerminating")
                ],
            )

    def _furnish_namespace(self, name: str) -> None:
        """What controllers put into each namespace at once, so that Pods need not wait for it."""
        account: Json = {"metadata": {"name": "default"}}
        self.create(SERVICE_ACCOUNTS, account, namespace=name)
        certificate: Json = {
            "metadata": {"name": ROOT_CERTIFICATE_CONFIG_MAP},
            "data": {"ca.crt": self._root_certificate},
        }
        self.create(CONFIG_MAPS, certificate, namespace=name)

    def publish_root_certificate(self, pem: str) -> None:
        """Put it, PEM, into each namespace that is there and those to come."""
        self._root_certificate = pem
        for stored in self.storage.objects(CONFIG_MAPS):
            if stored.name == ROOT_CERTIFICATE_CONFIG_MAP:
                self.update(
                    CONFIG_MAPS,
                    stored.namespace,
                    stored.name,
                    lambda value: {**value, "data": {"ca.crt": pem}},
                )


def _apply_rules(resource: Resource, old: Json, new: Json, subresource: Subresource) -> Json:
    """*new* with everything taken back that this subresource does not cover."""
    rules = rules_of(resource)
    match subresource:
        case "":
            if resource.has_status:
                new.pop("status", None)
                if "status" in old:
                    new["status"] = old["status"]
            rules.update(old, new)
            if resource.counts_generations and old.get("spec") != new.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        case "status":
            new = {**old, "metadata": new["metadata"], "status": new.get("status", {})}
            rules.update_status(old, new)
        case "finalize":
            new = {**old, "metadata": new["metadata"], "spec": new.get("spec", {})}
        case "resize" | "ephemeralcontainers":
            new = {**old, "spec": new.get("spec", {})}
            (update_resources if subresource == "resize" else add_ephemeral_containers)(old, new)
            if old["spec"] != new["spec"]:
                generation = old["metadata"]["generation"] + 1
                new["metadata"] = {**old["metadata"], "generation": generation}
        case "approval":
            # An approver decides; the certificate is the signer's to write, as status.
            conditions = new.get("status", {}).get("conditions", [])
            new = {**old, "status": {**old.get("status", {}), "conditions": conditions}}
        case "binding":
            # Assigning a node is no change of the spec: it leaves the generation alone.
            pass
    return new


def _check_preconditions(stored: Stored, options: DeleteOptions) -> None:
    if options.uid is not None and options.uid != stored.uid:
        raise errors.conflict(
            stored.resource,
            stored.name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({stored.uid}). The object might have been deleted and then recreated",
        )
    if options.resource_version not in (None, str(stored.version)):
        raise errors.conflict(
            stored.resource,
            stored.name,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not "
            f"match the ResourceVersion in record ({stored.version}). "
            "The object might have been modified",
        )
