"""The server of the page: one address for each thing that the page asks for.

    GET   /            the page; /static/... has its files
    GET   /events      opens a session; the stream tells its name, and then what its training has learned
    POST  /draw        {size, pen, strokes, at, label}  ->  what is read in a drawing; the network on one digit
    POST  /explain     {crop, label}                    ->  the network on this crop
    POST  /photo       a picture file                   ->  what is read in it
    POST  /correct     {crop, label, read, kind}        ->  keeps a crop that was read wrong
    POST  /train       {epochs, recipe}                 ->  trains on, or, if there is a recipe, a new network
    POST  /stop        {}                               ->  stops the training
    POST  /given       {}                               ->  reads with the model of --model again
    POST  /model       {}                               ->  the model file of the network that was trained

What is posted has the name of its session in the header X-Session: no foreign page knows it, and none can send a header
of its own. A UserError is answered with status 400 and {"error": one line}.
"""

import asyncio
import mimetypes
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from errors import UserError
from photos.reading import read_ink
from web import messages
from web.corrections import keep_correction
from web.explain import explain
from web.guard import Guard
from web.photo import read_photo
from web.sessions import Sessions
from web.strokes import draw_ink

STATIC = Path(__file__).parent / "static"
HEARTBEAT = 15  # seconds: a stream that says nothing for so long sends an empty line, which fails if nobody is there
GRACE = 3  # seconds that the answers under way have when the server stops

mimetypes.add_type("text/javascript", ".js")  # on Windows the registry may say otherwise, and browsers then refuse it


class PageServer:
    """What the server knows: the open pages, and where corrections are kept.

    network: the one of --model; title: how the page calls it; corrections: a folder.
    """

    def __init__(self, network, title, corrections):
        self.sessions = Sessions(network)
        self.title = title
        self.corrections = Path(corrections)
        # One photo at a time: each takes all cores and much memory, and opening one redirects stderr for a moment.
        self.photos = ThreadPoolExecutor(1, "photos")

    def application(self, host):
        """The ASGI application. host: the address that it is served at."""
        posts = {
            "/draw": self.draw, "/explain": self.explain, "/photo": self.photo, "/correct": self.correct,
            "/train": self.train, "/stop": self.stop, "/given": self.use_given, "/model": self.model,
        }  # fmt: skip
        routes = [
            Route("/", lambda _: FileResponse(STATIC / "index.html")),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/events", self.events),
            *(Route(path, self._answer(work), methods=["POST"]) for path, work in posts.items()),
        ]
        return Guard(Starlette(routes=routes), host)

    def _answer(self, work):
        """The endpoint that answers with what `work(session, request)` returns: a dict, or a Response."""

        async def endpoint(request):
            session = self.sessions.get(request.headers.get("x-session"))
            if session is None:
                return JSONResponse({"error": "the connection to the server was lost: reload the page"}, 409)
            try:
                answer = await work(session, request)
            except UserError as error:
                return JSONResponse({"error": " ".join(str(error).split())}, 400)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return endpoint

    # -- reading ------------------------------------------------------------------------------------------------------

    async def draw(self, session, request):
        message = await messages.parse(request)

        def work():
            reading = read_ink(draw_ink(message), session.reader)
            shown = messages.nearest(reading, message.get("at"))
            found = {"lines": reading.lines(), "digits": messages.digits(reading), "shown": shown}
            return self._explain(session, None if shown is None else reading.digits[shown].crop, message, found)

        return await run_in_threadpool(work)

    async def explain(self, session, request):
        message = await messages.parse(request)
        return await run_in_threadpool(self._explain, session, messages.crop(message), message, {})

    def _explain(self, session, crop, message, answer):
        """The Response: an answer, a dict, with the Explanation of a crop, None for no crop.

        message: what the page asked, which may name a class.
        """
        found, network = None, session.network
        if crop is not None:
            found = explain(network, crop, messages.label(message, network.num_classes))
        return Response(messages.explanation(found, answer), media_type="application/octet-stream")

    async def photo(self, session, request):
        name = messages.file_name(unquote(request.headers.get("x-name", "")))
        content = await request.body()

        def work():
            return messages.photo(read_photo(content, name, session.reader))

        return await asyncio.get_running_loop().run_in_executor(self.photos, work)

    async def correct(self, session, request):
        correction = messages.correction(await messages.parse(request))
        count = keep_correction(self.corrections, *correction)  # not in a thread: one after the other
        return {"count": count, "folder": str(self.corrections)}

    # -- training -----------------------------------------------------------------------------------------------------

    async def train(self, session, request):
        message = await messages.parse(request)
        epochs = messages.epochs(message)
        if message.get("recipe") is None:
            session.train_on(epochs)
        else:
            session.train_new(messages.recipe(message["recipe"]), epochs)
        return {}

    async def stop(self, session, request):
        session.stop()
        return {}

    async def use_given(self, session, request):
        session.use_given()
        return {}

    async def model(self, session, request):
        def work():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.npz"
                session.save(path)
                return path.read_bytes()

        return Response(await run_in_threadpool(work), media_type="application/octet-stream")

    async def events(self, request):
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self):
        """The events of one page, for as long as it is open: its session begins and ends with them."""
        try:
            session = self.sessions.open()
        except UserError as error:
            yield messages.event("refused", {"error": str(error)})
            return
        try:
            about = messages.network(session.network) | {"title": self.title}
            yield messages.event("session", {"name": session.name, "network": about})
            while True:
                try:
                    report = await asyncio.wait_for(session.events.get(), HEARTBEAT)
                except asyncio.TimeoutError:
                    yield ":\n\n"
                    continue
                if report is None:
                    return
                yield messages.event("training", messages.training(report, session.network))
        finally:
            self.sessions.close(session)

    def end_streams(self):
        """End the event streams of all pages, and so their training: the server stops."""
        for session in self.sessions.values():
            session.events.put_nowait(None)


class _Server(uvicorn.Server):
    """uvicorn waits, when it stops, until all is answered; event streams have to be told."""

    def __init__(self, config, page_server):
        super().__init__(config)
        self.page_server = page_server

    async def shutdown(self, sockets=None):
        self.page_server.end_streams()
        await super().shutdown(sockets)


def listen(host, port):
    """A socket that listens there. Raises UserError when that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: {reason}; --port 0 takes any free port") from None


def serve(page_server, host, listening):
    """Serve the page until Ctrl-C. listening: the socket of `listen(host, ...)`."""
    config = uvicorn.Config(
        page_server.application(host), http="h11", lifespan="off", log_level="warning", access_log=False,
        timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    _Server(config, page_server).run(sockets=[listening])
