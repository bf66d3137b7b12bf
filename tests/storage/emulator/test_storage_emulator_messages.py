import json

import pytest

from mien.storage.emulator.messages import Refusal, Request, decode, encode, not_found, refusal_answer


def test_a_target_is_taken_apart_with_or_without_a_host() -> None:
    for target in ("/b/x%2Fy?a=1&a=2&c=", "http://127.0.0.1:80/b/x%2Fy?a=1&a=2&c="):
        request = Request.parse("GET", target, {}, b"", "")
        assert request.path == "/b/x%2Fy"
        assert (request.get("a"), request.query["a"]) == ("2", ["1", "2"])
        assert (request.get("c", "-"), request.get("d", "-")) == ("", "-")


def test_a_path_may_hold_the_address_of_another_server() -> None:
    assert Request.parse("GET", "/bucket/http://x/y", {}, b"", "").path == "/bucket/http://x/y"


@pytest.mark.parametrize("name", ["a/b", "é 日本.txt", "a%2Fb", "../x", "?#&+"])
def test_a_name_comes_back_from_its_segment(name: str) -> None:
    assert "/" not in encode(name)
    assert decode(encode(name)) == name


def test_a_segment_that_is_no_text_is_refused() -> None:
    with pytest.raises(Refusal, match="not UTF-8"):
        decode("%FF")


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal, match="JSON") as refused:
        Request("POST", "/", body=body).json()
    assert refused.value.status == 400


def test_no_body_is_an_empty_object() -> None:
    assert Request("POST", "/", body=b" \n").json() == {}


def test_a_refusal_is_worded_as_the_clients_read_it() -> None:
    answer = refusal_answer(not_found("gs://b: no such bucket"))
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], error["errors"][0]["reason"]) == (404, 404, "notFound")
    assert error["message"] == error["errors"][0]["message"] == "gs://b: no such bucket"
    assert refusal_answer(Refusal(304, "notModified", "same")).body == b""
