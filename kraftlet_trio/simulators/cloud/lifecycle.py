"""The life of instances: one task each from a start until it rests, restarts included."""

from __future__ import annotations

from datetime import timedelta

import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import DRAINING, RUNNING, STANDBY, STARTING, STOPPED, STOPPING
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.actions import Action
from kraftlet_trio.simulators.cloud.audit import Audit
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.images import ImageCatalogue, ImageEntry
from kraftlet_trio.simulators.cloud.instance_updates import apply_queued_updates
from kraftlet_trio.simulators.cloud.life import Life
from kraftlet_trio.simulators.cloud.records import Instance, Restart
from kraftlet_trio.simulators.cloud.restarts import restart_delay_seconds, restarts
from kraftlet_trio.simulators.cloud.runtime import Ending, Guest, Killed, Mount, Runtime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.stops import (
    BY_IDLING,
    BY_SUSPENSION,
    BY_USER,
    FORCED,
    FROM_INSIDE,
    IMAGE_NOT_AVAILABLE,
    START_REFUSED,
    Stop,
    stop_into_standby,
    stop_of,
)

log = structlog.get_logger()


class Lifecycle:
    """Starts and stops instances; their tasks run in *nursery*."""

    def __init__(
        self,
        account: Account,
        audit: Audit,
        images: ImageCatalogue,
        runtime: Runtime,
        settings: CloudSettings,
        nursery: trio.Nursery,
    ) -> None:
        self._account = account
        self._audit = audit
        self._images = images
        self._runtime = runtime
        self._settings = settings
        self._nursery = nursery
        self._lives: dict[str, Life] = {}

    def start(self, instance: Instance, *, origin: str = "api") -> None:
        """Begin to start it; nothing to do if it is on its way or there already.

        *origin* is who is said to have caused it: ``proxy`` for traffic.

        Raises ``ItemError`` if it is stopping, or if quota or volumes forbid it.
        """
        if instance.state in (STARTING, RUNNING):
            return
        if instance.is_live:
            raise ItemError(
                ErrorCode.WRONG_STATE, f"Instance '{instance.name}' is {instance.state}"
            )
        self._check_can_start(instance, Action("start", origin))
        instance.restart = None
        instance.woken_at = trio.current_time() if instance.state == STANDBY else None
        self._set_starting(instance)
        former = self._lives.get(instance.uuid)
        if former is not None and former.frozen and not former.whole.cancel_called:
            self._nursery.start_soon(self._thaw, instance, former)
            return
        if former is not None:
            former.whole.cancel()
        life = Life(former.ended if former else None)
        self._lives[instance.uuid] = life
        self._nursery.start_soon(self._live, instance, life, name=f"instance {instance.name}")

    def start_if_possible(self, instance: Instance, *, origin: str = "api") -> None:
        """Like :meth:`start`, but a refusal leaves it stopped, with the platform to blame."""
        try:
            self.start(instance, origin=origin)
        except ItemError:
            self._come_to_rest(instance, STOPPED, START_REFUSED)

    def _check_can_start(self, instance: Instance, action: Action) -> None:
        """Raises ``ItemError``, and tells it, if quota or volumes forbid *action*."""
        try:
            self._account.check_can_start(instance)
        except ItemError as error:
            instance.action = action
            over_quota = error.code == ErrorCode.QUOTA_EXCEEDED
            self._audit.start_failed(instance, "EDQUOT" if over_quota else "EBUSY")
            raise
        instance.action = action

    def wake(self, instance: Instance, *, origin: str = "proxy") -> bool:
        """Start it if it is in standby. False if it neither runs nor is about to, even so."""
        if instance.state == STANDBY:
            try:
                self.start(instance, origin=origin)
            except ItemError as error:
                log.warning("cannot wake", instance=instance.name, error=error.message)
        return instance.state in (STARTING, RUNNING) or instance.is_falling_asleep

    def stop(
        self,
        instance: Instance,
        *,
        grace_seconds: float,
        drains: bool = False,
        origin: str = "api",
    ) -> None:
        """Ask it to stop; it is killed after the grace. Ends a sequence of restarts, too.

        One that *drains* is first given that long for its open connections to close, if it has
        any. Then the platform's own grace counts.
        """
        if drains and instance.state == RUNNING and instance.traffic.nconns:
            self._drain(instance, STOPPED, BY_USER, grace_seconds, Action("drain", origin))
        else:
            self._wind_down(instance, STOPPED, BY_USER, grace_seconds, Action("stop", origin))

    def suspend(self, instance: Instance, *, grace_seconds: float, drains: bool = False) -> None:
        """Send it to standby. Raises ``ItemError`` if it does not run. For draining, see `stop`."""
        if instance.state not in (RUNNING, STANDBY):
            raise ItemError(
                ErrorCode.WRONG_STATE, f"Instance '{instance.name}' is {instance.state}"
            )
        action = Action("suspend", "api")
        if drains and instance.traffic.nconns:
            self._drain(instance, STANDBY, BY_SUSPENSION, grace_seconds, action)
        else:
            self._wind_down(instance, STANDBY, BY_SUSPENSION, grace_seconds, action)

    def force_stop(self, instance: Instance, *, origin: str = "api") -> None:
        """Stop it at once."""
        instance.action = Action("stop", origin)
        life = self._lives.get(instance.uuid)
        if life is not None:
            life.whole.cancel()
        instance.restart = None
        if instance.holds_mounts:
            self._come_to_rest(instance, STOPPED, FORCED)

    def lose(self, instance: Instance, state: str, stop: Stop) -> None:
        """Its guest is gone, and nobody tends it: it rests in *state*, because of *stop*."""
        instance.restart = None
        self._come_to_rest(instance, state, stop)

    def delete(self, instance: Instance, *, origin: str = "api", retain: bool = True) -> None:
        """Stop it at once and remove it from the account. Raises ``ItemError`` if it is locked.

        *retain* it to be read, where the node does so.
        """
        if instance.delete_lock:
            raise ItemError(ErrorCode.NOT_ALLOWED, "Deletion protection enabled")
        self.force_stop(instance, origin=origin)
        if not instance.deleted:  # one with delete-on-stop is gone by now
            self._remove(instance)
        if retain:
            self._account.retain(instance)

    def _remove(self, instance: Instance) -> None:
        volumes = [each.volume for each in instance.attachments]
        self._account.remove_instance(instance)
        for volume in volumes:
            if volume.uuid not in self._account.volumes:
                self._runtime.forget_volume(volume.uuid)

    def _drain(
        self, instance: Instance, goal: str, initiator: int, seconds: float, action: Action
    ) -> None:
        life = self._lives[instance.uuid]
        life.goal, life.initiator, life.draining = goal, initiator, trio.CancelScope()
        instance.action = action
        self._move(instance, DRAINING, Stop(initiator))
        self._nursery.start_soon(self._wind_down_once_drained, instance, life, seconds)

    async def _wind_down_once_drained(self, instance: Instance, life: Life, seconds: float) -> None:
        assert life.draining is not None
        with life.draining, trio.move_on_after(seconds):
            while instance.traffic.nconns:
                await instance.traffic.calmed()
        if instance.state == DRAINING and not life.draining.cancel_called:
            grace_seconds = self._settings.stop_grace_seconds
            self._wind_down(instance, life.goal, life.initiator, grace_seconds, instance.action)

    def _wind_down(
        self, instance: Instance, goal: str, initiator: int, grace_seconds: float, action: Action
    ) -> None:
        life = self._lives.get(instance.uuid)
        instance.restart = None
        if instance.state in (STARTING, RUNNING, DRAINING) and life is not None:
            life.goal, life.initiator = goal, initiator
            instance.action = action
            self._move(instance, STOPPING, Stop(initiator))
            if life.draining is not None:
                life.draining.cancel()
            if life.frozen:
                self._runtime.thaw(instance.uuid)
                life.frozen = False
            elif goal == STANDBY and self._freeze(instance):
                life.frozen = True
                self._come_to_rest(instance, STANDBY, stop_into_standby(initiator))
                return
            life.stop.set()
            life.boot.cancel()
            self._nursery.start_soon(self._kill_after, grace_seconds, life)
        elif instance.is_falling_asleep and life is not None and goal == STOPPED:
            # The stop overtakes the sleep that was to follow.
            life.goal, life.initiator = goal, initiator
            instance.action, instance.stop = action, Stop(initiator)
        elif instance.state == STANDBY and goal == STOPPED:
            instance.action = action
            if life is not None:
                life.whole.cancel()
            self._come_to_rest(instance, STOPPED, instance.stop)
        elif instance.state == STOPPED and life is not None:
            life.whole.cancel()  # it was waiting to be restarted

    def _freeze(self, instance: Instance) -> bool:
        """Whether it keeps its memory in standby; what waits for a stop needs another boot."""
        changes = bool(instance.updates) or any(each.attaching for each in instance.attachments)
        stateful = bool(instance.scale_to_zero.stateful)
        return stateful and not changes and self._runtime.freeze(instance.uuid)

    async def _thaw(self, instance: Instance, life: Life) -> None:
        with trio.move_on_after(self._settings.resume_seconds):
            await life.ended.wait()
        if life.frozen and instance.state == STARTING:
            self._runtime.thaw(instance.uuid)
            life.frozen = False
            instance.start_count += 1
            instance.started_at = utc_now()
            self._enter(instance, life)

    async def _kill_after(self, seconds: float, life: Life) -> None:
        with trio.move_on_after(seconds):
            await life.ended.wait()
            return
        life.guest.cancel()

    async def _live(self, instance: Instance, life: Life) -> None:
        try:
            if life.predecessor is not None:
                await life.predecessor.wait()
            with life.whole:
                attempt = 0
                while (delay := await self._run_once(instance, life, attempt)) is not None:
                    attempt = instance.restart.attempt if instance.restart else 0
                    await trio.sleep(delay)
                    instance.restart = None
                    try:
                        self._check_can_start(instance, Action("restart", "restart"))
                    except ItemError:
                        self._come_to_rest(instance, STOPPED, START_REFUSED)
                        return
                    instance.restart_count += 1
                    self._set_starting(instance)
        finally:
            life.ended.set()
            life.idling.cancel()
            if life.draining is not None:
                life.draining.cancel()
            if self._lives.get(instance.uuid) is life:
                del self._lives[instance.uuid]

    async def _run_once(self, instance: Instance, life: Life, attempt: int) -> float | None:
        """One run, from starting to rest; seconds until the restart, None if there is none."""
        known = self._images.find(instance.image)
        image = known or ImageEntry()
        life.boot, life.guest = trio.CancelScope(), trio.CancelScope()
        if life.stop.is_set():
            life.boot.cancel()
        with life.boot:
            await self._pull(image)
            pulled = image.is_pulled_with(instance.image.credentials)
            if not pulled or not self._runtime.can_run(known):
                self._come_to_rest(instance, STOPPED, IMAGE_NOT_AVAILABLE)
                return None
            await self._boot(instance, image)
        await trio.lowlevel.checkpoint_if_cancelled()
        if life.stop.is_set():
            self._come_to_rest(instance, life.goal, stop_of(Killed(), life.initiator))
            return None
        ending: Ending = Killed()
        with life.guest:
            ending = await self._runtime.run(
                self._guest(instance, image),
                stop=life.stop,
                entered=lambda: self._enter(instance, life),
            )
        # A guest may end by itself just as it is forced to: then the instance is another life's.
        await trio.lowlevel.checkpoint_if_cancelled()
        life.frozen = False
        if life.told_to_end:
            self._come_to_rest(instance, life.goal, stop_of(ending, life.initiator))
            return None
        return self._end_from_inside(instance, ending, attempt)

    async def _pull(self, image: ImageEntry) -> None:
        seconds = image.pull_seconds
        await trio.sleep(self._settings.pull_seconds if seconds is None else seconds)

    async def _boot(self, instance: Instance, image: ImageEntry) -> None:
        instance.start_count += 1
        instance.started_at = utc_now()
        seconds = image.boot_seconds
        await trio.sleep(self._settings.boot_seconds if seconds is None else seconds)

    def _guest(self, instance: Instance, image: ImageEntry) -> Guest:
        return Guest(
            uuid=instance.uuid,
            name=instance.name,
            image=image,
            start_count=instance.start_count,
            args=instance.args,
            env=instance.env,
            memory_mb=instance.memory_mb,
            hostname=instance.hostname or instance.name,
            private_ip=instance.private_ip,
            mounts=[
                Mount(
                    volume_uuid=each.volume.uuid,
                    at=each.at,
                    readonly=each.readonly,
                    host_path=each.volume.host_path,
                )
                for each in instance.attachments
                if not each.attaching
            ],
            roms=instance.roms,
            log=instance.log,
        )

    def _enter(self, instance: Instance, life: Life) -> None:
        if life.whole.cancel_called:
            return
        instance.booted_at = trio.current_time()
        if instance.started_at is not None:
            instance.boot_seconds = (utc_now() - instance.started_at).total_seconds()
        image = self._images.find(instance.image) or ImageEntry()
        instance.silent_seconds = image.listens_after_seconds
        if instance.state == STARTING:
            self._move(instance, RUNNING, instance.stop)
            instance.traffic.begin_run()
            if instance.woken_at is not None:
                instance.traffic.woke(trio.current_time() - instance.woken_at)
                instance.woken_at = None
            if self._scales_to_zero(instance):
                life.idling = trio.CancelScope()
                self._nursery.start_soon(self._stand_by_when_idle, instance, life.idling)

    def _scales_to_zero(self, instance: Instance) -> bool:
        if instance.scale_to_zero.policy == "off":
            return False
        if self._settings.serve_groups:
            return instance.service_group is not None
        return self._settings.idle_instances_go_to_standby

    async def _stand_by_when_idle(self, instance: Instance, watch: trio.CancelScope) -> None:
        scaling = instance.scale_to_zero
        with watch:
            await instance.traffic.quiet(scaling.policy, (scaling.cooldown_time_ms or 0) / 1000)
        if instance.state == RUNNING and not watch.cancel_called:
            grace_seconds = self._settings.stop_grace_seconds
            action = Action("suspend", "scale-to-zero")
            self._wind_down(instance, STANDBY, BY_IDLING, grace_seconds, action)

    def _end_from_inside(self, instance: Instance, ending: Ending, attempt: int) -> float | None:
        """Rest after a run that ended by itself; seconds until the restart, if there is one."""
        trouble_free = (
            instance.booted_at is not None
            and trio.current_time() - instance.booted_at
            >= self._settings.restart_after_trouble_free_seconds
        )
        attempt = 1 if trouble_free else attempt + 1
        delay = None
        if restarts(instance.restart_policy, ending, self._settings):
            delay = restart_delay_seconds(attempt)
            next_at = utc_now() + timedelta(seconds=delay)
            instance.restart = Restart(attempt=attempt, next_at=next_at)
        instance.action = Action("stop", "guest")
        self._come_to_rest(instance, STOPPED, stop_of(ending, FROM_INSIDE))
        return delay

    def _set_starting(self, instance: Instance) -> None:
        instance.stopped_at = None
        self._move(instance, STARTING, Stop())

    def _move(self, instance: Instance, state: str, stop: Stop) -> None:
        """Into another state, as everybody who waits for it and the audit stream are told."""
        previous, instance.state, instance.stop = instance.state, state, stop
        instance.notify()
        self._account.instances.touch()
        if state != previous:
            self._audit.state_changed(instance, previous)

    def _come_to_rest(self, instance: Instance, state: str, stop: Stop) -> None:
        if instance.deleted:
            return
        if (life := self._lives.get(instance.uuid)) is not None:
            life.idling.cancel()
        if instance.booted_at is not None:
            instance.uptime_seconds += trio.current_time() - instance.booted_at
            instance.booted_at = None
        instance.stop_known_at = trio.current_time() + self._settings.stop_reason_lag_seconds
        instance.stopped_at = utc_now()
        self._move(instance, state, stop)
        apply_queued_updates(self._account, instance)
        self._account.settle_attachments(instance)
        if state == STOPPED and "delete-on-stop" in instance.features:
            self._remove(instance)
