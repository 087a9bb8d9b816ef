// SPDX-License-Identifier: GPL-2.0-only
/* What contexts are charged for: RLIMIT_MEMLOCK, aio-max-nr, pinned memory. */
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tests.h"

/* Users of nobody else; each case that fills a limit has its own. */
#define NOBODY		65534U
#define AIO_NR		"/proc/sys/fs/aio-nr"
#define AIO_MAX_NR	"/proc/sys/fs/aio-max-nr"

static void limit_memlock(size_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* Keep no capability but those of @mask. */
static void keep_capabilities(unsigned int mask)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = mask, .permitted = mask }
	};

	if (syscall(SYS_capset, &header, data)) {
		printf("# capset: %s\n", strerror(errno));
		fflush(stdout);
		_exit(FAIL);
	}
}

static long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long number = -1;

	if (file) {
		if (fscanf(file, "%ld", &number) != 1)
			number = -1;
		fclose(file);
	}
	return number;
}

static void write_number(const char *path, long number)
{
	FILE *file = fopen(path, "w");

	if (file) {
		fprintf(file, "%ld\n", number);
		fclose(file);
	}
}

static int memlock_does_not_bind_the_privileged(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	DEVIATION("the limit was for everybody", "CAP_IPC_LOCK is exempt");
	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(0);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* It is the capability that matters, not to be root. */
static int memlock_capability_exempts_any_user(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	DEVIATION("the limit was for everybody", "CAP_IPC_LOCK is exempt");
	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(0);
	CHECK_EQ(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	become(NOBODY - 2);
	keep_capabilities(1U << CAP_IPC_LOCK);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	keep_capabilities(0);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), -ENOMEM);
	return PASS;
}

static int memlock_binds_root_without_capability(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(15 * BLOCK);
	keep_capabilities(0);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), -ENOMEM);
	CHECK_EQ(setup_fixed(3, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* The limit is one of the user, not of a context, and is free at once. */
static int memlock_is_charged_to_the_user(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t one, two;
	int i;

	DEVIATION("each context had the whole limit",
		  "all contexts of a user share it");
	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(20 * BLOCK);
	become(NOBODY);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &one), 0);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &two), -ENOMEM);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &two), 0);
	CHECK_EQ(sys_io_destroy(two), 0);
	for (i = 0; i < 50; i++) {
		CHECK_EQ(sys_io_destroy(one), 0);
		CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &one), 0);
	}
	CHECK_EQ(sys_io_destroy(one), 0);
	return PASS;
}

static int memlock_is_free_after_exit(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;
	int i;

	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(16 * BLOCK);
	become(NOBODY - 1);
	for (i = 0; i < 20; i++) {
		pid_t child = fork();

		if (!child)
			_exit(setup_fixed(4, IOPOLL, iocbs, &ctx) != 0);
		CHECK_PASS(expect_success(child, 10));
	}
	return PASS;
}

/* Another process of the same user holds what this one would need. */
static int memlock_is_shared_by_processes(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;
	int ready[2];
	pid_t child;
	char c;

	DEVIATION("each context had the whole limit",
		  "all processes of a user share it");
	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(20 * BLOCK);
	CHECK_EQ(pipe(ready), 0);
	become(NOBODY - 3);
	child = fork();
	if (!child) {
		if (setup_fixed(4, IOPOLL, iocbs, &ctx))
			_exit(1);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), -ENOMEM);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int memlock_is_not_shared_by_users(void)
{
	struct iocb *iocbs = pages(PAGE);
	int ready[2], i;
	pid_t child[2];
	char c;

	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(16 * BLOCK);
	CHECK_EQ(pipe(ready), 0);
	for (i = 0; i < 2; i++) {
		child[i] = fork();
		if (!child[i]) {
			aio_context_t ctx;

			become(NOBODY - 4 - (unsigned int)i);
			if (setup_fixed(4, IOPOLL, iocbs, &ctx))
				_exit(1);
			if (write(ready[1], "x", 1) == 1)
				pause();
			_exit(0);
		}
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	for (i = 0; i < 2; i++) {
		kill(child[i], SIGKILL);
		CHECK_EQ(waitpid(child[i], NULL, 0), child[i]);
	}
	return PASS;
}

/* A few bytes on either side of a page's end are two pages. */
static int memlock_counts_pages_not_bytes(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;
	char *mem;

	give_buffers(iocbs, 1, 2 * PAGE);
	mem = (char *)(uintptr_t)iocbs[0].aio_buf;
	iocbs[0].aio_buf = (uintptr_t)mem + PAGE - 8;
	iocbs[0].aio_nbytes = 16;
	limit_memlock(PAGE);
	become(NOBODY - 6);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), -ENOMEM);
	iocbs[0].aio_nbytes = 8;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 8);	/* with the iocbs */
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* The limit is hit by the last buffer, and all others are given back. */
static int memlock_failure_leaves_nothing(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;
	int i;

	give_buffers(iocbs, 8, 4 * BLOCK);
	limit_memlock(31 * BLOCK);
	become(NOBODY - 7);
	for (i = 0; i < 20; i++)
		CHECK_EQ(setup_fixed(8, IOPOLL, iocbs, &ctx), -ENOMEM);
	CHECK_EQ(status_kib("VmPin"), 0);
	CHECK_EQ(setup_fixed(7, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int memlock_does_not_count_iocbs(void)
{
	struct iocb *iocbs = pages(4 * PAGE);
	aio_context_t ctx;

	DEVIATION("iocbs were not accounted at all",
		  "in VmPin, but not against RLIMIT_MEMLOCK");
	limit_memlock(0);
	become(NOBODY - 8);
	ctx = mapped_context(256, IOPOLL, iocbs);
	CHECK_EQ(status_kib("VmPin"), 16);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* Who registered is who is given back to, whoever the process is by then. */
static int memlock_goes_back_to_who_was_charged(void)
{
	struct iocb *iocbs = pages(PAGE);
	int i;

	give_buffers(iocbs, 4, 4 * BLOCK);
	limit_memlock(16 * BLOCK);
	for (i = 0; i < 5; i++) {
		pid_t child = fork();

		if (!child) {
			aio_context_t ctx;

			/* Real user of limits, keeping the way to change it */
			prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
			become(NOBODY - 9);
			keep_capabilities(1U << CAP_SETUID);
			if (setup_fixed(4, IOPOLL, iocbs, &ctx))
				_exit(1);
			if (setuid(NOBODY - 10))
				_exit(2);
			_exit(sys_io_destroy(ctx) != 0);
		}
		CHECK_PASS(expect_success(child, 10));
	}
	return PASS;
}

/* 2018 had destroyed contexts release their memory some time later. */
static int destroy_gives_back_before_it_returns(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;
	int i;

	DEVIATION("pages were released some time after io_destroy()",
		  "before it returns, with I/O in flight, too");
	give_buffers(iocbs, 16, 4 * BLOCK);
	for (i = 0; i < 20; i++) {
		struct iocb *ptrs[16];
		int k;

		CHECK_EQ(setup_fixed(16, IOPOLL, iocbs, &ctx), 0);
		CHECK_EQ(status_kib("VmPin"), 16 * 16 + 4);
		for (k = 0; k < 16; k++)
			ptrs[k] = slot((unsigned long)k);
		CHECK_EQ(sys_io_submit(ctx, 16, ptrs), 16);
		CHECK_EQ(sys_io_destroy(ctx), 0);
		CHECK_EQ(status_kib("VmPin"), 0);
	}
	return PASS;
}

static int aio_nr_counts_events_of_all_kinds(void)
{
	struct iocb *iocbs = pages(4 * PAGE);
	long before = read_number(AIO_NR), plain;
	aio_context_t old = 0, ctx = 0;
	unsigned int flags;

	CHECK(before >= 0, "no " AIO_NR);
	CHECK_EQ(sys_io_setup(200, &old), 0);
	plain = read_number(AIO_NR) - before;
	CHECK(plain >= 200, "only %ld", plain);
	for (flags = 0; flags < 4; flags++) {
		ctx = 0;
		CHECK_EQ(sys_io_setup2(200, flags, iocbs, NULL, NULL, &ctx), 0);
		CHECK_EQ(read_number(AIO_NR) - before, 2 * plain);
		CHECK_EQ(sys_io_destroy(ctx), 0);
		CHECK_EQ(read_number(AIO_NR) - before, plain);
	}
	CHECK_EQ(sys_io_destroy(old), 0);
	CHECK_EQ(read_number(AIO_NR), before);
	return PASS;
}

static int aio_nr_is_given_back_by_failures_and_exit(void)
{
	long before = read_number(AIO_NR);
	struct iocb *iocbs = pages(PAGE);
	double deadline = now() + 5;
	aio_context_t ctx = 0;
	pid_t child;

	CHECK_EQ(sys_io_setup2(65, USERIOCB, iocbs, NULL, NULL, &ctx), -ENOMEM);
	CHECK_EQ(setup_fixed(8, 0, iocbs, &ctx), -EFAULT);
	CHECK_EQ(sys_io_setup2(8, IOPOLL, NULL, NULL, NULL, NULL), -EFAULT);
	CHECK_EQ(read_number(AIO_NR), before);

	child = fork();
	if (!child) {
		polled_context(64);
		mapped_context(64, IOPOLL, iocbs);
		_exit(0);
	}
	CHECK_PASS(expect_success(child, 10));
	while (read_number(AIO_NR) != before && now() < deadline)
		usleep(10000);
	CHECK_EQ(read_number(AIO_NR), before);
	return PASS;
}

static int aio_max_nr_limits_both_calls(void)
{
	long max = read_number(AIO_MAX_NR), used = read_number(AIO_NR);
	aio_context_t one = 0, two = 0, three = 0;
	long first, second, third;

	write_number(AIO_MAX_NR, used + 600);
	first = sys_io_setup2(400, IOPOLL, NULL, NULL, NULL, &one);
	second = sys_io_setup2(400, IOPOLL, NULL, NULL, NULL, &two);
	third = sys_io_setup(400, &three);
	write_number(AIO_MAX_NR, max);
	CHECK_EQ(first, 0);
	CHECK_EQ(second, -EAGAIN);
	CHECK_EQ(third, -EAGAIN);
	CHECK_EQ(sys_io_setup2(400, IOPOLL, NULL, NULL, NULL, &two), 0);
	CHECK_EQ(sys_io_destroy(one), 0);
	CHECK_EQ(sys_io_destroy(two), 0);
	return PASS;
}

const struct test_case limit_cases[] = {
	CASE(memlock_does_not_bind_the_privileged),
	CASE(memlock_capability_exempts_any_user),
	CASE(memlock_binds_root_without_capability),
	CASE(memlock_is_charged_to_the_user),
	CASE(memlock_is_free_after_exit),
	CASE(memlock_is_shared_by_processes),
	CASE(memlock_is_not_shared_by_users),
	CASE(memlock_counts_pages_not_bytes),
	CASE(memlock_failure_leaves_nothing),
	CASE(memlock_does_not_count_iocbs),
	CASE(memlock_goes_back_to_who_was_charged),
	CASE(destroy_gives_back_before_it_returns),
	CASE(aio_nr_counts_events_of_all_kinds),
	CASE(aio_nr_is_given_back_by_failures_and_exit),
	CASE(aio_max_nr_limits_both_calls),
};
TABLE(limit_cases);
