"""Fixtures of the page's tests; a test file gets them by `pytest_plugins = ["page_fixtures"]`."""

import pytest
from page_client import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that runs in a folder of its own."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture
def page(server):
    with server.page() as opened:
        yield opened
