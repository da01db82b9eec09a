/*
 * herod and herod-keeper are killed both: the herod that is started next
 * finds by its record what lives, goes on with it, and starts nothing twice.
 * What is not what the record says is left alone.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"
#include "living.h"
#include "process.h"

CHECK_TIMEOUT(240);

static void
both_again(struct herod *h)
{
	herod_kill_both(h);
	herod_again(h);
}

/* ---- what goes on: pitfall 32 ---- */

void
test_runners_live_on_under_their_pids(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nnumprocs = 3\ncommand = %s\n",
	    script("web", text("echo up >>%s; exec sleep 1000", here("up"))));
	json_t *before, *after;
	int i, k;

	wait_for(count_lines(here("up")) == 3);
	wait_for(is_state(h, "web", "RUNNING"));
	before = status_of(h, "web");
	for (k = 0; k < 4; k++) {
		both_again(h);
		after = status_of(h, "web");
		check_str(text_at(after, "state"), "RUNNING");
		check_has(text_at(after, "instances.0.why"), "outlived");
		for (i = 0; i < 3; i++)
			check_int(int_at(after, text("instances.%d.pid", i)),
			    int_at(before, text("instances.%d.pid", i)));
	}
	check_int(count_lines(here("up")), 3);
	check_has(herod_log(), "runner web.0: pid");
	check_has(herod_log(), "how it ends will not be known");
	herod_stop(h);
}

/* It is not ended by SIGPIPE meanwhile, and what it writes then is kept. */
void
test_output_goes_on_into_the_log(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		text("i=0; while :; do i=$((i + 1)); echo out $i; "
		     "echo err $i >&2; echo $i >%s; sleep 0.01; done",
		    here("at"))));
	const char *log = here("state/log/it.log");
	int away, back;
	pid_t it;

	wait_for(strstr(logs_of(h, "it"), "err 3\n"));
	wait_for((it = pid_of(h, "it")) != 0);
	herod_kill_both(h);
	away = atoi(file_text(here("at")));
	wait_for(atoi(file_text(here("at"))) > away + 10);
	herod_again(h);
	check_int(pid_of(h, "it"), it);
	back = atoi(file_text(here("at")));
	wait_for(strstr(file_text(log), text(" out %d\n", back + 5)));
	wait_for(strstr(file_text(log), text(" err %d\n", back + 5)));
	check_has(file_text(log), text(" out %d\n", away + 5));
	check_has(file_text(log), text(" err %d\n", away + 5));
	herod_stop(h);
}

/* As a whole: what it started is of its group. */
void
test_a_stop_reaches_the_whole_group(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nstopwaitsecs = 60\ncommand = %s\n",
	    script(
		"it", text("sleep 1000 & echo $! >%s; wait", here("below"))));
	pid_t it, below;

	wait_for((below = pid_in(here("below"))) != 0);
	wait_for((it = pid_of(h, "it")) != 0);
	both_again(h);
	rpc(h, "stop_runner", "[s]", "it");
	check(!is_alive(it));
	check(!is_alive(below));
	check(is_state(h, "it", "STOPPED"));
	herod_stop(h);
}

void
test_how_one_ends_is_told_as_unknown_and_it_is_replaced(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t old, new;

	wait_for((old = pid_of(h, "web")) != 0);
	both_again(h);
	kill(old, SIGKILL);
	wait_for((new = pid_of(h, "web")) != 0 && new != old);
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.code")));
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.signal")));
	is_gone(old);
	herod_stop(h);
}

void
test_what_is_wanted_decides_for_the_rest(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:up]\ncommand = sleep 1000\nautostart = false\n"
		    "[runner:down]\ncommand = sleep 1000\n");
	pid_t up;

	rpc(h, "start_runner", "[s]", "up");
	rpc(h, "stop_runner", "[s]", "down");
	rpc(h, "add_runner", "{s:{s:s, s:[s, s], s:i}}", "runner", "name",
	    "late", "command", "sleep", "1000", "startsecs", 0);
	wait_for(is_state(h, "late", "RUNNING"));
	up = pid_of(h, "late");
	both_again(h);
	check(is_state(h, "up", "RUNNING"));
	check(is_state(h, "down", "STOPPED"));
	check_int(pid_of(h, "late"), up);
	herod_stop(h);
}

void
test_the_parent_of_a_daemon_is_told_that_it_is_ready(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t web;

	wait_for((web = pid_of(h, "web")) != 0);
	herod_kill_both(h);
	check_int(run("$BUILD/herod --daemon -c %s --state_dir %s "
		      "--runtime_dir %s --listen unix:%s",
		      h->conf, here("state"), here("run"), h->socket)
		      .status,
	    0);
	check_int(pid_of(h, "web"), web);
	check_has(file_text(here("state/log/herod.log")),
	    text("runner web.0: pid %d outlived herod and herod-keeper",
		(int)web));
	check_has(file_text(here("state/log/herod.log")),
	    "herod and herod-keeper were both killed: ");
	h->keeper = pid_in(here("state/herod.pid"));
	herod_stop(h);
}

/* ---- never a second copy ---- */

void
test_what_had_done_its_work_is_not_run_again(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:once]\nautorestart = never\ncommand = %s\n",
	    script("once", text("echo up >>%s; exit 3", here("up"))));

	wait_for(is_state(h, "once", "EXITED"));
	wait_for_redis(h);
	both_again(h);
	both_again(h);
	/* What it left is looked for first. */
	wait_for(is_state(h, "once", "EXITED"));
	check_int(int_at(status_of(h, "once"), "instances.0.exit.code"), 3);
	check_int(count_lines(here("up")), 1);
	herod_stop(h);
}

/* While nobody was there to see it; what it leaves behind, too. */
void
test_what_ended_meanwhile_is_started_anew(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		text("echo up >>%s; sleep 1000 & echo $! >%s; wait", here("up"),
		    here("below"))));
	pid_t it, below, old;

	wait_for((old = pid_in(here("below"))) != 0);
	wait_for((it = pid_of(h, "it")) != 0);
	herod_kill_both(h);
	kill(it, SIGKILL);
	wait_for(is_gone(it));
	herod_again(h);
	check(is_gone(old));
	check_has(herod_log(), "was left behind: it is killed");
	wait_for(count_lines(here("up")) == 2);
	wait_for((below = pid_in(here("below"))) != old && below != 0);
	herod_stop(h);
}

/* Old processes go by the rules that they had, as with a reload. */
void
test_a_configuration_that_has_changed_counts_afterwards(void)
{
	const char *same = "[runner:same]\ncommand = sleep 1000\n";
	struct herod *h = herod_start(AT_ONCE
	    "%s[runner:fewer]\nnumprocs = 2\ncommand = sleep 1000\n"
	    "[runner:other]\ncommand = sleep 1000\n"
	    "[runner:gone]\ncommand = sleep 1000\n",
	    same);
	pid_t kept, first, second, other, gone, now;

	wait_for((second = (pid_t)json_integer_value(
		      at(status_of(h, "fewer"), "instances.1.pid"))) != 0);
	wait_for((gone = pid_of(h, "gone")) != 0);
	wait_for((other = pid_of(h, "other")) != 0);
	wait_for((kept = pid_of(h, "same")) != 0);
	wait_for((first = pid_of(h, "fewer")) != 0);
	herod_kill_both(h);
	write_file(h->conf,
	    text(AT_ONCE "%s[runner:fewer]\ncommand = sleep 1000\n"
			 "[runner:other]\ncommand = sleep 2000\n"
			 "[runner:new]\ncommand = sleep 1000\n",
		same));
	herod_again(h);
	wait_for(is_gone(gone) && is_gone(second) && is_gone(other));
	wait_for((now = pid_of(h, "other")) != 0 && now != other);
	check_has(proc_text(now, "cmdline") + 6, "2000");
	check_int(pid_of(h, "same"), kept);
	check_int(pid_of(h, "fewer"), first);
	wait_for(is_state(h, "new", "RUNNING"));
	herod_stop(h);
}

/* Between its execution and the record's knowing its pid.  Nobody reads what
 * it writes. */
void
test_what_was_just_being_started_is_started_once(void)
{
	struct herod *h = herod_start(AT_ONCE);
	pid_t keeper = h->keeper, half;
	struct living_file *f;
	struct living l = {.id = 4711, .tag = "{}"};

	herod_kill_both(h);
	half = run_begin("HERO_SPAWN=%d-4711 exec sleep 1000", (int)keeper);
	l.marked_by = keeper;
	f = living_open(here("state"));
	living_put(f, living_take(f), &l);
	living_close(f);
	wait_for(strcmp(proc_text(half, "comm"), "sleep\n") == 0);
	herod_again(h);
	check_int(run_end(half), 128 + SIGKILL);
	herod_stop(h);
}

/* Who was just being started has a copy of all that herod-keeper had open,
 * its lock too, until it is executed. */
static pid_t
hold_lock(void)
{
	pid_t holder = run_begin("exec 9<>%s; flock -n 9 || exit 1; touch %s\n"
				 "until [ -e %s ]; do sleep 0.01 9>&-; done",
	    here("state/herod.pid"), here("held"), here("release"));

	wait_for(file_exists(here("held")));
	return holder;
}

/* Is somebody else waiting for it? */
static int
count_openers(const char *path)
{
	return atoi(run("readlink /proc/[0-9]*/fd/* | grep -cxF %s", path).out);
}

void
test_a_lock_that_goes_a_moment_later_is_waited_for(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:web]\ncommand = %s\n",
	    script("web", text("echo up >>%s; exec sleep 1000", here("up"))));
	const char *lock = here("state/herod.pid");
	pid_t web, holder, watcher;
	int openers;

	wait_for((web = pid_of(h, "web")) != 0);
	herod_kill_both(h);
	holder = hold_lock();
	openers = count_openers(lock);
	watcher = fork();
	if (watcher == 0) {
		wait_for(count_openers(lock) > openers);
		write_file(here("release"), "");
		_exit(0);
	}
	herod_again(h);
	check_int(waitpid(watcher, NULL, 0), watcher);
	check_int(run_end(holder), 0);
	check_int(pid_of(h, "web"), web);
	check_int(count_lines(here("up")), 1);
	herod_stop(h);
}

/* ---- jobs ---- */

static const char *
queue(struct herod *h, const char *runner, const char *payload)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", runner, "job", "payload", payload));
}

/* What has become of it at last. */
static const char *
result_of(struct herod *h, const char *id)
{
	wait_for_redis(h);
	return text_at(rpc(h, "job.wait", "[s]", id), "success");
}

void
test_the_private_redis_and_its_queues_go_on(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:up]\nkind = exec\ncommand = tr a-z A-Z\n"
		    "[runner:later]\nkind = exec\nautostart = false\n"
		    "command = tr a-z A-Z\n");
	const char *servers = "pgrep -f '^redis-server.*%s'", *before;
	const char *id;

	wait_for_redis(h);
	before = run(servers, here("state/redis")).out;
	check(atoi(before) != 0);
	id = queue(h, "later", "hello");
	both_again(h);
	wait_for_redis(h);
	check_str(run(servers, here("state/redis")).out, before);
	rpc(h, "start_runner", "[s]", "later");
	check_str(result_of(h, id), "HELLO");
	herod_stop(h);
}

/* Its result had its other end with us: the job is done again, after it. */
void
test_a_job_in_flight_is_never_done_twice_at_once(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:slow]\nkind = exec\ncommand = %s\n",
		script("slow",
		    text("exec 9>%s; flock -n 9 || echo twice >>%s\n"
			 "setsid sleep 1000 >/dev/null 2>&1 &\n"
			 "echo run >>%s\n"
			 "while [ ! -f %s ]; do sleep 0.02; done\n"
			 "kill $!; echo done",
			here("lock"), here("bad"), here("runs"), here("go"))));
	const char *id;

	wait_for_redis(h);
	id = queue(h, "slow", "it");
	wait_for(count_lines(here("runs")) == 1);
	herod_kill_both(h);
	herod_again(h);
	wait_for(count_lines(here("runs")) == 2);
	write_file(here("go"), "");
	check_str(result_of(h, id), "done");
	check(!file_exists(here("bad")));
	check_int(count_lines(here("runs")), 2);
	check_has(herod_log(), "its job is given back");
	herod_stop(h);
}

void
test_a_stdio_worker_is_replaced_and_its_job_given_back(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:w]\nkind = stdio\ncommand = %s\n",
	    script("w",
		text("echo $$ >>%s\n"
		     "while read -r line; do echo run >>%s\n"
		     "[ -f %s ] || sleep 1000\n"
		     "echo \"$line\" | sed 's/.*\"id\": *\"\\([^\"]*\\)\".*/"
		     "{\"jsonrpc\":\"2.0\",\"id\":\"\\1\","
		     "\"result\":\"well\"}/'\ndone",
		    here("pids"), here("runs"), here("go"))));
	const char *id;
	pid_t old;

	wait_for_redis(h);
	id = queue(h, "w", "it");
	wait_for(count_lines(here("runs")) == 1);
	wait_for((old = pid_of(h, "w")) != 0);
	herod_kill_both(h);
	check(is_alive(old));
	write_file(here("go"), "");
	herod_again(h);
	check(is_gone(old));
	check_str(result_of(h, id), "well");
	check_int(count_lines(here("pids")), 2);
	herod_stop(h);
}

/* ---- what is not ours ---- */

static void
record(pid_t pid, unsigned long long began)
{
	struct living l = {.id = 4711,
	    .pid = pid,
	    .began = began,
	    .tag = "{\"runner\":\"web\",\"n\":0,\"restarts\":0}"};
	struct living_file *f = living_open(here("state"));

	check(f != NULL);
	living_put(f, living_take(f), &l);
	living_close(f);
}

/* As after a reboot. */
static void
record_is_of_another_boot(void)
{
	int fd = open(here("state/" LIVING_NAME), O_WRONLY);

	check_int(pwrite(fd, "00000000-1111", 13, 4), 13);
	close(fd);
}

/* Pitfall 9. */
void
test_a_number_that_is_anothers_by_now_is_left_alone(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t web, other = run_begin("exec sleep 1000");
	struct process_info info;

	wait_for((web = pid_of(h, "web")) != 0);
	rpc(h, "stop_runner", "[s]", "web");
	herod_kill_both(h);
	check(process_read(other, &info));
	record(other, info.began + 1);
	herod_again(h);
	check(is_alive(other));
	rpc(h, "start_runner", "[s]", "web");
	check(pid_of(h, "web") != other);
	rpc(h, "stop_runner", "[s]", "web");
	check(is_alive(other));
	kill(other, SIGTERM);
	check_int(run_end(other), 128 + SIGTERM);
	herod_stop(h);
}

void
test_nothing_of_another_boot_is_touched(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n"
		    "[runner:idle]\ncommand = sleep 1000\nautostart = false\n");
	pid_t other = run_begin("exec sleep 1000");
	struct process_info info;

	wait_for(pid_of(h, "web") != 0);
	rpc(h, "stop_runner", "[s]", "web");
	herod_kill_both(h);
	run("pkill -KILL -f '^redis-server.*%s'", here("state/redis"));
	check(process_read(other, &info));
	record(other, info.began);
	record_is_of_another_boot();
	herod_again(h);
	check(is_state(h, "web", "STOPPED"));
	check(is_state(h, "idle", "STOPPED"));
	check(is_alive(other));
	kill(other, SIGTERM);
	check_int(run_end(other), 128 + SIGTERM);
	herod_stop(h);
}

/* A set-user-id program of an ordinary user's herod, where proc(5) shows
 * nobody what is another's: neither can its start time be recorded. */
static struct herod *
start_unseen(void)
{
	const char *before = text(
	    "exec unshare -m sh -c 'mount -t proc -o hidepid=2 proc /proc && "
	    "mount --bind %s %s && shift && exec setpriv --reuid=65534 "
	    "--regid=65534 --clear-groups %s/herod \"$@\"'",
	    getenv("HEROD_BUILD"), here("bin"), here("bin"));
	struct ran r =
	    run("cp $(command -v sleep) %s && chmod 4755 %s && chmod 755 . && "
		"mkdir bin state run && chown 65534:65534 state run && "
		"unshare -m mount -t proc -o hidepid=2 proc /proc",
		here("unseen"), here("unseen"));

	if (geteuid() != 0 || r.status != 0)
		skip("needs root and proc(5) with hidepid");
	return herod_start_with(before, "",
	    AT_ONCE "[runner:it]\nautostart = false\ncommand = %s 1000\n",
	    here("unseen"));
}

void
test_what_cannot_be_looked_at_is_told(void)
{
	struct herod *h = start_unseen();
	pid_t it;

	rpc(h, "start_runner", "[s]", "it");
	it = pid_of(h, "it");
	herod_kill_both(h);
	herod_again(h);
	check_has(herod_log(),
	    text("runner it.0: pid %d may have outlived herod and "
		 "herod-keeper, but it cannot be looked at: it is left alone",
		(int)it));
	check(is_alive(it));
	kill(it, SIGKILL);
	wait_for(is_gone(it));
	herod_stop(h);
}

void
test_a_record_that_cannot_be_read_is_told(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");

	herod_stop(h);
	run("rm state/living; mkdir state/living");
	herod_again(h);
	wait_for(is_state(h, "web", "RUNNING"));
	check_has(herod_log(), "state/living: who lives cannot be read");
	herod_stop(h);
}

/* Another herod's processes are not for one that is refused. */
void
test_a_second_herod_touches_nothing(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	struct ran r;
	pid_t web;

	wait_for((web = pid_of(h, "web")) != 0);
	r = run("timeout 60 $BUILD/herod -c %s --state_dir %s "
		"--runtime_dir %s --listen unix:%s",
	    h->conf, here("state"), here("run"), here("run/second.sock"));
	check_int(r.status, 1);
	check_has(r.err, "a herod runs on this state_dir already");
	check(is_alive(web));
	both_again(h);
	check_int(pid_of(h, "web"), web);
	herod_stop(h);
}

/* ---- for long ---- */

static long long
record_size(void)
{
	struct stat st;

	check_int(stat(here("state/" LIVING_NAME), &st), 0);
	return st.st_size;
}

void
test_nothing_grows_when_both_are_killed_again_and_again(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nnumprocs = 4\ncommand = sleep 1000\n"
		    "[runner:short]\nstartretries = -1\nautorestart = always\n"
		    "autostart = false\n"
		    "backoff_base = 10ms\nbackoff_max = 10ms\n"
		    "command = sleep 0.01\n");
	int of_herod, of_keeper, i;
	long long size;

	wait_for_redis(h);
	both_again(h);
	wait_for_redis(h);
	rpc(h, "stop_runner", "[s]", "short"); /* opens the audit log */
	of_herod = count_fds(herod_pid(h));
	of_keeper = count_fds(h->keeper);
	size = record_size();
	for (i = 0; i < 4; i++) {
		rpc(h, "start_runner", "[s]", "short");
		both_again(h);
		wait_for_redis(h);
	}
	rpc(h, "stop_runner", "[s]", "short");
	wait_for(count_fds(herod_pid(h)) <= of_herod);
	wait_for(count_fds(h->keeper) <= of_keeper);
	check(record_size() <= size + 2 * 2048);
	herod_stop(h);
}
