"""The simulated cloud as a process, and a reader of its own listings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

from tests.e2e.bed.processes import Process

TOKEN = "e2e-t0ken"
IMAGES = Path(__file__).with_name("images.yaml")
# Beside the interpreter, so that the tests run what the environment installs.
KRAFTLET_TRIO = Path(sys.executable).parent / "kraftlet-trio"


@attrs.frozen
class Cloud:
    """What the platform says of itself, read over HTTP and not through the daemon's client."""

    url: str
    process: Process
    _http: httpx.Client

    def _read(self, path: str, key: str) -> dict[str, dict[str, Any]]:
        answer = self._http.get(f"/v1/{path}", params={"details": "true"})
        answer.raise_for_status()
        body = answer.json()
        assert body["status"] == "success", body
        found = body["data"].get(key) or []
        by_name = {item["name"]: item for item in found}
        assert len(by_name) == len(found), f"two {path} bear one name: {found}"
        return by_name

    def instances(self) -> dict[str, dict[str, Any]]:
        """Details by name."""
        return self._read("instances", "instances")

    def service_groups(self) -> dict[str, dict[str, Any]]:
        """Details by name."""
        return self._read("services", "service_groups")

    def volumes(self) -> dict[str, dict[str, Any]]:
        """Details by name."""
        return self._read("volumes", "volumes")

    def resources(self) -> dict[str, set[str]]:
        """The names of all there is, by kind; empty kinds are left out."""
        found = {
            "instances": set(self.instances()),
            "service groups": set(self.service_groups()),
            "volumes": set(self.volumes()),
        }
        return {kind: names for kind, names in found.items() if names}

    def stop_instance(self, name: str) -> None:
        """As a user would, behind Kubernetes' back."""
        self._bulk("PUT", "instances/stop", [{"name": name}])

    def delete_instance(self, name: str) -> None:
        """As a user would, behind Kubernetes' back."""
        self._bulk("DELETE", "instances", [{"name": name}])

    def _bulk(self, method: str, path: str, items: list[dict[str, str]]) -> None:
        answer = self._http.request(method, f"/v1/{path}", content=json.dumps(items))
        answer.raise_for_status()
        assert answer.json()["status"] == "success", answer.text


def tags(instance: dict[str, Any]) -> dict[str, str]:
    """An instance's tags: ``k8s.io:pod=web`` is ``{"k8s.io:pod": "web"}``."""
    return dict(tag.split("=", 1) for tag in instance["tags"])


@contextmanager
def running_cloud(
    folder: Path, *, quotas: Sequence[str] = (), processes: bool = False
) -> Iterator[Cloud]:
    """*quotas* as the simulator takes them: ``instances=1000``.

    With *processes* instances run what they are told to, on this machine.
    """
    guests = ("--runtime=process", "--no-isolation") if processes else ("--images", str(IMAGES))
    process = Process.start(
        "cloud",
        [
            str(KRAFTLET_TRIO),
            *("simulate", "cloud", "--listen", "127.0.0.1:0"),
            *("--token", TOKEN, *guests),
            *(f"--quota={quota}" for quota in quotas),
        ],
        log=folder / ("processes.log" if processes else "cloud.log"),
    )
    try:
        url = json.loads(process.wait_for_line("cloud simulator ready"))["url"]
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        with httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False) as http:
            yield Cloud(url, process, http)
    finally:
        process.stop()
