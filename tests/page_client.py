"""The server of the page, as a program of its own, and a client that talks to it as the page does.

The fixtures in page_fixtures.py start them.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
from conftest import NO_SIMULATOR, ROOT

SIZE = 640, 320  # of a drawing
PEN = 15
STROKES = {  # in a box of 1x1
    "3": [
        (0.2, 0.2), (0.5, 0.05), (0.8, 0.2), (0.75, 0.4), (0.45, 0.5),
        (0.8, 0.6), (0.85, 0.8), (0.5, 0.97), (0.15, 0.85),
    ],
    "5": [(0.8, 0.05), (0.25, 0.05), (0.2, 0.45), (0.5, 0.38), (0.8, 0.55), (0.8, 0.8), (0.5, 0.97), (0.15, 0.85)],
    "7": [(0.1, 0.05), (0.9, 0.05), (0.6, 0.5), (0.4, 0.97)],
}  # fmt: skip


def strokes_of(text, width=SIZE[0], height=SIZE[1]):
    """One stroke for each digit of a text, side by side in a sheet of this size: lists of points (x, y)."""
    step, tall = 0.8 * width / len(text), 0.6 * height
    wide = min(0.75 * step, 0.65 * tall)
    for i, digit in enumerate(text):
        left = 0.1 * width + i * step + (step - wide) / 2
        yield [(left + x * wide, 0.2 * height + y * tall) for x, y in STROKES[digit]]


def drawing_of(text, **more):
    """The message that the page sends when a text is drawn."""
    strokes = [[round(value) for point in stroke for value in point] for stroke in strokes_of(text)]
    return {"size": SIZE, "pen": PEN, "strokes": strokes, **more}


def with_arrays(body):
    """The JSON of an answer with arrays, and these among its entries."""
    length = int.from_bytes(body[:4], "little")
    answer, start = json.loads(body[4 : 4 + length]), 4 + length
    for name, dtype, count in answer["arrays"]:
        answer[name] = np.frombuffer(body, np.dtype(dtype).newbyteorder("<"), count, start)
        start += answer[name].nbytes
    assert start == len(body)
    return answer


class Server:
    """`python draw.py`, started in a folder."""

    def __init__(self, folder, *options, device="cpu"):
        command = [sys.executable, ROOT / "draw.py", "--port", "0", "--no-browser", "--device", device, *options]
        self.process = subprocess.Popen(
            command, cwd=folder, env=NO_SIMULATOR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.folder = folder
        self.address = re.search(r"http://\S+/", self.process.stdout.readline())[0]
        self.port = int(re.search(r":(\d+)/", self.address)[1])

    def request(self, method, path, body=None, **headers):
        """(status, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def page(self):
        """A new Page, for a `with`."""
        return Page(self)

    def trainings(self):
        """How many processes train."""
        command = ["ps", "-ww", "-o", "args=", "--ppid", str(self.process.pid)]  # -ww: whole lines
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return sum("spawn_main" in line for line in listed.splitlines())

    def press_ctrl_c(self):
        """As a terminal does: the signal goes to the server and to all processes that it has started."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=30)


class Page:
    """An open page: its stream of events, and its requests."""

    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self.connection.request("GET", "/events")
        self.stream = self.connection.getresponse()
        self.event, self.opened = self.next_event()
        self.name = self.opened.get("name", "")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.connection.close()

    def next_event(self):
        """(name, data) of the next event."""
        name = None
        while True:
            line = self.stream.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))

    def training(self, state):
        """All points that are reported until the training has this state, and the last report."""
        points = []
        while True:
            _, report = self.next_event()
            points += report["points"]
            if report["state"] == state:
                return points, report

    def post(self, path, message=None, **headers):
        """(status, body); message: a dict, sent as JSON, or bytes."""
        body = message if isinstance(message, bytes) else json.dumps(message or {}).encode()
        return self.server.request("POST", path, body, X_Session=self.name, **headers)

    def ask(self, path, message=None):
        """The answer's JSON; the request must not be refused."""
        status, body = self.post(path, message)
        assert status == 200, body
        return json.loads(body)

    def draw(self, text, **more):
        status, body = self.post("/draw", drawing_of(text, **more))
        assert status == 200, body
        return with_arrays(body)

    def refusal(self, path, message, status=400):
        """The one line with which a request is refused."""
        answered, body = self.post(path, message)
        assert answered == status, body
        (line,) = json.loads(body)["error"].splitlines()
        return line


def until(condition, seconds=20):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


def crop_of(array):
    """A crop as it is sent."""
    return base64.b64encode(array.tobytes()).decode()
