"""A page in the browser: draw a digit, and see every layer of the network that reads it; train that network there.

    python draw.py                     serves the page on this machine alone, and opens the browser
    python draw.py --host 0.0.0.0      ... for every device in the same network: a phone with its camera, for example

On the page: draw with mouse, finger or pen; drop a photo of digits; train a network and watch its filters change. What
you mark there as read wrong is kept in the folder corrections/. Ctrl-C ends it.
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import os
import socket
import threading
import webbrowser
from pathlib import Path

import numpy as np

from errors import Parser, number, run
from gpu_launch import DEVICES, gpu_problem, use_gpu
from sizes import IMAGE_SIZE
from volume.work import DEFAULT_MODEL
from web.server import PageServer, listen, serve

PORT = 2828  # pixels of an image
EVERYWHERE = "0.0.0.0", "::"  # what --host is called when every device may come
CORRECTIONS = "corrections"  # the folder, in the present one


def main(argv=None):
    args = parse_arguments(argv)
    # Training, reading and the browser share the cores. A thread of OpenMP that waits for another one would spin and so
    # take the core that the other one needs: on a busy machine the training stands still. It shall sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    listening = listen(args.host, args.port)
    network = load_network(args.model, args.device)
    network.predict(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8))  # compiles it, the first time: not while one draws
    page_server = PageServer(network, Path(args.model).name, CORRECTIONS)
    port = listening.getsockname()[1]
    address = page_address("localhost" if args.host in EVERYWHERE else args.host, port)
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
    if args.host in EVERYWHERE:
        print(f"for other devices in the network: {page_address(own_address(), port)}", flush=True)
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


def load_network(path, device):
    """The network of a model file, as the engine in which the page also trains; device: "auto", "cuda" or "cpu".

    Raises UserError when the file is no model, or when "cuda" is asked for and there is no GPU.
    """
    if (device == "auto" and gpu_problem() is None) or (device == "cuda" and use_gpu(device)):
        from cnn_gpu import CNNGPU as Engine  # here, because each takes time to import, and one is enough
    else:
        from cnn_jit import CNNJit as Engine
    return Engine.load(path)


def page_address(host, port):
    """The address of the page, as one types it into a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def own_address():
    """The address that this machine has in its network; its name where that is not known."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no machine at all (RFC 5737); a datagram socket sends nothing yet
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


if __name__ == "__main__":
    run(main, "draw.py: the page has ended")
