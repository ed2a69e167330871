/*
 * folder.h — what is in a folder of a test's.
 *
 * POSIX only. One thread.
 */
#ifndef FAULT_FOLDER_H
#define FAULT_FOLDER_H

/* Files in it and in folders below whose names contain `part`. */
int folder_count(const char *path, const char *part);

#endif
