#!/usr/bin/env python3
"""A Hero actor: takes the ids of its jobs out of Redis by itself.  Try it:

    heroctl add-runner reverse --kind redis -- python3 $PWD/actor.py
    heroctl run reverse hello

Needs nothing but Python; with the package redis the class Redis is not needed.
"""
import os
import socket
import sys
from urllib.parse import urlparse


class Redis:
    """As much of a client as an actor needs."""

    def __init__(self, url):
        to = urlparse(url)
        if to.scheme == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(to.path)
        else:
            self.socket = socket.create_connection(
                (to.hostname, to.port or 6379))
        self.reader = self.socket.makefile("rb")
        if to.password:
            self.ask("AUTH", to.username or "default", to.password)

    def ask(self, *words):
        out = b"*%d\r\n" % len(words)
        for word in words:
            word = str(word).encode()
            out += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(out)
        return self.answer()

    def answer(self):
        line = self.reader.readline()
        if not line:
            raise ConnectionError("Redis is gone")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"$":
            size = int(rest)
            return self.reader.read(size + 2)[:-2].decode() if size >= 0 else None
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest


def work(payload):
    """The work itself: text in, text out; raise to fail the job."""
    return payload[::-1]


def serve(redis, namespace, queue):
    while True:
        _, job_id = redis.ask("BLPOP", f"{namespace}:work_queue:{queue}", 0)
        job = f"{namespace}:job:{job_id}"
        redis.ask("HSET", job, "status", "started")
        print("job", job_id, file=sys.stderr, flush=True)  # to the log
        try:
            end = ("finished", "result", work(redis.ask("HGET", job, "payload")))
        except Exception as why:  # the job fails, the actor goes on
            end = ("error", "error", why)
        redis.ask("HSET", job, "status", *end)
        redis.ask("RPUSH", f"{namespace}:reply:{job_id}", end[2])


if __name__ == "__main__":
    serve(Redis(os.environ.get("HERO_REDIS_URL", "redis://127.0.0.1:6379")),
          os.environ.get("HERO_NAMESPACE", "hero"),
          os.environ.get("HERO_QUEUE", "reverse"))
