/*
 * heroctl: its verbs against a real herod, what it prints, and its exit
 * statuses, which scripts live by.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

static struct herod *
start(void)
{
	return herod_start(
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n"
		    "[runner:web2]\ncommand = sleep 1000\nautostart = false\n"
		    "[runner:bad]\ncommand = /no/such\nautostart = false\n");
}

static struct herod *
start_jobs(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:up]\nkind = exec\ncommand = tr a-z A-Z\n"
		    "[runner:bad]\nkind = exec\ncommand = sh -c 'exit 3'\n");

	wait_for_redis(h);
	return h;
}

static void
check_ctl(struct herod *h, const char *args, int status)
{
	struct ran r = heroctl(h, "%s", args);

	if (r.status != status)
		check_fail(__FILE__, __LINE__,
		    "heroctl %s: exit %d, not %d\n%s%s", args, r.status, status,
		    r.out, r.err);
}

void
test_exit_statuses_are_those_of_the_manual(void)
{
	struct herod *h = start();

	wait_for(is_state(h, "web", "RUNNING"));
	check_ctl(h, "status", 0);
	check_ctl(h, "list", 0);
	check_ctl(h, "status web", 0);
	check_ctl(h, "start bad", 1);
	check_ctl(h, "start", 2);
	check_ctl(h, "nonsense", 2);
	check_ctl(h, "--nonsense status", 2);
	check_ctl(h, "status web2", 3);
	check_ctl(h, "pid web2", 3);
	check_ctl(h, "is-running web2", 3);
	check_ctl(h, "is-running web", 0);
	check_ctl(h, "stop nobody", 4);
	check_ctl(h, "--timeout 0.2 wait-for web2 running", 6);
	check_int(
	    run("$BUILD/heroctl -s unix:%s status", here("no.sock")).status, 5);
	herod_stop(h);
}

void
test_an_absent_daemon_is_told_in_one_sentence(void)
{
	struct ran r = run("$BUILD/heroctl -s unix:%s status", here("no.sock"));

	check_int(r.status, 5);
	check_str(r.out, "");
	check_has(r.err, here("no.sock"));
	r = run("$BUILD/heroctl -s tcp:127.0.0.1:1 status");
	check_int(r.status, 5);
	check_has(r.err, "127.0.0.1:1");
}

void
test_status_is_a_line_for_each_runner(void)
{
	struct herod *h = start();
	struct ran r;

	wait_for(is_state(h, "web", "RUNNING"));
	r = heroctl(h, "status");
	check_has(r.out, "web\tRUNNING\t");
	check_has(r.out, "web2\tSTOPPED\t");
	check(strchr(r.out, '\033') == NULL);
	r = heroctl(h, "list");
	check_str(r.out, "bad\nherod-redis\nweb\nweb2\n");
	herod_stop(h);
}

void
test_json_output_is_the_result(void)
{
	struct herod *h = start();
	json_t *list = json_loads(heroctl(h, "--json list").out, 0, NULL);

	check_str(text_at(list, "0"), "bad");
	json_decref(list);
	list = json_loads(heroctl(h, "--json status").out, 0, NULL);
	check_str(text_at(list, "2.name"), "web");
	json_decref(list);
	herod_stop(h);
}

void
test_a_terminal_gets_an_aligned_table(void)
{
	struct herod *h = start();
	const char *out;

	if (run("script --version").status != 0)
		skip("script(1) is not here");
	wait_for(is_state(h, "web", "RUNNING"));
	out = run("TERM=xterm script -qec \"$BUILD/heroctl -s unix:%s status\" "
		  "/dev/null",
	    h->socket)
		  .out;
	check_has(out, "NAME");
	check_has(out, "RUNNING");
	check(strchr(out, '\t') == NULL);
	out = run("TERM=xterm NO_COLOR=1 script -qec "
		  "\"$BUILD/heroctl -s unix:%s status\" /dev/null",
	    h->socket)
		  .out;
	check(strchr(out, '\033') == NULL);
	herod_stop(h);
}

void
test_start_stop_and_restart_do_what_they_say(void)
{
	struct herod *h = start();
	pid_t pid;

	check_ctl(h, "start web2", 0);
	check(is_state(h, "web2", "RUNNING"));
	check_ctl(h, "stop web2", 0);
	check(is_state(h, "web2", "STOPPED"));
	wait_for((pid = pid_of(h, "web")) != 0);
	check_ctl(h, "restart web", 0);
	check(pid_of(h, "web") != pid);
	check_str(
	    heroctl(h, "pid web").out, text("%d\n", (int)pid_of(h, "web")));
	herod_stop(h);
}

void
test_names_and_globs_are_all_tried(void)
{
	struct herod *h = start();
	struct ran r;

	wait_for(is_state(h, "web", "RUNNING"));
	r = heroctl(h, "stop nobody web nothing");
	check_int(r.status, 4);
	check_has(r.err, "nobody");
	check_has(r.err, "nothing");
	check(is_state(h, "web", "STOPPED"));
	check_ctl(h, "start 'web*'", 0);
	check(is_state(h, "web", "RUNNING"));
	check(is_state(h, "web2", "RUNNING"));
	check(!is_state(h, "bad", "RUNNING"));
	herod_stop(h);
}

void
test_supervisorctls_habits_work(void)
{
	struct herod *h = start();
	struct ran r;

	r = heroctl(h, "start all");
	check_int(r.status, 1); /* bad cannot start */
	check_has(r.out, "web2");
	check(is_state(h, "web2", "RUNNING"));
	check_ctl(h, "stop all", 0);
	check(is_state(h, "web", "STOPPED"));
	check_ctl(h, "start web", 0);
	check_ctl(h, "signal HUP web", 0);
	wait_for(int_at(status_of(h, "web"), "restarts") == 1);
	check_ctl(h, "pid", 0);
	check_ctl(h, "tail web", 0);
	check_ctl(h, "shutdown", 0);
	check_int(herod_end(h), 0);
}

void
test_start_all_and_stop_all_are_verbs(void)
{
	struct herod *h = start();
	struct ran r = heroctl(h, "start-all");

	check_int(r.status, 1);
	check_has(r.out, "bad");
	check_has(r.out, "/no/such");
	check_ctl(h, "stop-all", 0);
	check_ctl(h, "summary", 0);
	herod_stop(h);
}

/* The lines of the README. */
void
test_a_runner_added_by_a_line_runs_jobs(void)
{
	struct herod *h = start_jobs();
	struct ran r;

	check_ctl(h, "add-runner lower --kind exec -- tr A-Z a-z", 0);
	r = heroctl(h, "run lower HELLO");
	check_int(r.status, 0);
	check_str(r.out, "hello\n");
	r = heroctl(h, "add-runner lower --kind exec -- tr A-Z a-z");
	check_int(r.status, 1);
	check_has(r.err, "lower");
	r = heroctl(h, "add-runner x --knid exec -- true");
	check_int(r.status, 2);
	check_has(r.err, "kind");
	check_ctl(h, "remove-runner lower", 0);
	check_ctl(h, "status lower", 4);
	herod_stop(h);
}

void
test_jobs_by_argument_and_by_standard_input(void)
{
	struct herod *h = start_jobs();
	struct ran r = heroctl(h, "run up hello");
	const char *id;

	check_str(r.out, "HELLO\n");
	r = run("printf 'from\\nstdin' | $BUILD/heroctl -s unix:%s run up",
	    h->socket);
	check_str(r.out, "FROM\nSTDIN\n");
	r = heroctl(h, "run bad x");
	check_int(r.status, 7);
	check_has(r.err, "exit 3");
	r = heroctl(h, "queue up later");
	check_int(r.status, 0);
	id = text("%.36s", r.out);
	r = heroctl(h, "wait %s", id);
	check_int(r.status, 0);
	check_str(r.out, "LATER\n");
	check_has(heroctl(h, "job show %s", id).out, "finished");
	check_str(heroctl(h, "job result %s", id).out, "LATER\n");
	check_str(heroctl(h, "job status %s", id).out, "finished\n");
	check_has(heroctl(h, "jobs").out, id);
	check_ctl(h, "job show nothing", 4);
	herod_stop(h);
}

void
test_logs_show_what_was_written(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:it]\nautorestart = never\n"
		    "command = sh -c 'echo out; sleep 0.1; echo err >&2'\n");
	struct ran r;

	wait_for(is_state(h, "it", "EXITED"));
	r = heroctl(h, "logs it");
	check_has(r.out, "\tstdout\tout\n");
	check_has(r.out, "\tstderr\terr\n");
	check_str(heroctl(h, "tail it").out, "out\nerr\n");
	check_str(heroctl(h, "tail it stderr").out, "err\n");
	check_has(heroctl(h, "logs -n 1 it").out, "err");
	check(strstr(heroctl(h, "logs -n 1 it").out, "out\n") == NULL);
	herod_stop(h);
}

/* A byte 0 in an answer once made it ask again for ever. */
void
test_logs_show_a_byte_0(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\ncommand = %s\n",
	    script("it", "printf 'a\\000b\\nend\\n'"));

	wait_for(is_state(h, "it", "EXITED"));
	check_has(heroctl(h, "logs it | tr '\\000' @").out, "\ta@b\n");
	check_has(heroctl(h, "tail it | tr '\\000' @").out, "a@b\nend\n");
	check_has(heroctl(h, "--json logs it").out, "a\\u0000b");
	herod_stop(h);
}

void
test_a_typo_gets_the_nearest_verb_and_never_runs(void)
{
	struct herod *h = start();
	struct ran r;

	wait_for(is_state(h, "web", "RUNNING"));
	r = heroctl(h, "stpo web");
	check_int(r.status, 2);
	check_has(r.err, "stop");
	check(is_state(h, "web", "RUNNING"));
	r = heroctl(h, "stop wbe");
	check_int(r.status, 4);
	check_has(r.err, "web");
	herod_stop(h);
}

void
test_help_and_completion_need_no_daemon(void)
{
	struct ran r = run("$BUILD/heroctl -s unix:/no/such help");

	check_int(r.status, 0);
	check_has(r.out, "start-all");
	check_has(run("$BUILD/heroctl help run").out, "job");
	check_int(run("$BUILD/heroctl help nonsense").status, 2);
	check_int(run("$BUILD/heroctl completion bash | bash -n").status, 0);
	check_int(run("$BUILD/heroctl completion nonsense").status, 2);
	check_has(run("$BUILD/heroctl --version").out, "heroctl ");
}

void
test_check_reads_a_file_as_herod_would(void)
{
	struct ran r;

	write_file(here("bad.conf"), "[runner:x]\ncommand = y\nodd = 1\n");
	r = run("$BUILD/heroctl check %s", here("bad.conf"));
	check_int(r.status, 1);
	check_has(r.err, "bad.conf:3: ");
	write_file(here("good.conf"), "[runner:x]\ncommand = y\n");
	check_int(run("$BUILD/heroctl check %s", here("good.conf")).status, 0);
}

void
test_the_server_is_taken_from_the_environment(void)
{
	struct herod *h = start();

	check_int(
	    run("HEROCTL_SERVER=unix:%s $BUILD/heroctl ping", h->socket).status,
	    0);
	check_int(
	    run("HEROCTL_SERVER=tcp:127.0.0.1:%d $BUILD/heroctl ping", h->port)
		.status,
	    0);
	herod_stop(h);
}

void
test_wait_for_waits(void)
{
	struct herod *h = herod_start("[runner:it]\nstartsecs = 0.5\n"
				      "command = sleep 1000\n");

	check_ctl(h, "wait-for it running", 0);
	check(is_state(h, "it", "RUNNING"));
	check_ctl(h, "stop it", 0);
	check_ctl(h, "wait-for it stopped", 0);
	herod_stop(h);
}

void
test_the_shell_takes_lines(void)
{
	struct herod *h = start();
	struct ran r;

	wait_for(is_state(h, "web", "RUNNING"));
	r = run("printf 'list\\nstop web\\nnonsense\\nstatus web\\n' | "
		"$BUILD/heroctl -s unix:%s",
	    h->socket);
	check_has(r.out, "web2");
	check_has(r.out, "STOPPED");
	check_has(r.err, "nonsense");
	herod_stop(h);
}

void
test_a_herod_that_ends_in_mid_call_is_told(void)
{
	struct herod *h = herod_start("[runner:it]\nstartsecs = 1000\n"
				      "command = sleep 1000\n");
	pid_t pid =
	    run_begin("$BUILD/heroctl -s unix:%s start it 2>said", h->socket);
	int status;

	wait_for(pid_of(h, "it") != 0);
	kill(h->keeper, SIGTERM);
	status = run_end(pid);
	check(status == 1 || status == 5);
	check_int(count_lines(here("said")), 1);
	check_int(herod_end(h), 0);
}

/* Thousands of runners are a line each. */
void
test_status_in_brief_leaves_details_out(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	json_t *brief = rpc(h, "get_all_runner_status", "{s:b}", "brief", 1);
	json_t *full = rpc(h, "get_all_runner_status", NULL);
	const char *name;
	json_t *member;

	check_str(text_at(brief, "1.name"), "web");
	check(at(brief, "1.instances") == NULL);
	check(at(full, "1.instances.0.pid") != NULL);
	json_object_foreach (at(brief, "1"), name, member)
		check(json_object_get(at(full, "1"), name) != NULL);
	check_has(heroctl(h, "--json status").out, "\"instances\"");
	check_has(heroctl(h, "status").out, "web\t");
	herod_stop(h);
}

/* Answers with an empty list, but closes the first connections instead, as
 * a herod does that is killed. */
static _Noreturn void
answer_late(int fd, int lost)
{
	int asked = open(here("asked"), O_CREAT | O_APPEND | O_WRONLY, 0600);
	char buf[4096];
	int c;

	while ((c = accept(fd, NULL, NULL)) != -1 &&
	    read(c, buf, sizeof(buf)) > 0) {
		dprintf(asked, "once\n");
		if (lost-- <= 0)
			dprintf(c,
			    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[]}\n");
		close(c);
	}
	_exit(1);
}

static pid_t
start_late_one(const char *path, int lost)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	strlcpy(a.sun_path, path, sizeof(a.sun_path));
	check(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	check(listen(fd, 5) == 0);
	pid = fork();
	if (pid == 0)
		answer_late(fd, lost);
	close(fd);
	return pid;
}

void
test_what_only_looks_is_asked_again_when_herod_dies(void)
{
	pid_t pid = start_late_one(here("bad.sock"), 3);
	struct ran r;

	r = run("$BUILD/heroctl -s unix:%s start x", here("bad.sock"));
	check_int(r.status, 5);
	check_has(r.err, "the connection was lost");
	check_int(count_lines(here("asked")), 1);
	check_int(
	    run("$BUILD/heroctl -s unix:%s list", here("bad.sock")).status, 0);
	check_int(count_lines(here("asked")), 4);
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
}
