// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts that do not poll: those of io_setup(), which are to notice nothing,
 * and those of io_setup2() without IOCTX_FLAG_IOPOLL, which behave like them.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "tests.h"

/* One of io_setup(), or of io_setup2() without flags, in turn. */
static long setup_old(unsigned int nr, bool second, aio_context_t *ctx)
{
	*ctx = 0;
	return second ? sys_io_setup2(nr, 0, NULL, NULL, NULL, ctx) :
			sys_io_setup(nr, ctx);
}

static int old_event_object_is_the_address(void)
{
	char *buf = pages(BLOCK);
	int second;

	for (second = 0; second < 2; second++) {
		struct io_event event;
		struct iocb iocb;
		aio_context_t ctx;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		prep(&iocb, IOCB_CMD_PREAD, open_device(), buf, BLOCK, 0);
		iocb.aio_data = 42;
		iocb.aio_key = 77;
		CHECK_EQ(submit1(ctx, &iocb), 1);
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ(event.res, (long)BLOCK);
		CHECK_EQ(event.res2, 0);
		CHECK_EQ(event.data, 42);
		CHECK(event.obj == (uintptr_t)&iocb, "not the address");
		/* The kernel's key, which io_cancel() asks for */
		CHECK_EQ(iocb.aio_key, 0);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int old_getevents_waits_for_nothing(void)
{
	int second;

	for (second = 0; second < 2; second++) {
		struct timespec timeout = seconds(0.1), zero = { 0, 0 };
		struct io_event event;
		aio_context_t ctx;
		double start;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, &zero), 0);
		start = now();
		/* Nothing is in flight, and it waits all the same. */
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, &timeout), 0);
		CHECK(now() - start > 0.09, "only %.3f s", now() - start);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int old_getevents_is_interrupted(void)
{
	int second;

	for (second = 0; second < 2; second++) {
		struct io_event event;
		aio_context_t ctx;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		alarm_in_50_ms();
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), -EINTR);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int old_eventfd_is_signalled(void)
{
	int second;

	for (second = 0; second < 2; second++) {
		int fd = eventfd(0, 0);
		struct io_event event;
		struct iocb iocb;
		aio_context_t ctx;
		uint64_t count;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		prep(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		     0);
		iocb.aio_flags = IOCB_FLAG_RESFD;
		iocb.aio_resfd = (unsigned int)fd;
		CHECK_EQ(submit1(ctx, &iocb), 1);
		CHECK_EQ(read(fd, &count, sizeof(count)), sizeof(count));
		CHECK_EQ(count, 1);
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ(event.res, (long)BLOCK);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

/* The one request that can be cancelled, for nothing happens to it. */
static int old_poll_can_be_cancelled(void)
{
	int second, fds[2];

	CHECK_EQ(pipe(fds), 0);
	for (second = 0; second < 2; second++) {
		struct io_event event;
		struct iocb iocb;
		aio_context_t ctx;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		prep(&iocb, IOCB_CMD_POLL, fds[0], NULL, 0, 0);
		iocb.aio_buf = POLLIN;
		CHECK_EQ(submit1(ctx, &iocb), 1);
		CHECK_EQ(sys_io_cancel(ctx, &iocb, &event), -EINPROGRESS);
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK_EQ(sys_io_cancel(ctx, &iocb, &event), -EINVAL);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int old_poll_and_fsync_work(void)
{
	int second, fds[2], file = open_device();

	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	for (second = 0; second < 2; second++) {
		static const int ops[] = { IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC };
		struct io_event event;
		struct iocb iocb;
		aio_context_t ctx;
		int i;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		for (i = 0; i < 2; i++) {
			prep(&iocb, ops[i], file, NULL, 0, 0);
			CHECK_EQ(submit1(ctx, &iocb), 1);
			CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
			CHECK_EQ(event.res, 0);
		}
		prep(&iocb, IOCB_CMD_POLL, fds[0], NULL, 0, 0);
		iocb.aio_buf = POLLIN;
		CHECK_EQ(submit1(ctx, &iocb), 1);
		CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
		CHECK(event.res & POLLIN, "events %#llx", event.res);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int old_iocb_must_be_writable(void)
{
	struct iocb *iocb = pages(PAGE);
	int second;

	prep(iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK, 0);
	mprotect(iocb, PAGE, PROT_READ);
	for (second = 0; second < 2; second++) {
		aio_context_t ctx;

		CHECK_EQ(setup_old(8, second, &ctx), 0);
		CHECK_EQ(submit1(ctx, iocb), -EFAULT);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int useriocb_unpolled_takes_buffered_files(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(4, 0, iocbs);
	struct io_event event;

	prep(&iocbs[2], IOCB_CMD_PREAD, open_path(device, O_RDONLY),
	     pages(BLOCK), 100, 50);
	CHECK_EQ(submit1(ctx, slot(2)), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.obj, 2);
	CHECK_EQ(event.res, 100);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int useriocb_unpolled_other_operations(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(4, 0, iocbs);
	int fd = eventfd(0, 0), fds[2];
	struct io_event event;
	uint64_t count;

	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	prep(&iocbs[1], IOCB_CMD_FSYNC, open_device(), NULL, 0, 0);
	iocbs[1].aio_flags = IOCB_FLAG_RESFD;
	iocbs[1].aio_resfd = (unsigned int)fd;
	CHECK_EQ(submit1(ctx, slot(1)), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.obj, 1);
	CHECK_EQ(event.res, 0);
	CHECK_EQ(read(fd, &count, sizeof(count)), sizeof(count));
	prep(&iocbs[3], IOCB_CMD_POLL, fds[0], NULL, 0, 0);
	iocbs[3].aio_buf = POLLIN;
	CHECK_EQ(submit1(ctx, slot(3)), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.obj, 3);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int useriocb_unpolled_out_of_range_einval(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(4, 0, iocbs);

	CHECK_EQ(submit1(ctx, slot(4)), -EINVAL);
	CHECK_EQ(submit1(ctx, &iocbs[0]), -EINVAL);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

static int fixed_unpolled_takes_buffered_files(void)
{
	struct iocb *iocbs = pages(PAGE);
	int fd = open_path(device, O_RDWR);
	struct io_event event;
	aio_context_t ctx;
	char *buf;

	give_buffers(iocbs, 1, 2 * BLOCK);
	buf = (char *)(uintptr_t)iocbs[0].aio_buf;
	CHECK_EQ(setup_fixed(1, 0, iocbs, &ctx), 0);
	memset(buf, 0x77, 2 * BLOCK);
	prep(&iocbs[0], IOCB_CMD_PWRITE, fd, buf + 3, 1000, 17);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.res, 1000);
	memset(buf, 0, 2 * BLOCK);
	prep(&iocbs[0], IOCB_CMD_PREAD, fd, buf + 4000, 1000, 17);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.res, 1000);
	CHECK_EQ(buf[3999], 0);
	CHECK_EQ(buf[4000], 0x77);
	CHECK_EQ(buf[4999], 0x77);
	CHECK_EQ(buf[5000], 0);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	return PASS;
}

/* Interrupts and polling on the same device, at the same time. */
static int old_and_polled_context_side_by_side(void)
{
	aio_context_t polled = polled_context(32), old = 0;
	struct iocb iocbs[16], *ptrs[16];
	struct io_event events[16];
	int i, round, fd = open_device();

	CHECK_EQ(sys_io_setup(32, &old), 0);
	for (i = 0; i < 16; i++) {
		prep(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
		     i * (off_t)BLOCK);
		ptrs[i] = &iocbs[i];
	}
	for (round = 0; round < 50; round++) {
		CHECK_EQ(submit_reads(polled, fd, 16), 16);
		CHECK_EQ(sys_io_submit(old, 16, ptrs), 16);
		CHECK_EQ(sys_io_getevents(old, 16, 16, events, NULL), 16);
		for (i = 0; i < 16; i++)
			CHECK(events[i].obj >= (uintptr_t)iocbs &&
			      events[i].obj < (uintptr_t)&iocbs[16],
			      "an event of the other context");
		CHECK_EQ(sys_io_getevents(polled, 16, 16, events, NULL), 16);
		for (i = 0; i < 16; i++)
			CHECK_EQ(events[i].res, (long)BLOCK);
	}
	CHECK_EQ(sys_io_destroy(old), 0);
	CHECK_EQ(sys_io_destroy(polled), 0);
	return PASS;
}

const struct test_case old_cases[] = {
	CASE(old_event_object_is_the_address),
	CASE(old_getevents_waits_for_nothing),
	CASE(old_getevents_is_interrupted),
	CASE(old_eventfd_is_signalled),
	CASE(old_poll_can_be_cancelled),
	CASE(old_poll_and_fsync_work),
	CASE(old_iocb_must_be_writable),
	CASE(useriocb_unpolled_takes_buffered_files),
	CASE(useriocb_unpolled_other_operations),
	CASE(useriocb_unpolled_out_of_range_einval),
	CASE(fixed_unpolled_takes_buffered_files),
	CASE(old_and_polled_context_side_by_side),
};
TABLE(old_cases);
