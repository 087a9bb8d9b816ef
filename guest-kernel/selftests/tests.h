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
/* One that can poll, with 8 to 64 tags, or NULL: the device may be that one. */
extern const char *shallow_device;

/* A directory on a file system whose device can poll, or NULL. */
extern const char *directory;

/* More than any device here takes in one request. */
#define SPLIT_LEN	(4UL << 20)
/* A length and alignment that every device here takes. */
#define BLOCK		4096UL

extern const struct test_case setup_cases[], submit_cases[], poll_cases[],
	tag_cases[], buffer_cases[], limit_cases[], race_cases[],
	life_cases[], trace_cases[], old_cases[], file_cases[];
extern const unsigned int nr_setup_cases, nr_submit_cases, nr_poll_cases,
	nr_tag_cases, nr_buffer_cases, nr_limit_cases, nr_race_cases,
	nr_life_cases, nr_trace_cases, nr_old_cases, nr_file_cases;

#define TABLE(name)							\
	const unsigned int nr_##name = sizeof(name) / sizeof(name[0])

/* The device, opened for direct I/O. Ends the case if that fails. */
int open_device(void);
int open_path(const char *path, int flags);

/* A file below /sys/block/NAME/, or NULL. */
FILE *open_attribute(const char *path, const char *attribute, const char *mode);

/* The first number in it, or -1. */
long device_attribute(const char *path, const char *attribute);

/* Number of requests that the device can have in flight, or 0. */
unsigned int device_depth(const char *path);

/* "Name:" in /proc/self/status in KiB, or -1. */
long status_kib(const char *name);

/* A polled context for @nr requests. Ends the case if that fails. */
aio_context_t polled_context(unsigned int nr);

/* A context with mapped iocbs. Ends the case if that fails. */
aio_context_t mapped_context(unsigned int nr, unsigned int flags,
			     struct iocb *iocbs);

/* Make a context with mapped iocbs and the buffers that they have. */
long setup_fixed(unsigned int nr, unsigned int flags, struct iocb *iocbs,
		 aio_context_t *ctx);

/* Let @nr slots of @iocbs read into buffers of @len bytes from the device. */
void give_buffers(struct iocb *iocbs, unsigned int nr, size_t len);

/* Most requests that submit_reads() takes. */
#define MANY	256U

/* Submit reads of consecutive blocks; aio_data is 0, 1, ... */
long submit_reads(aio_context_t ctx, int fd, unsigned int nr);

/* A read of SPLIT_LEN that is completed by interrupt after a while. */
long submit_slow_read(aio_context_t ctx);

/* SIGALRM, which does nothing but to interrupt. */
void alarm_in_50_ms(void);

/* Become a user without privileges. Ends the case if that fails. */
void become(unsigned int user);

/* Wait for a child, which must exit with 0 within @limit seconds. */
int expect_success(pid_t child, double limit);

/* Wait for exactly @nr events of @ctx, for up to 10 s. */
int reap(aio_context_t ctx, unsigned int nr, struct io_event *events);

#endif
