/*
 * cgroup.h — how many processors a control group of Linux lets a process use.
 *
 * Containers are given a share of the processors by a quota of time, which sched_getaffinity does
 * not show: one that asks only there starts as many threads as the machine has and is stopped for
 * most of each period. Reads small files; elsewhere than on Linux they are not there. Owns nothing.
 * Any thread.
 */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

/* The quota in processors, rounded up, of the group that `list` ("/proc/self/cgroup") names and of
 * those above it, the least; 0: there is none. `root` is where the groups are mounted,
 * "/sys/fs/cgroup". Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us, cpu.cfs_period_us):
 * https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu,
 * https://docs.kernel.org/scheduler/sched-bwc.html */
int cgroup_cpus(const char *list, const char *root);

#endif
