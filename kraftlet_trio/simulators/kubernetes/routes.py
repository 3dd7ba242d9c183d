"""URL paths of the Kubernetes API to what they name."""

from __future__ import annotations

from urllib.parse import unquote

import attrs

from kraftlet_trio.simulators.kubernetes.resources import Resource, resource_at


@attrs.frozen(kw_only=True)
class Target:
    """A collection (no name), an object, or a subresource of one."""

    resource: Resource
    namespace: str = ""
    """Empty for cluster-scoped kinds, and for a collection over all namespaces."""
    name: str = ""
    subresource: str = ""


def find_target(path: str) -> Target | None:
    """None where no such resource is served. Raises nothing: any path is a fair question."""
    match [unquote(part) for part in path.strip("/").split("/")]:
        case ["api", "v1", *rest]:
            return _in_group("", "v1", rest)
        case ["apis", group, version, *rest]:
            return _in_group(group, version, rest)
        case _:
            return None


def _in_group(group: str, version: str, parts: list[str]) -> Target | None:
    namespace = ""
    # "namespaces/x/status" is of the namespace itself, "namespaces/x/pods" is inside of it.
    if len(parts) >= 3 and parts[0] == "namespaces" and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    if not 1 <= len(parts) <= 3 or not all(parts):
        return None
    resource = resource_at(group, version, parts[0])
    if resource is None or (namespace and not resource.namespaced):
        return None
    name, subresource = [*parts[1:], "", ""][:2]
    if resource.namespaced and name and not namespace:
        return None
    return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)
