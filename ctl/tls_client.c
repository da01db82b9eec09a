/*
 * TLS of heroctl: the pipe is run by a thread of its own, which ends with the
 * connection, so that everybody else reads and writes a socket as ever.
 */
#include "tls_client.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static short
events_of(bool reads, bool writes)
{
	return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

/* Until there is something to do; 0 when it is late.  Nothing is wanted of an
 * end that has said its last, whose hang-up would not wait. */
static int
wait_for(const struct tls_pipe *p, const struct tls_wants *w, int ms)
{
	struct pollfd fds[] = {
	    {.events = events_of(w->outside_read, w->outside_write)},
	    {.events = events_of(w->inside_read, w->inside_write)}};

	fds[0].fd = fds[0].events ? tls_pipe_outside(p) : -1;
	fds[1].fd = fds[1].events ? tls_pipe_inside(p) : -1;
	return poll(fds, 2, w->again ? 0 : ms);
}

/* It has closed its end, and all that it has said is on its way. */
static bool
has_left(const struct tls_pipe *p, const struct tls_wants *w)
{
	struct pollfd fd = {.fd = tls_pipe_inside(p)};

	return !w->inside_read && !w->outside_write && !w->again &&
	    poll(&fd, 1, 0) == 1;
}

static void *
carry(void *pipe)
{
	struct tls_wants wants;

	while (
	    tls_pipe_run(pipe, &wants) != TLS_OVER && !has_left(pipe, &wants))
		wait_for(pipe, &wants, -1);
	tls_pipe_free(pipe);
	return NULL;
}

/* Signals are for the one who waits for an answer. */
static int
start(struct tls_pipe *p, struct err *e)
{
	sigset_t all, before;
	pthread_t thread;
	int bad, fd = tls_pipe_program(p);

	fcntl(fd, F_SETFL, 0); /* as of a socket just connected */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	bad = pthread_create(&thread, NULL, carry, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!bad) {
		pthread_detach(thread);
		return fd;
	}
	close(fd);
	tls_pipe_free(p);
	return err_set(e, ERR_INTERNAL, "a thread: %s", strerror(bad));
}

/* 0, -1, or EINTR when a signal came. */
static int
shake_hands(struct tls_pipe *p, double deadline, struct err *e)
{
	struct tls_wants wants;
	enum tls_state state;
	double left = INFINITY;

	while ((state = tls_pipe_run(p, &wants)) == TLS_SHAKING) {
		if (deadline > 0)
			left = deadline - clock_monotonic();
		if (left <= 0)
			return err_set(e, ERR_TIMED_OUT, "TLS: no answer");
		if (wait_for(p, &wants, (int)fmin(ceil(left * 1000), 1e9)) < 0)
			return EINTR;
	}
	if (state == TLS_READY)
		return 0;
	return err_set(e,
	    tls_pipe_distrusts(p) ? ERR_UNAUTHORIZED : ERR_SHUTTING_DOWN,
	    "TLS: %s", tls_pipe_why(p));
}

int
tls_connect(int fd, const char *host, const struct tls_files *files,
    double deadline, struct err *e)
{
	struct tls_credentials *c = tls_client(files, e);
	struct tls_pipe *p;
	int bad;

	if (c == NULL) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	p = tls_pipe_new(c, fd, host);
	tls_credentials_drop(c);
	bad = shake_hands(p, deadline, e);
	if (!bad)
		return start(p, e);
	tls_pipe_free(p);
	if (bad == EINTR)
		err_set(e, ERR_TIMED_OUT, "TLS: interrupted");
	errno = bad == EINTR ? EINTR : 0;
	return -1;
}
