"""The command: what is wrong is one clear sentence and exit code 2, and a good configuration serves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from stream_gateway.cli import app

GOOD = """
[providers.mine]
dialect = "openai_chat"
base_url = "https://api.example/v1"
api_key_env = "MY_KEY"

[routes.fast]
targets = [{ provider = "mine", model = "gpt-x" }]
"""


@pytest.fixture(autouse=True)
def own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command sets up the log of its whole process, which here is ours."""
    for name in [name for name in os.environ if name.startswith("STREAM_GATEWAY_")]:
        monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def complaint(result: Result) -> str:
    """What was wrong: one line on standard error, nothing else, and exit code 2."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("stream-gateway: ")
    return line.removeprefix("stream-gateway: ")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(GOOD)
    return path


# check


def test_a_good_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1")
    result = run("check", file)
    assert result.exit_code == 0
    assert result.stdout == f"{file}: good; 1 provider, 1 route.\n"
    assert result.stderr == ""


def test_a_file_with_a_mistake(file: Path) -> None:
    file.write_text(GOOD.replace("base_url", "base_ulr"))
    message = complaint(run("check", file))
    assert message == f'{file}: key `providers."mine".base_ulr` is not known; did you mean `base_url`?'


def test_all_mistakes_are_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    file.write_text(GOOD + '[control]\ntoken_env = "NOBODY_HAS_SET_THIS"\n[compression]\ncodings = ["nope"]\n')
    result = run("check", file)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    for line, key in zip(lines, ("api_key_env", "control.token_env", "compression.codings"), strict=True):
        assert line.startswith(f"stream-gateway: {file}: key `")
        assert key in line


def test_a_key_that_is_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    message = complaint(run("check", file))
    assert "MY_KEY is not set" in message
    assert '`providers."mine".api_key_env`' in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in complaint(run("check", tmp_path / "none.toml"))


def test_a_check_needs_a_file() -> None:
    assert run("check").exit_code == 2


def test_without_a_command_it_says_what_there_is() -> None:
    result = run()
    assert "serve" in result.output
    assert "check" in result.output


def test_its_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"stream-gateway \d+\.\d+\.\d+\S*\n", result.stdout)


# serve


def test_serving_with_a_mistake_in_the_file(file: Path) -> None:
    file.write_text("[server]\nport = 'x'\n")
    assert complaint(run("serve", "--config", file)) == f"{file}: key `server.port`: expected `int`, got `str`."


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = complaint(run("serve", "--port", str(port)))
    assert message == f"cannot listen on 127.0.0.1:{port}: Address already in use."


def test_an_address_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_GATEWAY_GUARD__ANONYMOUS", "true")
    message = complaint(run("serve", "--host", "192.0.2.1", "--port", "0"))
    assert message == "cannot listen on 192.0.2.1:0: Cannot assign requested address."


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_GATEWAY_GUARD__ANONYMOUS", "true")
    assert complaint(run("serve", "--host", "name.invalid")).startswith("cannot listen on name.invalid:8080: ")


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_what_is_no_port(port: str) -> None:
    result = run("serve", "--port", port)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "--port" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gateway_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "stream_gateway",
        "serve",
        "--port",
        "0",
        "--host",
        "127.0.0.1",
        "--control-port",
        "0",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_GATEWAY_")}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            listening = json.loads(process.stderr.readline())
            assert (listening["event"], listening["host"]) == ("listening", "127.0.0.1")
            with socket.create_connection(("127.0.0.1", listening["port"])) as client:
                client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                reply = b"".join(iter(lambda: client.recv(65_536), b""))
            assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
            process.send_signal(number)
            output, log = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in log.splitlines()[-2:]] == ["stopping", "stopped"]
    assert f"127.0.0.1:{listening['port']}/v1/chat/completions" in output
    assert re.search(r"http://127\.0\.0\.1:[1-9]\d*/console\n", output)
