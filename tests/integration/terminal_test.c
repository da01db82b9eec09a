/*
 * herod on a terminal: ^C, ^C again, and the terminal that goes away.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

struct terminal {
	int master;
	struct herod h;
};

static void
run_on(const char *tty, const char *command)
{
	int fd;

	setsid();
	fd = open(tty, O_RDWR); /* becomes the controlling one */
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* A herod in the foreground of a new terminal. */
static struct terminal *
terminal_start(const char *conf)
{
	static struct terminal t;
	const char *command;

	write_file("herod.conf", conf);
	t.h.socket = here("s.sock");
	t.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	check(t.master != -1 && grantpt(t.master) == 0 &&
	    unlockpt(t.master) == 0);
	command = text("exec %s/herod -l warn -c %s --state_dir %s "
		       "--runtime_dir %s --listen unix:%s",
	    getenv("HEROD_BUILD"), here("herod.conf"), here("state"),
	    here("run"), t.h.socket);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	t.h.keeper = fork();
	if (t.h.keeper == 0)
		run_on(ptsname(t.master), command);
	wait_for(run("$BUILD/heroctl -s unix:%s ping", t.h.socket).status == 0);
	return &t;
}

static void
type(struct terminal *t, const char *keys)
{
	check_int(write(t->master, keys, strlen(keys)), (int)strlen(keys));
}

/* Everything that was shown until now. */
static const char *
screen(struct terminal *t)
{
	static char shown[65536];
	static size_t len;
	struct pollfd p = {.fd = t->master, .events = POLLIN};
	ssize_t n;

	while (len < sizeof(shown) - 1 && poll(&p, 1, 0) == 1 &&
	    (n = read(t->master, shown + len, sizeof(shown) - 1 - len)) > 0)
		len += (size_t)n;
	return shown;
}

/* Says which signal it got first, and ends when it is allowed to. */
static const char *
polite(void)
{
	return text(AT_ONCE "[runner:it]\nstopwaitsecs = 1000\ncommand = %s\n",
	    script("it",
		text("trap 'echo INT >>%s' INT\ntrap 'echo HUP >>%s' HUP\n"
		     "trap 'echo TERM >>%s' TERM\necho up >%s\n"
		     "while [ ! -f %s ]; do sleep 0.05; done",
		    here("got"), here("got"), here("got"), here("up"),
		    here("go"))));
}

/* Pitfall 17: it reaches herod only, which ends the others in order. */
void
test_interrupt_from_the_terminal_ends_everything_in_order(void)
{
	struct terminal *t = terminal_start(polite());

	wait_for(file_exists(here("up")));
	type(t, "\003");
	/* Pitfall 36: it says what it waits for. */
	wait_for(
	    strstr(screen(t), "shutdown: waits for runner it.0: STOPPING"));
	write_file("go", "");
	check_int(herod_end(&t->h), 0);
	check_str(file_text(here("got")), "TERM\n");
}

/* Pitfall 17. */
void
test_a_second_interrupt_from_the_terminal_ends_at_once(void)
{
	struct terminal *t = terminal_start(polite());

	wait_for(file_exists(here("up")));
	type(t, "\003");
	wait_for(file_exists(here("got")));
	type(t, "\003");
	check_int(herod_end(&t->h), 1); /* something had to be killed */
}

/* Pitfall 17: nobody is left who could end it. */
void
test_a_terminal_that_goes_away_ends_everything_in_order(void)
{
	struct terminal *t = terminal_start(polite());

	wait_for(file_exists(here("up")));
	write_file("go", "");
	close(t->master);
	check_int(herod_end(&t->h), 0);
}

/* A signal of that number that somebody sends is no reason to end. */
void
test_a_hangup_signal_from_somebody_ends_nothing(void)
{
	struct terminal *t = terminal_start(polite());

	wait_for(file_exists(here("up")));
	kill(t->h.keeper, SIGHUP);
	rpc(&t->h, "ping", NULL);
	write_file("go", "");
	check(is_alive(t->h.keeper));
	herod_stop(&t->h);
}

/* Pitfall 17: a runner has no terminal, nor does herod give it one. */
void
test_runners_have_no_terminal(void)
{
	struct terminal *t =
	    terminal_start(text(AT_ONCE "[runner:it]\ncommand = %s\n",
		script("it",
		    text("(: </dev/tty) 2>/dev/null && echo has >%s || "
			 "echo none >%s\nexec sleep 1000",
			here("tty"), here("tty")))));

	wait_for(count_lines(here("tty")) == 1);
	check_str(file_text(here("tty")), "none\n");
	herod_stop(&t->h);
}
