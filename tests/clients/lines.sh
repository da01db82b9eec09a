#!/bin/sh
# lines.sh COMMAND...: socat or nc, which carries lines to herod and back.
# All that is asked goes through one connection, then its end is told.
set -eu

line() {
	printf '%s\n' "$1"
}

# What each line is answered, errors by their code; the notification is not.
{
	line '{"jsonrpc":"2.0","method":"list_runners","id":1}'
	line '{"jsonrpc":"2.0","method":"get_runner_status","params":["nobody"],"id":2}'
	line '[{"jsonrpc":"2.0","method":"ping","id":3},
	    {"jsonrpc":"2.0","method":"nonsense","id":4}]' | tr -d '\n\t'
	line ''
	line '{"jsonrpc":"2.0","method":"pause_queue","params":["up"]}'
} | "$@" | jq -se '
	flatten | length == 4 and
	(map({(.id | tostring): (.result // .error.code)}) | add |
	(.["1"] | index("web")) and .["2"] == -32010 and
	.["3"] == "pong" and .["4"] == -32601)' >/dev/null

until line '{"jsonrpc":"2.0","method":"get_runner_status","params":["up"],"id":1}' |
    "$@" | jq -e .result.queue.paused >/dev/null; do :; done
line '{"jsonrpc":"2.0","method":"resume_queue","params":["up"],"id":1}' |
    "$@" | jq -e '.result.paused == false' >/dev/null
