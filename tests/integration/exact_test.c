/*
 * Logs over kill -9 of herod: runners write as fast as they can, herod is
 * killed in the midst of it, and each line stands in its log once, whole.
 *
 * EXACT_KILLS says how often (10); 100 take some minutes.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "herod.h"

#define SECONDS_EACH 60 /* more than a kill takes on a slow machine */

CHECK_TIMEOUT(0); /* by the number of kills */

static const char *const writers[] = {"blocks", "lines", "halves", "both"};
enum { SLOWEST = 2, ITS_BYTES = 300000 }; /* about, each time */
#define WRITERS (sizeof(writers) / sizeof(writers[0]))

static int
kills_wanted(void)
{
	const char *often = getenv("EXACT_KILLS");

	return often ? atoi(often) : 10;
}

static void __attribute__((constructor)) allow_for_time(void)
{
	check_timeout += (unsigned)kills_wanted() * SECONDS_EACH;
}

/* What each of them says, on stdout (both: on the two in turn). */
static const char *
says(size_t writer)
{
	static const char *const commands[] = {"seq -f 'blocks %.0f' 1 200000",
	    "stdbuf -oL seq -f 'lines %.0f' 1 60000",
	    "i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); "
	    "printf 'half %d' $i; printf ' and half\\n\\n'; done",
	    "i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); "
	    "echo out $i; echo error $i >&2; done"};

	return commands[writer];
}

static struct herod *
start_writers(void)
{
	const char *conf = AT_ONCE;
	size_t i;

	for (i = 0; i < WRITERS; i++)
		conf = text("%s[runner:%s]\nautostart = false\n"
			    "autorestart = never\ncommand = %s\n"
			    "stdout_logfile_maxbytes = %s\n"
			    "stdout_logfile_backups = 1000\n",
		    conf, writers[i],
		    script(writers[i],
			text("%s; until [ -e %s ]; do sleep 0.02; done",
			    says(i), here("go"))),
		    i == SLOWEST ? "0" : "2MB");
	return herod_start("%s", conf);
}

static off_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* Starts all and kills herod when the slowest has written some part of what
 * it will. */
static void
kill_amid(struct herod *h, unsigned *seed)
{
	const char *log = here("state/log/halves.log");
	off_t least = size_of(log) + rand_r(seed) % ITS_BYTES;

	rpc(h, "start_all", "{s:b}", "wait", 0);
	wait_for(size_of(log) >= least);
	herod_kill9(h);
}

static void
check_ended_well(struct herod *h)
{
	size_t i;

	write_file(here("go"), "");
	for (i = 0; i < WRITERS; i++) {
		wait_for(is_state(h, writers[i], "EXITED"));
		check_int(
		    int_at(status_of(h, writers[i]), "instances.0.exit.code"),
		    0);
	}
	unlink(here("go"));
}

/* The log without stamps is what was said, so many times over. */
static void
check_log(size_t writer, int times, const char *stream, const char *what)
{
	struct ran r = run(
	    "for i in $(seq %d); do %s; done 2>&1 | grep -e '%s' >expected; "
	    "cd state/log; cat $(ls -v -r %s.log.* 2>/dev/null) %s.log | "
	    "sed -n 's/^[^ ]*Z 0 %s //p' | cmp - ../../expected && "
	    "cat %s.log* | grep -cv '^20[^ ]*Z 0 [a-z]* '",
	    times, says(writer), what, writers[writer], writers[writer], stream,
	    writers[writer]);

	check_str(r.out, "0\n");
}

void
test_killed_at_full_speed_no_line_is_lost_doubled_or_torn(void)
{
	int kills = kills_wanted(), i;
	unsigned seed = (unsigned)getpid();
	struct herod *h = start_writers();

	printf("seed %u\n", seed);
	for (i = 0; i < kills; i++) {
		kill_amid(h, &seed);
		check_ended_well(h);
	}
	check_log(0, kills, "out", "");
	check_log(1, kills, "out", "");
	check_log(2, kills, "out", "");
	check_log(3, kills, "out", "out");
	check_log(3, kills, "err", "error");
	herod_stop(h);
}
