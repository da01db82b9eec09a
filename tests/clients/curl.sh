#!/bin/sh
# curl.sh PORT SOCKET; jq makes what is sent and reads what comes.
set -eu
port=$1 socket=$2

# ask JSON: the body and, on a line of its own, the status.
ask() {
	case $door in
	tcp) set -- "$1" "http://127.0.0.1:$port/" ;;
	unix) set -- "$1" --unix-socket "$socket" http://localhost/rpc ;;
	esac
	body=$1
	shift
	curl -s -w '\n%{http_code}\n' -H 'Content-Type: application/json' \
	    -d "$body" "$@"
}

# call METHOD [PARAMS]
call() {
	jq -cn --arg method "$1" --argjson params "${2:-[]}" \
	    '{jsonrpc: "2.0", $method, $params, id: 1}'
}

# is FILTER: so is what comes, jq says.
is() {
	jq -se "$1" >/dev/null
}

for door in tcp unix; do
	ask "$(call list_runners)" |
	    is '.[1] == 200 and (.[0].result | index("web"))'
	ask "$(call get_runner_status '["nobody"]')" |
	    is '.[1] == 200 and .[0].error.code == -32010'
	ask "[$(call ping),$(call nonsense)]" |
	    is '[.[0][] | .result // .error.code] | sort == [-32601, "pong"]'
	ask "$(call pause_queue '["up"]' | jq -c 'del(.id)')" |
	    is '. == [204]'
	until ask "$(call get_runner_status '["up"]')" |
	    is '.[0].result.queue.paused'; do :; done
	ask "$(call resume_queue '["up"]')" | is '.[0].result.paused == false'
done
