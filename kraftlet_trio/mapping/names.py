"""Names and tags of the cloud resources that stand for Kubernetes objects.

The platform's names are unique in an account, for a kind of resource; Kubernetes' in a namespace.
Names here are a function of the owner alone, so whoever creates twice meets the first one, and a
daemon that starts afresh finds what an earlier one made.

Readable names are the owner's own (``<pod>-<container>``, ``<service>``, ``<service>-<container>``,
``<claim>``) as long as no other owner can have the same one; all others carry a hash at their end:

- Only the namespace ``default`` has bare names.
- ``a-b`` + ``c`` and ``a`` + ``b-c`` would meet: a container with a dash gets the hash.
- The Service ``a-b`` and container ``b`` behind the Service ``a`` would meet: the latter gets it.
- A bare name must not be mistaken for a hashed one, by chance or by somebody's intent: a name
  that looks hashed gets a hash of its own. So that few words do, a hash has a digit in it.

Every name is a DNS label, for the platform makes host names of them.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from collections.abc import Collection, Iterable

import attrs

DNS_LABEL_CHARACTERS = 63

_PUBLIC_NAME_CHARACTERS = DNS_LABEL_CHARACTERS - len("-12345678")
"""The platform puts a dash and 8 characters behind a group's name to make its public host name."""

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_HASH_CHARACTERS = 8
_LOOKS_HASHED = re.compile(r".*-(?=[a-z]*[2-7])[a-z2-7]{8}")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE62_CHARACTERS = 43
"""What 256 bits take."""

_TAG_CHARACTERS = 256
_OUTSIDE_TAGS = re.compile(r"[^-A-Za-z0-9+_.:=]")


def is_dns_label(text: str) -> bool:
    """Whether *text* is a lower-case DNS label (RFC 1123)."""
    return len(text) <= DNS_LABEL_CHARACTERS and _LABEL.fullmatch(text) is not None


@attrs.frozen
class Naming:
    """How cloud resources are named: readably, or (*hashed*) by a hash that shows nothing."""

    hashed: bool = False

    def instance(self, namespace: str, pod: str, container: str) -> str:
        """Name of the instance that is a Pod's container."""
        return self._name(
            "instance",
            (namespace, pod, container),
            readable=f"{pod}-{container}",
            ambiguous="-" in container,
        )

    def service_group(
        self, namespace: str, service: str, container: str | None, *, services: Collection[str]
    ) -> str:
        """Name of the group that publishes *service*: of all, or (several) of one *container*.

        *services* are the names of all Services of that namespace. A Service that comes later with
        the readable name of another one's container moves that container's group to a new name.
        """
        readable = service if container is None else f"{service}-{container}"
        return self._name(
            "service",
            (namespace, service) if container is None else (namespace, service, container),
            readable=readable,
            ambiguous=container is not None and ("-" in container or readable in services),
            most_characters=_PUBLIC_NAME_CHARACTERS,
        )

    def volume(self, namespace: str, claim: str) -> str:
        """Name of the volume that is provisioned for a claim."""
        return self._name("volume", (namespace, claim), readable=claim, ambiguous=False)

    def pod_volume(self, pod: str, uid: str, volume: str) -> str:
        """Name of a volume that belongs to one Pod alone; *uid* is the Pod's."""
        # Always hashed, for claims have the readable names of volumes.
        readable = f"{pod}-{volume}"
        return self._name("pod-volume", (uid, volume), readable=readable, ambiguous=True)

    def _name(
        self,
        kind: str,
        owner: tuple[str, ...],
        *,
        readable: str,
        ambiguous: bool,
        most_characters: int = DNS_LABEL_CHARACTERS,
    ) -> str:
        digest = hashlib.sha256("/".join((kind, *owner)).encode()).digest()
        if self.hashed:
            return _base62(digest)
        if (
            owner[0] == "default"
            and not ambiguous
            and len(readable) <= most_characters
            and _LABEL.fullmatch(readable)
            and not _LOOKS_HASHED.fullmatch(readable)
        ):
            return readable
        stem = re.sub(r"[^a-z0-9]+", "-", readable.lower()).strip("-")
        cut = stem[: most_characters - _HASH_CHARACTERS - 1].rstrip("-")
        return f"{cut or kind}-{_short_hash(digest)}"


def persistent_volume_name(claim_uid: str) -> str:
    """Name of the PersistentVolume that a claim is bound to."""
    return f"pv-{claim_uid}"


def sanitize_tag(text: str) -> str:
    """*text* as the platform accepts it for a tag: other characters become ``_``, 256 at most.

    Different texts may become one: find resources by tags, do not tell them apart by tags alone.
    """
    return _OUTSIDE_TAGS.sub("_", text)[:_TAG_CHARACTERS]


@attrs.frozen
class NodeIdentity:
    """Which node of which cluster: an account may serve several, whose nodes share a name."""

    cluster: str
    """Uid of the cluster's namespace ``kube-system``, which is as old as the cluster."""
    node: str

    @property
    def tags(self) -> tuple[str, str]:
        """On everything that the node made, and together on nothing else."""
        return self.cluster_tag, sanitize_tag(f"kraftlet:node={self.node}")

    @property
    def cluster_tag(self) -> str:
        """On everything that any node of the cluster made."""
        return sanitize_tag(f"kraftlet:cluster={self.cluster}")


def pod_uid_tag(uid: str) -> str:
    """On the instances and volumes of one Pod; unlike its name, never another Pod's."""
    return sanitize_tag(f"{_UID}{uid}")


def instance_tags(
    owner: NodeIdentity, namespace: str, pod: str, uid: str, container: str
) -> tuple[str, ...]:
    return (
        *owner.tags,
        sanitize_tag(f"k8s.io:namespace={namespace}"),
        sanitize_tag(f"k8s.io:pod={pod}"),
        sanitize_tag(f"{_CONTAINER}{container}"),
        pod_uid_tag(uid),
    )


def volume_tags(owner: NodeIdentity, namespace: str, claim: str, uid: str) -> tuple[str, ...]:
    """Tags of a claim's volume; *uid* is the claim's."""
    return (
        *owner.tags,
        sanitize_tag(f"k8s.io:namespace={namespace}"),
        sanitize_tag(f"{_CLAIM}{claim}"),
        sanitize_tag(f"{_UID}{uid}"),
    )


def pod_volume_tags(
    owner: NodeIdentity, namespace: str, pod: str, uid: str, volume: str
) -> tuple[str, ...]:
    """Tags of a volume that belongs to one Pod alone."""
    return (
        *owner.tags,
        sanitize_tag(f"k8s.io:namespace={namespace}"),
        sanitize_tag(f"k8s.io:pod={pod}"),
        sanitize_tag(f"{_VOLUME}{volume}"),
        pod_uid_tag(uid),
    )


def pod_volume_of(tags: Iterable[str]) -> str | None:
    """Name in its Pod of a volume with these *tags*; None for one that is no Pod's own."""
    return _value_of(_VOLUME, tags)


def claim_of(tags: Iterable[str]) -> str | None:
    """Name of the claim that a volume with these *tags* was made for."""
    return _value_of(_CLAIM, tags)


def pod_uid_of(tags: Iterable[str]) -> str | None:
    """The Pod that an instance or volume with these *tags* belongs to."""
    return _value_of(_UID, tags)


def container_of(tags: Iterable[str]) -> str | None:
    """The container that an instance with these *tags* is."""
    return _value_of(_CONTAINER, tags)


_UID = "k8s.io:uid="
_CONTAINER = "k8s.io:container="
_VOLUME = "k8s.io:volume="
_CLAIM = "k8s.io:pvc="


def _value_of(prefix: str, tags: Iterable[str]) -> str | None:
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), None)


def _short_hash(digest: bytes) -> str:
    """The first 8 characters in a row, of *digest* in base32, with a digit among them."""
    text = b32encode(digest).decode().rstrip("=").lower()
    windows = (text[at : at + _HASH_CHARACTERS] for at in range(len(text) - _HASH_CHARACTERS + 1))
    # One digest in 50 000 has no digit at all.
    without = text[: _HASH_CHARACTERS - 1] + "2"
    return next((window for window in windows if not window.isalpha()), without)


def _base62(digest: bytes) -> str:
    number = int.from_bytes(digest)
    characters = []
    for _ in range(_BASE62_CHARACTERS):
        number, rest = divmod(number, len(_BASE62))
        characters.append(_BASE62[rest])
    return "".join(reversed(characters))
