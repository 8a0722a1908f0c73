"""A page in the browser: draw a digit, and see every layer of the network that reads it; train that network there.

    python draw.py                     serves the page on this machine alone, and opens the browser
    python draw.py --host 0.0.0.0      ... for every device in the same network: a phone with its camera, for example

On the page: draw with mouse, finger or pen; drop a photo of digits; train a network and watch its filters change. What
you mark there as read wrong is kept in the folder corrections/. Ctrl-C ends it.
"""

import os
import threading
import webbrowser
from pathlib import Path

import numpy as np

from analyze import DEFAULT_MODEL, load_model
from errors import Parser, number, run
from gpu_launch import DEVICES
from sizes import IMAGE_SIZE
from web.server import PageServer, listen, serve

PORT = 2828  # pixels of an image
CORRECTIONS = "corrections"  # the folder, in the present one


def main(argv=None):
    args = parse_arguments(argv)
    # Training, reading and the browser share the cores. A thread of OpenMP that waits for another one would spin and so
    # take the core that the other one needs: on a busy machine the training stands still. It shall sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    listening = listen(args.host, args.port)
    network = load_model(args.model, args.device)
    network.predict(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8))  # compiles it, the first time: not while one draws
    page_server = PageServer(network, Path(args.model).name, CORRECTIONS)
    address = page_address(args.host, listening.getsockname()[1])
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
    if not args.no_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    serve(page_server, args.host, listening)


def parse_arguments(argv=None):
    """The options of the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    port = number(int, 0, "a port from 0 to 65535", 65535)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0: for the whole network")
    parser.add_argument("--port", type=port, default=PORT, metavar="N", help="default: %(default)s; 0: any free port")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="PATH", help="default: weights/digits.npz")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where the networks run and train")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    return parser.parse_args(argv)


def page_address(host, port):
    """The address of the page, as one types it into the browser of this machine."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


if __name__ == "__main__":
    run(main, "draw.py: the page has ended")
