"""What the server says about itself: version, groups, resources, and just enough of OpenAPI.

kubectl reads OpenAPI for two questions: whether the server validates fields itself (it looks for
the parameter ``fieldValidation`` of a kind's PATCH; without it, kubectl wants whole schemas), and
whether it describes strategic merge patches (it need not: kubectl knows the built-in kinds).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from kraftlet_trio.simulators.kubernetes.resources import (
    CERTIFICATE_SIGNING_REQUESTS,
    PODS,
    RESOURCES,
    SERVICE_ACCOUNTS,
    Json,
    Resource,
)
from kraftlet_trio.simulators.kubernetes.reviews import REVIEW_KINDS

VERSION = "v1.37.1"
"""The release whose behaviour is simulated."""

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_STATUS_VERBS = ["get", "patch", "update"]


@cache
def discovery_document(path: str) -> Json | None:
    """None for a path that tells nothing about the server."""
    match path.strip("/").split("/"):
        case ["version"]:
            return _version()
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = [_group(group) for group in sorted(_groups() - {""})]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["api", "v1"]:
            return _resource_list("")
        case ["apis", group] if group in _groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case ["apis", group, "v1"] if group in _groups():
            return _resource_list(group)
        case ["openapi", "v3"]:
            return _openapi_index()
        case ["openapi", "v3", "api", "v1"]:
            return _openapi("")
        case ["openapi", "v3", "apis", group, "v1"] if group in _groups():
            return _openapi(group)
        case _:
            return None


def _groups() -> set[str]:
    return {resource.group for resource in RESOURCES} | {group for group, _ in REVIEW_KINDS}


def _version() -> Json:
    major, minor, _ = VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def _group(name: str) -> Json:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group: str) -> Json:
    resources: list[Json] = []
    for resource in RESOURCES:
        if resource.group == group:
            resources += _entries(resource)
    for (owner, plural), kind in REVIEW_KINDS.items():
        if owner == group:
            names = {"name": plural, "singularName": kind.lower(), "kind": kind}
            resources.append({**names, "namespaced": False, "verbs": ["create"]})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": resources,
    }


def _entries(resource: Resource) -> list[Json]:
    """The resource's own row, and one for each subresource."""
    own: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
    }
    if resource.short_names:
        own["shortNames"] = list(resource.short_names)
    if resource.categories:
        own["categories"] = list(resource.categories)
    entries = [own]

    def subresource(name: str, kind: str, verbs: list[str], group: str = "") -> None:
        names = {"name": f"{resource.plural}/{name}", "singularName": "", "kind": kind}
        foreign = {"group": group, "version": "v1"} if group else {}
        entries.append({**names, **foreign, "namespaced": resource.namespaced, "verbs": verbs})

    if resource.has_status:
        subresource("status", resource.kind, _STATUS_VERBS)
    if resource.has_scale:
        subresource("scale", "Scale", _STATUS_VERBS, "autoscaling")
    if resource is CERTIFICATE_SIGNING_REQUESTS:
        subresource("approval", resource.kind, _STATUS_VERBS)
    if resource is PODS:
        subresource("binding", "Binding", ["create"])
        subresource("ephemeralcontainers", "Pod", _STATUS_VERBS)
        subresource("resize", "Pod", _STATUS_VERBS)
        subresource("eviction", "Eviction", ["create"], "policy")
    if resource is SERVICE_ACCOUNTS:
        subresource("token", "TokenRequest", ["create"], "authentication.k8s.io")
    return entries


def _openapi_index() -> Json:
    places = ["api/v1" if not group else f"apis/{group}/v1" for group in sorted(_groups())]
    return {
        "paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}?hash=0"} for place in places}
    }


def _openapi(group: str) -> Json:
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    paths = {}
    for resource in RESOURCES:
        if resource.group == group:
            patch = {
                "operationId": f"patch{resource.kind}",
                "parameters": parameters,
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": {
                    "group": group,
                    "version": resource.version,
                    "kind": resource.kind,
                },
            }
            paths[_object_path(resource)] = {"patch": patch}
    info = {"title": "Kubernetes", "version": VERSION}
    return {"openapi": "3.0.0", "info": info, "paths": paths}


def _object_path(resource: Resource) -> str:
    start = f"/apis/{resource.group}/v1" if resource.group else "/api/v1"
    namespace = "/namespaces/{namespace}" if resource.namespaced else ""
    return f"{start}{namespace}/{resource.plural}/{{name}}"
