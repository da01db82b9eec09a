/* When to start again: arithmetic. */
#include "restart.h"

#include <math.h>
#include <stdlib.h>

#include "mem.h"

#define JITTER 0.1 /* of a delay, more or less */

#define SHORTAGE_BASE 0.2 /* seconds, doubled each time */
#define SHORTAGE_MAX 5.0

static double
jittered(double delay)
{
	double part = (double)random() / (double)RAND_MAX;

	return delay * (1 - JITTER + 2 * JITTER * part);
}

/* base * factor^(n - 1), but not beyond most. */
static double
growing(double base, double factor, unsigned n, double most)
{
	return jittered(fmin(base * pow(factor, n ? n - 1 : 0), most));
}

double
restart_delay(const struct runner_conf *c, unsigned failures)
{
	return growing(
	    c->backoff_base, c->backoff_factor, failures, c->backoff_max);
}

double
shortage_delay(unsigned shortages)
{
	return growing(SHORTAGE_BASE, 2, shortages, SHORTAGE_MAX);
}

void
flaps_forget(struct flaps *f)
{
	free(f->times);
	*f = (struct flaps){0};
}

/* The limit may have been changed since: counting begins anew then. */
static void
flaps_resize(struct flaps *f, unsigned size)
{
	if (f->size == size)
		return;
	flaps_forget(f);
	f->times = xcalloc(size, sizeof(*f->times));
	f->size = size;
}

bool
flaps_add(struct flaps *f, const struct runner_conf *c, double now)
{
	if (c->flap_limit == 0) {
		flaps_forget(f);
		return false;
	}
	flaps_resize(f, (unsigned)c->flap_limit);
	f->times[f->next] = now;
	f->next = (f->next + 1) % f->size;
	if (f->n < f->size)
		f->n++;
	/* next is the oldest of a full ring. */
	return f->n == f->size && now - f->times[f->next] <= c->flap_window;
}

unsigned
flaps_list(const struct flaps *f, double *times, unsigned max)
{
	unsigned n = f->n < max ? f->n : max, k;

	for (k = 0; k < n; k++)
		times[k] = f->times[(f->next + f->size - n + k) % f->size];
	return n;
}

double
turns_take(struct turns *t, long long rate, double now)
{
	if (rate == 0)
		return 0;
	t->next = fmax(t->next, now - 1) + 1.0 / (double)rate;
	return fmax(0, t->next - now);
}
