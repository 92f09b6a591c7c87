"""Every error can be answered: its class carries what each protocol needs."""

import json

import pytest

from stream_protocols import errors
from stream_protocols.closing import CLOSINGS, should_reconnect

TYPES = {
    "invalid_request_error",
    "not_found_error",
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
    "overloaded_error",
    "timeout_error",
}


def _classes(root: type[errors.StreamProtocolError]) -> list[type[errors.StreamProtocolError]]:
    return [root, *(error for child in root.__subclasses__() for error in _classes(child))]


@pytest.mark.parametrize("error", _classes(errors.StreamProtocolError))
def test_every_class_carries_what_the_wire_needs(error: type[errors.StreamProtocolError]) -> None:
    assert 400 <= error.status <= 599
    assert error.code.isidentifier()
    assert error.code == error.code.lower()
    assert error.type in TYPES
    assert error.close_code in CLOSINGS
    assert error.__doc__


def test_codes_are_unique_but_for_the_base_classes() -> None:
    bases = {errors.StreamProtocolError, errors.LocalError, errors.RemoteError}
    own = [error for error in _classes(errors.StreamProtocolError) if "code" in vars(error) and error not in bases]
    codes = [error.code for error in own]
    assert len(codes) == len(set(codes))


def test_all_but_the_root_are_local_or_remote() -> None:
    for error in _classes(errors.StreamProtocolError)[1:]:
        assert issubclass(error, errors.LocalError) != issubclass(error, errors.RemoteError)


def test_a_client_does_not_come_back_with_what_was_refused() -> None:
    for error in _classes(errors.BadRequest) + _classes(errors.NotFound):
        assert not should_reconnect(error.close_code)


def test_to_json() -> None:
    error = errors.InvalidField("Field `n` must be a number.", param="n")
    assert json.loads(error.to_json()) == {
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_field",
            "message": "Field `n` must be a number.",
            "param": "n",
        }
    }
    assert str(error) == error.message


def test_param_is_null_when_nothing_is_to_blame() -> None:
    assert json.loads(errors.NotFound("Nothing here.").to_json())["error"]["param"] is None


def test_what_headers_need_stands_on_the_instance() -> None:
    assert errors.Overloaded("Full.", retry_after=3).retry_after == 3
    assert errors.Overloaded("Full.").retry_after is None
    assert errors.MethodNotAllowed("Not so.", allow=("GET", "HEAD")).allow == ("GET", "HEAD")
