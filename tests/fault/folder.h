/*
 * folder.h — folders of tests: fresh, counted, removed with all that is in them.
 *
 * POSIX only. One thread.
 */
#ifndef FAULT_FOLDER_H
#define FAULT_FOLDER_H

/* An empty folder of this name in the test's temporary one; valid until the next call. */
const char *folder_fresh(const char *name);

/* Files in it and in folders below whose names contain `part`. */
int folder_count(const char *path, const char *part);

void folder_remove(const char *path);

/* HEARTH_CACHE becomes a fresh folder for each test, which is removed after it: call it at the
 * start of a test program's life, from a constructor. */
void folder_cache_of_each_test(void);

#endif
