"""``/configz``: what a KubeletConfiguration would say of this node, as far as it is so. Pure."""

from __future__ import annotations

from typing import Any

from kraftlet_trio.kubelet_api.authentication import ACCEPTED_SECONDS
from kraftlet_trio.kubelet_api.authorization import ALLOWED_SECONDS, DENIED_SECONDS
from kraftlet_trio.kubelet_api.settings import KubeletAPISettings
from kraftlet_trio.kubernetes.events import BURST, EVENTS_PER_SECOND
from kraftlet_trio.kubernetes.leases import NODE_LEASE_SECONDS


def configuration(settings: KubeletAPISettings) -> dict[str, Any]:
    x509 = {"clientCAFile": str(settings.client_ca_file)} if settings.client_ca_file else {}
    files = (
        {"tlsCertFile": str(settings.cert_file), "tlsPrivateKeyFile": str(settings.key_file)}
        if settings.cert_file
        else {}
    )
    return {
        "kubeletconfig": {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "enableServer": True,
            "address": settings.host or "0.0.0.0",
            "port": settings.port,
            "readOnlyPort": 0,
            **files,
            "serverTLSBootstrap": settings.rotate_server_certificates,
            "tlsMinVersion": "VersionTLS12",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True, "cacheTTL": _duration(ACCEPTED_SECONDS)},
                "x509": x509,
            },
            "authorization": {
                "mode": "Webhook",
                "webhook": {
                    "cacheAuthorizedTTL": _duration(ALLOWED_SECONDS),
                    "cacheUnauthorizedTTL": _duration(DENIED_SECONDS),
                },
            },
            "healthzBindAddress": settings.health_host or "0.0.0.0",
            "healthzPort": settings.health_port,
            "eventRecordQPS": int(EVENTS_PER_SECOND),
            "eventBurst": int(BURST),
            "nodeLeaseDurationSeconds": NODE_LEASE_SECONDS,
            "registerNode": True,
            "failSwapOn": False,
        }
    }


def _duration(seconds: float) -> str:
    """As Go writes it."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
