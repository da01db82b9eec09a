/*
 * What belongs to one job: its lines of the log, whoever else writes there,
 * what its process took, and how it ended.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

static struct herod *
start(const char *kind, const char *settings)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = %s\n%s\n", kind, settings);

	wait_for_redis(h);
	wait_for(is_state(h, "it", "RUNNING"));
	return h;
}

static struct herod *
start_script(const char *settings, const char *body)
{
	return start(
	    "exec", text("command = %s\n%s", script("it", body), settings));
}

static struct herod *
start_worker(const char *settings)
{
	return start("stdio",
	    text("command = %s/tests/integration/worker\n%s",
		getenv("HEROD_BUILD"), settings));
}

static const char *
queue(struct herod *h, const char *payload)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", payload));
}

static void
until_over(struct herod *h, const char *id)
{
	rpc(h, "job.wait", "[s]", id);
}

static json_t *
job(struct herod *h, const char *id)
{
	return rpc(h, "job.get", "[s]", id);
}

static bool
is_status(struct herod *h, const char *id, const char *status)
{
	return strcmp(text_at(job(h, id), "status"), status) == 0;
}

/* Texts of lines with a newline behind each. */
static const char *
texts(json_t *lines)
{
	const char *all = "";
	size_t i;
	json_t *line;

	json_array_foreach (lines, i, line)
		all = text("%s%s\n", all, text_at(line, "text"));
	return all;
}

static const char *
logs(struct herod *h, const char *id)
{
	return texts(
	    rpc(h, "job.logs", "{s:s, s:i}", "id", id, "lines", 100000));
}

/* "0 of ID", "1 of ID", ... */
static const char *
chatted(const char *first, const char *id, int times)
{
	const char *all = text("%s\n", first);
	int i;

	for (i = 0; i < times; i++)
		all = text("%s%d of %s\n", all, i, id);
	return all;
}

/* ---- exec ---- */

void
test_an_exec_job_has_the_lines_of_its_process(void)
{
	struct herod *h = start_script("concurrency = 2",
	    "read -r n; for i in 1 2 3; do echo $n.$i >&2; done; echo result");
	const char *a = queue(h, "a\n"), *b = queue(h, "b\n");
	json_t *lines;

	until_over(h, a);
	until_over(h, b);
	check_str(logs(h, a), "a.1\na.2\na.3\n");
	check_str(logs(h, b), "b.1\nb.2\nb.3\n");
	lines = rpc(h, "job.logs", "{s:s, s:i}", "id", a, "lines", 1);
	check_str(texts(lines), "a.3\n");
	check_str(text_at(lines, "0.job"), a);
	check_str(text_at(lines, "0.runner"), "it");
	check_str(text_at(lines, "0.stream"), "stderr");
	check_str(texts(rpc(h, "job.logs", "{s:s, s:s}", "id", a, "stream",
		      "stdout")),
	    "");
	check_str(heroctl(h, "--plain job logs -n2 %s | cut -f2-", a).out,
	    text("it:%d\tstderr\ta.2\nit:%d\tstderr\ta.3\n",
		(int)int_at(lines, "0.instance"),
		(int)int_at(lines, "0.instance")));
	herod_stop(h);
}

void
test_a_job_without_lines_gives_none(void)
{
	struct herod *h = start_script("", "cat");
	const char *id = queue(h, "quiet");
	struct ran ran;

	until_over(h, id);
	check_int((int)json_array_size(rpc(h, "job.logs", "[s]", id)), 0);
	check_int(
	    (int)json_array_size(rpc(h, "job.logs", "[s]",
		json_string_value(rpc(h, "queue_job_to_runner",
		    "{s:s, s:{s:i}}", "runner", "it", "job", "delay", 1000)))),
	    0);
	check_has(text_at(rpc_error(h, "job.logs", "[s]", "nobody"), "message"),
	    "there is no job nobody");
	ran = heroctl(h, "job logs nobody");
	check_int(ran.status, 4);
	check_has(ran.err, "there is no job nobody");
	ran = heroctl(h, "job logs -f nobody");
	check_int(ran.status, 4);
	check_has(ran.err, "there is no job nobody");
	herod_stop(h);
}

void
test_lines_are_found_after_rotation_and_restart(void)
{
	struct herod *h = start_script(
	    "stdout_logfile_maxbytes = 4KB\nstdout_logfile_backups = 99",
	    "read -r n; for i in $(seq $n); do echo $i of $n >&2; done");
	const char *first = queue(h, "300\n"), *next, *want;

	until_over(h, first);
	next = queue(h, "301\n");
	until_over(h, next);
	check(file_exists(here("state/log/it.log.2")));
	want = run("seq -f '%%g of 300' 300").out;
	check_str(logs(h, first), want);
	check_str(logs(h, next), run("seq -f '%%g of 301' 301").out);
	herod_kill9(h);
	wait_for_redis(h);
	check_str(logs(h, first), want);
	herod_stop(h);
	herod_again(h);
	wait_for_redis(h);
	check_str(logs(h, first), want);
	check_str(
	    texts(rpc(h, "job.logs", "{s:s, s:i}", "id", first, "lines", 2)),
	    "299 of 300\n300 of 300\n");
	herod_stop(h);
}

void
test_lines_are_found_in_json_files_and_without_a_file(void)
{
	struct herod *h = start_script(
	    "log_format = json\nstderr_logfile = AUTO", "echo \"say: {\" >&2");
	const char *id = queue(h, "");

	until_over(h, id);
	check_has(file_text(here("state/log/it.err.log")), "\"job\":");
	check_str(logs(h, id), "say: {\n");
	herod_stop(h);
	h = start_script("stdout_logfile = NONE", "echo in memory >&2");
	id = queue(h, "");
	until_over(h, id);
	check_str(logs(h, id), "in memory\n");
	herod_stop(h);
}

/* Nothing of it is lost or doubled. */
void
test_an_exec_job_keeps_its_lines_over_kill9(void)
{
	struct herod *h = start_script("",
	    "echo one >&2; printf tw >&2; until [ -e $0.go ]; do sleep 0.05; "
	    "done; echo o >&2; echo three >&2");
	const char *id = queue(h, "");

	wait_for(strcmp(logs(h, id), "one\n") == 0);
	herod_kill9(h);
	wait_for_redis(h);
	run("touch %s.go", here("it"));
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "");
	check_str(logs(h, id), "one\ntwo\nthree\n");
	check_int(int_at(job(h, id), "exit.code"), 0);
	check(int_at(job(h, id), "rusage.max_rss") > 0);
	herod_stop(h);
}

/* ---- stdio ---- */

void
test_log_lines_of_jobs_at_once_are_told_apart(void)
{
	struct herod *h = start_worker("concurrency = 4");
	const char *a = queue(h, "log-hold first"),
		   *b = queue(h, "log-hold second"), *c;

	wait_for(*logs(h, a) && *logs(h, b));
	c = queue(h, "chat 100");
	until_over(h, c);
	check_str(logs(h, c), "");
	check_str(logs(h, a), chatted("first", a, 100));
	check_str(logs(h, b), chatted("second", b, 100));
	until_over(h, queue(h, "release"));
	until_over(h, a);
	check_str(text_at(rpc(h, "job.logs", "{s:s, s:i}", "id", a, "lines", 1),
		      "0.stream"),
	    "stdout");
	herod_stop(h);
}

/* They are in the journal that the next herod reads again. */
void
test_log_lines_are_not_doubled_by_kill9(void)
{
	struct herod *h = start_worker("concurrency = 4");
	const char *a = queue(h, "log-hold first"),
		   *b = queue(h, "log-hold second"), *c;
	int i;

	wait_for(*logs(h, a) && *logs(h, b));
	for (i = 0; i < 3; i++) {
		herod_kill9(h);
		wait_for_redis(h);
	}
	c = queue(h, "chat 10");
	herod_kill9(h);
	wait_for_redis(h);
	until_over(h, c);
	check_str(logs(h, a), chatted("first", a, 10));
	check_str(logs(h, b), chatted("second", b, 10));
	check_int(int_at(job(h, a), "attempts"), 1);
	until_over(h, queue(h, "release"));
	herod_stop(h);
}

void
test_stderr_is_of_the_job_in_hand(void)
{
	struct herod *h = start_worker("");
	const char *ids[60];
	int i;

	for (i = 0; i < 60; i++)
		ids[i] = queue(h, text("stderr line %d", i));
	for (i = 0; i < 60; i++) {
		until_over(h, ids[i]);
		check_str(logs(h, ids[i]), text("line %d\n", i));
	}
	herod_stop(h);
}

void
test_stderr_of_two_jobs_is_of_none(void)
{
	struct herod *h = start_worker("concurrency = 2");
	const char *a = queue(h, "stderr-hold of a"), *b;

	wait_for(strcmp(logs(h, a), "of a\n") == 0);
	b = queue(h, "stderr of both");
	until_over(h, b);
	wait_for(strstr(logs_of(h, "it"), "of both\n"));
	check_str(logs(h, a), "of a\n");
	check_str(logs(h, b), "");
	/* Again alone, though herod was killed meanwhile. */
	herod_kill9(h);
	wait_for_redis(h);
	check_str(logs(h, a), "of a\n");
	until_over(h, queue(h, "release"));
	check_str(logs(h, a), "of a\n");
	herod_stop(h);
}

/* ---- following ---- */

void
test_following_a_job_ends_with_it(void)
{
	struct herod *h = start_script("",
	    "echo one >&2; until [ -e $0.go ]; do sleep 0.05; done; "
	    "echo two >&2; printf three >&2");
	const char *id = queue(h, "");
	pid_t ctl;

	wait_for(*logs(h, id));
	ctl = run_begin("exec $BUILD/heroctl -s unix:%s --plain job logs -f %s "
			">%s 2>&1",
	    h->socket, id, here("followed"));
	wait_for(file_exists(here("followed")) &&
	    strstr(file_text(here("followed")), "one"));
	run("touch %s.go", here("it"));
	check_int(run_end(ctl), 0);
	check_str(run("cut -f4 followed").out, "one\ntwo\nthree\n");
	/* Of one that is over: what there is. */
	check_str(heroctl(h, "--plain job logs -f %s | cut -f4", id).out,
	    "one\ntwo\nthree\n");
	check_str(heroctl(h, "--plain job logs -fn1 %s | cut -f4", id).out,
	    "three\n");
	herod_stop(h);
}

/* What a program writes at once is not too fast for who reads it. */
void
test_a_follower_sees_thousands_of_lines_that_come_at_once(void)
{
	struct herod *h =
	    herod_start("[runner:it]\ncommand = sh -c '"
			"echo ready; while [ ! -e %s ]; do "
			"sleep 0.01; done; seq 3000; sleep 1000'\n",
		here("go"));
	pid_t ctl = run_begin(
	    "exec $BUILD/heroctl -s unix:%s --plain logs -f -n10 it >f",
	    h->socket);

	wait_for(
	    file_exists(here("f")) && strstr(file_text(here("f")), "ready"));
	write_file(here("go"), "");
	wait_for(strstr(file_text(here("f")), "\t3000\n"));
	check_int(atoi(run("wc -l f").out), 3001);
	kill(ctl, SIGTERM);
	run_end(ctl);
	herod_stop(h);
}

/* The past ends and the new begins between two lines, whenever it is. */
void
test_a_follower_sees_each_line_once(void)
{
	struct herod *h = start_worker("concurrency = 2");
	const char *a = queue(h, "log-hold first"), *want;
	int fd[10], i;
	pid_t ctl[10];

	wait_for(*logs(h, a));
	for (i = 0; i < 10; i++) {
		fd[i] = rpc_begin(h, "job.run", "{s:{s:s, s:s}}", "job",
		    "runner", "it", "payload", "chat 500");
		ctl[i] = run_begin(
		    "exec $BUILD/heroctl -s unix:%s --plain job logs -f "
		    "-n100000 %s >f%d",
		    h->socket, a, i);
	}
	for (i = 0; i < 10; i++)
		rpc_end(fd[i]);
	until_over(h, queue(h, "release"));
	until_over(h, a);
	want = logs(h, a);
	for (i = 0; i < 10; i++) {
		check_int(run_end(ctl[i]), 0);
		check_str(run("cut -f4 f%d", i).out, want);
	}
	check_int(atoi(run("wc -l f0").out), 5001);
	herod_stop(h);
}

void
test_following_is_for_line_connections(void)
{
	struct herod *h = start_script("", "true");

	check_has(http_post(h,
		      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"job.follow\","
		      "\"params\":{\"id\":\"x\"}}"),
	    "job.follow works on a line connection, not over HTTP");
	herod_stop(h);
}

void
test_a_follower_goes_on_over_an_upgrade(void)
{
	struct herod *h = start_script("",
	    "echo one >&2; until [ -e $0.go ]; do sleep 0.05; done; echo two >&2");
	const char *id = queue(h, "");
	json_t *got;
	int fd;

	wait_for(*logs(h, id));
	fd = door_unix(h);
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"job.follow\","
		 "\"params\":{\"id\":\"%s\"}}\n",
		id));
	got = recv_json(fd);
	check_str(text_at(got, "result.lines.0.text"), "one");
	rpc(h, "upgrade", NULL);
	wait_for_redis(h);
	run("touch %s.go", here("it"));
	got = recv_json(fd);
	check_str(text_at(got, "params.lines.0.text"), "two");
	got = recv_json(fd);
	check_str(text_at(got, "params.ended"), id);
	check_str(text_at(got, "params.status"), "finished");
	close(fd);
	herod_stop(h);
}

/* ---- another node ---- */

void
test_a_job_of_another_node_is_refused_by_name(void)
{
	const char *socket = here("redis.sock");
	pid_t server = redis_start(socket);
	struct herod *h = herod_start(AT_ONCE
	    "[herod]\nredis_url = unix://%s\n"
	    "[runner:it]\nkind = exec\ncommand = sh -c 'echo hi >&2'\n",
	    socket);
	const char *id;
	struct ran ran;

	wait_for_redis(h);
	id = queue(h, "");
	until_over(h, id);
	check_str(logs(h, id), "hi\n");
	redis(socket, "HSET hero:job:%s node far-away", id);
	check_has(text_at(rpc_error(h, "job.logs", "[s]", id), "message"),
	    "ran on node far-away");
	ran = heroctl(h, "job logs -f %s", id);
	check_int(ran.status, 1);
	check_has(ran.err, "ran on node far-away");
	herod_stop(h);
	kill(server, SIGTERM);
}

void
test_a_job_whose_runner_is_gone_is_refused_by_its_name(void)
{
	struct herod *h = start_script("", "echo hi >&2");
	const char *id;

	rpc(h, "add_runner", "{s:{s:s, s:s, s:s}}", "runner", "name", "brief",
	    "kind", "exec", "command", "sh -c 'echo hi >&2'");
	id = json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "brief"));
	until_over(h, id);
	check_str(logs(h, id), "hi\n");
	rpc(h, "remove_runner", "[s]", "brief");
	check_has(text_at(rpc_error(h, "job.logs", "[s]", id), "message"),
	    "runner brief is not there any more");
	herod_stop(h);
}

/* ---- what it took, and how it ended ---- */

void
test_an_exec_job_tells_what_it_took(void)
{
	struct herod *h = start_script(
	    "", "i=0; while [ $i -lt 50000 ]; do i=$((i + 1)); done");
	const char *id = queue(h, "");
	json_t *j;

	until_over(h, id);
	j = job(h, id);
	check(json_real_value(at(j, "rusage.user")) > 0);
	check(json_is_real(at(j, "rusage.system")));
	check(int_at(j, "rusage.max_rss") > 100000);
	check_int(int_at(j, "exit.code"), 0);
	check(json_is_null(at(j, "exit.signal")));
	check(json_is_false(at(j, "exit.core")));
	check(json_is_false(at(j, "exit.oom")));
	check(json_is_null(at(j, "last_lines")));
	check_has(heroctl(h, "job show %s", id).out, "rusage");
	herod_stop(h);
}

void
test_a_stdio_job_has_no_invented_figures(void)
{
	struct herod *h = start_worker("");
	const char *id = queue(h, "echo it");
	json_t *j;

	until_over(h, id);
	j = job(h, id);
	check(json_is_null(at(j, "exit")));
	check(json_is_null(at(j, "rusage")));
	herod_stop(h);
}

/* As many lines as are told, of those that were written. */
static void
check_last_lines(json_t *j, int from, int to)
{
	int i;

	check_int(
	    (int)json_array_size(at(j, "last_lines")), (int)(to - from + 1));
	for (i = from; i <= to; i++)
		check_str(text_at(j, text("last_lines.%d", i - from)),
		    text("line %d", i));
}

void
test_a_failed_exec_job_carries_its_last_lines(void)
{
	struct herod *h = start_script(
	    "", "for i in $(seq 20); do echo line $i >&2; done; exit 3");
	const char *id = queue(h, "");
	json_t *j;

	until_over(h, id);
	j = job(h, id);
	check_str(text_at(j, "status"), "error");
	check_int(int_at(j, "exit.code"), 3);
	check(int_at(j, "rusage.max_rss") > 0);
	check_last_lines(j, 11, 20);
	check_has(heroctl(h, "job show %s", id).out, "line 20");
	herod_stop(h);
}

void
test_last_lines_are_of_the_last_attempt_and_few(void)
{
	struct herod *h = start_script("job_retries = 1\njob_backoff = 0.1",
	    "if [ -e $0.second ]; then head -c 3000 /dev/zero | tr '\\0' x >&2; "
	    "else echo first >&2; touch $0.second; fi; exit 1");
	const char *id = queue(h, "");
	json_t *lines;

	until_over(h, id);
	lines = at(job(h, id), "last_lines");
	check_int((int)json_array_size(lines), 1);
	check_int(
	    (int)strlen(json_string_value(json_array_get(lines, 0))), 2048);
	check_has(logs(h, id), "first\nxxx");
	herod_stop(h);
}

void
test_a_job_out_of_time_carries_its_last_lines(void)
{
	struct herod *h = start_script("job_timeout = 1\nstopsignal = KILL",
	    "echo line 1 >&2; sleep 1000");
	const char *id = queue(h, "");
	json_t *j;

	until_over(h, id);
	j = job(h, id);
	check_str(text_at(j, "status"), "timeout");
	check_str(text_at(j, "exit.signal"), "KILL");
	check_last_lines(j, 1, 1);
	herod_stop(h);
}

void
test_a_quarantined_exec_job_tells_how_it_died(void)
{
	struct herod *h = start_script("job_poison_limit = 2",
	    "echo line 1 >&2; echo line 2 >&2; kill -9 $$");
	const char *id = queue(h, "");
	json_t *j;

	until_over(h, id);
	j = job(h, id);
	check_str(text_at(j, "status"), "quarantined");
	check_str(text_at(j, "exit.signal"), "KILL");
	check(json_is_false(at(j, "exit.core")));
	check(json_is_false(at(j, "exit.oom")));
	check(int_at(j, "exit.max_rss") > 0);
	check_last_lines(j, 1, 2);
	herod_stop(h);
}

void
test_a_quarantined_stdio_job_tells_how_its_worker_died(void)
{
	struct herod *h = start_worker("job_poison_limit = 2\nrlimit_core = 0");
	const char *id = queue(h, "crash line 1");
	json_t *j;

	until_over(h, id);
	j = job(h, id);
	check_str(text_at(j, "status"), "quarantined");
	check_int(int_at(j, "deaths"), 2);
	check_str(text_at(j, "exit.signal"), "ABRT");
	check(json_is_false(at(j, "exit.core")));
	check(json_is_false(at(j, "exit.oom")));
	check(int_at(j, "exit.max_rss") > 0);
	check(json_is_null(at(j, "rusage")));
	check_last_lines(j, 1, 1);
	check_str(logs(h, id), "line 1\nline 1\n");
	herod_stop(h);
}

void
test_what_a_death_left_is_forgotten_by_a_retry(void)
{
	struct herod *h = start_script(
	    "", "[ -e $0.well ] && exit 0; echo line 1 >&2; exit 1");
	const char *id = queue(h, "");

	until_over(h, id);
	check_last_lines(job(h, id), 1, 1);
	run("touch %s.well", here("it"));
	rpc(h, "job.retry", "[s]", id);
	wait_for(is_status(h, id, "finished"));
	check(json_is_null(at(job(h, id), "last_lines")));
	check_int(int_at(job(h, id), "exit.code"), 0);
	herod_stop(h);
}
