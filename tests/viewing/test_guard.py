"""Nobody is let in without the token, and no name of a stranger."""

import asyncio
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.viewing import guard
from unet_deploy.viewing.guard import Guard, is_own_name
from unet_deploy.viewing.lanes import Busy, Lanes, Left


def test_examples_are_true():
    assert doctest.testmod(guard).failed == 0


def answer(path="/secret/scene", method="GET", hosts=(b"127.0.0.1:80",), kind="http"):
    """What a guard with the token `secret` answers: whether the application was asked, and the first message."""
    asked, sent = [], []

    async def app(scope, receive, send):
        asked.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    headers = [(b"host", host) for host in hosts]
    scope = {"type": kind, "path": path, "method": method, "headers": headers}
    asyncio.run(Guard(app, "secret", "127.0.0.1")(scope, None, send))
    return bool(asked), sent[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_knows_the_token_is_let_in(method):
    let_in, first = answer(method=method)
    assert let_in
    assert first["status"] == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"path": "/"}, 404),
        ({"path": "/secret/" + "9" * 5000}, 414),
        ({"path": "/secret/values/0/1/" + "9" * 5000}, 414),
        ({"path": "/secre/scene"}, 404),
        ({"path": "/secretive/scene"}, 404),
        ({"path": "/SECRET/scene"}, 404),
        ({"path": "//secret/scene"}, 404),
        ({"path": "/\udcff/scene"}, 404),
        ({"hosts": [b"evil.example"]}, 403),
        ({"hosts": [b"127.0.0.1.evil.example:80"]}, 403),
        ({"hosts": [b"127.0.0.1:80@evil.example"]}, 403),
        ({"hosts": []}, 403),
        ({"hosts": [b"127.0.0.1", b"evil.example"]}, 403),
        ({"hosts": [b"\xff"]}, 403),
        ({"method": "POST"}, 405),
        ({"method": "PUT"}, 405),
    ],
)
def test_all_others_are_refused_without_a_word(asked, status):
    let_in, first = answer(**asked)
    assert not let_in
    assert first["status"] == status


def test_an_address_without_its_last_slash_leads_to_the_page():
    let_in, first = answer("/secret")
    assert not let_in
    assert (first["status"], dict(first["headers"])[b"location"]) == (307, b"secret/")


def test_a_web_socket_is_closed():
    let_in, first = answer(kind="websocket")
    assert not let_in
    assert first["type"] == "websocket.close"


@pytest.mark.parametrize("path", ["/secret/scene", "/wrong/scene"])
def test_every_answer_forbids_what_is_not_the_page_s_own(path):
    headers = dict(answer(path)[1]["headers"])
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'; script-src 'self'")
    assert b"unsafe" not in headers[b"content-security-policy"]
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"x-content-type-options"] == b"nosniff"


@given(st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,10}){1,3}(:[0-9]{1,5})?", fullmatch=True))
def test_no_name_but_the_server_s_own_is_taken(name):
    assert not is_own_name(name, "127.0.0.1")
    assert is_own_name(name, name.partition(":")[0])


# -- work in flight --------------------------------------------------------------------------------------------------


async def stays():
    return False


def test_no_more_work_is_taken_on_than_may_wait():
    async def ask():
        lanes, gate = Lanes(1, 2), asyncio.Event()
        loop = asyncio.get_running_loop()

        def work():
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            return "done"

        asked = [asyncio.ensure_future(lanes.do(work, stays)) for _ in range(4)]
        await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        lanes.close()
        return answers

    answers = asyncio.run(ask())
    assert answers[:3] == ["done"] * 3  # one at work, two that wait
    assert isinstance(answers[3], Busy)


def test_nothing_is_done_for_who_has_hung_up():
    async def left():
        return True

    lanes, done = Lanes(1, 1), []
    with pytest.raises(Left):
        asyncio.run(lanes.do(lambda: done.append(1), left))
    assert done == []


def test_an_error_of_the_work_is_that_of_who_asked_and_frees_the_lane():
    async def ask():
        lanes = Lanes(1, 1)
        with pytest.raises(ZeroDivisionError):
            await lanes.do(lambda: 1 // 0, stays)
        return await lanes.do(lambda: 5, stays)

    assert asyncio.run(ask()) == 5
