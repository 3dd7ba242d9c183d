"""Writes the account down while it changes, a little later and many changes at a time."""

from __future__ import annotations

import structlog
import trio

from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.state_directory import StateDirectory
from kraftlet_trio.simulators.cloud.state_format import encode_account

log = structlog.get_logger()

_GATHER_SECONDS = 0.1
"""From a change to its being written; those that come meanwhile go with it."""
_MOST_LOAD = 0.1
"""The part of the time in which a large account may be encoded."""
_LOOK_AT_LOGS_SECONDS = 1.0


class StateKeeper:
    """Keeps *directory* up with *account*."""

    def __init__(self, account: Account, directory: StateDirectory) -> None:
        self._account = account
        self._directory = directory
        self._encode_seconds = 0.0
        self._written: dict[str, int] = {}
        """By instance, the end of the log that is in its file."""

    def restore(self) -> None:
        """Take over what an earlier simulator left. Raises ``StateError``."""
        saved = self._directory.saved
        if saved is None:
            return
        for instance in saved.instances:
            instance.log = self._directory.read_log(instance.uuid, self._account.settings.log_bytes)
            self._written[instance.uuid] = instance.log.end
        self._directory.sweep(instances=self._written.keys(), volumes=saved.volume_uuids)
        saved.restore(self._account)

    async def keep_forever(self) -> None:
        while True:
            changed = False
            with trio.move_on_after(_LOOK_AT_LOGS_SECONDS):
                await self._account.changed.wait()
                changed = True
            if changed:
                await trio.sleep(max(_GATHER_SECONDS, self._encode_seconds / _MOST_LOAD))
            account = self._encoded() if changed else None
            logs = self._changed_logs()
            if account is not None or logs:
                try:
                    await trio.to_thread.run_sync(self._directory.write, account, logs)
                except OSError as error:
                    log.error("state not written", path=str(self._directory.path), error=str(error))
                    self._written.clear()
                    self._account.changed.ring()

    def keep_once(self) -> None:
        """Write everything now, without letting anybody else run."""
        try:
            self._directory.write(self._encoded(), self._changed_logs())
        except OSError as error:
            log.error("state not written", path=str(self._directory.path), error=str(error))

    def _encoded(self) -> bytes:
        began = trio.current_time()
        document = encode_account(self._account)
        self._encode_seconds = trio.current_time() - began
        return document

    def _changed_logs(self) -> dict[str, tuple[int, bytes]]:
        """Logs that are longer than their files; files of instances that are gone, go."""
        account = self._account
        kept: dict[str, Instance] = {}
        for source in (account.instances, account.templates, account.checkpoints, account.retained):
            kept.update((instance.uuid, instance) for instance in source)
        for uuid in self._written.keys() - kept.keys():
            del self._written[uuid]
            self._directory.forget_log(uuid)
        changed = {}
        for uuid, instance in kept.items():
            if instance.log.end != self._written.get(uuid, 0):
                changed[uuid] = (instance.log.start, instance.log.content)
                self._written[uuid] = instance.log.end
        return changed
