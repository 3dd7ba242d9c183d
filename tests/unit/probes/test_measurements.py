from __future__ import annotations

from kraftlet_trio.metrics.exposition import render
from kraftlet_trio.probes.measurements import ProbedContainer, ProbeMeasurements

WEB = ProbedContainer("uid-of-web", "default", "web", "app")
NAMESAKE = ProbedContainer("uid-of-its-successor", "default", "web", "app")


def lines(measurements: ProbeMeasurements, name: str) -> list[str]:
    text = render(measurements.families()).decode()
    return [line for line in text.splitlines() if line.startswith(name)]


def test_attempts_are_told_in_the_kubelets_words() -> None:
    measurements = ProbeMeasurements()
    for result in ("successful", "failed", "successful"):
        measurements.note(WEB, "Readiness", result, 0.02)
    labels = 'container="app",pod="web",namespace="default",pod_uid="uid-of-web"'
    assert lines(measurements, "prober_probe_total") == [
        f'prober_probe_total{{probe_type="Readiness",result="successful",{labels}}} 2',
        f'prober_probe_total{{probe_type="Readiness",result="failed",{labels}}} 1',
    ]


def test_failures_are_not_timed() -> None:
    measurements = ProbeMeasurements()
    measurements.note(WEB, "Liveness", "failed", 1.0)
    assert lines(measurements, "prober_probe_duration_seconds") == []
    measurements.note(WEB, "Liveness", "unknown", 1.0)
    measurements.note(WEB, "Liveness", "successful", 0.5)
    [count] = lines(measurements, "prober_probe_duration_seconds_count")
    assert count.endswith(" 2")


def test_a_pod_that_is_gone_is_forgotten_and_its_namesake_is_not() -> None:
    measurements = ProbeMeasurements()
    measurements.note(WEB, "Liveness", "successful", 0.5)
    measurements.note(NAMESAKE, "Liveness", "successful", 0.5)
    measurements.forget("uid-of-web")
    [line] = lines(measurements, "prober_probe_total")
    assert "uid-of-its-successor" in line
