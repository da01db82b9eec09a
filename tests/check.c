/*
 * The test harness; see check.h.
 *
 *	main ── warden (one a test: subreaper, time limit, clean-up)
 *	         └── test (own process group, own directory)
 *
 * The warden is there so that whatever a test starts, even in a session of
 * its own, comes back to a process that knows which test it was.
 */
#include "check.h"
#include "secrets.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SKIP 77
#define GRACE 2.0 /* seconds for processes that are just about to end */

struct test {
	const char *name; /* without "test_" */
	void (*fn)(void);
	bool chosen;
	pid_t warden; /* 0 while it does not run */
	int output; /* memfd with all that it printed */
};

struct tally {
	int passed, failed, skipped;
};

/* Not const: the compiler would believe it. */
__attribute__((weak)) unsigned check_timeout = 120;

static bool keep_dirs; /* -k: leave the directories for a look */

/* ---- what tests call ---- */

double
check_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double
check_patience(void)
{
	const char *text = getenv("CHECK_PATIENCE");
	double factor = text ? strtod(text, NULL) : 1;

	return factor > 0 ? factor : 1;
}

void
check_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	/* Not exit(3): a failed test has not freed anything. */
	_exit(1);
}

int
check_kill(const char *file, int line, long pid, int signo)
{
	if (pid == 0 || pid == -1)
		check_fail(file, line, "there is no process to signal");
	return (kill)((pid_t)pid, signo);
}

void
check_int_at(
    const char *file, int line, const char *what, long long got, long long want)
{
	if (got != want)
		check_fail(file, line, "%s is %lld, not %lld", what, got, want);
}

void
check_str_at(const char *file, int line, const char *what, const char *got,
    const char *want)
{
	if (got == NULL || want == NULL ? got != want : strcmp(got, want) != 0)
		check_fail(file, line, "%s is\n  \"%s\", not\n  \"%s\"", what,
		    got ? got : "(null)", want ? want : "(null)");
}

void
check_has_at(const char *file, int line, const char *what, const char *text,
    const char *part)
{
	if (text == NULL || strstr(text, part) == NULL)
		check_fail(file, line, "%s is\n  \"%s\", without\n  \"%s\"",
		    what, text ? text : "(null)", part);
}

void
check_wait(const char *file, int line, const char *what, double since)
{
	static const struct timespec pause = {0, 5000000};

	if (check_clock() - since > 30 * check_patience())
		check_fail(file, line, "waited in vain for: %s", what);
	nanosleep(&pause, NULL);
}

void
skip(const char *reason)
{
	printf("%s\n", reason);
	fflush(stdout);
	_exit(EXIT_SKIP);
}

char *
read_file(const char *path)
{
	size_t len = 0, size = 4096, n;
	char *text = malloc(size);
	FILE *f = fopen(path, "re");

	if (f == NULL || text == NULL)
		check_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	while ((n = fread(text + len, 1, size - len - 1, f)) > 0) {
		len += n;
		if (size - len < 2 && (text = realloc(text, size *= 2)) == NULL)
			check_fail(__FILE__, __LINE__, "%s: too long", path);
	}
	fclose(f);
	text[len] = '\0';
	return text;
}

void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (f == NULL || fputs(text, f) == EOF || fclose(f) == EOF)
		check_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
}

/* ---- finding the tests ---- */

int main(int argc, char **argv);

static const char *
own_file(void)
{
	struct stat st;
	void *map;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd == -1 || fstat(fd, &st) == -1)
		return NULL;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return map == MAP_FAILED ? NULL : map;
}

static const ElfW(Shdr) * symbol_table(const char *file)
{
	const ElfW(Ehdr) *head = (const void *)file;
	const ElfW(Shdr) *section = (const void *)(file + head->e_shoff);
	int i;

	for (i = 0; i < head->e_shnum; i++)
		if (section[i].sh_type == SHT_SYMTAB)
			return &section[i];
	return NULL;
}

/* Where the program was loaded: what must be added to its symbols. */
static uintptr_t
load_bias(const ElfW(Sym) * symbol, size_t n, const char *names)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(names + symbol[i].st_name, "main") == 0)
			return (uintptr_t)main - symbol[i].st_value;
	return 0;
}

static int
by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct test *)a)->fn;
	uintptr_t y = (uintptr_t)((const struct test *)b)->fn;

	return (x > y) - (x < y);
}

static bool
is_test(const ElfW(Sym) * symbol, const char *names)
{
	return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
	    ELF64_ST_BIND(symbol->st_info) == STB_GLOBAL &&
	    strncmp(names + symbol->st_name, "test_", 5) == 0;
}

/* All tests of the program, in the order of its text; the file stays
 * mapped for their names. */
static struct test *
find_tests(size_t *ntests)
{
	const char *file = own_file(), *names;
	const ElfW(Shdr) *table = file ? symbol_table(file) : NULL, *strings;
	const ElfW(Sym) * symbol;
	struct test *tests;
	uintptr_t bias;
	size_t i, n;

	if (table == NULL)
		return NULL;
	strings = (const ElfW(Shdr) *)(const void *)(file +
		      ((const ElfW(Ehdr) *)(const void *)file)->e_shoff) +
	    table->sh_link;
	names = file + strings->sh_offset;
	symbol = (const void *)(file + table->sh_offset);
	n = table->sh_size / sizeof(*symbol);
	bias = load_bias(symbol, n, names);
	if ((tests = calloc(n, sizeof(*tests))) == NULL)
		return NULL;
	for (*ntests = i = 0; i < n; i++) {
		if (!is_test(&symbol[i], names))
			continue;
		tests[*ntests].name = names + symbol[i].st_name + 5;
		tests[(*ntests)++].fn =
		    (void (*)(void))(symbol[i].st_value + bias);
	}
	qsort(tests, *ntests, sizeof(*tests), by_address);
	return tests;
}

/* ---- the test ---- */

static void
run_test(const struct test *t, const char *dir)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGHUP, SIG_DFL); /* nohup(1) leaves it ignored */
	/* Nothing of the user's: neither files nor a running herod. */
	setenv("HOME", dir, 1);
	setenv("TMPDIR", dir, 1);
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("XDG_STATE_HOME");
	unsetenv("NOTIFY_SOCKET");
	if (chdir(dir) == -1)
		check_fail(__FILE__, __LINE__, "%s: %s", dir, strerror(errno));
	t->fn();
	exit(0);
}

/* ---- the warden ---- */

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)at;
	if (kind == FTW_DNR)
		chmod(path, 0700);
	remove(path);
	return 0;
}

static void
remove_tree(const char *dir)
{
	struct stat st;

	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	/* Again after a chmod of what could not be read. */
	if (stat(dir, &st) == 0)
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
print_command(pid_t pid)
{
	char path[64], line[160];
	ssize_t n = 0, i;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) != -1) {
		n = read(fd, line, sizeof(line) - 1);
		close(fd);
	}
	for (i = 0; i + 1 < n; i++)
		if (line[i] == '\0')
			line[i] = ' ';
	line[n > 0 ? n : 0] = '\0';
	fprintf(stderr, "left a process behind: %d %s\n", (int)pid, line);
}

/* Calls fn for each child of ours. */
static void
each_child(void (*fn)(pid_t))
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	int pid;

	if (f == NULL)
		return;
	while (fscanf(f, "%d", &pid) == 1)
		fn(pid);
	fclose(f);
}

static void
kill_it(pid_t pid)
{
	kill(pid, SIGKILL);
}

/* Reaps what has ended; true while there are children left. */
static bool
reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

/* A child has ended, or so much time is over.  Returns the signal. */
static int
wait_signal(double seconds)
{
	struct timespec t = {
	    (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	return sigtimedwait(&set, NULL, &t);
}

/* Kills until nobody is left: children of the killed come to us. */
static void
kill_all(void)
{
	while (reap()) {
		each_child(kill_it);
		wait_signal(0.01);
	}
}

/* False when the test left something running. */
static bool
nothing_left(void)
{
	double since = check_clock();

	while (reap()) {
		if (check_clock() - since > GRACE) {
			each_child(print_command);
			return false;
		}
		wait_signal(0.01);
	}
	return true;
}

static int
exit_code(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "killed by signal %d (%s)\n", WTERMSIG(status),
	    strsignal(WTERMSIG(status)));
	return 1;
}

/* Waits for the test within its time; reaps orphans meanwhile. */
static int
watch_test(pid_t test)
{
	double limit = check_timeout * check_patience();
	double until = check_clock() + limit, left;
	int status, signo;
	pid_t pid;

	while ((left = until - check_clock()) > 0) {
		signo = wait_signal(left);
		if (signo != -1 && signo != SIGCHLD)
			return 1; /* the user has seen enough */
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == test)
				return exit_code(status);
	}
	fprintf(stderr, "timed out after %g s\n", limit);
	return 1;
}

static void
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* The end of what a daemon under test said. */
static void
show_log(const char *dir)
{
	char path[64], buf[16384];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/herod.log", dir);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return;
	lseek(fd, -(off_t)sizeof(buf), SEEK_END);
	fprintf(stderr, "herod.log:\n");
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)n, stderr);
	close(fd);
}

static int
guard_test(const struct test *t)
{
	char dir[] = "/tmp/check.XXXXXX";
	pid_t test;
	int code;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (mkdtemp(dir) == NULL || (test = fork()) == -1) {
		perror("check");
		return 1;
	}
	if (test == 0)
		run_test(t, dir);
	setpgid(test, test);
	code = watch_test(test);
	kill(test, SIGKILL);
	if (code != 0)
		kill_all();
	else if (!nothing_left()) {
		kill_all();
		code = 1;
	}
	if (code == 0 && secrets_left(dir) > 0)
		code = 1;
	if (code != 0 && code != EXIT_SKIP)
		show_log(dir);
	if (keep_dirs)
		fprintf(stderr, "its directory: %s\n", dir);
	else
		remove_tree(dir);
	return code;
}

/* ---- the program ---- */

static void
start_test(struct test *t)
{
	int null;

	fflush(stdout);
	t->output = memfd_create(t->name, MFD_CLOEXEC);
	if ((t->warden = fork()) != 0)
		return;
	block_signals();
	/* Survivors of a ^C would go on for a minute. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	dup2(null, STDIN_FILENO);
	dup2(t->output, STDOUT_FILENO);
	dup2(t->output, STDERR_FILENO);
	fcntl(STDOUT_FILENO, F_SETFL, O_APPEND);
	_exit(guard_test(t));
}

static void
show_output(const struct test *t)
{
	char buf[4096];
	ssize_t n;

	fflush(stdout);
	lseek(t->output, 0, SEEK_SET);
	while ((n = read(t->output, buf, sizeof(buf))) > 0)
		if (write(STDOUT_FILENO, buf, (size_t)n) == -1)
			return;
}

static void
end_test(struct test *t, int status, struct tally *tally)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	if (code == EXIT_SKIP) {
		tally->skipped++;
		printf("SKIP %s: ", t->name);
	} else if (code == 0) {
		tally->passed++;
	} else {
		tally->failed++;
		printf("FAIL %s\n", t->name);
	}
	if (code != 0 || keep_dirs)
		show_output(t);
	close(t->output);
	t->warden = 0;
}

static void
wait_one(struct test *tests, size_t n, struct tally *tally)
{
	int status;
	pid_t pid = wait(&status);
	size_t i;

	for (i = 0; i < n; i++)
		if (pid > 0 && tests[i].warden == pid)
			end_test(&tests[i], status, tally);
}

static void
run_all(struct test *tests, size_t n, long at_once, struct tally *tally)
{
	long running = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!tests[i].chosen)
			continue;
		if (running == at_once) {
			wait_one(tests, n, tally);
			running--;
		}
		start_test(&tests[i]);
		running++;
	}
	while (running-- > 0)
		wait_one(tests, n, tally);
}

/* Chooses what is named, or everything; false for an unknown name. */
static bool
choose(struct test *tests, size_t n, char **names)
{
	bool all = *names == NULL, found;
	size_t i;

	for (i = 0; all && i < n; i++)
		tests[i].chosen = true;
	for (; *names; names++) {
		found = false;
		for (i = 0; i < n; i++)
			if (strcmp(tests[i].name, *names) == 0)
				found = tests[i].chosen = true;
		if (!found) {
			fprintf(stderr, "no test '%s'; -l lists\n", *names);
			return false;
		}
	}
	return true;
}

static int
list(struct test *tests, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		printf("%s\n", tests[i].name);
	free(tests);
	return 0;
}

static int
usage(const char *program)
{
	fprintf(stderr, "usage: %s [-kl] [-j N] [TEST...]\n", program);
	return 2;
}

int
main(int argc, char **argv)
{
	long at_once = sysconf(_SC_NPROCESSORS_ONLN);
	struct tally tally = {0, 0, 0};
	struct test *tests;
	size_t n = 0;
	bool listing = false;
	int c;

	while ((c = getopt(argc, argv, "j:kl")) != -1)
		if (c == 'j')
			at_once = strtol(optarg, NULL, 10);
		else if (c == 'k')
			keep_dirs = true;
		else if (c == 'l')
			listing = true;
		else
			return usage(argv[0]);
	if ((tests = find_tests(&n)) == NULL || n == 0) {
		fprintf(stderr, "%s: no tests (stripped?)\n", argv[0]);
		return 1;
	}
	if (listing)
		return list(tests, n);
	if (!choose(tests, n, argv + optind)) {
		free(tests);
		return 2;
	}
	run_all(tests, n, at_once > 0 ? at_once : 1, &tally);
	printf("%d passed, %d failed", tally.passed, tally.failed);
	if (tally.skipped > 0)
		printf(", %d skipped", tally.skipped);
	printf("\n");
	free(tests);
	return tally.failed > 0;
}
