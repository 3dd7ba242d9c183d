"""Services that come, change and go, and what becomes of the groups behind them."""

from __future__ import annotations

from datetime import timedelta

import trio

from kraftlet_trio.simulators.cloud.faults import AnswerStatus, Delay
from tests.manifests import a_container, a_pod, a_service
from tests.wire import LateAnswer

DOMAIN = "cloud.unikraft.v1.services/domain"


async def test_service_that_comes_after_its_pod_replaces_the_instance(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container()))
    await world.eventually(world.is_ready)
    before = world.instances()["web-app"].uuid
    world.apply(a_service())
    await world.eventually(lambda: world.members() == {"web": {"web-app"}})
    await world.eventually(world.is_ready)
    assert world.instances()["web-app"].uuid != before
    assert world.container()["restartCount"] == 1
    await world.check_quiet(seconds=60)


async def test_service_that_comes_later_takes_over_from_the_group_of_the_one_port(
    autojump_clock, world
):
    await world.start_daemon()
    world.apply(a_pod())
    await world.eventually(world.is_ready)
    [generated] = world.groups()
    assert generated != "web"
    world.apply(a_service())
    await world.eventually(lambda: world.members() == {"web": {"web-app"}})
    await world.eventually(world.is_ready)


async def test_edited_ports_and_domains_reach_the_group_in_place(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web", {443: 8080}, annotations={DOMAIN: "shop"}), a_pod())
    await world.eventually(world.is_ready)
    group, instance = world.groups()["web"], world.instances()["web-app"]
    zone = world.cloud.account.zone
    assert group.domains == (f"shop.{zone}",)

    def edited(service):
        service["metadata"]["annotations"][DOMAIN] = "store"
        service["spec"]["ports"] = [
            {"name": "a", "port": 443, "targetPort": 9090},
            {"name": "b", "port": 80, "targetPort": 8080},
        ]
        return service

    world.cluster.change("services", "web", edited)
    await world.eventually(lambda: world.published() == {"web": {443: 9090, 80: 8080}})
    await world.eventually(lambda: group.domains == (f"store.{zone}",))
    assert world.groups()["web"] is group
    assert world.instances()["web-app"] is instance
    assert {port.port: port.handlers for port in group.services} == {
        80: ("http",),
        443: ("tls", "http"),
    }
    assert world.container()["restartCount"] == 0
    await world.check_quiet(seconds=60)


async def test_edit_while_the_daemon_is_away_is_made_up_for(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web", {443: 8080}), a_pod())
    await world.eventually(world.is_ready)
    world.kill_daemon()

    def edited(service):
        service["spec"]["ports"] = [{"name": "a", "port": 8443, "targetPort": 8080}]
        return service

    world.cluster.change("services", "web", edited)
    await world.start_daemon()
    await world.eventually(lambda: world.published() == {"web": {8443: 8080}})
    assert world.container()["restartCount"] == 0


async def test_certificate_that_was_requested_for_a_group_goes_with_the_last_that_needs_it(
    autojump_clock, world
):
    certificates = world.cloud.account.certificates
    domain = {DOMAIN: "shop.example.com"}
    await world.start_daemon()
    world.apply(a_service("web", {443: 8080}, annotations=domain), a_pod())
    await world.eventually(world.is_ready)
    [requested] = certificates
    assert requested.common_name == "shop.example.com"
    world.delete(a_pod())
    await world.eventually(world.is_empty)
    assert [*certificates] == []


async def test_certificate_that_was_there_before_the_group_stays(autojump_clock, world):
    certificates = world.cloud.account.certificates
    domain = {DOMAIN: "shop.example.com"}
    await world.start_daemon()
    world.apply(a_service("web", {443: 8080}, annotations=domain), a_pod())
    await world.eventually(world.is_ready)
    [present] = certificates
    present.created_at = world.groups()["web"].created_at - timedelta(days=1)
    world.delete(a_pod())
    await world.eventually(world.is_empty)
    assert [*certificates] == [present]


async def test_group_outlives_its_service_until_the_last_pod_goes(autojump_clock, world):
    pods = [a_pod(name, labels={"app": "web"}) for name in ("one", "two")]
    await world.start_daemon()
    world.apply(a_service(), *pods)
    await world.eventually(lambda: world.are_ready(2))
    world.delete(a_service())
    await trio.sleep(30)
    assert world.members() == {"web": {"one-app", "two-app"}}
    assert world.are_ready(2)
    world.delete(pods[0])
    await world.eventually(lambda: world.pod_names() == {"two"})
    assert world.members() == {"web": {"two-app"}}
    world.delete(pods[1])
    await world.eventually(world.is_empty)


async def test_group_stays_for_an_instance_that_somebody_else_put_into_it(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_pod())
    await world.eventually(world.is_ready)
    world.monitor.foreign.add("web")
    await world.make_foreign_instance("guest", service_group={"name": "web"})
    world.delete(a_pod())
    await world.eventually(lambda: not world.pods())
    assert world.members() == {"web": {"guest"}}


async def test_services_of_one_pod_are_merged_under_the_name_of_the_oldest(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("public", {443: 8080}, app="web"))
    await trio.sleep(5)
    world.apply(a_service("admin", {9443: 9090}, app="web"), a_pod())
    await world.eventually(world.is_ready)
    assert world.published() == {"public": {443: 8080, 9443: 9090}}
    assert world.members() == {"public": {"web-app"}}
    world.kill_daemon()
    await world.start_daemon()
    await trio.sleep(30)
    assert world.members() == {"public": {"web-app"}}
    assert world.container()["restartCount"] == 0


async def test_second_service_adds_its_ports_without_a_restart(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("public", {443: 8080}, app="web"), a_pod())
    await world.eventually(world.is_ready)
    await trio.sleep(5)
    world.apply(a_service("admin", {9443: 9090}, app="web"))
    await world.eventually(lambda: world.published() == {"public": {443: 8080, 9443: 9090}})
    world.delete(a_service("admin"))
    await world.eventually(lambda: world.published() == {"public": {443: 8080}})
    assert world.container()["restartCount"] == 0


async def test_several_ports_without_a_service_publish_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(ports=[8080, 9090])))
    await world.eventually(world.is_ready)
    assert not world.groups()
    assert world.instances()["web-app"].service_group is None


async def test_one_port_without_a_service_is_published_at_443_until_the_pod_goes(
    autojump_clock, world
):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(ports=[8080])))
    await world.eventually(world.is_ready)
    [(name, ports)] = world.published().items()
    assert ports == {443: 8080}
    assert world.members() == {name: {"web-app"}}
    world.kill_daemon()
    world.delete(a_pod())
    await world.start_daemon()
    await world.eventually(world.is_empty)


async def test_group_that_cannot_be_made_holds_back_its_pods_only(autojump_clock, world):
    fault = world.cloud_faults.add(
        AnswerStatus(400, "no such luck"), method="POST", path="/v1/services", times=1000
    )
    await world.start_daemon()
    world.apply(a_service(), a_pod(), a_pod("other"))
    await world.eventually(lambda: world.is_ready("other"))
    await world.eventually(lambda: world.waits_for() == "CreateContainerError")
    assert "no such luck" in world.container()["state"]["waiting"]["message"]
    fault.times = 0
    await world.eventually(world.is_ready)
    assert world.members()["web"] == {"web-app"}


async def test_domain_that_another_group_has_is_waited_for(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("first", annotations={DOMAIN: "shop"}), a_pod("first"))
    await world.eventually(lambda: world.is_ready("first"))
    world.apply(a_service("second", annotations={DOMAIN: "shop"}), a_pod("second"))
    await world.eventually(lambda: world.waits_for("app", "second") == "CreateContainerError")
    assert "shop" in world.container("app", "second")["state"]["waiting"]["message"]
    assert world.events("PodCreateServiceFailed")
    before = len(world.exchanges)
    await trio.sleep(60)
    assert len(world.exchanges) - before < 100
    world.delete(a_pod("first"))
    await world.eventually(lambda: world.is_ready("second"))
    assert world.groups()["second"].domains == (f"shop.{world.cloud.account.zone}",)


async def test_renamed_service_takes_over_domain_and_pods(autojump_clock, world):
    await world.start_daemon()
    pods = [a_pod(f"web-{number}", labels={"app": "web"}) for number in range(2)]
    world.apply(a_service("old", app="web", annotations={DOMAIN: "shop"}), *pods)
    await world.eventually(lambda: world.are_ready(2))
    world.delete(a_service("old"))
    world.apply(a_service("new", app="web", annotations={DOMAIN: "shop"}))
    members = {"web-0-app", "web-1-app"}
    await world.eventually(lambda: world.members().get("new") == members)
    await world.eventually(lambda: world.are_ready(2))
    assert world.groups()["new"].domains == (f"shop.{world.cloud.account.zone}",)


async def test_group_deleted_by_hand_is_made_again_for_the_next_instance(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_pod())
    await world.eventually(world.is_ready)
    uuid = world.groups()["web"].uuid
    await world.as_account_owner("DELETE", f"/v1/instances/{world.instances()['web-app'].uuid}")
    await world.as_account_owner("DELETE", f"/v1/services/{uuid}")
    await world.eventually(lambda: world.members() == {"web": {"web-app"}})
    await world.eventually(world.is_ready)


async def test_group_needed_again_while_it_is_being_deleted_is_made_again(autojump_clock, world):
    await world.start_daemon()
    setting = {"configMapKeyRef": {"name": "missing", "key": "level"}}
    waiting = a_container(ports=[8080], env=[{"name": "LEVEL", "valueFrom": setting}])
    world.apply(a_service(), a_pod("one", waiting, labels={"app": "web"}))
    await world.eventually(world.groups)
    world.cloud_faults.add(Delay(5), method="DELETE", path="/v1/services/.*")
    world.delete(a_pod("one"))
    await trio.sleep(2)
    world.apply(a_pod("two", labels={"app": "web"}))
    await world.eventually(lambda: world.is_ready("two"))
    assert world.members() == {"web": {"two-app"}}


async def test_pod_deleted_while_its_group_is_being_made_leaves_nothing(autojump_clock, world):
    world.cloud_faults.add(Delay(5), method="POST", path="/v1/services")
    await world.start_daemon()
    world.apply(a_service(), a_pod())
    await trio.sleep(1)
    world.delete(a_pod())
    await world.eventually(world.is_empty)


async def test_pods_that_leave_a_group_one_after_the_other_all_go(autojump_clock, world):
    setting = {"configMapKeyRef": {"name": "missing", "key": "level"}}
    waiting = a_container(ports=[8080], env=[{"name": "LEVEL", "valueFrom": setting}])
    pods = [a_pod("one", labels={"app": "web"}), a_pod("two", waiting, labels={"app": "web"})]
    await world.start_daemon()
    world.apply(a_service(), *pods)
    await world.eventually(lambda: world.is_ready("one"))
    world.cluster_faults.add(LateAnswer(1), method="PATCH", path=".*/pods/two/status", times=9)
    world.cloud_faults.add(Delay(5), method="DELETE", path="/v1/services/.*")
    world.delete(pods[1])
    await trio.sleep(0.5)
    world.delete(pods[0])
    await world.eventually(world.is_empty)


async def test_service_of_another_pod_changes_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_pod())
    await world.eventually(world.is_ready)
    world.apply(a_service("other", {80: 80}, app="elsewhere"))
    await world.check_quiet(seconds=60)
