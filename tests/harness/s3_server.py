"""An S3 server of our own on the loopback interface: prints its port, then answers until it is killed."""

import logging
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

one_at_a_time = threading.Lock()  # moto looks whether an object is there, then writes it: S3 does both at once
application = DomainDispatcherApplication(create_backend_app)


def serve(environ, start_response):
    with one_at_a_time:
        return application(environ, start_response)


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, serve, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
