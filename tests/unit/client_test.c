/* heroctl's connection: whom it talks to. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "client.h"
#include "sock.h"

static bool
is_listening(void)
{
	struct sockaddr_un un = {AF_UNIX, "herod/herod.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0;

	close(fd);
	return good;
}

/* In a process of its own: listens where somebody's herod should be. */
static pid_t
listen_as(uid_t uid)
{
	struct address a;
	pid_t pid = fork();

	if (pid == 0) {
		if (setuid(uid) == -1 ||
		    address_parse(&a, client_default_server(), NULL) == -1 ||
		    address_listen(&a, 5, 0666, NULL) == -1)
			_exit(1);
		pause();
	}
	wait_for(is_listening());
	return pid;
}

/* Whether a call of that user's heroctl leaves for the default server. */
static bool
asks_as(uid_t uid, const char *why)
{
	struct err e = {0};
	pid_t pid = fork();
	struct client *c;
	int status;

	if (pid == 0) {
		if (setuid(uid) == -1)
			_exit(2);
		c = client_new(client_default_server());
		client_begin(c, 5);
		status = client_send(c, "ping", NULL, 1, &e);
		if (status != 0 && strstr(e.text, why) == NULL)
			_exit(3);
		client_free(c);
		_exit(status == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 0;
}

void
test_the_default_door_is_ones_own(void)
{
	pid_t stranger, own;
	char here[4096];

	if (geteuid() != 0)
		skip("needs root");
	check_int(chmod(".", 0755), 0);
	check(getcwd(here, sizeof(here)) != NULL);
	check_int(setenv("XDG_RUNTIME_DIR", here, 1), 0);
	check_int(mkdir("herod", 0777), 0);
	check_int(chmod("herod", 0777), 0);
	stranger = listen_as(12345);
	check(!asks_as(54321, "another user's"));
	kill(stranger, SIGKILL);
	check_int(unlink("herod/herod.sock"), 0);
	own = listen_as(54321);
	check(asks_as(54321, ""));
	kill(own, SIGKILL);
}
