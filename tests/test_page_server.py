"""The server of the page, by its requests: reading, training, and what it refuses. No browser is needed."""

import base64
import http.client
import io
import json
import re
import socket
import threading

import numpy as np
import pytest
from conftest import HAS_GPU, ROOT, SAMPLES
from page_client import Server, crop_of, drawing_of, until
from PIL import Image

import mnist_data
from cnn_jit import CNNJit
from network import initial_parameters
from web.guard import MAX_BYTES, MAX_PHOTO, Guard
from web.sessions import MAX_SESSIONS

pytest_plugins = ["page_fixtures"]

SMALL = {"filters": 2, "activation": "none", "learning_rate": 0.2}

# -- reading ----------------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_are_served(server):
    status, body = server.request("GET", "/")
    assert status == 200 and b"<title>" in body
    for name in ("main.js", "style.css", "icon.svg"):
        assert server.request("GET", f"/static/{name}")[0] == 200
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/../draw.py", "/static//etc/passwd"):
        assert server.request("GET", path)[0] == 404, path


def test_the_page_needs_nothing_from_elsewhere():
    for path in (ROOT / "web" / "static").iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "//cdn" not in text, path.name


def test_a_drawing_is_read_and_explained(page):
    found = page.draw("375")
    assert found["lines"] == ["375"] and [digit["value"] for digit in found["digits"]] == [3, 7, 5]
    assert found["shown"] == 2 and found["label"] == 5
    assert found["logits"].shape == (13,) and found["convolved"].shape == (64 * 26 * 26,)
    assert found["filter_terms"].sum() + found["bias"] == pytest.approx(found["logits"][5], abs=1e-3)
    assert base64.b64decode(found["digits"][2]["crop"]) == found["crop"].tobytes()
    other = page.draw("375", at=[0, 0], label=8)
    assert other["shown"] == 0 and other["label"] == 8
    assert other["filter_terms"].sum() + other["bias"] == pytest.approx(other["logits"][8], abs=1e-3)
    nothing = page.draw("3", strokes=[])
    assert nothing["lines"] == [] and nothing["shown"] is None and nothing["arrays"] == []
    assert "this is no drawing" in page.refusal("/draw", {"strokes": 7})


def test_a_crop_is_explained(page):
    found = page.draw("3")
    status, body = page.post("/explain", {"crop": found["digits"][0]["crop"]})
    assert status == 200 and found["convolved"].tobytes() in body
    assert "28x28" in page.refusal("/explain", {"crop": "AAAA"})


def test_a_photo_is_read(page):
    status, body = page.post("/photo", (SAMPLES / "digits.jpg").read_bytes(), X_Name="digits.jpg")
    assert status == 200
    found = json.loads(body)
    assert found["lines"] == ["31415926"] and found["size"] == [1200, 420]
    assert [digit["value"] for digit in found["digits"]] == [3, 1, 4, 1, 5, 9, 2, 6]
    for digit in found["digits"]:
        x, y, width, height = digit["box"]
        assert 0 <= x < x + width <= 1200 and 0 <= y < y + height <= 420
        assert len(base64.b64decode(digit["crop"])) == 28 * 28
    pictures = [found["annotated"], *(stage["picture"] for stage in found["stages"])]
    sizes = [Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1]))).size for picture in pictures]
    assert sizes[0] == (1200, 420) and len(sizes) > 3


@pytest.mark.parametrize("form", ("PNG", "WEBP", "TIFF", "GIF", "BMP"))
def test_photos_of_other_formats_are_read(page, form):
    file = io.BytesIO()
    with Image.open(SAMPLES / "big.png") as image:
        image.convert("RGB").save(file, form)
    status, body = page.post("/photo", file.getvalue())
    assert status == 200 and json.loads(body)["lines"] == ["5"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Dear all, no digits", "not a picture"),
        (b"", "empty"),
        (b"\xff\xd8\xff\xe0broken", ""),
        (b"%!PS-Adobe", "EPS"),
    ],
)
def test_a_bad_upload_is_one_line_that_names_it(page, content, reason):
    """By the user's name for it, which is never opened, even if it is a path that exists."""
    name = str(SAMPLES / "digits.jpg")
    status, body = page.post("/photo", content, X_Name=name.replace(" ", "%20"))
    line = json.loads(body)["error"]
    assert status == 400 and line.startswith(f"{name[:80]}: ") and reason in line
    assert "\n" not in line and "tmp" not in line.removeprefix(name)


def test_a_picture_of_too_many_pixels_is_refused(page):
    """Before it is decoded: the header alone says so."""
    bmp = b"BM" + bytes(16) + (20_000).to_bytes(4, "little") * 2 + b"\x01\x00\x18\x00" + bytes(24)
    bmp = bmp[:10] + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + bmp[18:]
    status, body = page.post("/photo", bmp)
    assert status == 400 and "are too many" in json.loads(body)["error"]


def test_of_many_uploads_at_once_none_is_lost(page):
    names = ["digits.jpg", "touching.png", "big.png", "tiny.png"] * 5
    wanted = {"digits.jpg": "31415926", "touching.png": "60482", "big.png": "5", "tiny.png": "20251"}
    answers = [None] * len(names)

    def upload(i):
        status, body = page.post("/photo", (SAMPLES / names[i]).read_bytes())
        answers[i] = status, "".join(json.loads(body).get("lines", []))

    threads = [threading.Thread(target=upload, args=(i,)) for i in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert answers == [(200, wanted[name]) for name in names]


def test_a_correction_is_kept(server, page):
    crop = page.draw("7")["digits"][0]["crop"]
    answer = page.ask("/correct", {"crop": crop, "label": "1", "read": "7", "kind": "drawing"})
    assert answer == {"count": 1, "folder": "corrections"}
    manifest = (server.folder / "corrections" / "manifest.tsv").read_text().splitlines()
    assert len(manifest) == 2 and manifest[1].endswith(".png\t1\tdrawing\t7")
    for wrong in ({"label": "12"}, {"label": "../x"}, {"kind": "other"}, {"crop": "AAAA"}):
        page.refusal("/correct", {"crop": crop, "label": "1", "read": "7", "kind": "drawing"} | wrong)


# -- who may ask ------------------------------------------------------------------------------------------------------


def test_another_page_cannot_drive_it(server, page):
    own = server.address.rstrip("/")
    drawing = json.dumps(drawing_of("3")).encode()
    for headers, wanted in (
        ({"X_Session": page.name, "Origin": own}, 200),
        ({"X_Session": page.name, "Origin": "http://evil.example"}, 403),
        ({"X_Session": page.name, "Origin": "null"}, 403),
        ({"X_Session": page.name, "Origin": own.replace("http", "https")}, 403),
        ({"X_Session": page.name, "Host": "evil.example"}, 421),
        ({"X_Session": page.name, "Host": f"evil.example:{server.port}"}, 421),
        ({"X_Session": page.name, "Host": f"localhost:{server.port}"}, 200),
        ({"X_Session": "guessed"}, 409),
        ({}, 409),
    ):
        assert server.request("POST", "/draw", drawing, **headers)[0] == wanted, headers
    assert server.request("GET", "/events", Origin="http://evil.example")[0] == 403
    assert server.request("GET", "/", Host="evil.example")[0] == 421
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("host", "name", "own"),
    [
        ("127.0.0.1", "127.0.0.1:2828", True), ("127.0.0.1", "localhost", True), ("127.0.0.1", "[::1]:2828", True),
        ("0.0.0.0", "192.168.1.7:2828", True), ("0.0.0.0", f"{socket.gethostname()}:80", True),
        ("0.0.0.0", f"{socket.gethostname()}.local", True), ("desk.local", "desk.local:2828", True),
        ("127.0.0.1", "desk.local:2828", False),
        ("0.0.0.0", "127.0.0.1.evil.example", False), ("127.0.0.1", "localhost.evil", False), ("127.0.0.1", "", False),
    ],
)  # fmt: skip
def test_what_names_mean_this_server(host, name, own):
    assert Guard(None, host).is_own(name) == own


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [("/photo", MAX_PHOTO + 1, 413), ("/draw", MAX_BYTES + 1, 413), ("/photo", None, 411), ("/photo", "x", 400)],
)
def test_a_large_body_is_refused_before_it_is_read(server, page, path, length, status):
    """Only the head is sent: a server that waited for the body would not answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Session: {page.name}\r\n{size}\r\n\r\n"
        connection.sendall(head.encode())
        assert f" {status} " in connection.recv(100).decode().splitlines()[0]


@pytest.mark.parametrize("body", (b"", b"[1]", b"{", b"\xff", b"[" * 100_000))
def test_what_is_no_json_object_is_one_line(page, body):
    status, answer = page.post("/draw", body)
    assert status == 400 and json.loads(answer) == {"error": "the page sent no JSON object"}


# -- training ---------------------------------------------------------------------------------------------------------


def test_two_pages_train_and_do_not_disturb_each_other(server):
    """Each learns what `CNNJit` learns with the same recipe, draws meanwhile, and ends with its page."""
    with server.page() as one, server.page() as other:
        one.ask("/train", {"recipe": SMALL, "epochs": 2})
        other.ask("/train", {"recipe": SMALL | {"filters": 3, "activation": "relu"}, "epochs": 1})
        until(lambda: server.trainings() == 2)
        assert one.draw("5")["lines"] and other.draw("5")["lines"]
        points, report = one.training("stopped")
        assert [point["epoch"] for point in points] == [0, 1, 2] and report["network"]["filters"] == 2
        assert 0 < points[0]["test_accuracy"] < 0.4 < 0.8 < points[2]["test_accuracy"] < 1
        assert points[2]["loss"] < points[1]["loss"] < 1 and points[0]["loss"] is None
        points, report = other.training("stopped")
        assert [point["epoch"] for point in points] == [0, 1]
        assert report["network"] == {
            "filters": 3, "activation": "relu", "classes": list("0123456789"), "epochs": 1
        }  # fmt: skip
        assert one.draw("5")["filters"].size == 18 and other.draw("5")["filters"].size == 27
    until(lambda: server.trainings() == 0)


def test_a_training_goes_on_stops_and_is_saved(server, page, tmp_path):
    assert "train a network first" in page.refusal("/model", {})
    assert "begin a new one" in page.refusal("/train", {"epochs": 1})
    page.ask("/train", {"recipe": SMALL, "epochs": 1})
    points, _ = page.training("stopped")
    page.ask("/train", {"epochs": None})
    assert "begin a new one" in page.refusal("/train", {"epochs": 1})
    points += page.training("training")[0]
    page.ask("/stop")
    points += page.training("stopped")[0]
    status, body = page.post("/model", {})
    assert status == 200
    (tmp_path / "model.npz").write_bytes(body)
    network = CNNJit.load(tmp_path / "model.npz")
    assert (network.num_filters, network.activation, network.num_classes) == (2, "none", 10)
    assert network.meta["test_accuracy"] == points[-1]["test_accuracy"] > 0.8
    assert (page.draw("5")["filters"] == network.parameters.filters.reshape(-1)).all()
    page.ask("/given")
    assert page.draw("5")["filters"].size == 9 * 64
    until(lambda: server.trainings() == 0)


def test_one_epoch_learns_what_the_engine_learns(page):
    data = mnist_data.load()
    network = CNNJit(2, "none", seed=0)
    (epoch,) = network.fit(data.train_images, data.train_labels, 1, 64, 0.2)
    page.ask("/train", {"recipe": SMALL, "epochs": 1})
    points, _ = page.training("stopped")
    assert points[1]["loss"] == pytest.approx(epoch.loss, rel=1e-6)
    assert points[1]["test_accuracy"] == network.evaluate(data.test_images, data.test_labels)[1]
    assert page.draw("5")["filters"] == pytest.approx(network.parameters.filters.reshape(-1), abs=1e-6)
    assert not np.array_equal(network.parameters.filters, initial_parameters(2, 0).filters)


def test_a_page_that_is_closed_stops_its_training(server):
    page = server.page()
    page.ask("/train", {"recipe": SMALL, "epochs": None})
    page.training("training")
    assert server.trainings() == 1
    page.close()
    until(lambda: server.trainings() == 0)
    assert server.request("POST", "/draw", b"{}", X_Session=page.name)[0] == 409


def test_a_training_that_diverges_is_one_line(page):
    page.ask("/train", {"recipe": SMALL | {"learning_rate": 1e6}, "epochs": 3})
    _, report = page.training("failed")
    assert "the learning rate 1e+06 is too high here" in report["error"]
    assert page.draw("5")["lines"], "the page still reads"
    page.ask("/train", {"recipe": SMALL, "epochs": 1})
    assert page.training("stopped")[0][-1]["epoch"] == 1


@pytest.mark.parametrize("wrong", ({"filters": 0}, {"activation": "tanh"}, {"learning_rate": -1}))
def test_a_bad_recipe_starts_nothing(server, page, wrong):
    page.refusal("/train", {"recipe": SMALL | wrong, "epochs": 1})
    page.refusal("/train", {"recipe": SMALL, "epochs": 0})
    assert server.trainings() == 0


def test_too_many_pages_are_told_so(server):
    pages = [server.page() for _ in range(MAX_SESSIONS + 1)]
    assert [page.event for page in pages] == ["session"] * MAX_SESSIONS + ["refused"]
    assert "close one" in pages[-1].opened["error"]
    for page in pages:
        page.close()

    def is_free():
        with server.page() as page:
            return page.event == "session"

    until(is_free)


# -- the program ------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_all_in_good_order(tmp_path):
    """Also with an open page whose network is in training."""
    server = Server(tmp_path)
    page = server.page()
    page.ask("/train", {"recipe": SMALL, "epochs": None})
    page.training("training")
    server.press_ctrl_c()
    out, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, out, err) == (130, "", "draw.py: the page has ended\n")
    until(lambda: server.trainings() == 0)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_line(script, one_line, server, tmp_path):
    one_line("draw.py", script("draw.py", "--port", server.port, "--no-browser"), str(server.port), "--port 0")
    one_line("draw.py", script("draw.py", "--host", "no.such.host.example", "--no-browser"), "no.such.host.example")
    one_line("draw.py", script("draw.py", "--port", "99999"), "99999")
    (tmp_path / "text.npz").write_text("no model")
    result = script("draw.py", "--port", "0", "--no-browser", "--device", "cpu", "--model", tmp_path / "text.npz")
    one_line("draw.py", result, "text.npz", "not a model file")


def test_a_page_for_the_whole_network_says_its_address(tmp_path):
    """Two addresses: for this machine, and for the phone. Names of others are refused there, too."""
    server = Server(tmp_path, "--host", "0.0.0.0")
    assert server.address == f"http://localhost:{server.port}/"
    line = server.process.stdout.readline()
    (host,) = re.findall(rf"^for other devices in the network: http://(\S+:{server.port})/$", line)
    assert server.request("GET", "/", Host=host)[0] == 200
    assert server.request("GET", "/", Host="evil.example")[0] == 421
    server.stop()


@pytest.mark.skipif(not HAS_GPU, reason="no GPU here")
def test_it_runs_on_a_gpu(tmp_path):
    """Reading and training, there in processes that share it."""
    server = Server(tmp_path, device="cuda")
    with server.page() as one, server.page() as other:
        assert one.draw("375")["lines"] == ["375"]
        for page in (one, other):
            page.ask("/train", {"recipe": SMALL, "epochs": 20})
        for page in (one, other):
            points, _ = page.training("stopped")
            assert [point["epoch"] for point in points] == list(range(21)) and points[-1]["test_accuracy"] > 0.85
            found = page.draw("5")
            logit = found["logits"][found["label"]]
            assert found["filter_terms"].sum() + found["bias"] == pytest.approx(logit, abs=1e-3)
    until(lambda: server.trainings() == 0)
    server.stop()


def test_a_model_of_ones_own_is_served(model_file, tmp_path):
    server = Server(tmp_path, "--model", model_file)
    with server.page() as page:
        assert page.opened["network"]["title"] == model_file.name and page.opened["network"]["filters"] == 2
        assert page.draw("5", strokes=[])["shown"] is None
        status, _ = page.post("/explain", {"crop": crop_of(np.zeros((28, 28), np.uint8))})
        assert status == 200
    server.stop()
