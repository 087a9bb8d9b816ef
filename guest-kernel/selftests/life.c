// SPDX-License-Identifier: GPL-2.0-only
/* Fork, exec, exit, kill and io_destroy() with polled I/O in flight. */
#include <pthread.h>

#include "tests.h"

/* No end may take longer than this, in seconds. */
#define PATIENCE	10

static int destroy_with_io_in_flight(void)
{
	aio_context_t ctx = polled_context(64);
	struct io_event event;
	double start = now();

	CHECK_EQ(submit_reads(ctx, open_device(), 32), 32);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK(now() - start < 5, "it took %.3f s", now() - start);
	CHECK_EQ(sys_io_destroy(ctx), -EINVAL);
	CHECK_EQ(sys_io_getevents(ctx, 0, 1, &event, NULL), -EINVAL);
	CHECK_EQ(submit_reads(ctx, open_device(), 1), -EINVAL);
	return PASS;
}

static int destroy_with_slow_io_in_flight(void)
{
	aio_context_t ctx = polled_context(64);

	SKIP_IF(!slow_device, "needs a slow device");
	CHECK_EQ(submit_slow_read(ctx), 1);
	CHECK_EQ(submit_reads(ctx, open_device(), 4), 4);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* What was in flight has arrived, and nothing arrives later. */
static int destroy_waits_for_the_data(void)
{
	unsigned char *buf = pages(16 * BLOCK);
	struct iocb iocbs[16], *ptrs[16];
	int i, round, fd = open_device();

	memset(buf, 0x3c, 16 * BLOCK);
	CHECK_EQ(pwrite(fd, buf, 16 * BLOCK, 0), (long)(16 * BLOCK));
	for (round = 0; round < 50; round++) {
		aio_context_t ctx = polled_context(16);

		memset(buf, 0, 16 * BLOCK);
		for (i = 0; i < 16; i++) {
			prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd,
				   buf + (unsigned int)i * BLOCK, BLOCK,
				   i * (off_t)BLOCK);
			ptrs[i] = &iocbs[i];
		}
		CHECK_EQ(sys_io_submit(ctx, 16, ptrs), 16);
		CHECK_EQ(sys_io_destroy(ctx), 0);
		for (i = 0; i < 16; i++)
			CHECK_EQ(buf[(unsigned int)i * BLOCK + 7], 0x3c);
		memset(buf, 0x11, 16 * BLOCK);
		usleep(1000);
		for (i = 0; i < 16; i++)
			CHECK_EQ(buf[(unsigned int)i * BLOCK + 7], 0x11);
	}
	return PASS;
}

static int destroy_what_is_none_einval(void)
{
	aio_context_t ctx = polled_context(8);

	CHECK_EQ(sys_io_destroy(0), -EINVAL);
	CHECK_EQ(sys_io_destroy(ctx + PAGE), -EINVAL);
	CHECK_EQ(sys_io_destroy((aio_context_t)pages(PAGE)), -EINVAL);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), -EINVAL);
	return PASS;
}

static int exit_child(int how)
{
	double start = now();
	pid_t child = fork();
	int status;

	if (!child) {
		aio_context_t ctx = polled_context(64);

		if (submit_reads(ctx, open_device(), 32) != 32)
			_exit(1);
		if (slow_device && submit_slow_read(ctx) != 1)
			_exit(2);
		if (how)
			kill(getpid(), how);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, how);
	CHECK(now() - start < PATIENCE, "it took %.3f s", now() - start);
	return PASS;
}

static int exit_with_io_in_flight(void)
{
	return exit_child(0);
}

static int kill_with_io_in_flight(void)
{
	return exit_child(SIGKILL);
}

/* SIGKILL for a task that has nothing but polling to do. */
static int kill_ends_the_poller(void)
{
	double start;
	pid_t child;
	int status;

	SKIP_IF(!slow_device, "needs a slow device");
	child = fork();
	if (!child) {
		aio_context_t ctx = polled_context(8);
		struct io_event event;

		for (;;) {
			if (submit_slow_read(ctx) != 1)
				_exit(1);
			sys_io_getevents(ctx, 1, 1, &event, NULL);
		}
	}
	usleep(150000);
	start = now();
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status), "status %#x", status);
	CHECK(now() - start < 2, "it took %.3f s", now() - start);
	return PASS;
}

/* Work without end, with all features, for whoever kills it. */
static void work(void)
{
	struct iocb *iocbs = pages(PAGE), *ptrs[32];
	struct io_event events[32];
	unsigned long i;

	give_buffers(iocbs, 32, 2 * BLOCK);
	for (i = 0; i < 32; i++) {
		iocbs[i].aio_offset = (off_t)(i * BLOCK);
		ptrs[i] = slot(i);
	}
	for (;;) {
		aio_context_t ctx;
		int round;

		if (setup_fixed(32, IOPOLL, iocbs, &ctx))
			_exit(1);
		for (round = 0; round < 20; round++) {
			if (sys_io_submit(ctx, 32, ptrs) != 32)
				_exit(2);
			if (reap(ctx, 32, events) != PASS)
				_exit(3);
		}
		if (sys_io_destroy(ctx))
			_exit(4);
	}
}

static int kill_at_any_time(void)
{
	struct io_event event;
	unsigned int round;

	for (round = 0; round < 40; round++) {
		pid_t child = fork();
		int status;

		if (!child)
			work();
		usleep(3000 + round * 1237 % 20000);
		kill(child, SIGKILL);
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSIGNALED(status), "status %#x", status);
	}
	/* The device is none the worse for it. */
	aio_context_t ctx = polled_context(8);

	CHECK_EQ(submit_reads(ctx, open_device(), 1), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	return PASS;
}

static int exec_with_io_in_flight(void)
{
	pid_t child = fork();

	if (!child) {
		aio_context_t ctx = polled_context(64);
		int null = open_path("/dev/null", O_WRONLY);

		if (submit_reads(ctx, open_device(), 32) != 32)
			_exit(1);
		if (slow_device && submit_slow_read(ctx) != 1)
			_exit(2);
		dup2(null, 1);
		execl("/proc/self/exe", "aio_test", "-l", NULL);
		_exit(3);
	}
	return expect_success(child, PATIENCE);
}

static int exec_with_fixed_buffers_in_flight(void)
{
	pid_t child = fork();

	if (!child) {
		struct iocb *iocbs = pages(PAGE), *ptrs[32];
		int null = open_path("/dev/null", O_WRONLY);
		aio_context_t ctx;
		unsigned long i;

		give_buffers(iocbs, 32, 8 * BLOCK);
		for (i = 0; i < 32; i++)
			ptrs[i] = slot(i);
		if (setup_fixed(32, IOPOLL, iocbs, &ctx) ||
		    sys_io_submit(ctx, 32, ptrs) != 32)
			_exit(1);
		dup2(null, 1);
		execl("/proc/self/exe", "aio_test", "-l", NULL);
		_exit(3);
	}
	return expect_success(child, PATIENCE);
}

/* A context belongs to its address space, so a forked child has none. */
static int fork_does_not_inherit_contexts(void)
{
	aio_context_t ctx = polled_context(64);
	struct io_event events[8];
	int fd = open_device();
	pid_t child;

	CHECK_EQ(submit_reads(ctx, fd, 8), 8);
	child = fork();
	if (!child) {
		if (submit_reads(ctx, fd, 1) != -EINVAL)
			_exit(1);
		if (sys_io_getevents(ctx, 0, 1, events, NULL) != -EINVAL)
			_exit(2);
		_exit(sys_io_destroy(ctx) != -EINVAL);
	}
	CHECK_PASS(expect_success(child, PATIENCE));
	CHECK_PASS(reap(ctx, 8, events));
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static aio_context_t shared;

static void *submit_and_leave(void *arg)
{
	*(long *)arg = submit_reads(shared, open_device(), 16);
	return NULL;
}

/* The requests are those of the context, not of the thread. */
static int thread_ends_with_io_in_flight(void)
{
	struct io_event events[16];
	pthread_t thread;
	long ret = 0;
	int i;

	shared = polled_context(16);
	for (i = 0; i < 20; i++) {
		pthread_create(&thread, NULL, submit_and_leave, &ret);
		pthread_join(thread, NULL);
		CHECK_EQ(ret, 16);
		CHECK_EQ(sys_io_getevents(shared, 16, 16, events, NULL), 16);
	}
	return PASS;
}

static void *reap_and_exit(void *arg)
{
	struct io_event events[16];

	(void)arg;
	/* By now, the first thread is gone. */
	usleep(50000);
	_exit(reap(shared, 16, events) != PASS);
}

static int first_thread_ends_with_io_in_flight(void)
{
	pid_t child = fork();

	if (!child) {
		pthread_t thread;

		shared = polled_context(16);
		if (submit_reads(shared, open_device(), 16) != 16)
			_exit(2);
		pthread_create(&thread, NULL, reap_and_exit, NULL);
		pthread_exit(NULL);
	}
	return expect_success(child, PATIENCE);
}

/*
 * Nobody polls, but the requests are completed, and the events are kept. Where
 * the device takes its time, it takes more than one look.
 */
static int sleeping_owner_keeps_its_events(void)
{
	aio_context_t ctx = polled_context(64);
	struct io_event events[32];
	unsigned long seen = 0;
	int i;

	DEVIATION("nothing happened before the owner polled",
		  "a worker polls after 0.1 s");
	CHECK_EQ(submit_reads(ctx, open_device(), 32), 32);
	usleep(1000000);
	/* Of the reads; this is asked of the block layer, which does not poll. */
	CHECK_EQ(device_attribute(device, "inflight"), 0);
	CHECK_EQ(sys_io_getevents(ctx, 32, 32, events, NULL), 32);
	for (i = 0; i < 32; i++)
		seen |= 1UL << events[i].data;
	CHECK_EQ(seen, 0xffffffff);
	return PASS;
}

const struct test_case life_cases[] = {
	CASE(destroy_with_io_in_flight),
	CASE(destroy_with_slow_io_in_flight),
	CASE(destroy_waits_for_the_data),
	CASE(destroy_what_is_none_einval),
	CASE(exit_with_io_in_flight),
	CASE(kill_with_io_in_flight),
	CASE(kill_ends_the_poller),
	CASE(kill_at_any_time),
	CASE(exec_with_io_in_flight),
	CASE(exec_with_fixed_buffers_in_flight),
	CASE(fork_does_not_inherit_contexts),
	CASE(thread_ends_with_io_in_flight),
	CASE(first_thread_ends_with_io_in_flight),
	CASE(sleeping_owner_keeps_its_events),
};
TABLE(life_cases);
