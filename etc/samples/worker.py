#!/usr/bin/env python3
"""A stdio worker: each job is a JSON-RPC request line on stdin, its end a
response line on stdout.  Try it:

    heroctl add-runner reverse --kind stdio -- python3 $PWD/worker.py
    heroctl run reverse hello
"""
import json
import sys


def send(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def run(job):
    """The work itself: text in, text out; raise to fail the job."""
    print("job", job["id"], file=sys.stderr, flush=True)  # to the log
    return job.get("payload", "")[::-1]


def serve(lines):
    for line in lines:
        if not line.strip():
            continue
        request = json.loads(line)
        if request.get("method") != "run":
            continue  # "cancel" and whatever may come: nothing to do here
        try:
            send({"id": request["id"], "result": run(request["params"])})
        except Exception as why:  # the job fails, the worker goes on
            error = {"code": -32000, "message": str(why)}
            send({"id": request["id"], "error": error})


if __name__ == "__main__":
    serve(sys.stdin)
