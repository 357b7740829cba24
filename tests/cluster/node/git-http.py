#!/usr/bin/env python3
"""git-http.py ADDRESS PORT ROOT: serves the bare repositories below ROOT over smart HTTP, for reading and pushing.

Flux's Git client speaks no other kind of HTTP. The work is done by `git http-backend`, a CGI program.
"""
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS, PORT, ROOT = sys.argv[1], int(sys.argv[2]), os.path.abspath(sys.argv[3])
SETTINGS = {"safe.directory": "*", "http.receivepack": "true"}


class Handler(BaseHTTPRequestHandler):
    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        return b"".join(chunks)

    def environment(self, length):
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_USER": "test",
            "GIT_CONFIG_COUNT": str(len(SETTINGS)),
        }
        for number, (key, value) in enumerate(SETTINGS.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        for header, name in (("Git-Protocol", "GIT_PROTOCOL"), ("Content-Encoding", "HTTP_CONTENT_ENCODING")):
            if value := self.headers.get(header):
                environment[name] = value
        return environment

    def answer(self):
        body = self.body()
        run = subprocess.run(
            ["git", "http-backend"], input=body, env=self.environment(len(body)), stdout=subprocess.PIPE, check=False
        )
        head, _, content = run.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer


class Server(ThreadingHTTPServer):
    daemon_threads = True


Server((ADDRESS, PORT), Handler).serve_forever()
