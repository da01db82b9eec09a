/*
 * The configuration file, the command line and the environment: all errors
 * at once with file:line and a guess, nothing half-applied.
 */
#include <sys/stat.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* herod --check of a file with this text. */
static struct ran
check_conf(const char *conf)
{
	write_file(here("herod.conf"), conf);
	return run("$BUILD/herod --check -c %s", here("herod.conf"));
}

static void
check_refused(const char *conf, const char *line, const char *why)
{
	struct ran r = check_conf(conf);

	check_int(r.status, 2);
	check_has(r.err, text("%s:%s: ", here("herod.conf"), line));
	check_has(r.err, why);
}

void
test_the_check_finds_what_the_start_would_refuse(void)
{
	struct ran r = check_conf("[herod]\nredis_url = http://x\n"
				  "listen = tcp:0.0.0.0:3030, unix:/tmp/s\n");

	check_int(r.status, 2);
	check_has(r.err, "tcp:0.0.0.0:3030: ");
	check_has(r.err, "redis_url: ");
	check(strstr(r.err, "/tmp/s") == NULL);
}

void
test_a_good_file_passes_the_check(void)
{
	check_int(check_conf("[herod]\nlog_level = info\n"
			     "[defaults]\nstartsecs = 2\n"
			     "[runner:web]\ncommand = sleep 1000\n")
		      .status,
	    0);
	check_int(check_conf("").status, 0);
}

void
test_the_sample_configuration_passes_the_check(void)
{
	if (getenv("HEROD_SOURCE") == NULL)
		skip("HEROD_SOURCE is not set");
	check_int(run("$BUILD/herod --check -c '%s/etc/herod.conf'",
		      getenv("HEROD_SOURCE"))
		      .status,
	    0);
}

void
test_unknown_words_are_refused_with_a_guess(void)
{
	check_refused("[herod]\nlog_levle = info\n", "2", "log_level");
	check_refused(
	    "[runner:web]\ncommand = x\nautostrat = true\n", "3", "autostart");
	check_refused("[runers]\ncommand = x\n", "2", "[runers]");
}

void
test_bad_values_say_what_was_wanted(void)
{
	const char *web = "[runner:web]\ncommand = x\n";

	check_refused(text("%sstartsecs = soon\n", web), "3",
	    "'soon' is not a duration such as 10s");
	check_refused(text("%sstopsignal = BANG\n", web), "3", "BANG");
	check_refused(
	    text("%sautostart = perhaps\n", web), "3", "true or false");
	check_refused(text("%skind = demon\n", web), "3", "service");
	check_refused(text("%snumprocs = -1\n", web), "3", "numprocs");
	check_refused(text("%sumask = 999\n", web), "3", "umask");
	check_refused("[herod]\nlisten = nowhere\n", "2", "nowhere");
	check_refused("[runner:a/b]\ncommand = x\n", "2", "a/b");
	check_refused("[runner:web]\nautostart = true\n", "2", "command");
	check_refused(text("%scommand = y\n", web), "3", "command");
}

void
test_all_errors_are_told_at_once(void)
{
	struct ran r = check_conf("[herod]\nbogus = 1\n"
				  "[runner:web]\ncommand = x\n"
				  "startsecs = soon\nnope = 2\n");
	const char *conf = here("herod.conf");

	check_int(r.status, 2);
	check_has(r.err, text("%s:2: ", conf));
	check_has(r.err, text("%s:5: ", conf));
	check_has(r.err, text("%s:6: ", conf));
}

void
test_a_bad_file_starts_nothing(void)
{
	struct ran r;

	write_file(here("herod.conf"),
	    text("[runner:web]\ncommand = touch %s\nnope = 1\n",
		here("touched")));
	r = run("timeout 60 $BUILD/herod -c %s --state_dir %s",
	    here("herod.conf"), here("state"));
	check_int(r.status, 2);
	check_has(r.err, "herod.conf:3: ");
	check(!file_exists(here("touched")));
	check(!file_exists(here("state/lock")));
}

void
test_a_missing_file_is_named(void)
{
	struct ran r = run("$BUILD/herod --check -c %s", here("nope.conf"));

	check_int(r.status, 2);
	check_has(r.err, here("nope.conf"));
	check_has(r.err, "No such file or directory");
}

void
test_includes_are_read_in_order_and_errors_name_their_file(void)
{
	struct ran r;

	mkdir(here("d"), 0755);
	write_file(here("d/1.conf"), "[runner:one]\ncommand = x\n");
	write_file(here("d/2.conf"), "[runner:two]\ncommand = x\nodd = 1\n");
	r = check_conf(text("[herod]\ninclude = %s\n", here("d/*.conf")));
	check_int(r.status, 2);
	check_has(r.err, text("%s:3: ", here("d/2.conf")));
	write_file(here("d/2.conf"), "[runner:two]\ncommand = x\n");
	check_int(check_conf("[herod]\ninclude = d/*.conf\n").status, 0);
}

void
test_an_include_of_itself_is_refused(void)
{
	struct ran r =
	    check_conf(text("[herod]\ninclude = %s\n", here("herod.conf")));

	check_int(r.status, 2);
	check_has(r.err, "include");
}

void
test_variables_are_filled_in(void)
{
	struct herod *h;

	setenv("WORDS", "from outside", 1);
	unsetenv("NOBODY");
	h = herod_start(AT_ONCE "[runner:it]\nautorestart = never\n"
				"command = echo '${WORDS}' "
				"${NOBODY:-by default}\n");
	wait_for(is_state(h, "it", "EXITED"));
	check_str(logs_of(h, "it"), "from outside by default\n");
	herod_stop(h);
}

void
test_an_unset_variable_is_an_error(void)
{
	unsetenv("NOBODY");
	check_refused("[runner:it]\ncommand = echo ${NOBODY}\n", "2", "NOBODY");
}

void
test_argv_beats_environment_beats_file(void)
{
	struct herod *h;

	setenv("HEROD_NODE", "from-environment", 1);
	h = herod_start("[herod]\nnode = from-file\n");
	check_str(text_at(rpc(h, "get_all_status", NULL), "node.name"),
	    "from-environment");
	herod_stop(h);
	h = herod_start_with("", "--node from-argv", "[herod]\nnode = x\n");
	check_str(
	    text_at(rpc(h, "get_all_status", NULL), "node.name"), "from-argv");
	herod_stop(h);
}

void
test_unknown_options_are_refused_with_a_guess(void)
{
	struct ran r = run("$BUILD/herod --stat_dir /x");

	check_int(r.status, 2);
	check_has(r.err, "--stat_dir");
	check_has(r.err, "--state_dir");
	check_int(run("$BUILD/herod --state_dir").status, 2);
	check_int(run("$BUILD/herod nonsense").status, 2);
}

void
test_defaults_apply_to_all_runners(void)
{
	struct herod *h =
	    herod_start("[runner:a]\ncommand = sleep 1000\n"
			"[defaults]\nautostart = false\n"
			"[runner:b]\ncommand = sleep 1000\nautostart = true\n");

	check(is_state(h, "a", "STOPPED"));
	check(!is_state(h, "b", "STOPPED"));
	herod_stop(h);
}

void
test_quotes_and_continued_lines_are_read_as_written(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\n"
	    "command = printf '%%s|' \"a b\" 'c \"d\"' e\\ f 'g; h' \"\"\n"
	    "    more\n");

	wait_for(is_state(h, "it", "EXITED"));
	check_str(logs_of(h, "it"), "a b|c \"d\"|e f|g; h||more|\n");
	herod_stop(h);
}

void
test_no_file_is_needed(void)
{
	struct ran r = run("$BUILD/herod --check");

	check_int(r.status, 0);
	check_has(run("$BUILD/herod --version").out, "herod ");
	check_has(run("$BUILD/herod --help").out, "--state_dir");
}
