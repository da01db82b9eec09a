/* Files, formats, sinks and limits of runners' output. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "herod.h"

CHECK_TIMEOUT(240);

static const char *
log_text(const char *name)
{
	return file_text(here(text("state/log/%s", name)));
}

/* A runner "it" of these settings that runs a shell text once, to its end. */
static struct herod *
run_once(const char *settings, const char *shell)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\ncommand = %s\n%s\n",
	    script("it", shell), settings);

	wait_for(is_state(h, "it", "EXITED"));
	return h;
}

void
test_stderr_may_have_a_file_of_its_own(void)
{
	struct herod *h =
	    run_once("stderr_logfile = AUTO", "echo good; echo bad >&2");

	check_has(log_text("it.log"), "0 out good\n");
	check(strstr(log_text("it.log"), "bad") == NULL);
	check_has(log_text("it.err.log"), "0 err bad\n");
	check_has(logs_of(h, "it"), "good\n");
	check_has(logs_of(h, "it"), "bad\n");
	herod_stop(h);
}

void
test_lines_of_two_files_are_told_in_order_after_a_restart(void)
{
	struct herod *h =
	    herod_start("[runner:it]\nautostart = false\n"
			"stderr_logfile = AUTO\ncommand = true\n");

	write_file(here("state/log/it.log"),
	    "2026-11-22T20:33:43.000001Z 0 out one\n"
	    "2026-11-22T20:33:43.000003Z 0 out three\n");
	write_file(here("state/log/it.err.log"),
	    "2026-11-22T20:33:43.000002Z 0 err two\n"
	    "2026-11-22T20:33:43.000004Z 0 err four\n");
	check_str(logs_of(h, "it"), "one\ntwo\nthree\nfour\n");
	herod_stop(h);
}

/* Pitfall 27. */
void
test_json_lines_hold_any_byte(void)
{
	struct herod *h = run_once("log_format = json",
	    "echo plain; printf 'a\\377b\\n'; printf 'n\\000l\\n'");
	const char *lines = log_text("it.log");
	json_t *line = json_loads(lines, JSON_DISABLE_EOF_CHECK, NULL);

	check_str(text_at(line, "text"), "plain");
	check_str(text_at(line, "stream"), "stdout");
	check_str(text_at(line, "runner"), "it");
	check_has(lines, "\"base64\":\"Yf9i\"");
	check_has(lines, "n\\u0000l");
	json_decref(line);
	/* It is read back from the file, too. */
	herod_stop(h);
	herod_again(h);
	wait_for(is_state(h, "it", "EXITED"));
	check_has(logs_of(h, "it"),
	    "plain\na\xef\xbf\xbd"
	    "b\n");
	herod_stop(h);
}

/* Pitfall 28. */
void
test_a_rate_limit_withholds_and_says_how_many(void)
{
	struct herod *h =
	    run_once("log_rate_limit = 10", "seq 1 1000; sleep 1.2; echo last");
	const char *lines = logs_of(h, "it");

	check_has(lines, "1\n2\n3\n");
	check_has(lines,
	    "[herod: 990 lines withheld, log_rate_limit is 10 a second]\n"
	    "last\n");
	check(strstr(lines, "\n500\n") == NULL);
	check_int(int_at(status_of(h, "it"), "log.withheld_lines"), 990);
	herod_stop(h);
}

/* Pitfall 31. */
void
test_runners_of_one_file_share_it(void)
{
	const char *both = here("both.log");
	struct herod *h = herod_start(AT_ONCE
	    "[defaults]\nautorestart = never\nstdout_logfile = %s\n"
	    "stdout_logfile_maxbytes = 4kB\nstdout_logfile_backups = 1000\n"
	    "[runner:one]\ncommand = seq -f 'one %%.0f' 1 2000\n"
	    "[runner:two]\ncommand = seq -f 'two %%.0f' 1 2000\n",
	    both);

	wait_for(is_state(h, "one", "EXITED") && is_state(h, "two", "EXITED"));
	run("cat $(ls -v -r %s.*) %s >all; seq 1 2000 >expected", both, both);
	check_str(run("for w in one two; do sed -n \"s/.* $w //p\" all | "
		      "cmp - expected && echo same; done")
		      .out,
	    "same\nsame\n");
	/* Nobody wrote into a file that the other had rotated. */
	check_str(run("find . -name 'both.log*' -size +8 | wc -l").out, "0\n");
	herod_stop(h);
}

void
test_backups_beyond_the_total_go(void)
{
	struct herod *h = run_once("stdout_logfile_maxbytes = 10kB\n"
				   "stdout_logfile_backups = 100\n"
				   "log_totalbytes = 50kB",
	    "seq 1 5000");
	int bytes = atoi(run("cat state/log/it.log* | wc -c").out);

	check(bytes > 30000 && bytes <= 51200);
	check_has(log_text("it.log"), "out 5000\n");
	herod_stop(h);
}

void
test_an_old_file_is_rotated_at_its_next_line(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nlog_maxage = 1s\ncommand = %s\n",
		script("it", "while :; do echo tick; sleep 0.1; done"));

	wait_for(file_exists(here("state/log/it.log.2")));
	check_has(log_text("it.log.2"), "tick\n");
	herod_stop(h);
}

/* Pitfall 30. */
void
test_sigusr2_opens_the_files_by_name_again(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it", "while :; do echo tick; sleep 0.01; done"));

	wait_for(file_exists(here("state/log/it.log")));
	run("mv state/log/it.log moved");
	kill(h->keeper, SIGUSR2);
	wait_for(strstr(herod_log(), "SIGUSR2: log files are opened anew"));
	wait_for(file_exists(here("state/log/it.log")) &&
	    strstr(log_text("it.log"), "tick\n"));
	herod_stop(h);
}

void
test_a_directory_that_was_deleted_is_made_again(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it", "while :; do echo tick; sleep 0.01; done"));

	wait_for(file_exists(here("state/log/it.log")));
	run("rm -r state/log");
	wait_for(file_exists(here("state/log/it.log")) &&
	    strstr(log_text("it.log"), "tick\n"));
	herod_stop(h);
}

/* ---- a full disk ---- */

/* A file system of 64 kB on ./small; needs root. */
static void
small_disk(void)
{
	if (geteuid() != 0 ||
	    run("mkdir small && mount -t tmpfs -o size=64k none small")
		    .status != 0)
		skip("cannot mount a small file system here");
}

static struct herod *
fill_disk(const char *policy)
{
	small_disk();
	return herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\nstdout_logfile = %s\n"
	    "stdout_logfile_maxbytes = 0\nlog_on_full = %s\n"
	    "command = sh -c 'seq 1 300000; echo $? >%s'\n",
	    here("small/it.log"), policy, here("done"));
}

/* Pitfall 29. */
void
test_full_disk_drops_and_counts(void)
{
	struct herod *h = fill_disk("drop");

	wait_for(is_state(h, "it", "EXITED"));
	check(int_at(status_of(h, "it"), "log.stdout.dropped_bytes") > 500000);
	check_str(text_at(status_of(h, "it"), "log.stdout.why"),
	    "No space left on device");
	check_has(heroctl(h, "why it").out, "bytes were dropped so far");
	check(!strstr(
	    strstr(heroctl(h, "why it").out, "dropped") + 1, "dropped"));
	herod_stop(h);
	run("umount small");
}

/* Pitfall 29. */
void
test_full_disk_blocks_the_program_and_nothing_is_lost(void)
{
	struct herod *h = fill_disk("block");

	wait_for(at(status_of(h, "it"), "log.stdout.why") != NULL &&
	    json_is_string(at(status_of(h, "it"), "log.stdout.why")));
	check_has(heroctl(h, "why it").out,
	    "No space left on device; a process with more to write waits");
	run("mount -o remount,size=40m small");
	wait_for(is_state(h, "it", "EXITED"));
	check_str(file_text(here("done")), "0\n");
	check_int(int_at(status_of(h, "it"), "log.stdout.dropped_bytes"), 0);
	run("seq 1 300000 >expected");
	wait_for(strcmp(run("sed 's/.* out //' small/it.log | "
			    "cmp -s - expected && echo same")
			    .out,
		     "same\n") == 0);
	herod_stop(h);
	run("umount small");
}

/* ---- sinks ---- */

/* A datagram socket as syslogd or journald would have it. */
static int
sink_open(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	check_int(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/* Its next datagram, without the bytes 0 in it. */
static const char *
sink_next(int fd)
{
	static char buf[8192];
	ssize_t n, i;

	wait_for((n = recv(fd, buf, sizeof(buf) - 1, 0)) > 0);
	for (i = 0; i < n; i++)
		if (buf[i] == '\0')
			buf[i] = '.';
	buf[n] = '\0';
	return buf;
}

void
test_lines_go_to_syslog(void)
{
	int fd = sink_open(here("log"));
	struct herod *h = herod_start(AT_ONCE
	    "[herod]\nsyslog_socket = %s\n[runner:it]\nlog_sink = syslog\n"
	    "autorestart = never\ncommand = %s\n",
	    here("log"), script("it", "echo one; sleep 0.1; echo two >&2"));
	const char *line = sink_next(fd);

	check(strncmp(line, "<30>", 4) == 0); /* daemon, info */
	check_has(line, " it.0: one");
	line = sink_next(fd);
	check(strncmp(line, "<28>", 4) == 0); /* daemon, warning */
	check_has(line, " it.0: two");
	herod_stop(h);
	close(fd);
}

void
test_lines_go_to_the_journal(void)
{
	int fd = sink_open(here("log"));
	struct herod *h = herod_start(AT_ONCE
	    "[herod]\njournal_socket = %s\n[runner:it]\nlog_sink = journal\n"
	    "autorestart = never\ncommand = %s\n",
	    here("log"), script("it", "echo one"));
	const char *entry = sink_next(fd);

	check_has(entry, "PRIORITY=6\nSYSLOG_IDENTIFIER=it\nHERO_RUNNER=it\n");
	check_has(entry, "HERO_STREAM=stdout\nMESSAGE\n\003.......one\n");
	herod_stop(h);
	close(fd);
}

void
test_a_sink_that_does_not_read_delays_nobody(void)
{
	int fd = sink_open(here("log"));
	struct herod *h = herod_start(AT_ONCE
	    "[herod]\nsyslog_socket = %s\n[runner:it]\nlog_sink = syslog\n"
	    "autorestart = never\ncommand = seq 1 5000\n",
	    here("log"));

	wait_for(is_state(h, "it", "EXITED"));
	check_has(log_text("it.log"), "out 5000\n");
	herod_stop(h);
	close(fd);
}
