// SPDX-License-Identifier: GPL-2.0-only
/* Several threads at one context, and contexts that go away under them. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests.h"

#define NR_THREADS	4
#define EACH		2000U
#define BATCH		6

static aio_context_t shared;
static atomic_uint accepted, reaped;
static atomic_bool stop;
static const char *failure;

static void fail(const char *why)
{
	failure = why;
	atomic_store(&stop, true);
}

/* Submit batches of reads until EACH were accepted, or it is time to stop. */
static void *submit_all(void *arg)
{
	struct iocb iocbs[BATCH], *ptrs[BATCH];
	unsigned int done = 0, i;
	int fd = open_device();

	for (i = 0; i < BATCH; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   i * (off_t)BLOCK);
		ptrs[i] = &iocbs[i];
	}
	while (done < EACH && !atomic_load(&stop)) {
		unsigned int nr = 1 + done % BATCH;
		long ret = sys_io_submit(shared, nr < EACH - done ? nr :
					 EACH - done, ptrs);

		if (ret > 0) {
			done += (unsigned int)ret;
			atomic_fetch_add(&accepted, (unsigned int)ret);
		} else if (ret == -EAGAIN) {
			sched_yield();
		} else if (ret == -EINVAL && arg) {
			break;	/* destroyed, as expected */
		} else {
			fail("submit");
		}
	}
	close(fd);
	return NULL;
}

static void *poll_events(void *arg)
{
	struct timespec timeout = seconds(0.01);
	struct io_event events[16];

	(void)arg;
	while (!atomic_load(&stop)) {
		long i, ret = sys_io_getevents(shared, 1, 16, events, &timeout);

		if (ret == -EBUSY || !ret) {
			sched_yield();
			continue;
		}
		if (ret < 0) {
			fail("reap");
			break;
		}
		for (i = 0; i < ret; i++)
			if (events[i].res != (long)BLOCK)
				fail("result");
		if (atomic_fetch_add(&reaped, (unsigned int)ret) +
		    (unsigned int)ret == NR_THREADS * EACH)
			atomic_store(&stop, true);
	}
	return NULL;
}

static int many_submitters_two_pollers(void)
{
	pthread_t threads[NR_THREADS + 2];
	int i;

	shared = polled_context(24);
	for (i = 0; i < NR_THREADS + 2; i++)
		pthread_create(&threads[i], NULL,
			       i < NR_THREADS ? submit_all : poll_events,
			       NULL);
	for (i = 0; i < NR_THREADS + 2; i++)
		pthread_join(threads[i], NULL);
	CHECK(!failure, "%s failed", failure);
	CHECK_EQ(accepted, NR_THREADS * EACH);
	CHECK_EQ(reaped, NR_THREADS * EACH);
	CHECK_EQ(sys_io_destroy(shared), 0);
	return PASS;
}

static int destroy_under_submitters(void)
{
	int round, i;

	for (round = 0; round < 50; round++) {
		pthread_t threads[2];

		shared = polled_context(64);
		for (i = 0; i < 2; i++)
			pthread_create(&threads[i], NULL, submit_all, &round);
		usleep(1000U * (unsigned int)(round % 7));
		CHECK_EQ(sys_io_destroy(shared), 0);
		for (i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		CHECK(!failure, "%s failed", failure);
	}
	return PASS;
}

static int exit_under_submitters(void)
{
	int round, i, status;

	for (round = 0; round < 20; round++) {
		pid_t child = fork();

		if (!child) {
			pthread_t thread;

			shared = polled_context(64);
			for (i = 0; i < 2; i++)
				pthread_create(&thread, NULL, submit_all,
					       &round);
			pthread_create(&thread, NULL, poll_events, NULL);
			usleep(1000U * (unsigned int)(round % 7));
			_exit(0);
		}
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK_EQ(status, 0);
	}
	return PASS;
}

const struct test_case race_cases[] = {
	CASE(many_submitters_two_pollers),
	CASE(destroy_under_submitters),
	CASE(exit_under_submitters),
};
TABLE(race_cases);
