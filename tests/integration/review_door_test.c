/* What users meet at the doors, as a reviewer found it broken. */
#include <stdlib.h>
#include <string.h>

#include "herod.h"

CHECK_TIMEOUT(180);

void
test_following_goes_on_beside_an_unknown_name(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sh -c 'while echo up; do sleep 0.1; done'\n");
	struct ran r;

	wait_for(strstr(logs_of(h, "web"), "up"));
	/* It ends with head(1), by the line after the first. */
	r = run(
	    "$BUILD/heroctl -s unix:%s logs -f nosuch web 2>%s | head -n 1; "
	    "cat %s >&2",
	    h->socket, here("err"), here("err"));
	check_has(r.err, "there is no runner nosuch");
	check_has(r.out, "up");
	check_int(heroctl(h, "--timeout 0.1 logs -f web").status, 6);
	wait_for(strstr(heroctl(h, "--timeout 0.5 events").err,
	    ": the time given is over"));
	r = heroctl(h, "logs -f nosuch neither");
	check_has(r.err, "there is no runner nosuch");
	check_has(r.err, "there is no runner neither");
	check_int(r.status, 4);
	herod_stop(h);
}

void
test_the_first_failure_of_piped_verbs_counts(void)
{
	struct herod *h = herod_start(AT_ONCE);

	check_int(run("printf 'status nosuch\\nfoo\\nping\\n' | "
		      "$BUILD/heroctl -s unix:%s",
		      h->socket)
		      .status,
	    4);
	check_int(run("printf 'ping\\nlist\\nexit\\nfoo\\n' | "
		      "$BUILD/heroctl -s unix:%s",
		      h->socket)
		      .status,
	    0);
	herod_stop(h);
}

void
test_the_samples_include_line_works(void)
{
	struct ran r;

	if (getenv("HEROD_SOURCE") == NULL)
		skip("HEROD_SOURCE is not set");
	write_file("extra.conf", "[runner:web]\ncommand = sleep 1\n");
	r = run("sed 's|^#include = .*|include = extra.conf|' "
		"$HEROD_SOURCE/etc/herod.conf >sample.conf && "
		"$HEROD_BUILD/heroctl check sample.conf");
	check_has(r.out, "1 runner");
	check_int(r.status, 0);
}
