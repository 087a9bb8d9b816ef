/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the cases share: the devices under test, and the rooms' tables of cases.
 */
#ifndef HIPRI_TESTS_H
#define HIPRI_TESTS_H

#include "aio_sys.h"
#include "ktap.h"

/* A block device that can poll. Its contents are destroyed. */
extern const char *device;
/*
 * A block device that can poll, and that takes 0.2 s or more for a request that
 * is completed by interrupt, as a polled one of SPLIT_LEN bytes has to be.
 * NULL if there is none.
 */
extern const char *slow_device;
/* A block device without a queue to poll, or NULL. */
extern const char *unpollable_device;

/* A directory on a file system whose device can poll, or NULL. */
extern const char *directory;

/* More than any device here takes in one request. */
#define SPLIT_LEN	(4UL << 20)
/* A length and alignment that every device here takes. */
#define BLOCK		4096UL

extern const struct test_case setup_cases[], submit_cases[], poll_cases[],
	buffer_cases[], race_cases[], file_cases[];
extern const unsigned int nr_setup_cases, nr_submit_cases, nr_poll_cases,
	nr_buffer_cases, nr_race_cases, nr_file_cases;

#define TABLE(name)							\
	const unsigned int nr_##name = sizeof(name) / sizeof(name[0])

/* The device, opened for direct I/O. Ends the case if that fails. */
int open_device(void);
int open_path(const char *path, int flags);

/* Number of requests that the device can have in flight, or 0. */
unsigned int device_depth(const char *path);

/* "Name:" in /proc/self/status in KiB, or -1. */
long status_kib(const char *name);

/* A polled context for @nr requests. Ends the case if that fails. */
aio_context_t polled_context(unsigned int nr);

/* Wait for exactly @nr events of @ctx, for up to 10 s. */
int reap(aio_context_t ctx, unsigned int nr, struct io_event *events);

#endif
