// SPDX-License-Identifier: GPL-2.0-only
/* IOCTX_FLAG_FIXEDBUFS: registration, and what may be transferred. */
#include <sys/uio.h>

#include "tests.h"

#define MAX_LEN		(4UL << 20)

static int fixed_no_buffer_efault(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	give_buffers(iocbs, 4, BLOCK);
	iocbs[3].aio_buf = 0;
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), -EFAULT);
	iocbs[3].aio_buf = iocbs[2].aio_buf;
	iocbs[3].aio_nbytes = 0;
	CHECK_EQ(setup_fixed(4, IOPOLL, iocbs, &ctx), -EFAULT);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int fixed_length_limit(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	give_buffers(iocbs, 1, MAX_LEN + PAGE);
	iocbs[0].aio_nbytes = MAX_LEN + 1;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), -EFAULT);
	iocbs[0].aio_nbytes = ~0ULL >> 1;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), -EFAULT);
	iocbs[0].aio_nbytes = MAX_LEN;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(status_kib("VmPin"), (long)(MAX_LEN >> 10) + 4);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int fixed_unmapped_buffer_leaves_nothing(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	give_buffers(iocbs, 8, 16 * BLOCK);
	/* The last one ends in a hole, the first 15 pages are there. */
	iocbs[7].aio_buf += BLOCK;
	CHECK_EQ(setup_fixed(8, IOPOLL, iocbs, &ctx), -ENOMEM);
	CHECK_EQ(status_kib("VmPin"), 0);
	/* Now it begins there: behind the hole may be anything. */
	iocbs[7].aio_buf += 15 * BLOCK;
	CHECK_EQ(setup_fixed(8, IOPOLL, iocbs, &ctx), -EFAULT);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int fixed_vectored_einval(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	give_buffers(iocbs, 1, BLOCK);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	iocbs[0].aio_lio_opcode = IOCB_CMD_PREADV;
	CHECK_EQ(submit1(ctx, slot(0)), -EINVAL);
	iocbs[0].aio_lio_opcode = IOCB_CMD_PWRITEV;
	CHECK_EQ(submit1(ctx, slot(0)), -EINVAL);
	return PASS;
}

static int fixed_outside_of_buffer_efault(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned long addr;
	aio_context_t ctx;

	give_buffers(iocbs, 2, 4 * BLOCK);
	iocbs[0].aio_buf += BLOCK;
	iocbs[0].aio_nbytes = 2 * BLOCK;
	addr = iocbs[0].aio_buf;
	CHECK_EQ(setup_fixed(2, IOPOLL, iocbs, &ctx), 0);

	iocbs[0].aio_nbytes = 2 * BLOCK + 512;
	CHECK_EQ(submit1(ctx, slot(0)), -EFAULT);
	iocbs[0].aio_nbytes = 2 * BLOCK;
	iocbs[0].aio_buf = addr + 512;
	CHECK_EQ(submit1(ctx, slot(0)), -EFAULT);
	iocbs[0].aio_buf = addr - 512;
	CHECK_EQ(submit1(ctx, slot(0)), -EFAULT);
	iocbs[0].aio_nbytes = 512;
	CHECK_EQ(submit1(ctx, slot(0)), -EFAULT);
	/* The buffer of another slot is not this slot's. */
	iocbs[0].aio_buf = iocbs[1].aio_buf;
	CHECK_EQ(submit1(ctx, slot(0)), -EFAULT);
	/* The end wraps around. */
	iocbs[0].aio_buf = addr;
	iocbs[0].aio_nbytes = ~0ULL >> 1;
	CHECK_EQ(submit1(ctx, slot(0)), -EFAULT);
	return PASS;
}

/* Write @len bytes from @off of a buffer, and read them to another place. */
static int transfer(aio_context_t ctx, struct iocb *iocb, unsigned char *buf,
		    size_t off, size_t len, size_t to)
{
	unsigned char *want = malloc(len);
	struct io_event event;
	size_t i;

	for (i = 0; i < len; i++)
		want[i] = (unsigned char)(random() >> 8);
	memcpy(buf + off, want, len);
	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	iocb->aio_buf = (uintptr_t)buf + off;
	iocb->aio_nbytes = len;
	iocb->aio_offset = 8 * (off_t)BLOCK;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)len);

	memset(buf + off, 0, len);
	iocb->aio_lio_opcode = IOCB_CMD_PREAD;
	iocb->aio_buf = (uintptr_t)buf + to;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)len);
	CHECK(!memcmp(buf + to, want, len), "off %zu len %zu", off, len);
	free(want);
	return PASS;
}

/* @skew is how far from the start of a page the buffer begins. */
static int parts_of_a_buffer(unsigned int flags, size_t skew)
{
	unsigned char *buf = (unsigned char *)pages(MAX_LEN) + skew;
	struct iocb *iocbs = pages(PAGE);
	const size_t len = MAX_LEN - PAGE;
	aio_context_t ctx;
	int i;

	prep(&iocbs[0], IOCB_CMD_PREAD, open_device(), buf, len, 0);
	if (flags & IOPOLL)
		iocbs[0].aio_flags = IOCB_FLAG_HIPRI;
	CHECK_EQ(setup_fixed(1, flags, iocbs, &ctx), 0);
	iocbs[0].aio_fildes = (unsigned int)open_device();

	CHECK_EQ(transfer(ctx, &iocbs[0], buf, 0, len, 0), PASS);
	for (i = 0; i < 100; i++) {
		size_t part = (1 + (size_t)random() % 64) * BLOCK;
		size_t from = (size_t)random() % ((len - part) / BLOCK) * BLOCK;
		size_t to = (size_t)random() % ((len - part) / BLOCK) * BLOCK;

		CHECK_EQ(transfer(ctx, &iocbs[0], buf, from, part, to), PASS);
	}
	CHECK_EQ(transfer(ctx, &iocbs[0], buf, len - BLOCK, BLOCK, 0), PASS);
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int fixed_parts_polled(void)
{
	return parts_of_a_buffer(IOPOLL, 0);
}

static int fixed_parts_polled_skewed(void)
{
	return parts_of_a_buffer(IOPOLL, 512);
}

static int fixed_parts_unpolled(void)
{
	return parts_of_a_buffer(0, 0);
}

static int fixed_nothing_to_transfer(void)
{
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	aio_context_t ctx;

	give_buffers(iocbs, 1, 4 * BLOCK);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	iocbs[0].aio_buf += 4 * BLOCK;
	iocbs[0].aio_nbytes = 0;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, 0);
	return PASS;
}

static int fixed_buffer_may_be_unmapped(void)
{
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	aio_context_t ctx;

	give_buffers(iocbs, 1, 4 * BLOCK);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	munmap((void *)(uintptr_t)iocbs[0].aio_buf, 4 * BLOCK);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)(4 * BLOCK));
	return PASS;
}

static int fixed_data_survives_fork(void)
{
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	unsigned char *buf;
	aio_context_t ctx;
	pid_t child;

	give_buffers(iocbs, 1, BLOCK);
	buf = (void *)(uintptr_t)iocbs[0].aio_buf;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	memset(buf, 0x5a, BLOCK);
	iocbs[0].aio_lio_opcode = IOCB_CMD_PWRITE;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	memset(buf, 0, BLOCK);
	iocbs[0].aio_lio_opcode = IOCB_CMD_PREAD;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(buf[0], 0x5a);
	CHECK_EQ(buf[BLOCK - 1], 0x5a);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return PASS;
}

const struct test_case buffer_cases[] = {
	CASE(fixed_no_buffer_efault),
	CASE(fixed_length_limit),
	CASE(fixed_unmapped_buffer_leaves_nothing),
	CASE(fixed_vectored_einval),
	CASE(fixed_outside_of_buffer_efault),
	CASE(fixed_parts_polled),
	CASE(fixed_parts_polled_skewed),
	CASE(fixed_parts_unpolled),
	CASE(fixed_nothing_to_transfer),
	CASE(fixed_buffer_may_be_unmapped),
	CASE(fixed_data_survives_fork),
};
TABLE(buffer_cases);
