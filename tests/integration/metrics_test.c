/* What herod tells of itself: /metrics, the probes, and stalls in its log. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* ---- stalls ---- */

/* A batch, which is done in one turn of the loop. */
static const char *
heavy_batch(int calls)
{
	static char batch[10000];
	int i;

	strcpy(batch, "[");
	for (i = 0; i < calls; i++) {
		strlcat(batch, i > 0 ? "," : "", sizeof(batch));
		strlcat(batch,
		    "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.discover\","
		    "\"id\":1}",
		    sizeof(batch));
	}
	strlcat(batch, "]\n", sizeof(batch));
	return batch;
}

void
test_a_stall_is_logged_with_what_was_running(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int fd = door_unix(h);

	send_text(fd, heavy_batch(80));
	wait_for(strstr(herod_log(), "a turn took"));
	check_has(
	    strstr(herod_log(), "a turn took"), "RPC method rpc.discover");
	close(fd);
	herod_stop(h);
}

/* ---- metrics ---- */

/* As the exposition format 0.0.4 has it: each sample behind its type, once. */
#define LINT_METRICS \
	"awk '/^# TYPE /{type[$3]=$4; next} /^#/{next} " \
	"!/^[a-z_]+(\\{([a-z_]+=\"[^\"]*\",?)*\\})? [0-9.e+-]+$/{print \"odd: \" $0} " \
	"{s=$0; sub(/ [^ ]*$/,\"\",s); if (seen[s]++) print \"twice: \" s; " \
	"n=$1; sub(/[{].*/,\"\",n); b=n; sub(/_(bucket|sum|count)$/,\"\",b); " \
	"if (!(n in type) && type[b] != \"histogram\") print \"no type: \" n}'"

/* Also by Prometheus' own check, where that is installed. */
static void
check_format(const char *page)
{
	write_file(here("page"), page);
	check_str(run(LINT_METRICS " %s", here("page")).out, "");
	check_str(run("! command -v promtool >/dev/null || "
		      "promtool check metrics <%s 2>&1",
		      here("page"))
		      .out,
	    "");
}

static const char *
scrape(struct herod *h)
{
	return strstr(http(h, "GET /metrics HTTP/1.0\r\n\r\n"), "\r\n\r\n") + 4;
}

/* The value of a sample, its labels included; -1: it is not there. */
static double
sample(struct herod *h, const char *name)
{
	const char *page = text("\n%s", scrape(h));
	const char *at = strstr(page, text("\nherod_%s ", name));

	return at
	    ? strtod(strrchr(
			 text("%.*s", (int)strcspn(at + 1, "\n"), at + 1), ' '),
		  NULL)
	    : -1;
}

void
test_metrics_tell_of_methods_statuses_and_runners(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	const char *page;

	wait_for(is_state(h, "web", "RUNNING"));
	rpc_error(h, "stop_runner", "[s]", "nobody");
	http(h, "GET /nope HTTP/1.0\r\n\r\n");
	http(h, "GET / HTTP/2.0\r\n\r\n"); /* the library answers that */
	page = scrape(h);
	check_has(page, "herod_runner_state{runner=\"web\"} 20\n");
	check_has(
	    page, "herod_method_refusals_total{method=\"stop_runner\"} 1\n");
	check_has(
	    page, "herod_method_seconds_count{method=\"stop_runner\"} 1\n");
	check_has(page, "herod_http_answers_total{status=\"404\"} 1\n");
	check_has(page, "herod_http_answers_total{status=\"505\"} 1\n");
	check_format(page);
	herod_stop(h);
}

#define JOBS \
	AT_ONCE "[runner:shout]\nkind = exec\ncommand = cat\n" \
		"[runner:lazy]\nkind = exec\ncommand = sleep 1000\n"

static void
queue_job(struct herod *h, const char *runner, const char *more)
{
	json_t *job = json_loads(more, 0, NULL);

	rpc(h, "queue_job_to_runner", "{s:s, s:o}", "runner", runner, "job",
	    job);
}

/* Waits for what Redis is asked only now and then. */
static void
wait_for_sample(struct herod *h, const char *name, double value)
{
	wait_for(sample(h, name) == value);
}

void
test_metrics_tell_of_queues_jobs_and_redis(void)
{
	struct herod *h = herod_start(JOBS);
	const char *page;

	wait_for_redis(h);
	queue_job(h, "lazy", "{\"payload\": \"1\"}");
	wait_for_sample(h, "queue_running_jobs{queue=\"lazy\"}", 1);
	queue_job(h, "lazy", "{\"payload\": \"2\"}");
	queue_job(h, "lazy", "{\"payload\": \"3\"}");
	queue_job(h, "lazy", "{\"payload\": \"4\", \"delay\": 1000}");
	queue_job(h, "shout", "{\"payload\": \"5\"}");
	wait_for_sample(h, "queue_waiting_jobs{queue=\"lazy\"}", 2);
	wait_for_sample(h, "queue_scheduled_jobs{queue=\"lazy\"}", 1);
	wait_for_sample(h, "jobs_ended_total{status=\"finished\"}", 1);
	check_int((int)sample(h, "queue_waiting_jobs{queue=\"shout\"}"), 0);
	check(sample(h, "queue_oldest_job_age_seconds{queue=\"lazy\"}") >= 0);
	check(sample(h, "queues_age_seconds") >= 0);
	check(sample(h, "redis_command_seconds_count") > 5);
	check_int((int)sample(h, "redis_up"), 1);
	check_int((int)sample(h, "spool_bytes"), 0);
	page = scrape(h);
	check_has(page, "herod_jobs_ended_total{status=\"quarantined\"} 0\n");
	check_has(page, "herod_loop_turn_seconds_bucket{le=\"0.05\"}");
	check_format(page);
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "lazy", "drain", false);
	herod_stop(h);
}

/* Neither is a scrape held up, nor is old knowledge told as new. */
void
test_metrics_are_there_while_redis_is_away(void)
{
	pid_t redis = redis_start(here("redis"));
	struct herod *h =
	    herod_start("[herod]\nredis_url = unix://%s\n" JOBS, here("redis"));
	double age;

	wait_for_redis(h);
	queue_job(h, "lazy", "{\"payload\": \"1\", \"delay\": 1000}");
	wait_for_sample(h, "queue_scheduled_jobs{queue=\"lazy\"}", 1);
	kill(redis, SIGSTOP);
	age = sample(h, "queues_age_seconds");
	wait_for(sample(h, "queues_age_seconds") > age + 0.1);
	check_int((int)sample(h, "queue_scheduled_jobs{queue=\"lazy\"}"), 1);
	kill(redis, SIGKILL);
	kill(redis, SIGCONT);
	wait_for_sample(h, "redis_up", 0);
	wait_for_sample(h, "redis_losses_total", 1);
	check_format(scrape(h));
	herod_stop(h);
}

void
test_metrics_count_connections_by_door_and_streams_by_method(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int silent = door_tcp(h), lines = door_unix(h);

	send_text(lines,
	    "{\"jsonrpc\":\"2.0\",\"method\":\"subscribe\",\"params\":[[\"*\"]],\"id\":1}\n");
	recv_json(lines);
	wait_for_sample(
	    h, "connections_open{door=\"tcp\",speaks=\"nothing\"}", 1);
	check_int(
	    (int)sample(h, "connections_open{door=\"unix\",speaks=\"lines\"}"),
	    1);
	check_int(
	    (int)sample(h, "connections_open{door=\"tcp\",speaks=\"http\"}"),
	    1);
	check_int((int)sample(h, "streams_open{method=\"subscribe\"}"), 1);
	close(lines);
	wait_for_sample(h, "streams_open{method=\"subscribe\"}", 0);
	close(silent);
	herod_stop(h);
}

void
test_metrics_count_deaths_of_herod_and_its_keeper(void)
{
	struct herod *h = herod_start(AT_ONCE);

	check_int((int)sample(h, "daemon_restarts_total"), 0);
	herod_kill9(h);
	check_int((int)sample(h, "daemon_restarts_total"), 1);
	check_int((int)sample(h, "keeper_restarts_total"), 0);
	herod_keeper_kill9(h);
	check_int((int)sample(h, "daemon_restarts_total"), 2);
	check_int((int)sample(h, "keeper_restarts_total"), 1);
	herod_stop(h);
}

void
test_get_all_status_and_metrics_agree(void)
{
	struct herod *h = herod_start(JOBS);
	json_t *status;

	wait_for_redis(h);
	queue_job(h, "lazy", "{\"payload\": \"1\"}");
	queue_job(h, "lazy", "{\"payload\": \"2\"}");
	queue_job(h, "shout", "{\"payload\": \"3\"}");
	wait_for_sample(h, "jobs_finished_total", 1);
	wait_for_sample(h, "queue_running_jobs{queue=\"lazy\"}", 1);
	wait_for_sample(h, "queue_waiting_jobs{queue=\"lazy\"}", 1);
	status = rpc(h, "get_all_status", NULL);
	check_int(
	    int_at(status, "jobs.started"), (int)sample(h, "jobs_running"));
	check_int(int_at(status, "jobs.finished"),
	    (int)sample(h, "jobs_finished_total"));
	check_int(
	    int_at(status, "jobs.error"), (int)sample(h, "jobs_failed_total"));
	check_int(int_at(status, "queues.lazy.depth"),
	    (int)sample(h, "queue_waiting_jobs{queue=\"lazy\"}"));
	check_int(int_at(status, "queues.lazy.running"),
	    (int)sample(h, "queue_running_jobs{queue=\"lazy\"}"));
	check_int(
	    int_at(status, "redis.spooled"), (int)sample(h, "spool_jobs"));
	check_int(int_at(status, "runners.RUNNING"),
	    (int)sample(h, "runners{state=\"RUNNING\"}"));
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "lazy", "drain", false);
	herod_stop(h);
}

/* ---- probes ---- */

static const char *
probe(struct herod *h, const char *path)
{
	return http(h, "GET %s HTTP/1.0\r\n\r\n", path);
}

void
test_readyz_names_redis_while_it_is_away(void)
{
	pid_t redis = redis_start(here("redis"));
	struct herod *h = herod_start(
	    "[herod]\nredis_url = unix://%s\n" AT_ONCE, here("redis"));

	wait_for(strstr(probe(h, "/readyz"), "200 OK"));
	kill(redis, SIGKILL);
	wait_for(strstr(probe(h, "/readyz"), "503 "));
	check_has(probe(h, "/readyz"), "\r\n\r\nnot ready\nredis: ");
	check_has(probe(h, "/healthz"), "200 OK");
	redis_start(here("redis"));
	wait_for(strstr(probe(h, "/readyz"), "200 OK"));
	herod_stop(h);
}

void
test_readyz_says_that_herod_is_shutting_down(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:slow]\nautostart = true\nstopwaitsecs = 1000\n"
		    "command = sh -c 'trap \"\" TERM; echo deaf; while :; do "
		    "sleep 0.1; done'\n");

	wait_for(strstr(logs_of(h, "slow"), "deaf"));
	wait_for(strstr(probe(h, "/readyz"), "200 OK"));
	rpc(h, "shutdown", NULL);
	wait_for(strstr(probe(h, "/readyz"), "503 "));
	check_has(probe(h, "/readyz"), "\nherod: shutting down\n");
	check_has(probe(h, "/healthz"), "200 OK");
	signal_runner(h, "slow", SIGKILL);
	check_int(herod_end(h), 0);
}
