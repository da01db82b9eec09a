/*
 * heroctl upgrade: other programs take over, one after the other under the
 * same pid of the keeper; what runs, runs on, and nothing is made up.
 *
 * Each test starts from copies of the built programs, which it can replace.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(300);

/* ---- programs ---- */

static void
copy_programs(void)
{
	check_int(run("mkdir bin && cp $BUILD/herod $BUILD/herod-keeper "
		      "$BUILD/heroctl bin")
		      .status,
	    0);
	setenv("HEROD_BUILD", here("bin"), 1);
}

/* As an installation does it: another file under the old name. */
static void
install(const char *name)
{
	check_int(
	    run("cp bin/%s bin/new && mv bin/new bin/%s", name, name).status,
	    0);
}

/* A script in place of a program, which is bin/NAME.real then. */
static void
install_script(const char *name, const char *body)
{
	script("bin/new", body);
	check_int(run("[ -e bin/%s.real ] || mv bin/%s bin/%s.real; "
		      "mv bin/new bin/%s",
		      name, name, name, name)
		      .status,
	    0);
}

static void
install_real(const char *name)
{
	check_int(run("mv bin/%s.real bin/%s", name, name).status, 0);
}

static unsigned long long
file_number(const char *path)
{
	struct stat st;

	check_int(stat(path, &st), 0);
	return st.st_ino;
}

static bool
executes(pid_t pid, const char *program)
{
	return file_number(text("/proc/%d/exe", (int)pid)) ==
	    file_number(here(program));
}

/* ---- upgrades ---- */

static void
await_other(struct herod *h, pid_t old)
{
	wait_for(herod_pid(h) != 0 && herod_pid(h) != old);
	rpc(h, "ping", NULL);
}

static void
upgrade(struct herod *h)
{
	pid_t old = herod_pid(h);

	check_int(int_at(rpc(h, "upgrade", NULL), "pid"), old);
	await_other(h, old);
}

/* The keeper's new program begins with this script, which keeps its pid:
 * while it waits at the gate, nobody is there. */
static void
install_gate(void)
{
	check_int(mkfifo(here("gate"), 0600), 0);
	install_script("herod-keeper",
	    text("[ $1 != --resume ] || { echo >%s; read x <%s; }\n"
		 "exec %s \"$@\"",
		here("waiting"), here("gate"), here("bin/herod-keeper.real")));
}

static void
open_gate(void)
{
	write_file(here("gate"), "go on\n");
}

/* What a refused one must leave as it was. */
struct as_it_was {
	pid_t herod, web;
};

static struct as_it_was
how_it_is(struct herod *h)
{
	return (struct as_it_was){herod_pid(h), pid_of(h, "web")};
}

static const char *
refusal(struct herod *h, struct as_it_was before)
{
	json_t *error = rpc_error(h, "upgrade", NULL);

	check_int(int_at(error, "code"), -32013);
	check_int(herod_pid(h), before.herod);
	check_int(pid_of(h, "web"), before.web);
	check(is_state(h, "web", "RUNNING"));
	return text_at(error, "message");
}

/* ---- what runs ---- */

static struct herod *
start_web(void)
{
	struct herod *h;

	copy_programs();
	h = herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	rpc(h, "start_runner", "[s]", "web");
	return h;
}

/* Pitfall 33. */
void
test_runners_go_on_and_the_new_programs_run(void)
{
	struct herod *h = start_web();
	pid_t web = pid_of(h, "web"), redis;
	int i;

	wait_for_redis(h);
	redis = pid_of(h, "herod-redis");
	rpc(h, "add_runner", "[{s:s, s:[s, s]}]", "name", "more", "command",
	    "sleep", "2000");
	for (i = 0; i < 3; i++) {
		install("herod");
		install("herod-keeper");
		check(!executes(h->keeper, "bin/herod-keeper"));
		upgrade(h);
		check(executes(h->keeper, "bin/herod-keeper"));
		check(executes(herod_pid(h), "bin/herod"));
		check_int(pid_in(here("state/herod.pid")), h->keeper);
		check_int(pid_of(h, "web"), web);
		check_int(pid_of(h, "herod-redis"), redis);
		check(is_state(h, "web", "RUNNING"));
		check(is_state(h, "more", "RUNNING"));
	}
	wait_for_redis(h);
	herod_stop(h);
}

void
test_how_a_process_ends_is_known_after_an_upgrade(void)
{
	struct herod *h = start_web();
	pid_t web;
	json_t *end;

	upgrade(h);
	web = pid_of(h, "web");
	kill(web, SIGSEGV);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != web);
	end = at(status_of(h, "web"), "instances.0.exit");
	check_str(text_at(end, "signal"), "SEGV");
	check(!json_is_null(at(end, "rusage")));
	herod_stop(h);
}

/* The signal for it goes to nobody. */
void
test_a_death_in_the_middle_is_known(void)
{
	struct herod *h = start_web();
	pid_t old = herod_pid(h), web = pid_of(h, "web");
	int call;

	install_gate();
	call = rpc_begin(h, "upgrade", NULL);
	wait_for(file_exists(here("waiting")));
	kill(web, SIGSEGV);
	wait_for(!is_alive(web));
	open_gate();
	check_int(int_at(rpc_end(call), "result.pid"), old);
	await_other(h, old);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != web);
	check_str(
	    text_at(status_of(h, "web"), "instances.0.exit.signal"), "SEGV");
	herod_stop(h);
}

void
test_herod_may_die_in_the_middle(void)
{
	struct herod *h = start_web();
	pid_t old = herod_pid(h), web = pid_of(h, "web");

	install_gate();
	close(rpc_begin(h, "upgrade", NULL));
	wait_for(file_exists(here("waiting")));
	kill(old, SIGKILL);
	wait_for(!is_alive(old));
	open_gate();
	await_other(h, old);
	check_int(pid_of(h, "web"), web);
	check(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

/* Pitfalls 6 and 9. */
void
test_a_stop_goes_on_after_an_upgrade(void)
{
	const char *it = script("it",
	    text("sh -c 'trap \"\" TERM; echo $$ >%s; "
		 "while :; do sleep 0.05; done' & echo up; wait",
		here("kid")));
	struct herod *h;
	pid_t leader, kid;

	copy_programs();
	h = herod_start(
	    AT_ONCE "[runner:it]\nstopwaitsecs = 1000\ncommand = %s\n", it);
	wait_for(pid_in(here("kid")) != 0);
	kid = pid_in(here("kid"));
	leader = pid_of(h, "it");
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	wait_for(!is_alive(leader));
	upgrade(h);
	kill(kid, SIGKILL);
	wait_for(is_state(h, "it", "STOPPED"));
	check(!is_alive(kid));
	herod_stop(h);
}

/* Those of a killed keeper are followed by the next as well. */
void
test_orphans_are_followed_after_an_upgrade(void)
{
	struct herod *h = start_web();
	pid_t web = pid_of(h, "web"), daemon = herod_pid(h);

	kill(h->keeper, SIGKILL);
	waitpid(h->keeper, NULL, 0);
	h->keeper = daemon;
	await_other(h, daemon);
	upgrade(h);
	check_int(pid_of(h, "web"), web);
	kill(web, SIGSEGV);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != web);
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.signal")));
	herod_stop(h);
}

void
test_a_paused_process_stays_so_and_goes_on(void)
{
	struct herod *h = start_web();

	signal_runner(h, "web", SIGSTOP);
	wait_for(is_state(h, "web", "PAUSED"));
	upgrade(h);
	check(is_state(h, "web", "PAUSED"));
	signal_runner(h, "web", SIGCONT);
	wait_for(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

/* What a keeper changed for itself is not what its successor found. */
void
test_new_processes_begin_as_before(void)
{
	struct herod *h;
	const char *first;

	copy_programs();
	h = herod_start_with("ulimit -S -n 500; export MINE=1;", "",
	    AT_ONCE "[runner:it]\nautorestart = never\ncommand = %s\n",
	    script("it",
		text("echo $(ulimit -n) $(cat /proc/self/oom_score_adj) "
		     "$MINE $(grep Sig[BI] /proc/self/status) >>%s",
		    here("told"))));
	wait_for(is_state(h, "it", "EXITED"));
	first = file_text(here("told"));
	check(strncmp(first, "500 ", 4) == 0);
	upgrade(h);
	upgrade(h);
	rpc(h, "start_runner", "[s]", "it");
	wait_for(is_state(h, "it", "EXITED"));
	check_str(file_text(here("told")), text("%s%s", first, first));
	herod_stop(h);
}

/* Whatever was under way: some were told, some executed, some only asked
 * for. */
void
test_no_second_copy_of_what_was_being_started(void)
{
	const char *mark = text("33224.%d", (int)getpid());
	struct herod *h;
	int i, call;

	copy_programs();
	h = herod_start(AT_ONCE
	    "[runner:web]\nautostart = false\nnumprocs = 20\n"
	    "command = sleep %s\n",
	    mark);
	for (i = 0; i < 4; i++) {
		call = rpc_begin(
		    h, "start_runner", "{s:s, s:b}", "name", "web", "wait", 0);
		upgrade(h);
		close(call);
		wait_for(is_state(h, "web", "RUNNING"));
		check_int(
		    atoi(run("pgrep -f -c -- '[s]leep %s'", mark).out), 20);
		rpc(h, "stop_runner", "[s]", "web");
	}
	herod_stop(h);
}

void
test_a_job_in_hand_is_run_once(void)
{
	struct herod *h;
	json_t *job;
	const char *id;

	copy_programs();
	h = herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
	    script("it",
		text("echo $$ >>%s; until [ -e %s ]; do sleep 0.02; done; "
		     "tr a-z A-Z",
		    here("runs"), here("go"))));
	wait_for_redis(h);
	id = json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", "hello"));
	wait_for(count_lines(here("runs")) == 1);
	upgrade(h);
	check(is_alive(pid_in(here("runs"))));
	write_file(here("go"), "");
	wait_for_redis(h);
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "HELLO");
	job = rpc(h, "job.get", "[s]", id);
	check_int(int_at(job, "attempts"), 1);
	check_int(count_lines(here("runs")), 1);
	herod_stop(h);
}

/* ---- what they write ---- */

static off_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

void
test_at_full_speed_no_line_is_lost_or_doubled(void)
{
	const char *log = here("state/log/it.log");
	struct herod *h;
	off_t before;
	int i;

	copy_programs();
	h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\ncommand = %s\n"
	    "stdout_logfile_maxbytes = 0\n",
	    script("it",
		text("n=1; until [ -e %s ]; do seq -f 'line %%.0f' $n "
		     "$((n + 999)); n=$((n + 1000)); done; "
		     "echo $((n - 1)) >%s",
		    here("stop"), here("last"))));
	for (i = 0; i < 5; i++) {
		before = size_of(log);
		wait_for(size_of(log) > before + 100000);
		upgrade(h);
	}
	write_file(here("stop"), "");
	wait_for(is_state(h, "it", "EXITED"));
	check_int(int_at(status_of(h, "it"), "instances.0.exit.code"), 0);
	check_str(run("seq -f 'line %%.0f' 1 $(cat last) >expected; "
		      "sed 's/^[^ ]*Z 0 out //' %s | cmp - expected 2>&1",
		      log)
		      .out,
	    "");
	herod_stop(h);
}

/* ---- what is of no use ---- */

void
test_bad_programs_are_refused_and_the_old_ones_go_on(void)
{
	struct herod *h = start_web();
	struct as_it_was before = how_it_is(h);
	struct ran r;

	install_script("herod", "echo it is broken; exit 1");
	check_has(refusal(h, before), "exit 1: it is broken");
	r = heroctl(h, "upgrade");
	check_int(r.status, 1);
	check_has(r.err, "it is broken");
	write_file(here("bin/herod"), "\177ELF and no more");
	check_has(refusal(h, before), "the new herod is of no use: exec");
	unlink(here("bin/herod"));
	check_has(refusal(h, before), "No such file");
	install_real("herod");
	install_script("herod-keeper", "exit 1");
	check_has(refusal(h, before), "herod-keeper of this herod");
	install_script(
	    "herod-keeper", "[ $1 = --speaks ] || { echo I cannot; exit 1; }");
	check_has(refusal(h, before), "herod-keeper is of no use: exit 1: I");
	install_real("herod-keeper");
	upgrade(h);
	check_int(pid_of(h, "web"), before.web);
	herod_stop(h);
}

void
test_a_keeper_tells_what_it_understands(void)
{
	struct ran r = run("$BUILD/herod-keeper --resumes 1");

	check_int(r.status, 1);
	check_has(r.err, "resumes 1: this one is of version ");
	check_int(run("$BUILD/herod-keeper --resumes %s",
		      strstr(r.err, "version ") + strlen("version "))
		      .status,
	    0);
	check_int(run("$BUILD/herod-keeper --speaks 0").status, 1);
}

void
test_a_configuration_with_a_mistake_is_refused(void)
{
	struct herod *h = start_web();
	struct as_it_was before = how_it_is(h);

	write_file(h->conf, "[runner:web]\ncomand = sleep 1000\n");
	check_has(refusal(h, before), "comand");
	herod_stop(h);
}

/* Good when it was tried, bad when it is to be executed. */
void
test_a_keeper_that_cannot_be_executed_changes_nothing(void)
{
	struct herod *h = start_web();
	struct as_it_was before;
	int of_keeper, of_herod;

	wait_for_redis(h);
	herod_kill9(h);
	wait_for_redis(h);
	of_herod = count_fds(herod_pid(h));
	before = how_it_is(h);
	install_script("herod-keeper",
	    text("[ $1 != --resumes ] || echo no program >%s",
		here("bin/herod-keeper")));
	of_keeper = count_fds(h->keeper);
	check_has(refusal(h, before), "cannot be replaced: Exec format error");
	check_int(count_fds(h->keeper), of_keeper);
	install_real("herod-keeper");
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(count_fds(herod_pid(h)) <= of_herod);
	kill(before.web, SIGSEGV);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != before.web);
	check_str(
	    text_at(status_of(h, "web"), "instances.0.exit.signal"), "SEGV");
	upgrade(h);
	herod_stop(h);
}

/* herod lives until the new keeper has all in its hands. */
void
test_a_keeper_that_dies_when_it_takes_over_is_survived(void)
{
	struct herod *h = start_web();
	pid_t daemon = herod_pid(h), web = pid_of(h, "web");
	int call;

	install_script("herod-keeper",
	    text("[ $1 != --resume ] || [ -e %s ] || { : >%s; exit 1; }\n"
		 "exec %s \"$@\"",
		here("died"), here("died"), here("bin/herod-keeper.real")));
	call = rpc_begin(h, "upgrade", NULL);
	wait_for(waitpid(h->keeper, NULL, WNOHANG) == h->keeper);
	h->keeper = daemon;
	await_other(h, daemon);
	close(call);
	check_int(pid_of(h, "web"), web);
	check(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

/* ---- who asks ---- */

void
test_heroctl_ends_when_the_new_one_answers(void)
{
	struct herod *h = start_web();
	pid_t old = herod_pid(h);
	struct ran r = heroctl(h, "upgrade");

	check_int(r.status, 0);
	check(herod_pid(h) != old);
	check_has(r.out, text("(pid %d) has made way for", (int)old));
	check_has(r.out, text("(pid %d)\n", (int)herod_pid(h)));
	herod_stop(h);
}

/* Pitfall 34: sockets and the lock go from hand to hand. */
void
test_a_connection_waits_in_the_meantime(void)
{
	struct herod *h = start_web();
	pid_t old = herod_pid(h);
	int upgrading, waiting;

	install_gate();
	upgrading = rpc_begin(h, "upgrade", NULL);
	wait_for(file_exists(here("waiting")));
	waiting = rpc_begin(h, "list_runners", NULL);
	check_has(run("$BUILD/herod -c %s --state_dir %s --listen unix:%s 2>&1",
		      h->conf, here("state"), here("other"))
		      .out,
	    text("pid %d", (int)h->keeper));
	open_gate();
	check_int(int_at(rpc_end(upgrading), "result.pid"), old);
	check(at(rpc_end(waiting), "result") != NULL);
	await_other(h, old);
	herod_stop(h);
}

void
test_one_at_a_time(void)
{
	struct herod *h = start_web();
	pid_t old = herod_pid(h);
	int first;

	check_int(mkfifo(here("gate"), 0600), 0);
	install_script("herod",
	    text("echo >%s; read x <%s; exec %s \"$@\"", here("waiting"),
		here("gate"), here("bin/herod")));
	first = rpc_begin(h, "upgrade", NULL);
	wait_for(file_exists(here("waiting")));
	check_has(text_at(rpc_error(h, "upgrade", NULL), "message"),
	    "under way already");
	install_real("herod");
	open_gate();
	check_int(int_at(rpc_end(first), "result.pid"), old);
	await_other(h, old);
	herod_stop(h);
}

#define CALL(method) \
	"{\"jsonrpc\": \"2.0\", \"method\": \"" method "\", \"id\": 1}\n"

/* The end is asked for when nothing can go back. */
void
test_shutdown_in_the_middle_is_not_forgotten(void)
{
	struct herod *h = start_web();
	pid_t web = pid_of(h, "web");
	int before = door_unix(h);

	install_gate();
	send_text(before, CALL("ping"));
	check_has(recv_line(before), "pong");
	close(rpc_begin(h, "upgrade", NULL));
	wait_for(file_exists(here("waiting")));
	send_text(before, CALL("shutdown"));
	check_has(recv_line(before), "shutting down");
	open_gate();
	herod_end(h);
	check(!is_alive(web));
}

void
test_shutdown_gives_up_an_upgrade(void)
{
	struct herod *h = start_web();
	int call;

	install_script(
	    "herod", text("echo >%s; exec sleep 1000", here("waiting")));
	call = rpc_begin(h, "upgrade", NULL);
	wait_for(file_exists(here("waiting")));
	rpc(h, "shutdown", NULL);
	check_int(int_at(rpc_end(call), "error.code"), -32040);
	check_int(herod_end(h), 0);
}

/* ---- what remains ---- */

void
test_nothing_grows_with_upgrades(void)
{
	struct herod *h = start_web();
	int of_herod, of_keeper, i;

	wait_for_redis(h);
	upgrade(h);
	wait_for_redis(h);
	of_herod = count_fds(herod_pid(h));
	of_keeper = count_fds(h->keeper);
	for (i = 0; i < 10; i++) {
		upgrade(h);
		if (i % 3 == 0)
			herod_kill9(h);
	}
	wait_for_redis(h);
	wait_for(count_fds(herod_pid(h)) <= of_herod);
	check_int(count_fds(h->keeper), of_keeper);
	herod_stop(h);
}

void
test_in_the_background_the_log_goes_on(void)
{
	struct herod h = {.socket = here("door")};
	pid_t old;

	copy_programs();
	check_int(
	    run("$BUILD/herod -l info --daemon --state_dir %s --runtime_dir %s "
		"--listen unix:%s",
		here("state"), here("run"), h.socket)
		.status,
	    0);
	h.keeper = pid_in(here("state/herod.pid"));
	old = herod_pid(&h);
	upgrade(&h);
	check_has(
	    file_text(here("state/log/herod.log")), "ending for another herod");
	herod_kill9(&h);
	check(herod_pid(&h) != old);
	check_has(file_text(here("state/log/herod.log")), "ended by signal 9");
	kill(h.keeper, SIGTERM);
	wait_for(!is_alive(h.keeper));
}
