"""Listed models: named in the configuration, fetched from a server on loopback, or taken from a folder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drunet.errors import ConfigError, ModelError
from drunet.export.listed import ListedModel, obtain, read_lists, with_listed

BODY = bytes(range(256)) * 40_000
DIGEST = hashlib.sha256(BODY).hexdigest()
ENTRY = {"address": "https://example.org/net.onnx", "sha256": DIGEST, "licence": "CC BY 4.0"}
ROOT = Path(__file__).resolve().parents[2]


class Server(ThreadingHTTPServer):
    """Serves BODY; cuts the first `cuts` answers short, and may know no ranges."""

    cuts = 0
    ranges = True
    status = 200
    asked: list[str | None]


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if self.server.status != 200 or start >= len(BODY):
            self.send_error(416 if self.server.status == 200 else self.server.status)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        cut, self.server.cuts = self.server.cuts > 0, self.server.cuts - 1
        self.wfile.write(BODY[start : start + 3_000_000] if cut else BODY[start:])

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(("127.0.0.1", 0), _Answer)
    served.asked = []
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/models/net.onnx"


def test_a_model_is_fetched_whole(server: Server, tmp_path: Path) -> None:
    obtain(tmp_path / "in/net.onnx", DIGEST, address(server))
    assert (tmp_path / "in/net.onnx").read_bytes() == BODY
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["net.onnx"]


def test_a_cut_within_a_run_goes_on_where_it_stood(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    obtain(tmp_path / "net.onnx", DIGEST, address(server))
    assert (tmp_path / "net.onnx").read_bytes() == BODY
    assert server.asked == [None, "bytes=3000000-", "bytes=6000000-"]


def test_a_cut_that_ended_a_run_goes_on_in_the_next(server: Server, tmp_path: Path) -> None:
    server.cuts = 3
    with pytest.raises(ModelError, match=r"cannot be fetched \(found: the connection was cut\)\. Start again"):
        obtain(tmp_path / "net.onnx", DIGEST, address(server))
    assert not (tmp_path / "net.onnx").exists()
    obtain(tmp_path / "net.onnx", DIGEST, address(server))
    assert (tmp_path / "net.onnx").read_bytes() == BODY and server.asked[-1] == "bytes=9000000-"


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = 1, False
    obtain(tmp_path / "net.onnx", DIGEST, address(server))
    assert (tmp_path / "net.onnx").read_bytes() == BODY


def test_all_that_was_fetched_before_the_end_of_a_run_is_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{DIGEST}.fetching").write_bytes(BODY)
    obtain(tmp_path / "net.onnx", DIGEST, address(server))
    assert (tmp_path / "net.onnx").read_bytes() == BODY


def test_another_file_than_the_listed_one_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"not the one that the list pins \(found: {DIGEST}\)"):
        obtain(tmp_path / "net.onnx", "0" * 64, address(server))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_what_a_server_refuses_is_said(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(ModelError, match=r"cannot be fetched.*model_folder"):
        obtain(tmp_path / "net.onnx", DIGEST, address(server))


def test_no_server_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be fetched.*refused"):
        obtain(tmp_path / "net.onnx", DIGEST, "http://127.0.0.1:9/net.onnx")


@pytest.mark.parametrize("name", [f"{DIGEST}.onnx", DIGEST, "net.onnx"])
def test_a_folder_takes_the_place_of_the_network(tmp_path: Path, name: str) -> None:
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / name).write_bytes(BODY)
    obtain(tmp_path / "in/net.onnx", DIGEST, "http://127.0.0.1:9/net.onnx?download=1", str(tmp_path / "usb"))
    assert (tmp_path / "in/net.onnx").read_bytes() == BODY


def test_a_folder_without_the_file_or_with_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not hold the listed model"):
        obtain(tmp_path / "o.onnx", DIGEST, "http://127.0.0.1:9/net.onnx", str(tmp_path))
    (tmp_path / "net.onnx").write_bytes(BODY[1:])
    with pytest.raises(ModelError, match="not the one that the list pins"):
        obtain(tmp_path / "o.onnx", DIGEST, "http://127.0.0.1:9/net.onnx", str(tmp_path))


def test_a_listed_model_is_written_out_and_what_is_said_beside_it_goes_first() -> None:
    listed = {"net": ListedModel.of({**ENTRY, "settings": {"scale": 0.5, "tumour_index": 0}}, "x")}
    config = {"results": "out", "classifiers": {"c": {"onnx": "listed:net", "scale": 1.0}, "d": {"architecture": "a"}}}
    assert with_listed(config, listed)["classifiers"] == {
        "c": {
            "onnx": f"out/fetched/{DIGEST}.onnx",
            "sha256": DIGEST,
            "licence": "CC BY 4.0",
            "tumour_index": 0,
            "scale": 1.0,
        },
        "d": {"architecture": "a"},
    }
    with pytest.raises(ConfigError, match=r"classifiers\.c\.onnx: no list holds this model \(found: nets\).*net\?"):
        with_listed({**config, "classifiers": {"c": {"onnx": "listed:nets"}}}, listed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("net: [", "cannot be read"),
        ("- net", "holds no names"),
        ("net: {address: 'https://a/b', licence: MIT}", "sha256"),
        ("net: {address: 'file:///etc/passwd', licence: MIT, sha256: " + DIGEST + "}", "address"),
        ("net: {address: 'https://a/b', licence: '', sha256: " + DIGEST + "}", "licence"),
        ("net: {address: 'https://a/b', licence: MIT, digest: " + DIGEST + "}", "digest"),
    ],
)
def test_a_list_that_is_wrong_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_lists([path])
    assert "\n" not in str(caught.value)


def test_the_list_that_is_shipped_can_be_read() -> None:
    read_lists([ROOT / "resources/models.yaml"])
