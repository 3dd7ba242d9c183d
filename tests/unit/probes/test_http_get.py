"""httpGet of probes and hooks, by kubelet's rules, against servers good and bad."""

from __future__ import annotations

import ssl

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.messages import Response
from kraftlet_trio.http.server import serve_connection
from kraftlet_trio.kubernetes.pod import ContainerPort, HTTPGetAction, HTTPHeader
from kraftlet_trio.node.status import KUBERNETES_VERSION
from kraftlet_trio.probes.http_exchange import HttpFailed
from kraftlet_trio.probes.http_get import call_http, probe_http
from kraftlet_trio.probes.http_request import http_request
from kraftlet_trio.probes.means import KUBERNETES_MINOR, open_connection
from kraftlet_trio.probes.outcome import CannotProbe, Healthy, Unhealthy
from tests.builders import a_container
from tests.probed import Guests
from tests.thoroughness import examples


class Application:
    """An HTTP server whose answers are given by path; what it was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.requests = []

    async def handle(self, request):
        self.requests.append(request)
        answer = self.answers.get(request.path.strip("/"), Response())
        return answer if isinstance(answer, Response) else Response(status=answer)

    async def serve(self, stream):
        await serve_connection(self.handle, stream)


def redirect(location, status=302, body=b""):
    return Response(status=status, headers={"location": location}, body=body)


def saying(*pieces, then=None):
    """A server that answers with these bytes, whatever it is asked."""

    async def serve(stream):
        await stream.receive_some()
        for piece in pieces:
            await stream.send_all(piece)
        if then is not None:
            await then(stream)

    return serve


async def for_ever(stream):
    await trio.sleep_forever()


@pytest.fixture
def guests(nursery):
    return Guests(nursery)


def action(path="/", port=8080, **fields):
    return HTTPGetAction(path=path, port=port, **fields)


async def probe(guests, path="/", seconds=1, **fields):
    request = http_request(action(path, **fields), a_container(), "10.0.0.1", "probe")
    return await probe_http(guests.dial, request, timeout_seconds=seconds)


@pytest.mark.parametrize(
    ("status", "healthy"),
    [(200, True), (204, True), (299, True), (399, True), (400, False), (503, False)],
)
async def test_statuses_from_200_to_399_are_healthy(guests, status, healthy):
    guests.listen(8080, Application(x=status).serve)
    outcome = await probe(guests, "/x")
    assert isinstance(outcome, Healthy) == healthy
    if not healthy:
        assert outcome == Unhealthy(f"HTTP probe failed with statuscode: {status}")


async def test_the_body_of_a_failure_is_not_told(guests):
    guests.listen(8080, Application(x=Response(status=500, body=b"secret")).serve)
    assert "secret" not in (await probe(guests, "/x")).message


async def test_request_is_kubelets(guests):
    application = Application()
    guests.listen(8080, application.serve)
    await probe(guests, "healthz?deep=1&x=a b")
    [request] = application.requests
    assert (request.method, request.path) == ("GET", "/healthz")
    assert request.query_string == "deep=1&x=a%20b"
    assert request.headers == {
        "host": "10.0.0.1:8080",
        "user-agent": "kube-probe/1.37",
        "accept": "*/*",
        "connection": "close",
    }


async def test_headers_are_sent_replaced_and_taken_away(guests):
    application = Application()
    guests.listen(8080, application.serve)
    headers = [
        ("X-A", "1"),
        ("x-a", "2"),
        ("Accept", ""),
        ("User-Agent", ""),
        ("Host", "shop.test"),
    ]
    await probe(guests, http_headers=tuple(HTTPHeader(name=n, value=v) for n, v in headers))
    assert application.requests[0].headers == {
        "host": "shop.test",
        "x-a": "1, 2",
        "connection": "close",
    }


async def test_host_and_named_port(guests):
    guests.listen(9000, Application().serve, host="192.0.2.7")
    container = a_container(ports=(ContainerPort(name="admin", container_port=9000),))
    request = http_request(action(port="admin", host="192.0.2.7"), container, "10.0.0.1", "probe")
    assert await probe_http(guests.dial, request, timeout_seconds=1) == Healthy()


async def test_refused_connection_is_told_in_gos_words(guests):
    outcome = await probe(guests, "/live")
    assert outcome.message == (
        'Get "http://10.0.0.1:8080/live": dial tcp 10.0.0.1:8080: connect: connection refused'
    )


class TestRedirects:
    async def test_to_the_same_host_are_followed(self, guests):
        application = Application(a=redirect("/b"), b=redirect("http://10.0.0.1:8080/c"), c=200)
        guests.listen(8080, application.serve)
        assert await probe(guests, "/a") == Healthy()
        assert [request.path for request in application.requests] == ["/a", "/b", "/c"]
        assert application.requests[1].headers["referer"] == "http://10.0.0.1:8080/a"

    async def test_to_another_port_of_the_host_are_followed(self, guests):
        guests.listen(8080, Application(a=redirect("http://10.0.0.1:81/b")).serve)
        guests.listen(81, Application(b=500).serve)
        assert isinstance(await probe(guests, "/a"), Unhealthy)

    async def test_to_another_host_end_the_probe_well_but_with_a_warning(self, guests):
        elsewhere = redirect("http://example.com/", body=b"over there")
        guests.listen(8080, Application(a=elsewhere).serve)
        assert await probe(guests, "/a") == Healthy(
            "Probe terminated redirects, Response body: over there"
        )
        assert len(guests.dialled) == 1

    async def test_are_followed_ten_times(self, guests):
        application = Application(a=redirect("/a"))
        guests.listen(8080, application.serve)
        outcome = await probe(guests, "/a")
        assert isinstance(outcome, Healthy)
        assert outcome.warning
        assert len(application.requests) == 11

    async def test_without_a_location_are_answers(self, guests):
        guests.listen(8080, Application(a=302).serve)
        outcome = await probe(guests, "/a")
        assert outcome.warning.startswith("Probe terminated redirects")

    @pytest.mark.parametrize("location", ["ftp://10.0.0.1/", "http://[", "http://10.0.0.1:99999/"])
    async def test_that_make_no_sense_are_failures(self, guests, location):
        guests.listen(8080, Application(a=redirect(location)).serve)
        assert isinstance(await probe(guests, "/a"), Unhealthy)

    async def test_keep_the_host_header_where_they_are_relative(self, guests):
        application = Application(a=redirect("/b"), b=redirect("http://10.0.0.1:8080/c"))
        guests.listen(8080, application.serve)
        await probe(guests, "/a", http_headers=(HTTPHeader(name="Host", value="shop.test"),))
        hosts = [request.headers["host"] for request in application.requests]
        assert hosts == ["shop.test", "shop.test", "10.0.0.1:8080"]


class TestTLS:
    @pytest.fixture
    def over_tls(self):

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("unrelated.test").configure_cert(context)

        def wrapped(server):
            async def serve(stream):
                secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
                await secure.do_handshake()
                await server(secure)

            return serve

        return wrapped

    async def test_any_certificate_will_do(self, guests, over_tls):
        guests.listen(8080, over_tls(Application().serve))
        assert await probe(guests, scheme="HTTPS") == Healthy()

    async def test_plain_http_is_a_failure_of_a_probe(self, guests):
        guests.listen(8080, saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        outcome = await probe(guests, scheme="HTTPS")
        assert "server gave HTTP response to HTTPS client" in outcome.message

    async def test_hook_falls_back_to_plain_http_without_its_credentials(self, guests):
        application = Application()
        guests.listen(8080, application.serve)
        headers = (HTTPHeader(name="Authorization", value="x"), HTTPHeader(name="X", value="y"))
        wanted = action(scheme="HTTPS", http_headers=headers)
        request = http_request(wanted, a_container(), "10.0.0.1", "lifecycle")
        await call_http(guests.dial, request)
        [got] = application.requests
        assert "authorization" not in got.headers
        assert (got.headers["x"], got.headers["user-agent"]) == ("y", "kube-lifecycle/1.37")


async def test_hook_does_not_look_at_the_status(guests):
    guests.listen(8080, Application(x=500).serve)
    request = http_request(action("/x"), a_container(), "10.0.0.1", "lifecycle")
    await call_http(guests.dial, request)


async def test_hook_fails_where_nobody_listens(guests):
    request = http_request(action("/x"), a_container(), "10.0.0.1", "lifecycle")
    with pytest.raises(HttpFailed, match="connection refused"):
        await call_http(guests.dial, request)


async def test_hook_does_not_look_at_the_body(guests):
    guests.listen(8080, saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"))
    request = http_request(action("/x"), a_container(), "10.0.0.1", "lifecycle")
    await call_http(guests.dial, request)


def test_user_agents_name_the_nodes_version():
    assert KUBERNETES_VERSION.startswith(f"v{KUBERNETES_MINOR}.")


class TestHostileServers:
    async def endless(self, stream):
        while True:
            await stream.send_all(b"x" * 1000 + b"\r\nX: ")

    async def test_silence_is_a_failure_at_the_timeout(self, autojump_clock, guests):
        guests.listen(8080)
        outcome = await probe(guests, seconds=3)
        assert trio.current_time() == 3
        assert "Client.Timeout exceeded while awaiting headers" in outcome.message
        assert "KRAFTLET_PROBE_NETWORK" not in outcome.message

    async def test_unreachable_address_hints_at_the_setting(self, autojump_clock, guests):
        guests.hang = True
        assert "KRAFTLET_PROBE_NETWORK" in (await probe(guests, seconds=3)).message

    async def test_endless_headers_are_a_failure(self, guests):
        guests.listen(8080, saying(b"HTTP/1.1 200 OK\r\nX: ", then=self.endless))
        assert isinstance(await probe(guests), Unhealthy)

    async def test_endless_head_of_one_line_is_a_failure(self, guests):
        async def endless(stream):
            while True:
                await stream.send_all(b"x" * 1000)

        guests.listen(8080, saying(b"HTTP/1.1 200 ", then=endless))
        assert isinstance(await probe(guests), Unhealthy)

    async def test_endless_informational_answers_are_a_failure(self, guests):
        async def endless(stream):
            while True:
                await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")

        guests.listen(8080, saying(then=endless))
        assert isinstance(await probe(guests), Unhealthy)

    async def test_endless_body_is_healthy_after_ten_kib(self, guests):
        guests.listen(8080, saying(b"HTTP/1.1 200 OK\r\n\r\n", then=self.endless))
        assert await probe(guests) == Healthy()

    async def test_body_that_stalls_says_nothing(self, autojump_clock, guests):
        guests.listen(8080, saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", then=for_ever))
        with pytest.raises(CannotProbe, match="while reading body"):
            await probe(guests)

    async def test_body_that_breaks_off_says_nothing(self, guests):
        guests.listen(8080, saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"))
        with pytest.raises(CannotProbe):
            await probe(guests)

    @pytest.mark.parametrize(
        "answer", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"\x00\xff" * 50, b"HTTP/1.1 101 X\r\n\r\n"]
    )
    async def test_what_is_not_http_is_a_failure(self, guests, answer):
        guests.listen(8080, saying(answer))
        assert isinstance(await probe(guests), Unhealthy)

    async def test_header_that_cannot_be_sent_is_a_failure(self, guests):
        guests.listen(8080, Application().serve)
        outcome = await probe(guests, http_headers=(HTTPHeader(name="X", value="a\r\nb: c"),))
        assert isinstance(outcome, Unhealthy)


async def test_header_values_of_any_script_are_sent(guests):
    application = Application()
    guests.listen(8080, application.serve)
    await probe(guests, http_headers=(HTTPHeader(name="X", value="é"),))
    assert application.requests[0].headers["x"].encode("latin-1") == "é".encode()


@pytest.mark.parametrize("host", ["x" * 300, "a..b", ".test", "\0", "é" * 70])
async def test_host_that_is_none_is_a_failure(host):
    request = http_request(action(host=host, scheme="HTTPS"), a_container(), "", "probe")
    outcome = await probe_http(open_connection, request, timeout_seconds=5)
    assert isinstance(outcome, Unhealthy)


async def test_name_that_tls_cannot_send_is_a_failure(guests):
    guests.listen(8080, Application().serve, host=".test")
    assert isinstance(await probe(guests, host=".test", scheme="HTTPS"), Unhealthy)


@pytest.mark.parametrize("scheme", ["HTTP", "HTTPS"])
async def test_cancelled_probe_leaves_no_connection(nursery, autojump_clock, guests, scheme):
    guests.listen(8080)
    with trio.move_on_after(5):
        await probe(guests, seconds=100, scheme=scheme)
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks


@given(path=st.text(max_size=30))
@settings(max_examples=examples(50), deadline=None)
def test_any_path_becomes_a_request_target(path):
    target = http_request(action(path), a_container(), "10.0.0.1", "probe").target
    assert target.startswith("/")
    assert target.isascii()
    assert not set(target) & set(" #\r\n\t")
