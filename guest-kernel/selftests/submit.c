// SPDX-License-Identifier: GPL-2.0-only
/* io_submit() and io_cancel(): what is refused, and how indices work. */
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "tests.h"

#ifndef RWF_HIPRI
#define RWF_HIPRI	0x01
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC	0x02
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT	0x08
#endif

static int hipri_on_unpolled_context_einval(void)
{
	aio_context_t ctx = 0, old = 0;
	struct iocb iocb;

	CHECK_EQ(sys_io_setup2(8, 0, NULL, NULL, NULL, &ctx), 0);
	CHECK_EQ(sys_io_setup(8, &old), 0);
	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	CHECK_EQ(submit1(old, &iocb), -EINVAL);
	return PASS;
}

static int polled_context_without_hipri_einval(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;

	prep(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	iocb.aio_rw_flags = RWF_HIPRI;
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	return PASS;
}

static int rwf_hipri_is_not_the_switch(void)
{
	aio_context_t ctx = 0;
	struct io_event event;
	struct iocb iocb;

	CHECK_EQ(sys_io_setup(8, &ctx), 0);
	prep(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK, 0);
	iocb.aio_rw_flags = RWF_HIPRI;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.res, (long)BLOCK);
	return PASS;
}

static int polled_opcodes_other_than_io_einval(void)
{
	static const int ops[] = { IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC,
				   IOCB_CMD_POLL, IOCB_CMD_NOOP, 4, 9, 10,
				   0xffff };
	aio_context_t ctx = polled_context(8);
	int fd = open_device();
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct iocb iocb;

		prep_hipri(&iocb, ops[i], fd, NULL, 0, 0);
		CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	}
	return PASS;
}

static int polled_eventfd_einval_bad_eventfd_first(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;
	int fd = open_device();

	prep_hipri(&iocb, IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK, 0);
	iocb.aio_flags |= IOCB_FLAG_RESFD;
	iocb.aio_resfd = (unsigned int)eventfd(0, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	iocb.aio_resfd = 9999;
	CHECK_EQ(submit1(ctx, &iocb), -EBADF);
	iocb.aio_resfd = (unsigned int)fd;
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	return PASS;
}

static int polled_buffered_file_eopnotsupp(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, open_path(device, O_RDWR),
		   pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EOPNOTSUPP);
	iocb.aio_lio_opcode = IOCB_CMD_PWRITE;
	CHECK_EQ(submit1(ctx, &iocb), -EOPNOTSUPP);
	return PASS;
}

static int polled_file_that_cannot_poll_eopnotsupp(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;
	int fds[2];

	/* For a pipe, O_DIRECT means packets, but it is the same flag. */
	CHECK_EQ(syscall(SYS_pipe2, fds, O_DIRECT), 0);
	prep_hipri(&iocb, IOCB_CMD_PREAD, fds[0], pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EOPNOTSUPP);
	return PASS;
}

static int bad_descriptor_ebadf(void)
{
	int fd = open_path(device, O_RDONLY | O_DIRECT);
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, 9999, pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EBADF);
	prep_hipri(&iocb, IOCB_CMD_PWRITE, fd, pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EBADF);
	return PASS;
}

static int reserved_field_einval(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	iocb.aio_reserved2 = 1;
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	return PASS;
}

static int cancel_is_refused(void)
{
	struct iocb iocb, *iocbs = pages(PAGE);
	aio_context_t polled = polled_context(8);
	aio_context_t mapped = mapped_context(8, 0, iocbs);
	struct io_event event;

	memset(&iocb, 0, sizeof(iocb));
	CHECK_EQ(sys_io_cancel(polled, &iocb, &event), -EINVAL);
	CHECK_EQ(sys_io_cancel(mapped, iocbs, &event), -EINVAL);
	CHECK_EQ(sys_io_cancel(polled, NULL, &event), -EFAULT);
	return PASS;
}

static int refusals_use_up_nothing(void)
{
	aio_context_t ctx = polled_context(2);
	struct iocb good, bad;
	struct io_event event;
	int i;

	prep_hipri(&bad, IOCB_CMD_PREAD, 9999, pages(BLOCK), BLOCK, 0);
	for (i = 0; i < 100; i++)
		CHECK_EQ(submit1(ctx, &bad), -EBADF);
	prep_hipri(&good, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	CHECK_EQ(submit1(ctx, &good), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)BLOCK);
	return PASS;
}

static int error_in_the_middle_short_count(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocbs[4], *ptrs[4];
	struct io_event events[4];
	int i, fd = open_device();

	for (i = 0; i < 4; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   0);
		ptrs[i] = &iocbs[i];
	}
	iocbs[2].aio_fildes = 9999;
	CHECK_EQ(sys_io_submit(ctx, 4, ptrs), 2);
	CHECK_EQ(reap(ctx, 2, events), PASS);
	CHECK_EQ(sys_io_submit(ctx, 2, ptrs + 2), -EBADF);
	return PASS;
}

static int unreadable_pointers(void)
{
	struct iocb **ptrs = pages(PAGE), **end = ptrs + PAGE / sizeof(*ptrs);
	aio_context_t ctx = polled_context(16);
	struct io_event events[16];
	struct iocb iocb;
	int i;

	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	for (i = 1; i <= 11; i++)
		end[-i] = &iocb;
	CHECK_EQ(sys_io_submit(ctx, 1, end), -EFAULT);
	CHECK_EQ(sys_io_submit(ctx, 3, end), -EFAULT);
	CHECK_EQ(sys_io_submit(ctx, 9, end - 3), 3);
	CHECK_EQ(reap(ctx, 3, events), PASS);
	CHECK_EQ(sys_io_submit(ctx, 12, end - 11), 11);
	CHECK_EQ(reap(ctx, 11, events), PASS);
	CHECK_EQ(sys_io_submit(ctx, -1, end - 1), -EINVAL);
	CHECK_EQ(sys_io_submit(ctx, 0, end), 0);
	return PASS;
}

static int index_out_of_range_einval(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(8, IOPOLL, iocbs);

	CHECK_EQ(submit1(ctx, slot(8)), -EINVAL);
	CHECK_EQ(submit1(ctx, slot(63)), -EINVAL);
	CHECK_EQ(submit1(ctx, slot(1UL << 32)), -EINVAL);
	CHECK_EQ(submit1(ctx, slot(~0UL)), -EINVAL);
	CHECK_EQ(submit1(ctx, iocbs), -EINVAL);
	return PASS;
}

/* Slots 3 and 65, so that the second page is used as well. */
static int index_is_the_object(unsigned int flags)
{
	struct iocb *iocbs = pages(2 * PAGE);
	aio_context_t ctx = mapped_context(128, flags, iocbs);
	struct iocb *ptrs[2] = { slot(65), slot(3) };
	struct io_event events[2];
	int i, fd = open_device();

	for (i = 0; i < 128; i++) {
		prep(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
		     i * (off_t)BLOCK);
		iocbs[i].aio_data = 1000 + (unsigned int)i;
		iocbs[i].aio_key = 77;
		if (flags & IOPOLL)
			iocbs[i].aio_flags = IOCB_FLAG_HIPRI;
	}
	CHECK_EQ(sys_io_submit(ctx, 2, ptrs), 2);
	CHECK_EQ(reap(ctx, 2, events), PASS);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(events[i].res, (long)BLOCK);
		CHECK_EQ(events[i].res2, 0);
		CHECK_EQ(events[i].data, 1000 + events[i].obj);
	}
	CHECK_EQ(events[0].obj + events[1].obj, 68);
	CHECK_EQ(iocbs[3].aio_key, 77);
	return PASS;
}

static int useriocb_polled_event_object_is_index(void)
{
	return index_is_the_object(IOPOLL);
}

static int useriocb_unpolled_event_object_is_index(void)
{
	return index_is_the_object(0);
}

static int useriocb_read_only_memory_works(void)
{
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	aio_context_t ctx;

	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	mprotect(iocbs, PAGE, PROT_READ);
	ctx = mapped_context(1, IOPOLL, iocbs);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)BLOCK);
	return PASS;
}

static int useriocb_change_after_submit_is_not_seen(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(1, IOPOLL, iocbs);
	struct io_event event;

	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	iocbs[0].aio_data = 1;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	memset(iocbs, 0xff, PAGE);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)BLOCK);
	CHECK_EQ(event.data, 1);
	return PASS;
}

/* Never written to before it is mapped, so it is the zero page until then. */
static int useriocb_untouched_memory_is_followed(void)
{
	struct iocb *iocbs = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	aio_context_t ctx = mapped_context(1, IOPOLL, iocbs);
	struct io_event event;

	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	return PASS;
}

static int useriocb_parent_is_followed_after_fork(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(1, IOPOLL, iocbs);
	struct io_event event;
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	/* With copy-on-write, this is the copy. */
	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	iocbs[0].aio_data = 5;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.data, 5);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return PASS;
}

static int useriocb_may_be_unmapped(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(1, IOPOLL, iocbs);
	struct io_event event;

	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	munmap(iocbs, PAGE);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	return PASS;
}

static int several_files_in_one_batch(void)
{
	aio_context_t ctx = polled_context(32);
	int i, fds[3] = { open_device(), open_device(), open_device() };
	struct iocb iocbs[32], *ptrs[32];
	struct io_event events[32];

	for (i = 0; i < 32; i++) {
		/* Runs of one file, and alternating ones */
		int fd = fds[i < 10 ? 0 : i < 16 ? i % 3 : 2];

		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   i * (off_t)BLOCK);
		ptrs[i] = &iocbs[i];
	}
	CHECK_EQ(sys_io_submit(ctx, 32, ptrs), 32);
	/* The requests hold on to the files. */
	for (i = 0; i < 3; i++)
		close(fds[i]);
	CHECK_EQ(reap(ctx, 32, events), PASS);
	for (i = 0; i < 32; i++)
		CHECK_EQ(events[i].res, (long)BLOCK);
	return PASS;
}

static int bad_context_einval(void)
{
	aio_context_t ctx = polled_context(8);
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	CHECK_EQ(submit1(ctx + PAGE, &iocb), -EINVAL);
	CHECK_EQ(submit1(0, &iocb), -EINVAL);
	CHECK_EQ(submit1((aio_context_t)pages(PAGE), &iocb), -EINVAL);
	return PASS;
}

/* On a polled context as on one that is not. */
static int sizes_that_overflow_einval(void)
{
	aio_context_t ctxs[2] = { polled_context(8), 0 };
	int i, fd = open_device();

	CHECK_EQ(sys_io_setup(8, &ctxs[1]), 0);
	for (i = 0; i < 2; i++) {
		struct iocb iocb;

		prep(&iocb, IOCB_CMD_PREAD, fd, pages(BLOCK), 1UL << 63, 0);
		iocb.aio_flags = i ? 0 : IOCB_FLAG_HIPRI;
		CHECK_EQ(submit1(ctxs[i], &iocb), -EINVAL);
		iocb.aio_nbytes = ~0ULL;
		CHECK_EQ(submit1(ctxs[i], &iocb), -EINVAL);
		iocb.aio_nbytes = BLOCK;
		iocb.aio_offset = -1;
		CHECK_EQ(submit1(ctxs[i], &iocb), -EINVAL);
	}
	return PASS;
}

/* Refused by the device's file, so there is an event that says so. */
static int unaligned_transfer_event_einval(void)
{
	aio_context_t ctx = polled_context(8);
	int i, fd = open_device();

	for (i = 0; i < 2; i++) {
		struct io_event event;
		struct iocb iocb;

		prep_hipri(&iocb, IOCB_CMD_PREAD, fd, pages(BLOCK),
			   i ? BLOCK : 100, i ? 100 : 0);
		CHECK_EQ(submit1(ctx, &iocb), 1);
		CHECK_PASS(reap(ctx, 1, &event));
		CHECK_EQ(event.res, -EINVAL);
	}
	return PASS;
}

static int no_memory_there_event_efault(void)
{
	aio_context_t ctx = polled_context(8);
	char *buf = pages(BLOCK);
	struct io_event event;
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), buf + BLOCK, BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, -EFAULT);
	return PASS;
}

static int polled_nothing_to_transfer(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	struct iocb iocb;
	int op;

	for (op = IOCB_CMD_PREAD; op <= IOCB_CMD_PWRITE; op++) {
		prep_hipri(&iocb, op, open_device(), pages(BLOCK), 0, 0);
		CHECK_EQ(submit1(ctx, &iocb), 1);
		CHECK_PASS(reap(ctx, 1, &event));
		CHECK_EQ(event.res, 0);
	}
	return PASS;
}

static int polled_end_of_the_device(void)
{
	aio_context_t ctx = polled_context(8);
	int fd = open_device();
	off_t end = lseek(fd, 0, SEEK_END);
	struct io_event event;
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, fd, pages(4 * BLOCK), 4 * BLOCK,
		   end - (off_t)BLOCK);
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	iocb.aio_offset = end;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, 0);
	iocb.aio_lio_opcode = IOCB_CMD_PWRITE;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, -ENOSPC);
	return PASS;
}

static int polled_rw_flags(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PWRITE, open_device(), pages(BLOCK), BLOCK,
		   0);
	iocb.aio_rw_flags = 1 << 30;
	CHECK_EQ(submit1(ctx, &iocb), -EOPNOTSUPP);
	iocb.aio_rw_flags = RWF_HIPRI;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	iocb.aio_rw_flags = RWF_DSYNC;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	return PASS;
}

/* On a device that has room, not to be willing to wait changes nothing. */
static int polled_nowait_event(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	struct iocb iocb;

	DEVIATION("-EAGAIN of RWF_NOWAIT came from io_submit()",
		  "it is in the event");
	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	iocb.aio_rw_flags = RWF_NOWAIT;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	/* It has to be split, which needs a second request */
	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(SPLIT_LEN),
		   SPLIT_LEN, 0);
	iocb.aio_rw_flags = RWF_NOWAIT;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK(event.res == -EAGAIN || event.res == (long)SPLIT_LEN, "%lld",
	      event.res);
	return PASS;
}

static int polled_priority(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK,
		   0);
	iocb.aio_flags |= IOCB_FLAG_IOPRIO;
	iocb.aio_reqprio = 2 << 13 | 4;		/* best effort */
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	iocb.aio_reqprio = 7 << 13;		/* no such class */
	CHECK_EQ(submit1(ctx, &iocb), -EINVAL);
	return PASS;
}

static int polled_tmpfs_file_eopnotsupp(void)
{
	aio_context_t ctx = polled_context(8);
	int fd = (int)syscall(SYS_memfd_create, "file", 0);
	struct iocb iocb;

	CHECK(fd >= 0, "memfd_create: %s", strerror(errno));
	/* It may take the flag, or not: it has nothing to poll either way. */
	fcntl(fd, F_SETFL, O_DIRECT);
	prep_hipri(&iocb, IOCB_CMD_PWRITE, fd, pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), -EOPNOTSUPP);
	return PASS;
}

/* Where iocbs are not mapped, the key is written as it has always been. */
static int polled_plain_iocb_gets_its_key(void)
{
	struct iocb *iocb = pages(PAGE);
	aio_context_t ctx = polled_context(8);
	struct io_event event;

	prep_hipri(iocb, IOCB_CMD_PREAD, open_device(), pages(BLOCK), BLOCK, 0);
	iocb->aio_key = 77;
	CHECK_EQ(submit1(ctx, iocb), 1);
	CHECK_EQ(iocb->aio_key, 0);
	CHECK_PASS(reap(ctx, 1, &event));
	mprotect(iocb, PAGE, PROT_READ);
	CHECK_EQ(submit1(ctx, iocb), -EFAULT);
	return PASS;
}

/* Refused, and the request is none the worse for it. */
static int cancel_leaves_the_request_alone(void)
{
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	aio_context_t ctx;
	unsigned int flags;

	for (flags = IOPOLL; flags <= (IOPOLL | USERIOCB); flags++) {
		struct iocb *iocb = flags & USERIOCB ? slot(0) : iocbs;

		if (!(flags & IOPOLL))
			continue;
		ctx = 0;
		CHECK_EQ(sys_io_setup2(4, flags, iocbs, NULL, NULL, &ctx), 0);
		prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(),
			   pages(SPLIT_LEN), SPLIT_LEN, 0);
		CHECK_EQ(submit1(ctx, iocb), 1);
		CHECK_EQ(sys_io_cancel(ctx, &iocbs[0], &event), -EINVAL);
		CHECK_PASS(reap(ctx, 1, &event));
		CHECK_EQ(event.res, (long)SPLIT_LEN);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

static int useriocb_same_index_twice(void)
{
	struct iocb *iocbs = pages(PAGE), *ptrs[4];
	aio_context_t ctx = mapped_context(4, IOPOLL, iocbs);
	struct io_event events[4];
	int i;

	prep_hipri(&iocbs[3], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	iocbs[3].aio_data = 9;
	for (i = 0; i < 4; i++)
		ptrs[i] = slot(3);
	CHECK_EQ(sys_io_submit(ctx, 4, ptrs), 4);
	CHECK_PASS(reap(ctx, 4, events));
	for (i = 0; i < 4; i++) {
		CHECK_EQ(events[i].obj, 3);
		CHECK_EQ(events[i].data, 9);
	}
	return PASS;
}

static int useriocb_bad_index_in_the_middle_short_count(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(4, IOPOLL, iocbs);
	struct iocb *ptrs[4] = { slot(0), slot(1), slot(4), slot(2) };
	struct io_event events[4];
	int i, fd = open_device();

	for (i = 0; i < 4; i++)
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   0);
	CHECK_EQ(sys_io_submit(ctx, 4, ptrs), 2);
	CHECK_EQ(sys_io_submit(ctx, 2, ptrs + 2), -EINVAL);
	CHECK_PASS(reap(ctx, 2, events));
	CHECK_EQ(events[0].obj + events[1].obj, 1);
	CHECK_EQ(sys_io_getevents(ctx, 1, 4, events, NULL), 0);
	return PASS;
}

/* What a slot holds is checked when it is submitted, as anywhere else. */
static int useriocb_contents_are_checked(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx = mapped_context(1, IOPOLL, iocbs);
	int fd = open_device();

	CHECK_EQ(submit1(ctx, slot(0)), -EINVAL);
	prep_hipri(iocbs, IOCB_CMD_PREAD, 9999, pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, slot(0)), -EBADF);
	iocbs->aio_fildes = (unsigned int)fd;
	iocbs->aio_reserved2 = 1;
	CHECK_EQ(submit1(ctx, slot(0)), -EINVAL);
	iocbs->aio_reserved2 = 0;
	iocbs->aio_flags = 0;
	CHECK_EQ(submit1(ctx, slot(0)), -EINVAL);
	iocbs->aio_flags = IOCB_FLAG_HIPRI;
	iocbs->aio_lio_opcode = IOCB_CMD_FSYNC;
	CHECK_EQ(submit1(ctx, slot(0)), -EINVAL);
	return PASS;
}

/* Somebody else fills the array in. */
static int useriocb_in_shared_memory(void)
{
	struct iocb *iocbs = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	aio_context_t ctx = mapped_context(8, IOPOLL, iocbs);
	int fd = open_device();
	void *buf = pages(BLOCK);
	struct io_event event;
	pid_t child = fork();

	if (!child) {
		prep_hipri(&iocbs[6], IOCB_CMD_PREAD, fd, buf, BLOCK, 0);
		iocbs[6].aio_data = 99;
		_exit(0);
	}
	CHECK_PASS(expect_success(child, 10));
	CHECK_EQ(submit1(ctx, slot(6)), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.data, 99);
	CHECK_EQ(event.res, (long)BLOCK);
	return PASS;
}

/* One copy is what is checked and what is submitted, however it changes. */
static int useriocb_is_read_once(void)
{
	struct iocb *iocbs = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	aio_context_t ctx = mapped_context(1, IOPOLL, iocbs);
	int i, fd = open_device();
	struct io_event event;
	pid_t child;

	DEVIATION("the shared iocb was read again and again",
		  "one copy, and only that is looked at");
	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK, 0);
	child = fork();
	if (!child) {
		volatile struct iocb *iocb = iocbs;

		for (;;) {
			iocb->aio_lio_opcode = IOCB_CMD_FSYNC;
			iocb->aio_flags = 0;
			iocb->aio_lio_opcode = IOCB_CMD_PREAD;
			iocb->aio_flags = IOCB_FLAG_HIPRI;
		}
	}
	/* Either it is a polled read, or it is refused. */
	for (i = 0; i < 3000; i++) {
		long ret = submit1(ctx, slot(0));

		if (ret == -EINVAL)
			continue;
		CHECK_EQ(ret, 1);
		CHECK_PASS(reap(ctx, 1, &event));
		CHECK_EQ(event.res, (long)BLOCK);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return PASS;
}

const struct test_case submit_cases[] = {
	CASE(bad_context_einval),
	CASE(sizes_that_overflow_einval),
	CASE(unaligned_transfer_event_einval),
	CASE(no_memory_there_event_efault),
	CASE(polled_nothing_to_transfer),
	CASE(polled_end_of_the_device),
	CASE(polled_rw_flags),
	CASE(polled_nowait_event),
	CASE(polled_priority),
	CASE(polled_tmpfs_file_eopnotsupp),
	CASE(polled_plain_iocb_gets_its_key),
	CASE(cancel_leaves_the_request_alone),
	CASE(useriocb_same_index_twice),
	CASE(useriocb_bad_index_in_the_middle_short_count),
	CASE(useriocb_contents_are_checked),
	CASE(useriocb_in_shared_memory),
	CASE(useriocb_is_read_once),
	CASE(hipri_on_unpolled_context_einval),
	CASE(polled_context_without_hipri_einval),
	CASE(rwf_hipri_is_not_the_switch),
	CASE(polled_opcodes_other_than_io_einval),
	CASE(polled_eventfd_einval_bad_eventfd_first),
	CASE(polled_buffered_file_eopnotsupp),
	CASE(polled_file_that_cannot_poll_eopnotsupp),
	CASE(bad_descriptor_ebadf),
	CASE(reserved_field_einval),
	CASE(cancel_is_refused),
	CASE(refusals_use_up_nothing),
	CASE(error_in_the_middle_short_count),
	CASE(unreadable_pointers),
	CASE(index_out_of_range_einval),
	CASE(useriocb_polled_event_object_is_index),
	CASE(useriocb_unpolled_event_object_is_index),
	CASE(useriocb_read_only_memory_works),
	CASE(useriocb_change_after_submit_is_not_seen),
	CASE(useriocb_untouched_memory_is_followed),
	CASE(useriocb_parent_is_followed_after_fork),
	CASE(useriocb_may_be_unmapped),
	CASE(several_files_in_one_batch),
};
TABLE(submit_cases);
