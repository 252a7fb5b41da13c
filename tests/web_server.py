"""A web server of a folder, as tests reach one."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    """Many chunks are asked for at once: what does not fit into the usual queue of five comes a second later."""

    request_queue_size = 128
    daemon_threads = True


@contextmanager
def serving(folder, handler=Quiet) -> Iterator[str]:
    """Serve a folder; yields the server's address."""
    with _Server(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
