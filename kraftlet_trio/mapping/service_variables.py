"""Variables that tell a container where the Services of its namespace are.

Names and values are those of the kubelet (pkg/kubelet/envvars): ``<NAME>_SERVICE_HOST`` and
``_SERVICE_PORT``, and the older form that Docker links had. The addresses are the cluster's, and a
container in the cloud reaches them only where the network is made so.
"""

from __future__ import annotations

from collections.abc import Iterable

from kraftlet_trio.kubernetes.objects import Service

MASTER_NAMESPACE = "default"
MASTER_SERVICE = "kubernetes"
"""The API server's own Service, which every container hears of."""


def service_variables(
    services: Iterable[Service], master: Service | None, *, enable_service_links: bool
) -> dict[str, str]:
    """Variables of a Pod whose namespace has *services*; those without an address have none.

    *master* is the API server's Service. Without *enable_service_links* there is nothing but that.
    """
    told = {} if master is None else {master.metadata.name: master}
    if enable_service_links:
        # A namespace's own Service of that name goes before the API server's.
        told |= {service.metadata.name: service for service in services if _address(service)}
    variables: dict[str, str] = {}
    for name in sorted(told):
        if _address(told[name]):
            variables |= _of_service(told[name])
    return variables


def _address(service: Service) -> str:
    """Empty for a Service that is headless, or has no address (yet)."""
    return "" if service.spec.cluster_ip == "None" else service.spec.cluster_ip


def _of_service(service: Service) -> dict[str, str]:
    prefix, host = _variable_name(service.metadata.name), _address(service)
    variables = {f"{prefix}_SERVICE_HOST": host}
    for position, port in enumerate(service.spec.ports):
        number, protocol = str(port.port), (port.protocol or "TCP").lower()
        url = f"{protocol}://[{host}]:{number}" if ":" in host else f"{protocol}://{host}:{number}"
        if position == 0:
            variables |= {f"{prefix}_SERVICE_PORT": number, f"{prefix}_PORT": url}
        if port.name:
            variables[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = number
        link = f"{prefix}_PORT_{number}_{protocol.upper()}"
        variables |= {
            link: url,
            f"{link}_PROTO": protocol,
            f"{link}_PORT": number,
            f"{link}_ADDR": host,
        }
    return variables


def _variable_name(name: str) -> str:
    return name.replace("-", "_").upper()
