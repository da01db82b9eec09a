/*
 * The peer of herod's HTTP: libmicrohttpd with its own epoll loop in a thread,
 * which answers every request, when all of its body is there, with one fixed
 * text.  Prints its port; runs until its stdin ends.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

static char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"pong\"}";
static struct MHD_Response *response;

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *data, size_t *len,
    void **request)
{
	(void)arg;
	(void)path;
	(void)method;
	(void)version;
	(void)data;
	if (*request == NULL || *len > 0) {
		*request = text;
		*len = 0;
		return MHD_YES;
	}
	return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

int
main(void)
{
	struct sockaddr_in sin = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct MHD_Daemon *daemon =
	    MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL,
		on_request, NULL, MHD_OPTION_SOCK_ADDR, &sin, MHD_OPTION_END);
	char byte;

	if (daemon == NULL)
		return 1;
	response = MHD_create_response_from_buffer(
	    strlen(text), text, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, "Content-Type", "application/json");
	printf("%u\n",
	    MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	MHD_stop_daemon(daemon);
	MHD_destroy_response(response);
	return 0;
}
