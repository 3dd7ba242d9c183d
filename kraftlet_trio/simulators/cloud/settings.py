"""What of the simulated platform can be turned: its delays, and what its reference leaves open."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import QuotaLimits, QuotaUse


@attrs.frozen(kw_only=True)
class CloudSettings:
    """All times are seconds on Trio's clock."""

    pull_seconds: float = 0.0
    """Before the first byte of an image boots, unless the catalogue says otherwise."""
    boot_seconds: float = 0.05
    """From the image being there to the entry point, unless the catalogue says otherwise."""
    resume_seconds: float = 0.02
    """From standby to running with the memory kept."""
    stop_seconds: float = 0.02
    """A scripted guest's clean shutdown."""
    format_seconds: float = 0.0
    """A new volume is ``initializing`` for so long."""
    stop_reason_lag_seconds: float = 0.0
    """For so long a stopped instance does not say why: milliseconds on the platform."""
    busy_after_delete_seconds: float = 0.0
    """For so long what a deleted instance used is busy, and cannot be deleted."""
    stop_grace_seconds: float = 10.0
    """A guest that does not exit when asked is killed after this, or after the drain time."""
    longest_wait_seconds: float = 300.0
    """What a wait or drain of -1 amounts to."""
    restart_after_trouble_free_seconds: float = 10.0
    """A run this long ends a sequence of restarts."""

    audit_heartbeat_seconds: float = 30.0
    """A comment is sent to subscribers who heard nothing for so long."""
    audit_backlog: int = 256
    """Events kept for a subscriber that reads too slowly; undocumented."""
    audit_refusal_status: int | None = None
    """How accounts without access to the stream are refused: undocumented. None: it is served."""

    certificate_seconds: float = 2.0
    """A certificate that the platform requests is ``pending`` for so long."""
    certificate_requests_fail: bool = False
    """As they do for domains that do not lead to the metro."""
    checkpoint_seconds: float = 0.05
    """A new checkpoint is ``starting`` for so long."""
    prepare_seconds: float = 0.05
    """A guest that prepares a template asks to become it so long after it began to run."""
    clone_seconds: float = 0.0
    """A volume's clone is ``initializing`` for so long, and its source ``busy``."""
    retention_seconds: float | None = None
    """Deleted instances can be read for so long; None: the node retains none."""
    retained_names_stay_reserved: bool = False
    """Undocumented."""
    filesystems: frozenset[str] = frozenset({"ext4", "virtiofs"})
    """Those that the account's volumes may have."""
    managed_volumes: bool = False
    """Whether volumes may be directories of the machine: for enterprise accounts alone."""
    mounted_volumes_grow: bool = True
    """Whether a volume can be enlarged while an instance uses it; undocumented."""
    is_image_manager: bool = True
    """Whether the account may pin images."""
    plugin_request_seconds: float = 60.0
    """The metro's proxy ends a longer request to a plugin."""

    default_details: bool = False
    """What a read without ``details`` shows; undocumented now, true in older documents."""
    most_items_a_page: int = 1000
    """Undocumented."""
    log_bytes: int = 1024 * 1024
    """Of an instance's console; older bytes are dropped. Undocumented."""
    log_bytes_a_read: int = 4096 * 4 - 1
    """What the official client asks for at most."""
    nonzero_exit_is_failure: bool = False
    """Whether ``on-failure`` restarts after an exit code; the reference speaks of crashes only."""
    used_group_can_be_deleted: bool = False
    """Whether a service group with instances may be deleted; undocumented."""
    serve_groups: bool = False
    """Whether service groups listen on the loopback. Then traffic decides about scale to zero."""
    queue_seconds: float = 30.0
    """How long traffic waits for an instance that is to wake up; undocumented."""
    port_opens_within_seconds: float = 5.0
    """So long after a boot a port where nobody listens is tried again; undocumented."""
    idle_instances_go_to_standby: bool = False
    """Whether scale to zero acts where service groups do not listen, so that nobody can talk."""
    properties_patched_at_once: frozenset[str] = frozenset({"tags", "delete_lock", "annotations"})
    """All others wait until a running instance stops."""


EXAMPLE_HARD_QUOTAS = QuotaUse(
    instances=64,
    live_vcpus=64,
    live_memory_mb=32768,
    service_groups=253,
    services=253,
    volumes=253,
    total_volume_mb=20480,
)
"""The example of the product's documentation."""

EXAMPLE_LIMITS = QuotaLimits(
    min_memory_mb=16,
    max_memory_mb=8192,
    min_vcpus=1,
    max_vcpus=1,
    min_volume_mb=8,
    max_volume_mb=20480,
)
