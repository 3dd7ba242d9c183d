import pytest

from kraftlet_trio.kubernetes.objects import ObjectMeta, Service, ServicePort, ServiceSpec
from kraftlet_trio.mapping.service_variables import service_variables


def a_service(name, cluster_ip="10.96.0.7", *ports):
    spec = ServiceSpec(cluster_ip=cluster_ip, ports=ports or (ServicePort(port=80),))
    return Service(metadata=ObjectMeta(name=name), spec=spec)


MASTER = a_service("kubernetes", "10.96.0.1", ServicePort(port=443, name="https"))


def test_a_service_is_told_in_both_forms():
    ports = (
        ServicePort(port=6379, name="primary-port"),
        ServicePort(port=53, name="dns", protocol="UDP"),
    )
    told = service_variables(
        [a_service("redis-primary", "10.0.0.11", *ports)], None, enable_service_links=True
    )
    assert told == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_SERVICE_PORT_PRIMARY_PORT": "6379",
        "REDIS_PRIMARY_SERVICE_PORT_DNS": "53",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
        "REDIS_PRIMARY_PORT_53_UDP": "udp://10.0.0.11:53",
        "REDIS_PRIMARY_PORT_53_UDP_PROTO": "udp",
        "REDIS_PRIMARY_PORT_53_UDP_PORT": "53",
        "REDIS_PRIMARY_PORT_53_UDP_ADDR": "10.0.0.11",
    }


@pytest.mark.parametrize("cluster_ip", ["None", ""])
def test_a_service_without_an_address_is_not_told(cluster_ip):
    assert not service_variables([a_service("db", cluster_ip)], None, enable_service_links=True)


def test_the_api_server_is_told_always():
    others = [a_service("db")]
    alone = service_variables(others, MASTER, enable_service_links=False)
    assert alone["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert alone["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert "DB_SERVICE_HOST" not in alone
    assert "DB_SERVICE_HOST" in service_variables(others, MASTER, enable_service_links=True)


def test_a_namespaces_own_service_goes_before_the_api_servers():
    own = a_service("kubernetes", "10.96.0.2")
    told = service_variables([own], MASTER, enable_service_links=True)
    assert told["KUBERNETES_SERVICE_HOST"] == "10.96.0.2"
    assert "KUBERNETES_SERVICE_PORT_HTTPS" not in told
    told = service_variables([own], MASTER, enable_service_links=False)
    assert told["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_an_address_of_ipv6_stands_in_brackets_in_urls():
    told = service_variables([a_service("db", "fd00::7")], None, enable_service_links=True)
    assert told["DB_SERVICE_HOST"] == told["DB_PORT_80_TCP_ADDR"] == "fd00::7"
    assert told["DB_PORT"] == "tcp://[fd00::7]:80"
