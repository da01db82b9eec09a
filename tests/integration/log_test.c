/*
 * What runners write: kept whole in a file, in memory for those who ask
 * and passed on to those who follow; no reader ever slows a writer.
 */
#include <sys/stat.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* One run of a script as runner "it" with more settings, until it ended. */
static struct herod *
run_script(const char *settings, const char *body)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nautorestart = never\n"
				"%s\ncommand = %s\n",
		settings, script("it", body));

	wait_for(is_state(h, "it", "EXITED"));
	return h;
}

static const char *
log_file(void)
{
	return here("state/log/it.log");
}

static json_t *
lines_of(struct herod *h, const char *params, const char *key, int value)
{
	return rpc(h, "get_runner_logs", params, "name", "it", key, value);
}

void
test_lines_carry_time_instance_and_stream(void)
{
	struct herod *h = run_script("", "echo one; sleep 0.2; echo two >&2");
	json_t *lines = rpc(h, "get_runner_logs", "[s]", "it");

	check_int((int)json_array_size(lines), 2);
	check_str(text_at(lines, "0.text"), "one");
	check_str(text_at(lines, "0.stream"), "stdout");
	check_str(text_at(lines, "0.runner"), "it");
	check_int(int_at(lines, "0.instance"), 0);
	check_int((int)strlen(text_at(lines, "0.time")),
	    (int)strlen("2026-11-22T20:33:43.123456Z"));
	check_str(text_at(lines, "1.text"), "two");
	check_str(text_at(lines, "1.stream"), "stderr");
	check(strcmp(text_at(lines, "0.time"), text_at(lines, "1.time")) < 0);
	herod_stop(h);
}

void
test_the_file_has_the_same_lines(void)
{
	struct herod *h = run_script("", "echo one; sleep 0.2; echo two >&2");

	check_str(
	    run("sed 's/^[-0-9]*T[:0-9]*[.][0-9]\\{6\\}Z //' %s", log_file())
		.out,
	    "0 out one\n0 err two\n");
	herod_stop(h);
}

void
test_logs_select_by_number_stream_and_instance(void)
{
	struct herod *h = run_script(
	    "numprocs = 2", "echo a$HERO_INSTANCE; echo b$HERO_INSTANCE >&2");
	json_t *lines;

	/* One that has EXITED is a worse state than RUNNING: wait for all. */
	wait_for(json_array_size(rpc(h, "get_runner_logs", "[s]", "it")) == 4);
	lines = lines_of(h, "{s:s, s:i}", "lines", 1);
	check_int((int)json_array_size(lines), 1);
	lines = lines_of(h, "{s:s, s:i}", "instance", 1);
	check_int((int)json_array_size(lines), 2);
	lines = rpc(h, "get_runner_logs", "{s:s, s:s, s:i}", "name", "it",
	    "stream", "stderr", "instance", 0);
	check_int((int)json_array_size(lines), 1);
	check_str(text_at(lines, "0.text"), "b0");
	herod_stop(h);
}

void
test_redirect_stderr_joins_the_streams(void)
{
	struct herod *h = run_script(
	    "redirect_stderr = true", "echo one; echo two >&2; echo three");
	json_t *lines = rpc(h, "get_runner_logs", "[s]", "it");

	check_str(logs_of(h, "it"), "one\ntwo\nthree\n");
	check_str(text_at(lines, "1.stream"), "stdout");
	herod_stop(h);
}

/* Pitfall 27. */
void
test_a_huge_line_is_split_with_marks(void)
{
	struct herod *h = run_script("log_max_line = 128",
	    "head -c 300 /dev/zero | tr '\\0' x; echo; echo end");
	json_t *lines = rpc(h, "get_runner_logs", "[s]", "it");
	size_t i, n = 0;

	for (i = 0; json_is_true(at(lines, text("%zu.partial", i))); i++)
		n += strlen(text_at(lines, text("%zu.text", i)));
	check(i >= 2);
	n += strlen(text_at(lines, text("%zu.text", i)));
	check_int((int)n, 300);
	check_str(text_at(lines, text("%zu.text", i + 1)), "end");
	check_int(atoi(run("grep -c ' out+ ' %s", log_file()).out), (int)i);
	herod_stop(h);
}

/* Pitfall 27. */
void
test_bytes_that_are_no_text_are_kept(void)
{
	struct herod *h = run_script("", "printf 'a\\000b\\377\\033[1mc\\n'");

	check_str(
	    run("cut -c 29- %s | od -An -c -w99 | tr -s ' '", log_file()).out,
	    " 0 o u t a \\0 b 377 033 [ 1 m c \\n\n");
	check_int((int)json_string_length(
		      at(rpc(h, "get_runner_logs", "[s]", "it"), "0.text")),
	    (int)strlen("a0b\xef\xbf\xbd\x1b[1mc"));
	herod_stop(h);
}

/* Pitfall 27. */
void
test_a_half_line_at_the_end_is_kept(void)
{
	struct herod *h = run_script("", "printf 'one\\nhalf'");

	check_str(logs_of(h, "it"), "one\nhalf\n");
	check_has(file_text(log_file()), " out half\n");
	herod_stop(h);
}

void
test_rotation_keeps_the_number_and_loses_no_line(void)
{
	struct herod *h = run_script(
	    "stdout_logfile_maxbytes = 4000\nstdout_logfile_backups = 3",
	    "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); "
	    "echo line $i; done");
	const char *all;
	int last = 0, n = 0;

	check(file_exists(text("%s.3", log_file())));
	check(!file_exists(text("%s.4", log_file())));
	check_int(
	    atoi(run("find %s* -size +4000c | wc -l", log_file()).out), 0);
	/* What is there is an unbroken end of all that was written. */
	all = run("cat %s.3 %s.2 %s.1 %s | sed 's/.* //'", log_file(),
	    log_file(), log_file(), log_file())
		  .out;
	for (; *all; all = strchr(all, '\n') + 1, n++) {
		check(n == 0 || atoi(all) == last + 1);
		last = atoi(all);
	}
	check_int(last, 300);
	check(n > 200);
	herod_stop(h);
}

/* A runner that writes a line whenever its file "go" grows. */
static struct herod *
start_echo(const char *settings)
{
	write_file(here("go"), "");
	return herod_start(AT_ONCE "[runner:it]\n%s\ncommand = tail -f %s\n",
	    settings, here("go"));
}

static void
say(struct herod *h, const char *line)
{
	run("echo '%s' >>%s", line, here("go"));
	wait_for(strstr(logs_of(h, "it"), text("%s\n", line)) != NULL);
}

/* Pitfall 30. */
void
test_a_log_file_taken_away_is_made_anew(void)
{
	struct herod *h = start_echo("");
	int i = 0;

	say(h, "first");
	check_has(file_text(log_file()), " out first\n");
	rename(log_file(), here("moved"));
	wait_for((say(h, text("more %d", ++i)), file_exists(log_file())));
	check(strstr(file_text(log_file()), "first") == NULL);
	herod_stop(h);
}

/* Pitfall 30: as logrotate's copytruncate does it. */
void
test_a_truncated_log_file_goes_on_from_its_start(void)
{
	struct herod *h = start_echo("");

	say(h, "first");
	check_int(truncate(log_file(), 0), 0);
	say(h, "second");
	wait_for(strstr(file_text(log_file()), "second") != NULL);
	check(file_text(log_file())[0] == '2'); /* the year: no hole */
	herod_stop(h);
}

/* Pitfall 30. */
void
test_a_symbolic_link_is_not_followed(void)
{
	struct herod *h;

	mkdir(here("logs"), 0755);
	write_file(here("victim"), "");
	check_int(symlink(here("victim"), here("logs/it.log")), 0);
	h = start_echo(text("stdout_logfile = %s", here("logs/it.log")));
	say(h, "first");
	check_str(file_text(here("victim")), "");
	herod_stop(h);
}

/* Pitfall 29: a place that takes nothing does not stop the program. */
void
test_an_unwritable_log_stops_nobody(void)
{
	struct herod *h = start_echo("stdout_logfile = /proc/no/such/log");

	say(h, "first");
	check(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}

void
test_a_full_disk_stops_nobody(void)
{
	struct herod *h = start_echo("stdout_logfile = /dev/full");

	say(h, "first");
	say(h, "second");
	check(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}

void
test_logfile_none_keeps_lines_in_memory_only(void)
{
	struct herod *h = start_echo("stdout_logfile = NONE");

	say(h, "first");
	check(!file_exists(log_file()));
	herod_stop(h);
}

void
test_followers_get_past_lines_then_each_new_one(void)
{
	struct herod *h = start_echo("");
	int fd;
	json_t *answer;

	say(h, "one");
	say(h, "two");
	fd = door_unix(h);
	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
	    "\"follow_logs\",\"params\":{\"name\":\"it\","
	    "\"lines\":1}}\n");
	answer = recv_json(fd);
	check_int((int)json_array_size(at(answer, "result.lines")), 1);
	check_str(text_at(answer, "result.lines.0.text"), "two");
	say(h, "three");
	answer = recv_json(fd);
	check_str(text_at(answer, "method"), "log");
	check(at(answer, "id") == NULL);
	check_str(text_at(answer, "params.lines.0.text"), "three");
	close(fd);
	say(h, "four");
	herod_stop(h);
}

void
test_a_follower_that_never_reads_delays_nobody(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[herod]\nmax_output = 65536\n"
		    "[runner:it]\nautostart = false\nautorestart = never\n"
		    "command = sh -c 'yes 0123456789 | head -n 2000000; "
		    "echo last'\n");
	int fd = door_unix(h);

	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
	    "\"follow_logs\",\"params\":[\"it\"]}\n");
	recv_json(fd);
	rpc(h, "start_runner", "[s, b]", "it", 0);
	wait_for(is_state(h, "it", "EXITED"));
	check_int(int_at(status_of(h, "it"), "instances.0.exit.code"), 0);
	wait_for(strcmp(text_at(rpc(h, "get_runner_logs", "[s, i]", "it", 1),
			    "0.text"),
		     "last") == 0);
	close(fd);
	herod_stop(h);
}

/* Pitfall 28. */
void
test_a_flood_of_lines_does_not_starve_calls(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\ncommand = yes\nstdout_logfile_maxbytes = 1MB\n"
	    "stdout_logfile_backups = 1\n");
	int i;

	/* Each answer comes, and in between the flood goes on. */
	wait_for(file_exists(text("%s.1", log_file())));
	for (i = 0; i < 10; i++) {
		rpc(h, "ping", NULL);
		unlink(text("%s.1", log_file()));
		wait_for(file_exists(text("%s.1", log_file())));
	}
	rpc(h, "stop_runner", "[s]", "it");
	herod_stop(h);
}

void
test_no_line_is_lost_or_doubled_in_a_flood(void)
{
	struct herod *h =
	    run_script("stdout_logfile_maxbytes = 0", "seq 1 200000");

	check_str(run("sed 's/.* out //' %s >stripped; "
		      "seq 1 200000 | cmp - stripped && echo same",
		      log_file())
		      .out,
	    "same\n");
	check_int(
	    (int)json_array_size(rpc(h, "get_runner_logs", "[s, i]", "it", 10)),
	    10);
	herod_stop(h);
}

void
test_heroctl_follows_and_ends_by_interrupt(void)
{
	struct herod *h = start_echo("");
	struct ran r;
	pid_t pid;

	say(h, "one");
	pid = run_begin("exec env --default-signal=INT "
			"$BUILD/heroctl -s unix:%s logs -n 1 -f it >followed",
	    h->socket);
	wait_for(access("followed", F_OK) == 0 &&
	    strstr(file_text("followed"), "one"));
	kill(pid, SIGINT);
	check_int(run_end(pid), 128 + SIGINT);
	r = heroctl(h, "tail it");
	check_str(r.out, "one\n");
	check_int(r.status, 0);
	herod_stop(h);
}

void
test_logs_since_a_time_or_for_so_long(void)
{
	struct herod *h = start_echo("");
	char since[64];
	json_t *lines;

	say(h, "one");
	lines = rpc(h, "get_runner_logs", "[s]", "it");
	snprintf(since, sizeof(since), "%s", text_at(lines, "0.time"));
	say(h, "two");
	lines = rpc(
	    h, "get_runner_logs", "{s:s, s:s}", "name", "it", "since", since);
	check_str(text_at(lines, "0.text"), "one");
	lines = rpc(
	    h, "get_runner_logs", "{s:s, s:s}", "name", "it", "since", "1h");
	check_int((int)json_array_size(lines), 2);
	lines = rpc(h, "get_runner_logs", "{s:s, s:s}", "name", "it", "since",
	    "2100-01-01T00:00:00Z");
	check_int((int)json_array_size(lines), 0);
	check_has(text_at(rpc_error(h, "get_runner_logs", "{s:s, s:s}", "name",
			      "it", "since", "soon"),
		      "message"),
	    "since: 'soon' is not a time");
	herod_stop(h);
}

void
test_followers_of_a_removed_runner_are_told(void)
{
	struct herod *h = start_echo("");
	json_t *answer;
	struct ran r;
	int fd;

	say(h, "one");
	fd = door_unix(h);
	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
	    "\"follow_logs\",\"params\":[\"it\"]}\n");
	recv_json(fd);
	r = run("export HEROCTL_SERVER=unix:%s; "
		"$BUILD/heroctl logs -f it >followed & "
		"until grep -q one followed; do :; done; "
		"$BUILD/heroctl remove-runner it; wait $!",
	    h->socket);
	check_int(r.status, 0);
	answer = recv_json(fd);
	check_str(text_at(answer, "params.ended"), "it");
	close(fd);
	herod_stop(h);
}
