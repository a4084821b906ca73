"""The hub on a loopback address: answering, refusing, silent, forbidden. One line for each."""

import http.server
import socket
import threading

import pytest
from huggingface_hub import constants

from lengthgen.data import hub
from lengthgen.errors import DataError


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "*")
    return lambda url: monkeypatch.setattr(constants, "ENDPOINT", url)


def test_any_answer_means_that_it_is_there(endpoint, monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 60.0)
    server = http.server.HTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    )  # answers 501 to everything
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint(f"http://127.0.0.1:{server.server_port}")
    assert hub.why_unreachable() is None
    hub.require("x", "y")
    server.shutdown()
    server.server_close()


def test_a_refused_connection(endpoint, refusing, monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 60.0)
    endpoint(refusing)
    with pytest.raises(DataError) as caught:
        hub.require("dataset x", "dataset=python")
    assert str(caught.value).startswith(
        f"dataset x cannot be fetched from the Hugging Face hub: {refusing}: "
    )
    assert str(caught.value).endswith("; connect, or use dataset=python") and "\n" not in str(
        caught.value
    )


def test_a_host_that_never_answers(endpoint, monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        endpoint(url)
        assert "timed out" in hub._probe(url)
        assert hub.why_unreachable() is not None


def test_a_name_look_up_that_hangs(endpoint, monkeypatch):
    found = threading.Event()
    monkeypatch.setattr(hub, "SECONDS", 0.1)
    monkeypatch.setattr(hub, "_probe", lambda url: found.wait(60) and None)
    endpoint("http://nowhere.invalid")
    assert hub.why_unreachable() == "no answer from http://nowhere.invalid in 0.1 s"
    found.set()


def test_nonsense_as_endpoint(endpoint):
    endpoint("not a url")
    assert "unknown url type" in hub.why_unreachable()


def test_offline_is_the_users_wish(endpoint, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.offline() and hub.why_unreachable() == "HF_HUB_OFFLINE is set"


def test_a_file_comes_from_the_local_cache_or_is_one_line(endpoint, monkeypatch, tmp_path):
    import huggingface_hub

    def fetch(repository, file, local_files_only=False):
        if "there" in repository:
            return str(tmp_path / file)
        raise (
            huggingface_hub.errors.LocalEntryNotFoundError("no")
            if local_files_only
            else OSError("first\nsecond")
        )

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert hub.download("there/x", "f.json", "y") == tmp_path / "f.json"
    monkeypatch.setattr(hub, "why_unreachable", lambda: None)
    with pytest.raises(DataError) as caught:
        hub.download("a/x", "f.json", "tokenizer=bpe")
    assert (
        str(caught.value) == "f.json of a/x cannot be fetched from the Hugging Face hub: "
        "OSError: first; or use tokenizer=bpe"
    )


def test_first_line():
    assert hub.first_line(ValueError("a\nb")) == "ValueError: a"
    assert hub.first_line(ValueError()) == "ValueError"
