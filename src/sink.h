/*
 * Where lines go besides their file: syslog or systemd's journal, each by a
 * datagram to its socket.  Nothing here waits: what the other side does not
 * take at once is dropped and counted.
 */
#ifndef SINK_H
#define SINK_H

#include "output_line.h"

/* The words of runner.def's log_sink, in its order. */
enum sink_kind { SINK_NONE, SINK_SYSLOG, SINK_JOURNAL, SINK_KINDS };

struct sink;

/* Paths are copied. */
struct sink *sink_new(const char *syslog_socket, const char *journal_socket);
void sink_free(struct sink *s);

/* RFC 3164 as syslog(3) sends it locally (facility daemon, info for stdout,
 * warning for stderr), or the journal's native protocol (systemd.io). */
void sink_send(struct sink *s, enum sink_kind kind, const char *runner,
    const struct output_line *line);

/* Lines that were dropped so far. */
unsigned long long sink_dropped(const struct sink *s);

#endif
