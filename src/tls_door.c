/*
 * Connections that speak TLS.
 *
 * A link lives until its pipe is over and its client has left, whichever is
 * later.
 */
#define LOG_MODULE "tls"
#include "tls_door.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "hangup.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define SOON (14 * 86400.0) /* seconds before a certificate ends */

struct tls_link {
	TAILQ_ENTRY(tls_link) entry;
	struct tls_door *door;
	struct tls_pipe *pipe; /* NULL: over */
	void *client; /* NULL: has left */
	bool is_guest; /* what its client was when it left */
	void *place; /* that its client had */
	ev_io outside, inside;
	ev_timer again; /* at once, after others had their turn */
	ev_timer late; /* since the client has left */
	struct hangup hangup;
};

struct tls_door {
	struct ev_loop *loop;
	const double *timeout;
	const struct tls_door_ops *ops;
	void *arg;
	struct tls_credentials *credentials;
	struct hangups *hangups;
	TAILQ_HEAD(, tls_link) links;
	size_t nleaving;
	size_t nguests; /* of these */
};

static void
close_pipe(struct tls_link *l)
{
	struct ev_loop *loop = l->door->loop;

	ev_io_stop(loop, &l->outside);
	ev_io_stop(loop, &l->inside);
	ev_timer_stop(loop, &l->again);
	ev_timer_stop(loop, &l->late);
	hangup_forget(l->door->hangups, &l->hangup);
	tls_pipe_free(l->pipe);
	l->pipe = NULL;
}

static void
link_free(struct tls_link *l)
{
	TAILQ_REMOVE(&l->door->links, l, entry);
	free(l);
}

/* Nobody is left at either end. */
static void
give_up_place(struct tls_link *l)
{
	struct tls_door *d = l->door;
	void *place = l->place;

	link_free(l);
	d->ops->gone(d->arg, place);
}

static void
over(struct tls_link *l)
{
	struct tls_door *d = l->door;
	bool was_ready = tls_pipe_inside(l->pipe) != -1;

	log_debug("over: %s", tls_pipe_why(l->pipe));
	if (l->client && !was_ready) {
		d->ops->failed(l->client, tls_pipe_why(l->pipe));
		return;
	}
	close_pipe(l);
	if (l->client)
		return;
	d->nleaving--;
	d->nguests -= l->is_guest;
	give_up_place(l);
}

static void
watch(struct tls_link *l, ev_io *w, int fd, bool reads, bool writes)
{
	int events = (reads ? EV_READ : 0) | (writes ? EV_WRITE : 0);
	struct ev_loop *loop = l->door->loop;

	if (ev_is_active(w) && w->fd == fd &&
	    (w->events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(loop, w);
	ev_io_set(w, fd, events);
	if (events)
		ev_io_start(loop, w);
}

static void
follow(struct tls_link *l, const struct tls_wants *wants)
{
	watch(l, &l->outside, tls_pipe_outside(l->pipe), wants->outside_read,
	    wants->outside_write);
	watch(l, &l->inside, tls_pipe_inside(l->pipe), wants->inside_read,
	    wants->inside_write);
	if (wants->outside_hangup)
		hangup_watch(l->door->hangups, &l->hangup, l->outside.fd, l);
	/* An event fed here would come before those of others. */
	if (wants->again && !ev_is_active(&l->again)) {
		ev_timer_set(&l->again, 0, 0);
		ev_timer_start(l->door->loop, &l->again);
	}
}

static void
run(struct tls_link *l)
{
	struct tls_wants wants;

	switch (tls_pipe_run(l->pipe, &wants)) {
	case TLS_OVER:
		over(l);
		break;
	case TLS_READY:
		follow(l, &wants);
		l->door->ops->ready(l->client, tls_pipe_program(l->pipe),
		    tls_pipe_subject(l->pipe));
		break;
	default:
		follow(l, &wants);
	}
}

/* Each handshake takes CPU for a signature. */
static const char *
kind_of_work(const struct tls_link *l)
{
	return tls_pipe_inside(l->pipe) == -1 ? "TLS handshakes of" : "TLS of";
}

static void
on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING(kind_of_work(w->data), "clients");
	(void)loop;
	(void)revents;
	run(w->data);
}

static void
on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING(kind_of_work(w->data), "clients");
	(void)loop;
	(void)revents;
	run(w->data);
}

/* Nobody reads what its client may still answer. */
static void
on_hangup(void *link)
{
	over(link);
}

static void
on_late(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("TLS of", "clients");
	(void)loop;
	(void)revents;
	over(w->data);
}

struct tls_link *
tls_link_new(struct tls_door *d, int fd, void *client)
{
	struct tls_link *l = xcalloc(1, sizeof(*l));

	l->door = d;
	l->client = client;
	l->pipe = tls_pipe_new(d->credentials, fd, NULL);
	ev_init(&l->outside, on_event);
	ev_init(&l->inside, on_event);
	ev_init(&l->again, on_again);
	ev_init(&l->late, on_late);
	ev_set_priority(&l->outside, -1);
	ev_set_priority(&l->inside, -1);
	ev_set_priority(&l->again, -1);
	l->outside.data = l->inside.data = l;
	l->again.data = l->late.data = l;
	TAILQ_INSERT_TAIL(&d->links, l, entry);
	/* The client shall know of us before it is told of anything. */
	watch(l, &l->outside, fd, true, false);
	return l;
}

void
tls_link_leave(struct tls_link *l, bool is_guest, void *place)
{
	l->client = NULL;
	l->is_guest = is_guest;
	l->place = place;
	if (l->pipe && tls_pipe_inside(l->pipe) == -1)
		close_pipe(l);
	if (l->pipe == NULL) {
		give_up_place(l);
		return;
	}
	l->door->nleaving++;
	l->door->nguests += is_guest;
	ev_timer_set(&l->late, *l->door->timeout, 0);
	ev_timer_start(l->door->loop, &l->late);
}

struct tls_credentials *
tls_door_read(const struct daemon_conf *conf, struct err *e)
{
	DOING("reading", "certificates");
	struct tls_files files = {conf->tls_cert, conf->tls_key,
	    conf->tls_client_ca, conf->tls_client_required};
	struct tls_credentials *c;
	double left;

	if (files.cert == NULL) {
		if (files.key != NULL || files.ca != NULL)
			err_set(e, ERR_PARAMS, "%s is set, and tls_cert is not",
			    files.key != NULL ? "tls_key" : "tls_client_ca");
		return NULL;
	}
	if (files.ca_required && files.ca == NULL) {
		err_set(e, ERR_PARAMS,
		    "tls_client_required is set, and tls_client_ca is not");
		return NULL;
	}
	c = tls_server(&files, e);
	left = c ? tls_valid_until(c) - ev_time() : SOON;
	if (left < SOON)
		log_warnx("tls_cert %s: %s", files.cert,
		    left < 0 ? "has expired" : "expires within 14 days");
	return c;
}

void
tls_door_set(struct tls_door *d, struct tls_credentials *stolen)
{
	tls_credentials_drop(d->credentials);
	d->credentials = stolen;
}

bool
tls_door_is_open(const struct tls_door *d)
{
	return d->credentials != NULL;
}

double
tls_door_valid_until(const struct tls_door *d)
{
	return d->credentials ? tls_valid_until(d->credentials) : 0;
}

size_t
tls_door_leaving(const struct tls_door *d)
{
	return d->nleaving;
}

size_t
tls_door_leaving_guests(const struct tls_door *d)
{
	return d->nguests;
}

struct tls_door *
tls_door_new(struct ev_loop *loop, const double *timeout,
    const struct tls_door_ops *ops, void *arg)
{
	struct tls_door *d = xcalloc(1, sizeof(*d));

	d->loop = loop;
	d->timeout = timeout;
	d->ops = ops;
	d->arg = arg;
	d->hangups = hangups_new(loop, on_hangup);
	TAILQ_INIT(&d->links);
	return d;
}

/* What clients have written leaves; they are gone, or will not ask more. */
void
tls_door_free(struct tls_door *d)
{
	struct tls_link *l;

	while ((l = TAILQ_FIRST(&d->links)) != NULL) {
		if (l->pipe) {
			tls_pipe_finish(l->pipe);
			close_pipe(l);
		}
		if (l->client == NULL)
			give_up_place(l);
		else
			link_free(l);
	}
	tls_credentials_drop(d->credentials);
	hangups_free(d->hangups);
	free(d);
}
