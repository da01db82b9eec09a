"""python.py PORT SOCKET: what the standard library can do alone."""
import http.client
import json
import socket
import sys

PORT, PATH = int(sys.argv[1]), sys.argv[2]
ID = {"jsonrpc": "2.0", "id": 1}


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(PATH)


def by_http(connection):
    def ask(body):
        connection.request("POST", "/rpc", json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == (200 if text else 204), answer.status
        return json.loads(text) if text else None
    return ask


def by_lines(sock):
    file = sock.makefile("rw", encoding="utf-8")

    def ask(body):
        file.write(json.dumps(body) + "\n")
        file.flush()
        requests = body if isinstance(body, list) else [body]
        if any("id" in request for request in requests):
            return json.loads(file.readline())
        return None
    return ask


def unix_socket():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(PATH)
    return sock


def is_paused(ask):
    return ask({**ID, "method": "get_runner_status",
                "params": ["up"]})["result"]["queue"]["paused"]


def serves(ask):
    assert "web" in ask({**ID, "method": "list_runners"})["result"]
    refused = ask({**ID, "method": "get_runner_status",
                   "params": {"name": "nobody"}})
    assert refused["error"]["code"] == -32010
    batch = ask([{"jsonrpc": "2.0", "method": "ping", "id": "a"},
                 {"jsonrpc": "2.0", "method": "ping"},
                 {"jsonrpc": "2.0", "method": "nonsense", "id": "b"}])
    assert len(batch) == 2
    by_id = {answer["id"]: answer for answer in batch}
    assert by_id["a"]["result"] == "pong"
    assert by_id["b"]["error"]["code"] == -32601
    assert ask({"jsonrpc": "2.0", "method": "pause_queue",
                "params": ["up"]}) is None
    while not is_paused(ask):
        pass
    ask({**ID, "method": "resume_queue", "params": ["up"]})


serves(by_http(http.client.HTTPConnection("127.0.0.1", PORT)))
serves(by_http(UnixConnection("localhost")))
serves(by_lines(socket.create_connection(("127.0.0.1", PORT))))
serves(by_lines(unix_socket()))
