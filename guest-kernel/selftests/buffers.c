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

/* Write a pattern from slot 0's buffer, and see whether it is on the device. */
static int goes_to_the_device(aio_context_t ctx, struct iocb *iocb,
			      unsigned char want)
{
	unsigned char *found = pages(BLOCK);
	struct io_event event;

	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	iocb->aio_offset = 16 * (off_t)BLOCK;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	CHECK_EQ(pread(open_device(), found, BLOCK, 16 * (off_t)BLOCK),
		 (long)BLOCK);
	CHECK_EQ(found[0], want);
	CHECK_EQ(found[BLOCK - 1], want);
	return PASS;
}

static int fixed_read_only_buffer_efault(void)
{
	struct iocb *iocbs = pages(PAGE);
	aio_context_t ctx;

	give_buffers(iocbs, 2, BLOCK);
	mprotect((void *)(uintptr_t)iocbs[1].aio_buf, BLOCK, PROT_READ);
	CHECK_EQ(setup_fixed(2, IOPOLL, iocbs, &ctx), -EFAULT);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

/* One buffer in several slots, another one across their ends. */
static int fixed_overlapping_buffers(void)
{
	unsigned char *mem = pages(4 * BLOCK);
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	aio_context_t ctx;
	unsigned long i;

	give_buffers(iocbs, 3, BLOCK);
	iocbs[0].aio_buf = iocbs[1].aio_buf = (uintptr_t)mem;
	iocbs[2].aio_buf = (uintptr_t)mem + BLOCK / 2;
	CHECK_EQ(setup_fixed(3, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 4 + 4 + 4 + 8);
	for (i = 0; i < 3; i++) {
		memset(mem, 0x40 + (int)i, 4 * BLOCK);
		iocbs[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		CHECK_EQ(submit1(ctx, slot(i)), 1);
		CHECK_PASS(reap(ctx, 1, &event));
		memset(mem, 0, 4 * BLOCK);
		iocbs[i].aio_lio_opcode = IOCB_CMD_PREAD;
		CHECK_EQ(submit1(ctx, slot(i)), 1);
		CHECK_PASS(reap(ctx, 1, &event));
		CHECK_EQ(event.res, (long)BLOCK);
		CHECK_EQ(mem[i == 2 ? BLOCK : 0], 0x40 + (int)i);
	}
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

static int fixed_each_slot_has_its_own(void)
{
	struct iocb *iocbs = pages(PAGE), *ptrs[32];
	struct io_event events[32];
	aio_context_t ctx;
	unsigned long i;

	give_buffers(iocbs, 32, BLOCK);
	CHECK_EQ(setup_fixed(32, IOPOLL, iocbs, &ctx), 0);
	for (i = 0; i < 32; i++) {
		memset((void *)(uintptr_t)iocbs[i].aio_buf, (int)i + 1, BLOCK);
		iocbs[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		iocbs[i].aio_offset = (off_t)(i * BLOCK);
		ptrs[i] = slot(i);
	}
	CHECK_EQ(sys_io_submit(ctx, 32, ptrs), 32);
	CHECK_PASS(reap(ctx, 32, events));
	/* Each reads what another one wrote. */
	for (i = 0; i < 32; i++) {
		iocbs[i].aio_lio_opcode = IOCB_CMD_PREAD;
		iocbs[i].aio_offset = (off_t)((31 - i) * BLOCK);
	}
	CHECK_EQ(sys_io_submit(ctx, 32, ptrs), 32);
	CHECK_PASS(reap(ctx, 32, events));
	for (i = 0; i < 32; i++) {
		unsigned char *buf = (void *)(uintptr_t)iocbs[i].aio_buf;

		CHECK_EQ(events[i].res, (long)BLOCK);
		CHECK_EQ(buf[0], 32 - (int)i);
		CHECK_EQ(buf[BLOCK - 1], 32 - (int)i);
	}
	return PASS;
}

/* Parent and child share the pages when the parent registers them. */
static int fixed_registered_after_fork(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned char *buf;
	aio_context_t ctx;
	int go[2];
	pid_t child;

	give_buffers(iocbs, 1, BLOCK);
	buf = (void *)(uintptr_t)iocbs[0].aio_buf;
	memset(buf, 0x21, BLOCK);
	CHECK_EQ(pipe(go), 0);
	child = fork();
	if (!child) {
		char c;

		/* Its copy is what it was, whatever the parent does. */
		_exit(read(go[0], &c, 1) != 1 || buf[0] != 0x21);
	}
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	memset(buf, 0x22, BLOCK);
	CHECK_PASS(goes_to_the_device(ctx, &iocbs[0], 0x22));
	CHECK_EQ(write(go[1], "x", 1), 1);
	return expect_success(child, 10);
}

/* What the child writes, and that it ends, is nothing to the parent's I/O. */
static int fixed_child_writes_to_its_own_copy(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned char *buf;
	aio_context_t ctx;
	pid_t child;

	give_buffers(iocbs, 1, BLOCK);
	buf = (void *)(uintptr_t)iocbs[0].aio_buf;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	memset(buf, 0x33, BLOCK);
	child = fork();
	if (!child) {
		memset(buf, 0x44, BLOCK);
		_exit(0);
	}
	CHECK_PASS(expect_success(child, 10));
	CHECK_PASS(goes_to_the_device(ctx, &iocbs[0], 0x33));
	return PASS;
}

static int memory_file(off_t len)
{
	int fd = (int)syscall(SYS_memfd_create, "buffers", 0);

	if (fd < 0 || ftruncate(fd, len)) {
		printf("# no file in memory: %s\n", strerror(errno));
		fflush(stdout);
		_exit(FAIL);
	}
	return fd;
}

/* Somebody else fills the buffer in. */
static int fixed_shared_memory(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned char *buf;
	aio_context_t ctx;
	pid_t child;

	give_buffers(iocbs, 1, BLOCK);
	buf = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED,
		   memory_file(BLOCK), 0);
	iocbs[0].aio_buf = (uintptr_t)buf;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	child = fork();
	if (!child) {
		memset(buf, 0x55, BLOCK);
		_exit(0);
	}
	CHECK_PASS(expect_success(child, 10));
	return goes_to_the_device(ctx, &iocbs[0], 0x55);
}

/* The pages stay, though the file has lost them, and has new ones later. */
static int fixed_truncate_while_registered(void)
{
	struct iocb *iocbs = pages(PAGE);
	int fd = memory_file(2 * BLOCK);
	unsigned char *buf, byte = 1;
	aio_context_t ctx;

	give_buffers(iocbs, 1, BLOCK);
	buf = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	iocbs[0].aio_buf = (uintptr_t)buf;
	memset(buf, 0x66, BLOCK);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_PASS(goes_to_the_device(ctx, &iocbs[0], 0x66));
	CHECK_EQ(ftruncate(fd, 2 * BLOCK), 0);
	CHECK_EQ(pread(fd, &byte, 1, 0), 1);
	CHECK_EQ(byte, 0);
	memset(buf, 0x67, BLOCK);
	CHECK_PASS(goes_to_the_device(ctx, &iocbs[0], 0x66));
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(buf[0], 0x67);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

/* The address has a new page, the registration still has the old one. */
static int fixed_dontneed_while_registered(void)
{
	struct iocb *iocbs = pages(PAGE);
	struct io_event event;
	unsigned char *buf;
	aio_context_t ctx;

	give_buffers(iocbs, 1, BLOCK);
	buf = (void *)(uintptr_t)iocbs[0].aio_buf;
	memset(buf, 0x70, BLOCK);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	CHECK_EQ(madvise(buf, BLOCK, MADV_DONTNEED), 0);
	CHECK_EQ(buf[0], 0);
	memset(buf, 0x71, BLOCK);
	CHECK_PASS(goes_to_the_device(ctx, &iocbs[0], 0x70));
	/* Nor does a read reach memory that was not registered. */
	iocbs[0].aio_lio_opcode = IOCB_CMD_PREAD;
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	CHECK_EQ(buf[0], 0x71);
	return PASS;
}

/* Nothing but the registration counts, once it is made. */
static int fixed_mprotect_while_registered(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned char *buf;
	aio_context_t ctx;

	give_buffers(iocbs, 1, BLOCK);
	buf = (void *)(uintptr_t)iocbs[0].aio_buf;
	memset(buf, 0x29, BLOCK);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	mprotect(buf, BLOCK, PROT_NONE);
	CHECK_PASS(goes_to_the_device(ctx, &iocbs[0], 0x29));
	return PASS;
}

/* A whole huge page, and parts around the middle of it. */
static int fixed_huge_page(void)
{
	const size_t huge = 2UL << 20;
	struct iocb *iocbs = pages(PAGE);
	unsigned char *buf;
	aio_context_t ctx;
	int i;

	buf = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (buf == MAP_FAILED) {
		buf = mmap(NULL, 3 * huge, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		buf = (void *)(((uintptr_t)buf + huge - 1) & ~(huge - 1));
		SKIP_IF(madvise(buf, 2 * huge, MADV_HUGEPAGE),
			"the kernel has no huge pages");
	}
	memset(buf, 0, 2 * huge);
	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, open_device(), buf, 2 * huge, 0);
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	CHECK_PASS(transfer(ctx, &iocbs[0], buf, 0, 2 * huge, 0));
	CHECK_PASS(transfer(ctx, &iocbs[0], buf, huge - BLOCK, 2 * BLOCK, 0));
	for (i = 0; i < 50; i++) {
		size_t part = (1 + (size_t)random() % 64) * BLOCK;
		size_t from = (size_t)random() % ((2 * huge - part) / BLOCK);

		CHECK_PASS(transfer(ctx, &iocbs[0], buf, from * BLOCK, part,
				    huge));
	}
	CHECK_EQ(sys_io_destroy(ctx), 0);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

/* A buffer that is a hole so far gets its pages. */
static int fixed_untouched_memory(void)
{
	struct iocb *iocbs = pages(PAGE);
	unsigned char *buf = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	aio_context_t ctx;

	give_buffers(iocbs, 1, BLOCK);
	iocbs[0].aio_buf = (uintptr_t)buf;
	CHECK_EQ(setup_fixed(1, IOPOLL, iocbs, &ctx), 0);
	memset(buf, 0x15, BLOCK);
	return goes_to_the_device(ctx, &iocbs[0], 0x15);
}

const struct test_case buffer_cases[] = {
	CASE(fixed_read_only_buffer_efault),
	CASE(fixed_overlapping_buffers),
	CASE(fixed_each_slot_has_its_own),
	CASE(fixed_registered_after_fork),
	CASE(fixed_child_writes_to_its_own_copy),
	CASE(fixed_shared_memory),
	CASE(fixed_truncate_while_registered),
	CASE(fixed_dontneed_while_registered),
	CASE(fixed_mprotect_while_registered),
	CASE(fixed_huge_page),
	CASE(fixed_untouched_memory),
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
