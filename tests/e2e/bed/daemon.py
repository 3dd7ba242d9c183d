"""The daemon as a process, with the chart's identity, that can die and come back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.e2e.bed.cloud import KRAFTLET_TRIO, TOKEN
from tests.e2e.bed.processes import Process, free_port

NODE = "kraftlet"


@attrs.define
class Daemon:
    """``kraftlet-trio run``. All runs write to one log."""

    cloud_url: str
    kubeconfig: Path
    folder: Path
    log_level: str = "debug"
    node: str = NODE
    address: str = "127.0.0.1"
    options: Mapping[str, str] = attrs.field(factory=dict)
    """More of its environment."""
    _process: Process | None = None

    @property
    def log(self) -> Path:
        return self.folder / ("daemon.log" if self.node == NODE else f"{self.node}.log")

    def start(self) -> None:
        """Returns at once: whoever needs the node waits for the node."""
        assert self._process is None or not self._process.alive(), "it runs already"
        token = self.folder / "token"
        token.write_text(TOKEN)
        self._process = Process.start(
            "daemon",
            [str(KRAFTLET_TRIO), "run"],
            log=self.log,
            env={
                "KUBECONFIG": str(self.kubeconfig),
                "KRAFTLET_NODE_NAME": self.node,
                "KRAFTLET_NODE_INTERNAL_IP": self.address,
                # Not 0: the node says where it listens before it does.
                "KRAFTLET_ADDR": f"{self.address}:{free_port()}",
                "KRAFTLET_HEALTH_ADDR": "127.0.0.1:0",
                "KRAFTLET_NAMESPACE": "kraftlet",
                # The simulated instances' addresses lead nowhere from here.
                "KRAFTLET_PROBE_NETWORK": "none",
                "KRAFTLET_UKC_DEFAULT_METRO": self.cloud_url,
                "KRAFTLET_UKC_TOKEN_FILE": str(token),
                "KRAFTLET_LOG_LEVEL": self.log_level,
                **self.options,
            },
        )

    def wait_until_ready(self) -> None:
        """Returns once this run tends its Pods; the node's conditions outlive the runs."""
        assert self._process is not None
        self._process.wait_for_line('"node ready"', timeout=60)

    def alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def bugs(self, since_bytes: int) -> list[str]:
        """Unexpected exceptions in its log after the first *since_bytes*."""
        with self.log.open("rb") as log:
            log.seek(since_bytes)
            lines = log.read().decode(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or '"level": "error"' in line]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up."""
        assert self._process is not None
        self._process.kill()

    def stop(self) -> int:
        """SIGTERM. Returns the exit code."""
        assert self._process is not None
        return self._process.stop()
