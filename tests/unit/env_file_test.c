/* Files of variables: what is read of them, what is refused. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "env_file.h"
#include "mem.h"

static char **
read_env(const char *content)
{
	struct err e = {0};
	char **list = NULL;

	write_file("env", content);
	check_int(env_file_read("env", &list, &e), 0);
	check(!err_is_set(&e));
	return list;
}

static void
check_refused(const char *path, const char *why)
{
	struct err e = {0};
	char **list = NULL;

	check_int(env_file_read(path, &list, &e), -1);
	check_int(e.code, ERR_CANNOT_START);
	check_has(e.text, why);
	check(list == NULL);
}

void
test_each_line_is_a_variable(void)
{
	static const char *const wanted[] = {"A=1", "B_2=two words",
	    "D=x \"y\"", "E=  kept  ", "F=", "G=a=b#c", "H=last"};
	char **list = read_env("# a comment\n\nA=1\n  B_2= two words  \r\n"
			       "export D='x \"y\"'\nE=\"  kept  \"\nF=\n"
			       "G=a=b#c\nH=last");
	size_t i;

	for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		check_str(list[i], wanted[i]);
	check(list[i] == NULL);
	strv_free(list);
}

void
test_variables_come_behind_those_that_are_there(void)
{
	struct err e = {0};
	char **list = NULL;

	strv_add(&list, xstrdup("OLD=1"));
	write_file("env", "NEW=2\n");
	check_int(env_file_read("env", &list, &e), 0);
	check_str(list[0], "OLD=1");
	check_str(list[1], "NEW=2");
	strv_free(list);
}

void
test_a_mistake_names_its_line(void)
{
	write_file("env", "A=1\nnonsense\n");
	check_refused("env", "env_file: env:2: wanted NAME=VALUE");
	write_file("env", "A=\"open\n");
	check_refused("env", "env_file: env:1: the quote is not closed");
	write_file("env", "1A=2\n");
	check_refused("env", "env:1: wanted NAME=VALUE");
}

/* Nothing that would make herod wait, or be endless. */
void
test_only_a_file_is_read(void)
{
	check_refused("missing", "env_file: missing: No such file");
	check_refused("/dev/zero", "env_file: /dev/zero: not a file");
	check_int(mkfifo("fifo", 0600), 0);
	check_refused("fifo", "env_file: fifo: not a file");
}
