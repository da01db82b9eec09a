/* What users meet at the doors, as a reviewer found it broken. */
#include <stdlib.h>
#include <string.h>

#include "herod.h"

CHECK_TIMEOUT(180);

void
test_following_goes_on_beside_an_unknown_name(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\ncommand = sh -c 'echo up; sleep 1000'\n");
	struct ran r;

	wait_for(strstr(logs_of(h, "web"), "up"));
	r = heroctl(h, "--timeout 1s logs -f nosuch web");
	check_has(r.err, "there is no runner nosuch");
	check_has(r.out, "up");
	check_int(r.status, 6); /* by the end of the time */
	r = heroctl(h, "--timeout 5s logs -f nosuch neither");
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
