/* What herod tells of itself: /metrics, the probes, and stalls in its log. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* ---- stalls ---- */

/* A batch, which is done in one turn of the loop. */
static const char *
heavy_batch(int calls)
{
	static char batch[10000];
	int i;

	strcpy(batch, "[");
	for (i = 0; i < calls; i++) {
		strlcat(batch, i > 0 ? "," : "", sizeof(batch));
		strlcat(batch,
		    "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.discover\","
		    "\"id\":1}",
		    sizeof(batch));
	}
	strlcat(batch, "]\n", sizeof(batch));
	return batch;
}

void
test_a_stall_is_logged_with_what_was_running(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int fd = door_unix(h);

	send_text(fd, heavy_batch(80));
	wait_for(strstr(herod_log(), "a turn took"));
	check_has(
	    strstr(herod_log(), "a turn took"), "RPC method rpc.discover");
	close(fd);
	herod_stop(h);
}
