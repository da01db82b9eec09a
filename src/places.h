/*
 * A file of places, all of one size, for what the next herod needs to know
 * when this one is killed.
 *
 * A place is overwritten by one small write(2) without waiting for the disk:
 * it is for the death of programs, not of the machine, and says so by the
 * boot id.  A place lies within one page, so that a kill leaves it old or
 * new.  The first 32 bits of what is in it are never 0, which says that it
 * is free.
 */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACE_SIZE 2048

struct places;

/* Opens the file, made anew when it is of another boot or version; for the
 * one who holds the lock of its directory.  Whoever opens it looks at each
 * place and gives back those that are free or make no sense to it.  NULL with
 * errno. */
struct places *places_open(const char *path, uint32_t version);
void places_close(struct places *f);

/* Without a lock: is there such a file of this boot with anything in it? */
bool places_remain(const char *path, uint32_t version);

/* Places that there are, free ones too. */
size_t places_count(const struct places *f);

/* At most len bytes of one; how many there are, rest aside. */
size_t places_read(const struct places *f, size_t place, void *buf, size_t len);

/* A place that is free; the second gives it back as it is. */
size_t places_take(struct places *f);
void places_give(struct places *f, size_t place);

/* False with errno. */
bool places_write(
    const struct places *f, size_t place, const void *buf, size_t len);

/* Frees it, and gives it back.  False with errno when the file does not say
 * so. */
bool places_clear(struct places *f, size_t place);

#endif
