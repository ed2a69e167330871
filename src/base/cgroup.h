/*
 * cgroup.h — how many processors and how much memory a control group of Linux lets a process use.
 *
 * Containers, and services with limits, are given a share of the machine that neither
 * sched_getaffinity nor /proc/meminfo shows: who asks only there starts as many threads as the
 * machine has and is stopped for most of each period, or takes memory until it is killed. Reads
 * small files; elsewhere than on Linux they are not there. Owns nothing. Any thread.
 *
 * `list` is "/proc/self/cgroup", which names the process's groups, `root` where groups are mounted,
 * "/sys/fs/cgroup"; of a group and those above it the least counts. Versions 1 and 2:
 * https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu and #memory,
 * https://docs.kernel.org/scheduler/sched-bwc.html,
 * https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
 */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdint.h>

/* The quota of time in processors, rounded up; 0: there is none. */
int cgroup_cpus(const char *list, const char *root);

/* Bytes that may still be taken: the limit less what is in use, but for pages of files that were
 * not used lately, which make room. UINT64_MAX: there is no limit. */
uint64_t cgroup_memory_left(const char *list, const char *root);

#endif
