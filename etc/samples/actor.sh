#!/bin/sh
# A Hero actor: takes the ids of its jobs out of Redis by itself.  Try it:
#
#	heroctl add-runner upper --kind redis -- sh $PWD/actor.sh
#	heroctl run upper hello
#
# Needs redis-cli.  This is all that Hero asks of an actor: BLPOP the work
# queue, set the job's status to started, then to finished with a result or to
# error with an error.
namespace=${HERO_NAMESPACE:-hero}
queue=${HERO_QUEUE:-upper}

redis() {
	case ${HERO_REDIS_URL:-redis://127.0.0.1:6379} in
	unix://*) redis-cli -s "${HERO_REDIS_URL#unix://}" "$@" ;;
	*) redis-cli -u "${HERO_REDIS_URL:-redis://127.0.0.1:6379}" "$@" ;;
	esac
}

# The work itself: text in, text out; fails to fail the job.
work() {
	tr "[:lower:]" "[:upper:]"
}

while popped=$(redis BLPOP "$namespace:work_queue:$queue" 0); do
	id=$(printf '%s\n' "$popped" | tail -n 1)
	job=$namespace:job:$id
	redis HSET "$job" status started >/dev/null
	echo "job $id" >&2 # to the log
	if result=$(redis HGET "$job" payload | work); then
		redis HSET "$job" status finished result "$result" >/dev/null
	else
		redis HSET "$job" status error error "work failed" >/dev/null
	fi
	redis RPUSH "$namespace:reply:$id" "$result" >/dev/null
done
exit 1 # Redis is gone: herod starts it again
